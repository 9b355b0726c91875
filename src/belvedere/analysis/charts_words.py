"""What the figures of a chart reader show, said in a sentence or two that go by the numbers."""

import numpy as np
import pandas as pd

from belvedere.analysis.charts import ALL, ChartAnswers
from belvedere.analysis.charts_calibration import Calibration, without_chart
from belvedere.charts.not_charts import HELD_OUT
from belvedere.metrics.chart_tasks import abstention

BELIEVED = 0.02
"""A mean probability so near to the share that is true is called right."""


def said_of_errors(errors: pd.DataFrame) -> str:
    """Which task goes best and worst, and with which charts the tables do.

    Args:
        errors: of `belvedere.analysis.charts.errors`.
    """
    every = errors.loc[ALL]
    parts = [
        f"Of the tasks, {every.idxmin()} has the least error ({every.min():.0f} %) and "
        f"{every.idxmax()} the most ({every.max():.0f} %)."
    ]
    if "table" in errors and len(errors) > 2:
        kinds = errors["table"].drop(ALL)
        parts.append(
            f"Tables are read best from {kinds.idxmin()} charts ({kinds.min():.0f} %) and worst "
            f"from {kinds.idxmax()} charts ({kinds.max():.0f} %)."
        )
    return " ".join(parts)


def said_of_rules(rules: pd.DataFrame, questions: pd.DataFrame) -> str:
    """What the tolerance gives away, and what form of answer is right most often.

    Args:
        rules: of `belvedere.analysis.charts.rules_by_form`.
        questions: of `belvedere.analysis.charts.question_table`.
    """
    every, forms = rules.loc[ALL], rules.drop(ALL)["strict"]
    lost = int((questions["relaxed"] & ~questions["strict"]).sum())
    won = int((~questions["relaxed"] & questions["strict"]).sum())
    parts = [
        f"Relaxed accuracy is {every.relaxed:.1%}, by the strict rule it is {every.strict:.1%}, "
        f"and {every.exact:.1%} are right letter for letter. Of {len(questions)} answers {lost} "
        f"count by relaxed accuracy alone, and {won} by the strict rule alone."
    ]
    if "year" in rules.index:
        year = rules.loc["year"]
        parts.append(
            f"Of answers that should be a year {year.relaxed:.0%} count by relaxed accuracy, for "
            f"which any year within 5 % is right, and {year.strict:.0%} by the strict rule."
        )
    parts.append(
        f"By the strict rule, “{forms.idxmax()}” is the form of answer that is right most often "
        f"({forms.max():.0%}), “{forms.idxmin()}” the one that is right least often "
        f"({forms.min():.0%})."
    )
    return " ".join(parts)


def said_of_tables(scores: pd.DataFrame) -> str:
    """Mean precision and recall, and whether what is wrong is missing or misread.

    Args:
        scores: of `belvedere.analysis.charts.table_scores`.
    """
    apart = int((~np.isclose(scores["precision"], scores["recall"])).sum())
    whole, none = int((scores["f1"] > 99).sum()), int((scores["f1"] < 1).sum())
    return (
        f"Over {_count(len(scores), 'chart')} the mean precision is "
        f"{scores['precision'].mean():.1f}, the mean recall {scores['recall'].mean():.1f}. "
        f"{_count(whole, 'table')} score above 99, {none} below 1. Where precision "
        f"and recall differ (in {apart}), rows or columns were left out or made up. In the others "
        f"that score at all, as many values were read as there are, and what is lost is lost by "
        f"misread values and names."
    )


def said_of_calibration(name: str, found: Calibration) -> str:
    """Whether a probability promises too much or too little.

    Args:
        name: of the probability.
        found: its calibration.
    """
    mean, true = float(found.probability.mean()), float(found.true.mean())
    if abs(mean - true) <= BELIEVED:
        verdict = "on the whole it is right"
    else:
        verdict = f"it promises too {'much' if mean > true else 'little'}"
    return (
        f"{name.capitalize()}: {mean:.1%} in the mean, {true:.1%} come true, so {verdict}; "
        f"calibration error {found.error:.1%}."
    )


def said_of_no_chart(answers: ChartAnswers) -> str:
    """How often ``no chart`` is answered before charts, and before pictures that show none.

    Raises:
        BadInput: the run kept no answers about pictures without a chart.
    """
    without = without_chart(answers)
    groups = [
        answers.charts,
        [one for one in without if one.kind not in HELD_OUT],
        [one for one in without if one.kind in HELD_OUT],
    ]
    charts, seen, new = (abstention(group)["no_chart"] for group in groups)
    return (
        f"“No chart” is the answer to {charts:.1%} of the questions about charts, to {seen:.1%} "
        f"about pictures without a chart of kinds that were trained on, and to {new:.1%} about "
        f"those of other kinds (with a star)."
    )


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
