"""What a template for questions is, and how a module collects its templates."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from belvedere.charts.elements import Layout
from belvedere.charts.reading import Reading
from belvedere.charts.tables import Table

FAMILIES = (
    "retrieval", "counting", "comparison", "extremum", "difference", "ratio", "sum", "mean",
    "median and range", "trend", "colour", "position", "yes/no", "compositional",
)  # fmt: skip

Asked = tuple[str, str] | None
Compose = Callable[[Reading, Random], Asked]
Condition = Callable[[Reading], bool]


@dataclass(frozen=True)
class Question:
    """A question for a chart, with its answer.

    Attributes:
        text: of the question.
        answer: as short as possible; a number has no unit.
        family: what has to be done to answer it.
        template: the name of the template.
    """

    text: str
    answer: str
    family: str
    template: str


@dataclass(frozen=True)
class Template:
    """A kind of question that can be asked for many charts.

    Attributes:
        name: of the template.
        family: one of `FAMILIES`.
        compose: words a question and its answer, or returns ``None`` where there is none or more
            than one answer.
        conditions: all have to hold for the chart.
    """

    name: str
    family: str
    compose: Compose
    conditions: tuple[Condition, ...] = ()

    def __call__(self, table: Table, layout: Layout, rng: Random) -> Asked:
        """A question for the chart with its answer; ``None`` if the template does not fit."""
        return self.ask(Reading(table, layout), rng)

    def ask(self, reading: Reading, rng: Random) -> Asked:
        """The same for a chart that has been read."""
        if not reading.clear or not all(holds(reading) for holds in self.conditions):
            return None
        return self.compose(reading, rng)


class Collection:
    """Collects templates in the order of their definition."""

    def __init__(self) -> None:
        self._templates: list[Template] = []

    def add(self, family: str, *conditions: Condition) -> Callable[[Compose], Compose]:
        """A decorator that makes a function a template, named like the function."""

        def collect(compose: Compose) -> Compose:
            name = compose.__name__
            self._templates.append(Template(name, family, compose, conditions))
            return compose

        return collect

    @property
    def templates(self) -> tuple[Template, ...]:
        """All that have been collected."""
        return tuple(self._templates)


def single(reading: Reading) -> bool:
    """The chart has one series."""
    return reading.single


def several(reading: Reading) -> bool:
    """The chart has several series."""
    return not reading.single


def timed(reading: Reading) -> bool:
    """The rows follow one another in time, and there are at least three."""
    return reading.time and len(reading.labels) >= 3


def regular(reading: Reading) -> bool:
    """The rows follow one another in time without gaps."""
    return timed(reading) and reading.regular


def not_scattered(reading: Reading) -> bool:
    """The rows are named: times or categories."""
    return not reading.scatter


def discrete(reading: Reading) -> bool:
    """The rows are named: times or categories, at least three."""
    return not reading.scatter and len(reading.labels) >= 3


def scattered(reading: Reading) -> bool:
    """The rows are points in a plane."""
    return reading.scatter and len(reading.labels) >= 3


def shares(reading: Reading) -> bool:
    """The chart divides one whole."""
    return reading.whole and reading.single and len(reading.labels) >= 3


def not_shares(reading: Reading) -> bool:
    """The values are no parts of one whole."""
    return not reading.whole


def positive(reading: Reading) -> bool:
    """All values are above zero."""
    return all(v > 0 for column in reading.columns for v in column)


def additive(reading: Reading) -> bool:
    """The sum of the values means something."""
    return reading.additive
