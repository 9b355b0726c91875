"""Trains a chart model on tasks about charts, and lets it answer (arXiv 2305.14761)."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from belvedere.charts.tasks import NO_CHART, TaskName, says_no_chart
from belvedere.charts.tokenizer import encode, encode_prompt, shortened
from belvedere.data.charts import SHORTEST
from belvedere.data.loading import check_sizes
from belvedere.data.pictures import normalised
from belvedere.errors import BadInput
from belvedere.method import OptimisedModule
from belvedere.metrics.chart_tasks import Answered
from belvedere.optimisation import Optimisation
from belvedere.processes import losses_of_all, sums_of_all
from belvedere.submodels.backbone import num_layers_of, validate_depths
from belvedere.submodels.layers import compile_modules
from belvedere.submodels.losses import HeadLosses, head_losses
from belvedere.submodels.speed import now
from belvedere.unichart.generation import Answers
from belvedere.unichart.guidance import Guidance
from belvedere.unichart.model import ChartModel
from belvedere.unichart.reading import PhaseHead


@dataclass(frozen=True)
class Asked:
    """The questions of one task in a batch.

    Attributes:
        task: which.
        texts: their numbers in the batch.
        pictures: [texts], which picture each is about.
        prompts: token ids of each.
        cut: whether a question was too long, and its end is left out.
    """

    task: TaskName
    texts: list[int]
    pictures: Tensor
    prompts: list[list[int]]
    cut: list[bool]


class UniChartModule(OptimisedModule):
    """The answers' cross-entropy over all tasks; for small models also the letters of the picture.

    With ``depths`` the decoder is fine-tuned sorted (arXiv 2309.08968, equation 2): the loss is the
    mean of the cross-entropies of the readers that are cut there and of the full one, all from one
    pass, and each of them answers the test questions.

    Args:
        model: reads charts and writes answers.
        tokenizer: of its texts.
        optimisation: optimiser and schedule.
        letters_weight: of the loss of `LetterHead`; 0 leaves it out, as in the paper.
        guidance_weight: of the losses that show the decoder where each token is read
            (`belvedere.unichart.guidance`); 0 leaves them out, as in the paper.
        length_groups: in how many parts, of texts of like length, the decoder goes through the
            texts of a batch: the losses are the same, with less padding.
        beams: of the search for answers.
        new_tokens: the longest answer that is generated, for each task.
        depths: decoder layers of the cut readers, ascending; the full reader is there in any case.

    Attributes:
        early: the depths below the full one.
        layers: of the full decoder.
        answered_by_depth: after testing, every answer of the readers of each depth, the full one
            last.
        seconds_by_depth: that the answers of each depth took, the encoder left out.

    Raises:
        BadInput: depths that the decoder does not have, sizes or weights that cannot be, or letters
            without a stem to read them off.
    """

    def __init__(
        self,
        model: ChartModel,
        tokenizer: PreTrainedTokenizerBase,
        optimisation: Optimisation,
        letters_weight: float = 0.0,
        guidance_weight: float = 0.0,
        length_groups: int = 1,
        beams: int = 4,
        new_tokens: dict[TaskName, int] | int = 256,
        depths: Sequence[int] = (),
    ) -> None:
        super().__init__(optimisation)
        self.layers = num_layers_of(model.decoder)
        early = [depth for depth in depths if depth != self.layers]
        self.early = validate_depths(early, self.layers) if early else ()
        self.model = model
        self.tokenizer = tokenizer
        self.letters_weight = letters_weight
        self.guidance_weight = guidance_weight
        self.length_groups = length_groups
        self.beams = beams
        self.new_tokens = new_tokens
        if letters_weight and model.letters is None:
            raise BadInput(
                "letters are read off a convolutional stem, which this model does not have",
                where="model.letters_weight",
                remedy="set it to 0",
            )
        self._check(letters_weight, guidance_weight)
        self.answered_by_depth: dict[int, list[Answered]] = {depth: [] for depth in self.depths}
        self.seconds_by_depth = dict.fromkeys(self.depths, 0.0)
        self.sums: dict[TaskName, Tensor] = {}
        self.letters_read = (0, 0)

    def _check(self, *weights: float) -> None:
        """Raise `BadInput` for what cannot be trained or answered with."""
        longest = self.model.config.decoder.max_positions - SHORTEST + 1
        if isinstance(self.new_tokens, int):
            limits = {"new_tokens": self.new_tokens}
        else:
            limits = {f"new_tokens.{task}": limit for task, limit in self.new_tokens.items()}
        check_sizes(under="model", beams=self.beams, length_groups=self.length_groups, **limits)
        for key, value in limits.items():
            if value > longest:
                raise BadInput(
                    f"the decoder has no room for answers of {value} tokens",
                    where=f"model.{key}",
                    remedy=f"give {longest} or less",
                )
        if min(weights) < 0:
            raise BadInput(
                "a weight is negative",
                where="model.letters_weight, model.guidance_weight",
                remedy="give 0 or more",
            )

    @property
    def depths(self) -> tuple[int, ...]:
        """The depths of all readers, ascending, the full one last."""
        return (*self.early, self.layers)

    @property
    def answered(self) -> list[Answered]:
        """After testing, every answer of the full reader."""
        return self.answered_by_depth[self.layers]

    def checkpoint_activations(self) -> None:
        """Run the layers of decoder and encoder twice to save memory."""
        super().checkpoint_activations()
        self.model.encoder.swin.set_grad_checkpointing()

    def compile_layers(self, backend: str) -> None:
        """Compile the blocks of the encoder, which takes pages of one size.

        The decoder gets texts of any length, and hooks within its layers watch where it looks.
        Each stage has a size of its own, and one variant for all takes ten times as long to make.
        """
        compile_modules(self._blocks(), backend, dynamic=False)

    def units(self) -> Sequence[nn.Module]:
        """The blocks of the encoder, which sees all pictures of a batch at once.

        The decoder goes through their texts by task and by length, so each process as often as its
        own texts ask for.
        """
        return self._blocks()

    def _blocks(self) -> list[SwinTransformerBlock]:
        return [part for part in self.modules() if isinstance(part, SwinTransformerBlock)]

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """The loss of a batch; see `belvedere.data.charts.ChartDataModule` for its form."""
        pixels = normalised(batch["pixels"])
        losses, details = [], None
        letters = self.model.letters
        if self.letters_weight and letters is not None and "letters" in batch:
            details = self.model.encoder.details(pixels)
            loss, (read, there) = letters.loss(details, batch["letters"])
            losses.append(self.letters_weight * loss)
            self.log("train/letters_read", read / there.clamp(min=1), prog_bar=True)
        if len(batch["ids"]):
            guidance = None
            if self.guidance_weight:
                guidance = Guidance(self.model.decoder, self.model.axis)
            states = self.model.encode(pixels, details)
            answers = losses_of_all(self._losses(states, batch, guidance))
            losses.append(answers.loss)
            if guidance is not None:
                loss, share = guidance.loss()
                losses.append(self.guidance_weight * loss)
                self.log("train/guidance", loss.detach())
                self.log("train/looks_right", share, prog_bar=True)
                if self.model.places is not None:
                    loss, off = self.place_loss(states, batch)
                    losses.append(self.guidance_weight * loss)
                    self.log("train/pixels_off", off, prog_bar=True)
                if self.model.phases is not None:
                    loss, share = self.phase_loss(states, batch, self.model.phases)
                    losses.append(self.guidance_weight * loss)
                    self.log("train/phases_right", share, prog_bar=True)
                if self.model.axis is not None:
                    loss, share = guidance.axis_loss()
                    losses.append(self.guidance_weight * loss)
                    self.log("train/axis", loss.detach())
                    self.log("train/axis_right", share, prog_bar=True)
            self.log("train/loss", answers.loss.detach(), prog_bar=True)
            if self.early:
                for depth, ce in zip(self.depths, answers.ce, strict=True):
                    self.log(f"train/loss/{self.name_of(depth)}", ce)
        if not losses:
            raise BadInput(
                "there is nothing to train on",
                where="data.tasks_per_chart",
                remedy="give 1 or more, or model.letters_weight=1 data.letters=true",
            )
        return torch.stack(losses).sum()

    def states_at(self, places: Tensor) -> Tensor:
        """The number of the state that sees each point of a page.

        Args:
            places: [..., 2], x and y in pixels; negative where there is no point.

        Returns:
            [...], -1 where there is none.
        """
        height, width = self.model.config.encoder.stride
        _, columns = self.model.config.encoder.grid(self.model.config.image_size)
        across, down = (places[..., 0] // width).long(), (places[..., 1] // height).long()
        return torch.where(places[..., 0] < 0, -1, down * columns + across)

    def place_loss(self, states: Tensor, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """How far the states are from knowing where what is read is on the page.

        Args:
            states: of the batch's pictures.
            batch: whose ``looks`` tell.

        Returns:
            The mean over looks of the squared distance, in tokens; and the mean distance in pixels
            along each axis.
        """
        numbers = self.states_at(batch["looks"])
        known = numbers >= 0
        charts = batch["picture"][:, None, None].expand_as(numbers)[known]
        told = self.model.pixels_of(states[charts, numbers[known]], batch["pixels"].shape[2:])
        off = told - batch["looks"][known]
        tokens = off / torch.tensor(self.model.config.encoder.stride[::-1], device=off.device)
        looks = max(len(off), 1)
        return tokens.square().sum() / looks, off.detach().abs().sum() / (2 * looks)

    def phase_loss(
        self, states: Tensor, batch: dict[str, Any], head: PhaseHead
    ) -> tuple[Tensor, Tensor]:
        """How far the states are from knowing where between the numbers of the axes they are.

        Args:
            states: of the batch's pictures.
            batch: whose ``steps`` tell.
            head: is asked.

        Returns:
            As `PhaseHead.loss`.
        """
        places = self.model.pixels_of(states.detach(), batch["pixels"].shape[2:])
        first, second = batch["steps"][:, None].unbind(-1)
        return head.loss(states, (places - first) / (second - first))

    def name_of(self, depth: int) -> str:
        """What logs and reports call the reader of a depth."""
        return "full" if depth == self.layers else f"exit_{depth}"

    def _losses(
        self, states: Tensor, batch: dict[str, Any], guidance: Guidance | None = None
    ) -> HeadLosses:
        """The cross-entropy of each depth, and their mean."""
        hidden: list[list[Tensor]] = []
        labels = []
        keys = self.model.keys_of(states)
        for part in batch["tokens"].argsort(stable=True).tensor_split(self.length_groups):
            if not len(part):
                continue
            tokens = batch["tokens"][part]
            columns = torch.arange(int(tokens.max()), device=part.device)
            ids, aims = (batch[name][part, : len(columns)] for name in ("ids", "labels"))
            looks, shares = (batch[name][part, : len(columns)] for name in ("looks", "shares"))
            charts = batch["picture"][part]
            watched = guidance and guidance.watching(keys, charts, self.states_at(looks), shares)
            with watched or nullcontext():
                mask = (columns < tokens[:, None]).long()
                found = self.model.decode_about(self.depths, keys, charts, ids, mask)
            hidden.append([one.flatten(0, 1) for one in found])
            labels.append(aims.flatten())
        students = [torch.cat(parts) for parts in zip(*hidden, strict=True)]
        return head_losses(
            students, self.model.head_weight, torch.cat(labels), kl_weight=0.0, ce_weight=1.0
        )

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Add a held-out batch to the losses of its tasks, and to the letters that are read."""
        pixels = normalised(batch["pixels"])
        details = self._read_letters(pixels, batch)
        if not len(batch["ids"]):
            return
        states = self.model.encode(pixels, details)
        for task in {example.task for example in batch["examples"]}:
            chosen = [i for i, example in enumerate(batch["examples"]) if example.task == task]
            index = torch.tensor(chosen, device=states.device)
            names = ("ids", "labels", "looks", "shares", "tokens", "picture")
            part = {name: batch[name].index_select(0, index) for name in names}
            learned = int((part["labels"] >= 0).sum())
            losses = self._losses(states, part).ce.tolist()
            found = torch.tensor([*losses, 1.0], dtype=torch.float64) * learned
            self.sums[task] = found + self.sums.get(task, 0.0)

    def _read_letters(self, pixels: Tensor, batch: dict[str, Any]) -> Tensor | None:
        if self.model.letters is None or "letters" not in batch:
            return None
        details = self.model.encoder.details(pixels)
        read, there = self.model.letters.loss(details, batch["letters"])[1].tolist()
        self.letters_read = (self.letters_read[0] + read, self.letters_read[1] + there)
        return details

    def on_validation_epoch_end(self) -> None:
        """Log the mean loss of each task and depth, and the share of letters that are read."""
        for name, loss in self.measured().items():
            self.log(f"validation/loss/{name}", loss, rank_zero_only=True)
        share = self.share_of_letters()
        if share is not None:
            self.log("validation/letters_read", share, rank_zero_only=True)

    def measured(self) -> dict[str, float]:
        """The mean loss of each task's answers over the batches since the last call.

        Under the task's name is that of the full reader, under ``TASK/exit_N`` that of depth N.
        """
        found = {}
        for task, sums in sorted(sums_of_all(self.sums).items()):
            *losses, count = sums.tolist()
            for depth, loss in zip(self.depths, losses, strict=True):
                name = task if depth == self.layers else f"{task}/{self.name_of(depth)}"
                found[name] = loss / max(count, 1)
        self.sums = {}
        return found

    def share_of_letters(self) -> float | None:
        """The share of letters that the auxiliary head named right since the last call."""
        counts = torch.tensor(self.letters_read, dtype=torch.float64)
        read, there = sums_of_all({"letters": counts})["letters"].tolist()
        self.letters_read = (0, 0)
        return read / there if there else None

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Answer every question of a batch, at every depth."""
        pixels = normalised(batch["pixels"])
        details = self._read_letters(pixels, batch)
        if not len(batch["ids"]):
            return
        states = self.model.encode(pixels, details)
        for depth in self.depths:
            start = now(self.device)
            self.answered_by_depth[depth] += self.answer(batch, self.reader(depth), states)
            self.seconds_by_depth[depth] += now(self.device) - start

    def reader(self, depth: int) -> ChartModel:
        """The reader of a depth, as a view where it is cut."""
        return self.model if depth == self.layers else self.model.cut(depth)

    def answer(
        self,
        batch: dict[str, Any],
        reader: ChartModel | None = None,
        states: Tensor | None = None,
    ) -> list[Answered]:
        """Answers to a batch's questions.

        The confidence in ``no chart`` is the probability that there is one after all.

        Args:
            batch: see `belvedere.data.charts.ChartDataModule`.
            reader: who answers; by default the full reader.
            states: of the batch's pictures, where they are known already.
        """
        reader = reader or self.model
        if states is None:
            states = self.encoded(batch)
        refusal = encode(self.tokenizer, NO_CHART)
        found: dict[int, Answered] = {}
        for asked in self.asked(batch):
            answers = self.generate(asked, reader, states)
            texts = self.tokenizer.batch_decode(answers.tokens(), skip_special_tokens=True)
            ends = answers.ended(self.tokenizer.eos_token_id)
            lengths = answers.mask.sum(1).tolist()
            sures = answers.sureness(texts, len(refusal))
            # A prompt leaves room for an answer of the task's limit, which may be a short one.
            begun = refusal[: self.limit(asked.task)]
            refusals = reader.sure_of(states[asked.pictures], asked.prompts, begun)
            for i, text, sure, ended, tokens, cut, refused in zip(
                asked.texts, texts, sures, ends, lengths, asked.cut, refusals, strict=True
            ):
                example = batch["examples"][i]
                found[i] = Answered(
                    task=asked.task,
                    kind=batch["kinds"][i],
                    question=example.question,
                    answer=NO_CHART if says_no_chart(text) else text.strip(),
                    accepted=example.right,
                    confidence=sure,
                    picture=batch["where"][i],
                    finished=ended,
                    tokens=tokens,
                    cut=cut,
                    no_chart=refused,
                )
        return [found[i] for i in sorted(found)]

    def encoded(self, batch: dict[str, Any]) -> Tensor:
        """The states of a batch's pictures, which are the same at every depth."""
        return self.model.encode(normalised(batch["pixels"]))

    def asked(self, batch: dict[str, Any]) -> Iterator[Asked]:
        """The questions of a batch, task by task."""
        examples = batch["examples"]
        for task in sorted({example.task for example in examples}):
            chosen = [i for i, example in enumerate(examples) if example.task == task]
            longest = self.model.config.decoder.max_positions - self.limit(task)
            whole = [encode_prompt(self.tokenizer, task, examples[i].question) for i in chosen]
            prompts = [shortened(prompt, longest) for prompt in whole]
            cut = [prompt != one for prompt, one in zip(prompts, whole, strict=True)]
            yield Asked(task, chosen, batch["picture"][chosen], prompts, cut)

    def generate(self, asked: Asked, reader: ChartModel, states: Tensor) -> Answers:
        """A reader's answers to one task's questions, given the states of the batch's pictures."""
        return reader.generate(
            states[asked.pictures],
            asked.prompts,
            max_new_tokens=self.limit(asked.task),
            num_beams=self.beams,
        )

    def limit(self, task: TaskName) -> int:
        """The longest answer that is generated, in tokens."""
        return self.new_tokens if isinstance(self.new_tokens, int) else self.new_tokens[task]
