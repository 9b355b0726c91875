"""How well the tasks about charts are done: each task by the measures that it is published with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torchmetrics import Metric

from belvedere.charts.tasks import NO_CHART, TaskName, read_marks
from belvedere.metrics.marks import ElementQuality
from belvedere.metrics.relaxed import RelaxedAccuracy
from belvedere.metrics.table_metrics import TableQuality
from belvedere.metrics.text_scores import TextScores, TextsRead

METRICS: dict[TaskName, type[Metric]] = {
    "texts": TextsRead,
    "table": TableQuality,
    "elements": ElementQuality,
    "reasoning": RelaxedAccuracy,
    "open": TextScores,
    "summary": TextScores,
}
HEADLINE: dict[TaskName, str] = {
    "texts": "texts_f1",
    "table": "rms_f1",
    "elements": "element_f1",
    "reasoning": "relaxed_accuracy",
    "open": "bleu",
    "summary": "bleu",
}
"""The one measure by which a task is spoken of."""


@dataclass(frozen=True)
class Answered:
    """What was answered to one question about one chart.

    Attributes:
        task: which.
        kind: of chart, or the group of questions.
        question: that was asked; empty where the task says all.
        answer: that was given.
        accepted: those that are right.
        confidence: from 0 to 1; see `belvedere.unichart.generation.Answers`.
        picture: what the data call it.
        finished: whether the answer came to its end within the tokens that it may have.
        tokens: of the answer, its end included.
        cut: whether the question's end was left out, as it was too long for the decoder.
        no_chart: the probability of the answer `NO_CHART`, whatever was answered.
    """

    task: TaskName
    kind: str
    question: str
    answer: str
    accepted: tuple[str, ...]
    confidence: float = 1.0
    picture: str = ""
    finished: bool = True
    tokens: int = 0
    cut: bool = False
    no_chart: float = 0.0


def task_scores(answered: Sequence[Answered]) -> dict[str, dict[str, float]]:
    """For each task that was asked its measures, and ``n``, how often it was.

    Only where a chart was to be read: answers to pictures without one are scored by
    `abstention`.
    """
    found: dict[str, dict[str, float]] = {}
    for task, metric in METRICS.items():
        asked = [one for one in answered if one.task == task]
        if not asked:
            continue
        quality: Any = metric(sync_on_compute=False)
        if task == "elements":
            quality.update(
                [read_marks(one.answer) for one in asked],
                [read_marks(one.accepted[0]) for one in asked],
            )
        elif task == "table":
            quality.update([one.answer for one in asked], [one.accepted[0] for one in asked])
        else:
            quality.update([one.answer for one in asked], [one.accepted for one in asked])
        found[task] = {**quality.compute(), "n": len(asked)}
    return found


def abstention(answered: Sequence[Answered]) -> dict[str, float]:
    """How often a reader says that there is no chart.

    Returns:
        ``no_chart``, the share of questions that were answered so; ``confidence``, the mean over
        all of them; and ``n``.
    """
    count = max(len(answered), 1)
    return {
        "no_chart": sum(one.answer == NO_CHART for one in answered) / count,
        "confidence": sum(one.confidence for one in answered) / count,
        "n": len(answered),
    }


def scores_by_kind(answered: Sequence[Answered]) -> dict[str, dict[str, dict[str, float]]]:
    """`task_scores` for each kind of chart, in order of name."""
    kinds = sorted({one.kind for one in answered})
    return {kind: task_scores([one for one in answered if one.kind == kind]) for kind in kinds}
