"""A reader's answers to test questions, those of its baselines, and how well all of them score."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from transformers import PreTrainedTokenizerBase

from belvedere.charts.tables import parse
from belvedere.charts.tasks import ANSWER, NO_CHART, TOKENS, TaskName
from belvedere.data.chart_corpus import NotCharts
from belvedere.data.chartqa import GROUPS
from belvedere.data.charts import ChartDataModule, ChartRows, Charts
from belvedere.data.downstream import spread
from belvedere.errors import BadInput
from belvedere.metrics.chart_baselines import typical_answers
from belvedere.metrics.chart_tasks import (
    HEADLINE,
    Answered,
    abstention,
    scores_by_kind,
    task_scores,
)
from belvedere.unichart.module import UniChartModule

SEEN_FOR_TYPICAL = 300
"""Training charts in which the typical answers are looked for."""
WITHOUT_CHART = 5
"""Pictures of each kind that shows no chart."""
CHARTS = "charts of the test"
"""What reports call those that do."""
ANSWERS, WITHOUT = "answers.jsonl", "answers_without_chart.jsonl"
"""The files of a run's answers, about charts and about pictures that show none."""
AVERAGE = "average"
"""What reports call the mean of ChartQA's two groups of questions."""


@dataclass
class Outcome:
    """What was answered to the same questions.

    Attributes:
        answered: by the reader.
        blank: by the reader before a white page, which may say that there is no chart.
        elsewhere: by the reader before the picture of another chart: what it guesses about charts.
        typical: the training answer to each task that fits most, where training charts are known.
        without_chart: by the reader before pictures that show no chart.
        rivals: by other readers, by what reports call them.
    """

    answered: list[Answered] = field(default_factory=list)
    blank: list[Answered] = field(default_factory=list)
    elsewhere: list[Answered] = field(default_factory=list)
    typical: list[Answered] = field(default_factory=list)
    without_chart: list[Answered] = field(default_factory=list)
    rivals: dict[str, list[Answered]] = field(default_factory=dict)

    def __add__(self, other: "Outcome") -> "Outcome":
        return Outcome(
            self.answered + other.answered,
            self.blank + other.blank,
            self.elsewhere + other.elsewhere,
            self.typical + other.typical,
            self.without_chart + other.without_chart,
            {
                name: self.rivals.get(name, []) + other.rivals.get(name, [])
                for name in {**self.rivals, **other.rivals}
            },
        )

    def scores(self) -> dict[str, Any]:
        """The part of a report that says how good the answers are.

        Returns:
            ``tasks``: for each task its measures and ``n``; ``baselines``: the same by the name of
            the baseline; ``kinds`` and ``baselines_by_kind``: the same for each kind of chart, or
            group of questions, that has a name. ``abstention``: how often it says that there is no
            chart, for charts and for each kind of picture without one. ``unfinished``: answers
            that did not come to their end within the tokens that they may have; ``cut``: questions
            of which the end was left out, as the decoder takes no longer ones.
        """
        baselines = self.rivals | {"blank image": self.blank}
        for name, found in (("another chart", self.elsewhere), ("typical answer", self.typical)):
            if found:
                baselines[name] = found
        return {
            "tasks": task_scores(self.answered),
            "baselines": {name: task_scores(found) for name, found in baselines.items()},
            "kinds": _by_kind(self.answered),
            "baselines_by_kind": {name: _by_kind(found) for name, found in baselines.items()},
            "abstention": self.abstentions(),
            "unfinished": sum(not one.finished for one in self.answered),
            "cut": sum(one.cut for one in self.answered),
        }

    def abstentions(self) -> dict[str, dict[str, float]]:
        """`abstention` before the charts, and before each kind of picture without one."""
        if not self.without_chart:
            return {}
        kinds = dict.fromkeys(one.kind for one in self.without_chart)
        asked = {kind: [one for one in self.without_chart if one.kind == kind] for kind in kinds}
        return {
            name: abstention(found) for name, found in ({CHARTS: self.answered} | asked).items()
        }


def _by_kind(answered: Sequence[Answered]) -> dict[str, dict[str, dict[str, float]]]:
    """`scores_by_kind` of kinds with a name; of ChartQA's groups also the mean, as published."""
    found = {kind: scores for kind, scores in scores_by_kind(answered).items() if kind}
    if found.keys() == set(GROUPS):
        human, augmented = (found[group]["reasoning"] for group in GROUPS)
        mean = {name: (human[name] + augmented[name]) / 2 for name in human}
        found[AVERAGE] = {"reasoning": mean | {"n": human["n"] + augmented["n"]}}
    return found


@contextmanager
def at_work(trainer: Trainer, module: UniChartModule) -> Iterator[None]:
    """The module on the trainer's device and in its precision, as within its loops.

    Lightning moves it back to the CPU at the end of each loop.
    """
    module.to(trainer.strategy.root_device).eval()
    with torch.no_grad(), trainer.precision_plugin.forward_context():
        yield


def answer_blank(module: UniChartModule, datamodule: ChartDataModule) -> list[Answered]:
    """The answers to the test questions about a white page: what is known without looking."""
    found: list[Answered] = []
    known: dict[tuple[TaskName, str], Answered] = {}
    for batch in datamodule.test_dataloader():
        asked = [(example.task, example.question) for example in batch["examples"]]
        new = [i for i, key in enumerate(asked) if key not in known and key not in asked[:i]]
        if new:
            pixels = torch.full_like(batch["pixels"][:1], 255)
            white = {
                "pixels": pixels.to(module.device),
                "picture": torch.zeros(len(new), dtype=torch.long, device=module.device),
                **{name: [batch[name][i] for i in new] for name in ("examples", "kinds", "where")},
            }
            known |= {asked[i]: one for i, one in zip(new, module.answer(white), strict=True)}
        for i, key in enumerate(asked):
            found.append(
                replace(
                    known[key],
                    kind=batch["kinds"][i],
                    accepted=batch["examples"][i].right,
                    picture=batch["where"][i],
                )
            )
    return found


def answer_elsewhere(module: UniChartModule, datamodule: ChartDataModule) -> list[Answered]:
    """The answers to the test questions about the picture before each one's own.

    Nothing tells the reader so: it is right where guessing is. Before the first picture comes the
    last one; a single chart has no other, and no answer.
    """
    rows = datamodule.rows["test"]
    found: list[Answered] = []
    if len(rows) < 2:
        return found
    before = rows[len(rows) - 1].pixels[None]
    for batch in datamodule.test_dataloader():
        moved = batch | {"pixels": torch.cat([before, batch["pixels"][:-1]])}
        before = batch["pixels"][-1:]
        found += module.answer(datamodule.transfer_batch_to_device(moved, module.device, 0))
    return found


def answer_without_chart(module: UniChartModule, datamodule: ChartDataModule) -> list[Answered]:
    """The answers to the first test question of each task about pictures that show no chart."""
    rows = datamodule.rows["test"]
    height, width = rows.image_size
    each = min(WITHOUT_CHART, len(rows))  # of few charts few, as a short look asks for
    pictures = NotCharts(rows.charts, each, (width, height))
    asked = ChartRows(pictures, rows.tokenizer, rows.image_size, rows.positions)
    found: list[Answered] = []
    for batch in datamodule.in_order(asked):
        found += module.answer(datamodule.transfer_batch_to_device(batch, module.device, 0))
    return found


def typical(charts: Charts) -> dict[TaskName, str]:
    """For each task the answer that fits most of the training charts."""
    numbers = spread(list(range(len(charts))), SEEN_FOR_TYPICAL)
    return typical_answers([one for number in numbers for one in charts[number].examples])


def check_tasks(tokenizer: PreTrainedTokenizerBase, charts: Charts, remedy: str) -> None:
    """Refuse tasks that the reader has no tokens for.

    Args:
        tokenizer: of the reader.
        charts: about which it will be asked.
        remedy: what can be done about it.

    Raises:
        BadInput: of the first such task.
    """
    for task in sorted(charts.tasks(), key=list(HEADLINE).index):
        for token in (TOKENS[task], ANSWER):
            if tokenizer.convert_tokens_to_ids(token) in (None, tokenizer.unk_token_id):
                raise BadInput(
                    f"the reader's tokenizer has no {token}, which the task {task!r} needs",
                    where="data",
                    remedy=remedy,
                )


def write_answers(outcomes: Mapping[str, Sequence[Answered]], file: Path) -> None:
    """Write every answer as a line of JSON: the attributes of `Answered`, and its split.

    An extracted table is there as rows of cells as well, null where no chart was seen.
    """
    with file.open("w", encoding="utf-8") as opened:
        for split, answered in outcomes.items():
            for one in answered:
                line = {"split": split} | asdict(one)
                if one.task == "table":
                    line["table"] = None if one.answer == NO_CHART else parse(one.answer)
                opened.write(json.dumps(line, ensure_ascii=False) + "\n")
