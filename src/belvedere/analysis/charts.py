"""What a chart reader answered in a run, scored in ways that its report does not show.

`belvedere.runs.chart_answers` writes what is read here. Tables of answers are data frames with one
row for each answer, group or chart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import sqrt
from pathlib import Path

import pandas as pd

from belvedere.charts.tasks import NO_CHART, TaskName
from belvedere.data.records import Record, read_records
from belvedere.errors import BadInput
from belvedere.metrics.chart_tasks import HEADLINE, Answered, scores_by_kind, task_scores
from belvedere.metrics.relaxed import YEAR, amount, relaxed_match
from belvedere.metrics.table_metrics import rms
from belvedere.runs.chart_answers import ANSWERS, WITHOUT

SHARES = {"bleu": 0.01, "rms_f1": 0.01}
"""What makes shares of the headline measures that go to 100."""
ALL = "all"
"""The group of everything in a table of groups."""
FORMS = ("yes or no", "number", "year", "text")
"""Of right answers to questions, see `form_of`."""
NORMAL_95 = 1.959964
"""A standard normal variable is that far from 0 in 5 % of all cases."""


@dataclass(frozen=True)
class ChartAnswers:
    """The answers of a run.

    Attributes:
        charts: to questions about charts.
        without: to questions about pictures that show none; empty for runs that did not keep them.
    """

    charts: list[Answered]
    without: list[Answered]


def read_answers(place: Path) -> ChartAnswers:
    """The answers in a run's folder, or in one of recorded results.

    Raises:
        BadInput: there are none, or one of them is broken.
    """
    found = {name: _file(place, name) for name in (ANSWERS, WITHOUT)}
    if found[ANSWERS] is None:
        raise BadInput(
            f"there is no {ANSWERS}",
            where=str(place),
            remedy="give the folder of a run of train.py or evaluate.py with charts",
        )
    charts, without = (
        [] if file is None else [_answered(record) for record in read_records(file)]
        for file in found.values()
    )
    return ChartAnswers(charts, without)


def _file(place: Path, name: str) -> Path | None:
    """The file of that name, or in its place the smaller one of recorded results."""
    written = place / name
    both = (written, written.with_suffix(".parquet"))
    return next((file for file in both if file.exists() and file.stat().st_size), None)


def _answered(record: Record) -> Answered:
    values = {
        field.name: record.fields[field.name]
        for field in fields(Answered)
        if field.name in record.fields
    }
    try:
        if values["answer"] == NO_CHART:  # for runs that did not keep it
            values.setdefault("no_chart", 1 - values["confidence"])
        return Answered(**values | {"accepted": tuple(values["accepted"])})
    except (KeyError, TypeError) as error:
        raise BadInput(
            f"no answer of a chart reader ({error})",
            where=record.where,
            remedy="evaluate the reader anew",
        ) from error


def asked(answered: Sequence[Answered], task: TaskName) -> list[Answered]:
    """The answers to a task.

    Raises:
        BadInput: there are none.
    """
    found = [one for one in answered if one.task == task]
    if not found:
        raise BadInput(
            f"the run was not asked for the task {task!r}", remedy="evaluate it with data=charts"
        )
    return found


def errors(answered: Sequence[Answered]) -> pd.DataFrame:
    """What is lacking of each task's headline measure, for each kind of chart and for all.

    Args:
        answered: about charts.

    Returns:
        Kinds by tasks, in per cent: 0 is all right; NaN where a task was not asked. The last row is
        of all charts together.
    """
    found = {**scores_by_kind(answered), ALL: task_scores(answered)}
    tasks = [task for task in HEADLINE if task in found[ALL]]
    return pd.DataFrame(
        {task: {kind: _error(scores, task) for kind, scores in found.items()} for task in tasks},
        index=list(found),
        columns=pd.Index(tasks),
    )


def _error(scores: dict[str, dict[str, float]], task: TaskName) -> float:
    if task not in scores:
        return float("nan")
    measure = HEADLINE[task]
    return 100 * (1 - scores[task][measure] * SHARES.get(measure, 1))


def charts_of_kind(answered: Sequence[Answered]) -> dict[str, int]:
    """How many charts there are of each kind, and of all."""
    found = {(one.kind, one.picture) for one in answered}  # one may have questions of two groups
    kinds = [kind for kind, _ in found]
    every = {picture for _, picture in found}
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))} | {ALL: len(every)}


def form_of(right: str) -> str:
    """What the right answer to a question is, one of `FORMS`.

    Example:
        >>> form_of("Yes"), form_of("$1,200"), form_of("1999"), form_of("Peru")
        ('yes or no', 'number', 'year', 'text')
    """
    right = right.strip()
    if right.lower() in {"yes", "no"}:
        return "yes or no"
    if YEAR.fullmatch(right):
        return "year"
    return "text" if amount(right) is None else "number"


def question_table(answered: Sequence[Answered]) -> pd.DataFrame:
    """One row for each answer to a question about a chart.

    Returns:
        ``kind``, ``question``, ``right`` and ``answer``, ``form`` (of the right answer), and
        whether the answer is right by relaxed accuracy (``relaxed``), by the strict rule
        (``strict``), and letter for letter but for case (``exact``).

    Raises:
        BadInput: no question was asked.
    """
    return pd.DataFrame(
        {
            "kind": one.kind,
            "question": one.question,
            "right": one.accepted[0],
            "answer": one.answer,
            "form": form_of(one.accepted[0]),
            "relaxed": relaxed_match(one.answer, one.accepted),
            "strict": relaxed_match(one.answer, one.accepted, "strict"),
            "exact": is_exact(one),
        }
        for one in asked(answered, "reasoning")
    )


def is_exact(one: Answered) -> bool:
    """Whether an answer is an accepted one letter for letter, but for case and outer blanks."""
    return one.answer.strip().lower() in {right.strip().lower() for right in one.accepted}


def rules_by_form(questions: pd.DataFrame) -> pd.DataFrame:
    """The share of right answers by each rule, for each form of the right answer and for all.

    Args:
        questions: of `question_table`.

    Returns:
        Forms by ``relaxed``, ``strict``, ``exact`` (from 0 to 1) and ``n``; forms that were not
        asked are left out.
    """
    rules = ["relaxed", "strict", "exact"]
    groups = {form: questions[questions["form"] == form] for form in FORMS} | {ALL: questions}
    found = {
        form: {**group[rules].mean(), "n": len(group)}
        for form, group in groups.items()
        if len(group)
    }
    return pd.DataFrame.from_dict(found, orient="index").astype({"n": int})


def only_relaxed(questions: pd.DataFrame) -> pd.DataFrame:
    """The answers about which relaxed accuracy and the strict rule disagree."""
    odd = questions[questions["relaxed"] != questions["strict"]]
    return odd[["question", "right", "answer", "relaxed", "strict"]].reset_index(drop=True)


def table_scores(answered: Sequence[Answered]) -> pd.DataFrame:
    """One row for each chart whose table was asked for, by its picture.

    Returns:
        ``kind``, ``precision``, ``recall`` and ``f1`` of `belvedere.metrics.table_metrics.rms`
        (from 0 to 100), and ``confidence``, with the name of the picture as index.

    Raises:
        BadInput: no table was asked for.
    """
    tables = asked(answered, "table")
    return pd.DataFrame(
        [
            {"kind": one.kind, **rms(one.answer, one.accepted[0])._asdict(),
             "confidence": one.confidence}
            for one in tables
        ],
        index=pd.Index([one.picture for one in tables], name="picture"),
    )  # fmt: skip


def ranked(answered: Sequence[Answered]) -> pd.DataFrame:
    """`table_scores` from the worst chart to the best.

    Of charts with equal RMS-F1 the one with more right answers to questions (by relaxed accuracy)
    is better; these are there as ``right`` out of ``questions``.
    """
    found = table_scores(answered)
    right = dict.fromkeys(found.index, 0)
    questions = dict.fromkeys(found.index, 0)
    for one in answered:
        if one.task == "reasoning" and one.picture in right:
            questions[one.picture] += 1
            right[one.picture] += relaxed_match(one.answer, one.accepted)
    found = found.assign(right=pd.Series(right), questions=pd.Series(questions))
    return found.sort_values(["f1", "right", "picture"])


def interval(right: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share.

    Args:
        right: how many are.
        count: of how many.

    Example:
        >>> low, high = interval(5, 10)
        >>> round(low, 3), round(high, 3)
        (0.237, 0.763)
    """
    if not count:
        return 0.0, 1.0
    z2 = NORMAL_95**2
    share = right / count
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = NORMAL_95 * sqrt(share * (1 - share) / count + z2 / (4 * count**2)) / (1 + z2 / count)
    return max(0.0, middle - half), min(1.0, middle + half)
