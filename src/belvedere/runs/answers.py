"""After training, every sub-model answers the test prompts, and each answer is kept and scored."""

import json
from pathlib import Path
from typing import Any, cast

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from belvedere.data.supervised import Example, SupervisedDataModule
from belvedere.method import MethodModule
from belvedere.metrics.answers import AnswerQuality
from belvedere.submodels.decoding import complete

FOLDER = "answers"


class Answers(Callback):
    """Decodes the data module's prompts greedily with each sub-model, if it has prompts.

    Every answer is written to ``answers/SUBMODEL.jsonl`` in the run's folder, so that a judge can
    compare runs later.

    Args:
        run_dir: the run's folder.

    Attributes:
        metrics: the scores of `AnswerQuality` for each sub-model, over the prompts whose right
            answer is known.
    """

    def __init__(self, run_dir: Path) -> None:
        self.folder = run_dir / FOLDER
        self.metrics: dict[str, dict[str, float]] = {}

    def on_test_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Let every sub-model answer, once the run is over."""
        data = cast(Any, trainer).datamodule
        if not isinstance(data, SupervisedDataModule) or not data.prompts():
            return
        examples = data.prompts()
        for described in cast(MethodModule, module).described():
            answers = answer(described.view().eval(), data, examples)
            known = [i for i, example in enumerate(examples) if example.accepted]
            if known:
                quality = AnswerQuality()
                quality.update([answers[i] for i in known], [examples[i].accepted for i in known])
                self.metrics[described.name] = quality.compute()
            if trainer.is_global_zero:
                write_answers(self.folder / f"{described.name}.jsonl", examples, answers)


def answer(model: Any, data: SupervisedDataModule, examples: list[Example]) -> list[str]:
    """What the model adds to each prompt, in the prompts' order; batches are of like lengths."""
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].prompt))
    found = [""] * len(examples)
    for begin in range(0, len(order), data.eval_batch_size):
        part = order[begin : begin + data.eval_batch_size]
        prompts = [examples[i].prompt for i in part]
        texts = complete(model, data.tokenizer, prompts, data.new_tokens)
        for i, text in zip(part, texts, strict=True):
            found[i] = text.strip()
    return found


def write_answers(file: Path, examples: list[Example], answers: list[str]) -> None:
    """One line of JSON for each prompt: the question, what is right, and the answer."""
    file.parent.mkdir(exist_ok=True)
    lines = [
        json.dumps(
            {
                "question": example.question,
                "input": example.given,
                "group": example.group,
                "accepted": example.accepted,
                "answer": text,
            },
            ensure_ascii=False,
        )
        for example, text in zip(examples, answers, strict=True)
    ]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_answers(run_dir: Path) -> dict[str, list[dict[str, Any]]]:
    """What `write_answers` wrote of each sub-model of a run; empty if nothing was asked."""
    return {
        file.stem: [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        for file in sorted((run_dir / FOLDER).glob("*.jsonl"))
    }
