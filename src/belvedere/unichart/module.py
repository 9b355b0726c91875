"""Trains a chart model on tasks about charts, and lets it answer (arXiv 2305.14761)."""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from belvedere.charts.tasks import TaskName
from belvedere.charts.tokenizer import encode_prompt
from belvedere.data.pictures import normalised
from belvedere.metrics.chart_tasks import Answered
from belvedere.optimisation import Optimisation
from belvedere.submodels.losses import head_losses
from belvedere.unichart.model import ChartModel
from belvedere.unichart.reading import LetterHead


class UniChartModule(LightningModule):
    """The answers' cross-entropy over all tasks; for small models also the letters of the picture.

    Args:
        model: reads charts and writes answers.
        tokenizer: of its texts.
        optimisation: optimiser and schedule.
        letters_weight: of the loss of `LetterHead`; 0 leaves it out, as in the paper.
        beams: of the search for answers.
        new_tokens: the longest answer that is generated, for each task.

    Attributes:
        answered: after testing, every answer.
    """

    def __init__(
        self,
        model: ChartModel,
        tokenizer: PreTrainedTokenizerBase,
        optimisation: Optimisation,
        letters_weight: float = 0.0,
        beams: int = 4,
        new_tokens: dict[TaskName, int] | int = 256,
    ) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.optimisation = optimisation
        self.letters_weight = letters_weight
        self.beams = beams
        self.new_tokens = new_tokens
        encoder = model.config.encoder
        stride = encoder.patch_size * 2 ** (len(encoder.depths) - 1)
        self.letters = LetterHead(encoder.hidden, stride) if letters_weight else None
        self.answered: list[Answered] = []
        self.sums: dict[TaskName, list[float]] = {}

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """The loss of a batch; see `belvedere.data.charts.ChartDataModule` for its form."""
        pixels = normalised(batch["pixels"])
        seen = self.model.encoder(pixels)
        loss = self._loss(self.model.projection(seen), batch)
        self.log("train/loss", loss.detach(), prog_bar=True)
        if self.letters is not None and "letters" in batch:
            size = (pixels.shape[2], pixels.shape[3])
            letters_loss, read = self.letters.loss(seen, batch["letters"], size)
            self.log("train/letters_read", read, prog_bar=True)
            loss = loss + self.letters_weight * letters_loss
        return loss

    def _loss(self, states: Tensor, batch: dict[str, Any]) -> Tensor:
        ids, labels = batch["ids"], batch["labels"]
        mask = torch.arange(ids.shape[1], device=ids.device) < batch["tokens"][:, None]
        hidden = self.model.decode(states[batch["picture"]], ids, mask.long())
        head = self.model.head_weight
        return head_losses([hidden], head, labels, kl_weight=0.0, ce_weight=1.0).loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Add a held-out batch to the losses of its tasks."""
        states = self.model.encode(normalised(batch["pixels"]))
        for task in {example.task for example in batch["examples"]}:
            chosen = [i for i, example in enumerate(batch["examples"]) if example.task == task]
            index = torch.tensor(chosen, device=states.device)
            names = ("ids", "labels", "tokens", "picture")
            part = {name: batch[name].index_select(0, index) for name in names}
            learned = int((part["labels"] >= 0).sum())
            sums = self.sums.setdefault(task, [0.0, 0.0])
            sums[0] += float(self._loss(states, part)) * learned
            sums[1] += learned

    def on_validation_epoch_end(self) -> None:
        """Log the mean loss of each task."""
        for task, loss in self.measured().items():
            self.log(f"validation/loss/{task}", loss, rank_zero_only=True)

    def measured(self) -> dict[TaskName, float]:
        """The mean loss of each task's answers over the batches since the last call."""
        found = {task: loss / max(count, 1) for task, (loss, count) in sorted(self.sums.items())}
        self.sums = {}
        return found

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Answer every question of a batch."""
        self.answered += self.answer(batch)

    def answer(self, batch: dict[str, Any]) -> list[Answered]:
        """The model's answers to a batch's questions, task by task."""
        states = self.model.encode(normalised(batch["pixels"]))
        found: dict[int, Answered] = {}
        examples = batch["examples"]
        for task in sorted({example.task for example in examples}):
            chosen = [i for i, example in enumerate(examples) if example.task == task]
            prompts = [encode_prompt(self.tokenizer, task, examples[i].question) for i in chosen]
            limit = self.new_tokens if isinstance(self.new_tokens, int) else self.new_tokens[task]
            answers = self.model.generate(
                states[batch["picture"][chosen]], prompts, max_new_tokens=limit,
                num_beams=self.beams,
            )  # fmt: skip
            texts = self.tokenizer.batch_decode(answers.tokens(), skip_special_tokens=True)
            for i, text, sure in zip(chosen, texts, answers.confidence.tolist(), strict=True):
                accepted = examples[i].accepted or (examples[i].answer,)
                found[i] = Answered(
                    task, batch["kinds"][i], examples[i].question, text.strip(), accepted, sure
                )
        return [found[i] for i in sorted(found)]

    def configure_optimizers(self) -> Any:
        """AdamW and its schedule over all steps of the run."""
        steps = int(self.trainer.estimated_stepping_batches)
        return self.optimisation.build(self.parameters(), steps)
