"""After training, every sub-model answers the test prompts, and each answer is kept and scored."""

import json
import shutil
from pathlib import Path
from typing import Any, cast

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from belvedere.data.supervised import Example, SupervisedDataModule
from belvedere.method import MethodModule
from belvedere.metrics.answers import AnswerQuality, exact_match
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
        groups: for each sub-model its exact match in each group of examples, e.g. a task.
        too_long: how many prompts left no room for an answer in the model's context; their answer
            is empty.
    """

    def __init__(self, run_dir: Path) -> None:
        self.folder = run_dir / FOLDER
        self.metrics: dict[str, dict[str, float]] = {}
        self.groups: dict[str, dict[str, float]] = {}
        self.too_long = 0

    def on_test_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Let every sub-model answer, once the run is over."""
        data = cast(Any, trainer).datamodule
        if not isinstance(data, SupervisedDataModule) or not data.prompts():
            return
        examples = data.prompts()
        room = cast(MethodModule, module).backbone.config.max_position_embeddings - data.new_tokens
        fits = [data.tokens_of(example.prompt) <= room for example in examples]
        self.too_long = fits.count(False)
        if trainer.is_global_zero:
            shutil.rmtree(self.folder, ignore_errors=True)  # of an earlier run in this folder
        for described in cast(MethodModule, module).described():
            answers = answer(described.view().eval(), data, examples, fits)
            known = [i for i, example in enumerate(examples) if example.accepted]
            if known:
                # Every process answers everything: under FSDP they have to decode together.
                quality = AnswerQuality(sync_on_compute=False)
                quality.update([answers[i] for i in known], [examples[i].accepted for i in known])
                self.metrics[described.name] = quality.compute()
                self.groups[described.name] = by_group(
                    [answers[i] for i in known], [examples[i] for i in known]
                )
            if trainer.is_global_zero:
                write_answers(self.folder / f"{described.name}.jsonl", examples, answers)


def answer(
    model: Any, data: SupervisedDataModule, examples: list[Example], fits: list[bool]
) -> list[str]:
    """What the model adds to each prompt that fits, in the prompts' order.

    Batches are of like lengths.
    """
    order = [i for i, fitting in enumerate(fits) if fitting]
    order.sort(key=lambda i: len(examples[i].prompt))
    found = [""] * len(examples)
    for begin in range(0, len(order), data.eval_batch_size):
        part = order[begin : begin + data.eval_batch_size]
        prompts = [examples[i].prompt for i in part]
        texts = complete(model, data.tokenizer, prompts, data.new_tokens)
        for i, text in zip(part, texts, strict=True):
            found[i] = text.strip()
    return found


def by_group(answers: list[str], examples: list[Example]) -> dict[str, float]:
    """Exact match in each group that the examples name."""
    right: dict[str, list[bool]] = {}
    for text, example in zip(answers, examples, strict=True):
        if example.group:
            right.setdefault(example.group, []).append(exact_match(text, example.accepted))
    return {group: sum(found) / len(found) for group, found in sorted(right.items())}


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


def _lines(file: Path) -> list[str]:
    """The lines of a file; str.splitlines would split at characters that an answer may hold."""
    return [line for line in file.read_text(encoding="utf-8").split("\n") if line]


def read_answers(run_dir: Path) -> dict[str, list[dict[str, Any]]]:
    """What `write_answers` wrote of each sub-model of a run; empty if nothing was asked."""
    return {
        file.stem: [json.loads(line) for line in _lines(file)]
        for file in sorted((run_dir / FOLDER).glob("*.jsonl"))
    }
