"""Whether a chart reader's probabilities can be believed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from belvedere.analysis.charts import ChartAnswers, asked, interval, is_exact
from belvedere.charts.not_charts import HELD_OUT
from belvedere.charts.tasks import NO_CHART
from belvedere.errors import BadInput
from belvedere.metrics.chart_tasks import HEADLINE, Answered
from belvedere.metrics.relaxed import relaxed_match

BINS = 10
"""Of equal width, from probability 0 to 1."""


@dataclass(frozen=True)
class Calibration:
    """Probabilities beside what came true.

    Attributes:
        probability: [n], from 0 to 1.
        true: [n], whether what they are probabilities of is so.
    """

    probability: NDArray[np.float64]
    true: NDArray[np.bool_]

    @property
    def error(self) -> float:
        """The expected calibration error (Guo et al. 2017, section 2), from 0 to 1.

        The mean over `bins` of |mean probability - share that is true|, each weighed by its number.
        """
        found = self.bins()
        gaps = (found["probability"] - found["true"]).abs()
        return float((gaps * found["n"]).sum() / max(found["n"].sum(), 1))

    def bins(self, count: int = BINS) -> pd.DataFrame:
        """Bins of equal width: mean ``probability``, share ``true`` with ``low`` and ``high``.

        These are of the 95 % interval; ``n`` says how many fall into the bin. Empty bins are left
        out.
        """
        index = np.minimum((self.probability * count).astype(int), count - 1)
        rows = []
        for number in np.unique(index):
            inside = index == number
            n, right = int(inside.sum()), int(self.true[inside].sum())
            low, high = interval(right, n)
            mean = float(self.probability[inside].mean())
            rows.append((mean, right / n, low, high, n))
        return pd.DataFrame(rows, columns=["probability", "true", "low", "high", "n"])


def calibration(
    answered: Sequence[Answered],
    probability: Callable[[Answered], float],
    true: Callable[[Answered], bool],
) -> Calibration:
    """The calibration of a probability over answers.

    Args:
        answered: all that count.
        probability: of what.
        true: whether that is so.
    """
    return Calibration(
        np.array([probability(one) for one in answered], np.float64),
        np.array([true(one) for one in answered], np.bool_),
    )


def whole_probability(one: Answered) -> float:
    """The probability of a whole answer: the product of those of its tokens.

    `Answered.confidence` is their geometric mean, but of ``no chart`` that there is one after all.
    """
    return one.no_chart if one.answer == NO_CHART else one.confidence**one.tokens


def question_calibrations(answered: Sequence[Answered]) -> dict[str, Calibration]:
    """Of answers to questions, right by relaxed accuracy: by whole answer, and by token.

    Raises:
        BadInput: no question was asked.
    """
    questions = asked(answered, "reasoning")

    def right(one: Answered) -> bool:
        return relaxed_match(one.answer, one.accepted)

    return {
        "probability of the answer": calibration(questions, whole_probability, right),
        "confidence (mean of a token)": calibration(questions, _token_confidence, right),
    }


def _token_confidence(one: Answered) -> float:
    return one.no_chart if one.answer == NO_CHART else one.confidence


def no_chart_calibration(answers: ChartAnswers) -> Calibration:
    """Of the probability that a picture shows no chart, over all questions about all pictures.

    Raises:
        BadInput: the run kept no answers about pictures without a chart.
    """
    return calibration(
        [*answers.charts, *without_chart(answers)],
        lambda one: one.no_chart,
        lambda one: one.accepted == (NO_CHART,),
    )


def without_chart(answers: ChartAnswers) -> list[Answered]:
    """The answers about pictures without a chart. Raises `BadInput` where none were kept."""
    if not answers.without:
        raise BadInput(
            "the run kept no answers about pictures without a chart",
            remedy="evaluate its reader: python evaluate.py checkpoint=RUN data=charts",
        )
    return answers.without


def calibration_table(answered: Sequence[Answered]) -> pd.DataFrame:
    """For each task, how the probability of an answer compares with how often it is right.

    Right is, for all tasks alike, an answer that is there letter for letter but for case.

    Returns:
        Tasks by ``n``, mean ``probability``, share ``right`` and calibration ``error``.
    """
    rows = {}
    for task in HEADLINE:
        found = [one for one in answered if one.task == task]
        if found:
            measured = calibration(found, whole_probability, is_exact)
            rows[task] = (
                len(found),
                float(measured.probability.mean()),
                float(measured.true.mean()),
                measured.error,
            )
    return pd.DataFrame.from_dict(
        rows, orient="index", columns=["n", "probability", "right", "error"]
    )


def no_chart_by_kind(answers: ChartAnswers) -> dict[str, NDArray[np.float64]]:
    """The probability of ``no chart`` of each question, by what the picture shows.

    Kinds that were never trained on are marked by a star; charts come first.

    Raises:
        BadInput: as `no_chart_calibration`.
    """
    groups: dict[str, list[float]] = {"charts": [one.no_chart for one in answers.charts]}
    for one in without_chart(answers):
        name = f"{one.kind}*" if one.kind in HELD_OUT else one.kind
        groups.setdefault(name, []).append(one.no_chart)
    return {name: np.array(found) for name, found in groups.items()}
