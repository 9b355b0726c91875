"""A chart as somebody reads it: the numbers as shown, how exactly they can be told, and words.

Numbers are decimals, rounded as the table shows them, so that a sum of cells is the sum of what is
printed.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from itertools import pairwise
from random import Random
from typing import Any

from belvedere.charts import wording
from belvedere.charts.elements import Layout, Mark
from belvedere.charts.tables import Table

_YEARS = re.compile(r"\d{4}")
_WITHIN = frozenset(
    {"country", "city", "region", "state", "continent", "county", "province", "season", "sector"}
)
# Quantities whose sum over rows means nothing.
_INTENSIVE = re.compile(
    r"\b(average|mean|median|rate|ratio|share|index|price|per|percentage|proportion|temperature|"
    r"expectancy|density|score|age|speed|level|degree|growth|change|time|height|depth)\b"
)
_PREPOSITIONS = {"day": "on", "date": "on", "weekday": "on", "hour": "at", "time": "at"}
_READING_ERROR = 2.0  # pixels by which two heights have to differ to be told apart
_WEDGE_ERROR = Decimal("0.02")  # the same for wedges, as a part of the whole
_RELATIVE_ERROR = Decimal("0.05")  # within which a value counts as read (relaxed accuracy)
_MANY = 12  # more values than that nobody adds up

Words = dict[str, Any]  # for the blanks of a wording


@dataclass(frozen=True)
class Series:
    """Values that are asked about together: a column, or a row seen across the columns.

    Attributes:
        labels: one for each value.
        values: as shown.
        subject: what they are, in the singular, with its article: "the unemployment rate", "the
            value of Spain".
        bare: the same behind a word like "highest": "unemployment rate", "value for Spain".
        name: the column's name.
        index: of the column.
    """

    labels: tuple[str, ...]
    values: tuple[Decimal, ...]
    subject: str
    bare: str
    name: str = ""
    index: int = 0

    @property
    def total(self) -> Decimal:
        """The sum of the values."""
        return sum(self.values, Decimal(0))

    @property
    def mean(self) -> Decimal:
        """The mean of the values."""
        return self.total / len(self.values)

    @cached_property
    def order(self) -> list[int]:
        """The places of the values from the highest to the lowest one."""
        return sorted(range(len(self.values)), key=lambda i: (-self.values[i], i))

    @property
    def top(self) -> int:
        """The place of the highest value."""
        return self.order[0]

    @property
    def bottom(self) -> int:
        """The place of the lowest value."""
        return self.order[-1]


class Reading:
    """What a reader can tell from a chart.

    Args:
        table: that the chart shows.
        layout: of the picture.
    """

    def __init__(self, table: Table, layout: Layout) -> None:
        self.table, self.layout = table, layout
        self.labels = table.rows
        self.single = len(table.columns) == 1
        self.time = table.row_kind == "time"
        self.scatter = table.row_kind == "number"
        self.whole = table.whole
        row = wording.lowered(table.row_name)
        self.row = wording.quantity(row, "") if self.scatter else row
        self.rows = wording.plural(self.row)
        self.columns = tuple(
            tuple(wording.rounded(Decimal(repr(float(v))), table.decimals) for v in column)
            for column in zip(*table.values, strict=True)
        )

    # What can be told

    @property
    def clear(self) -> bool:
        """Whether rows and columns can be called by their names."""
        names = [self.table.columns] if self.scatter else [self.table.columns, self.labels]
        return all(len(set(some)) == len(some) for some in names) and bool(self.columns)

    @cached_property
    def exact(self) -> bool:
        """Whether every value is printed in the picture."""
        printed = sum(text.role == "value" for text in self.layout.texts)
        return printed >= len(self.labels) * len(self.columns)

    @cached_property
    def step(self) -> Decimal:
        """The smallest difference of two values that can be told from the picture."""
        everything = [v for column in self.columns for v in column]
        if self.exact:
            return Decimal(1).scaleb(-self.table.decimals)
        if self.layout.kind in {"pie", "donut"}:
            return _WEDGE_ERROR * sum((abs(v) for v in everything), Decimal(0))
        scales = [s for s in map(self._scale, self.layout.marks) if s]
        if self.layout.kind == "scatter":
            scales = [self._scatter_scale()]
        if scales and min(scales) > 0:
            return Decimal(repr(min(scales))) * Decimal(_READING_ERROR)
        return (max(*everything, Decimal(0)) - min(*everything, Decimal(0))) / 100

    def _scale(self, mark: Mark) -> float:
        """Value per pixel by one mark; 0 where it does not tell."""
        left, top, right, bottom = mark.box
        if mark.kind == "bar":
            length = right - left if self.layout.kind == "horizontal bar" else bottom - top
            return abs(mark.values[0]) / length if length > 4 * _READING_ERROR else 0.0
        if mark.kind in {"line", "area"} and len(mark.points) == len(mark.values) > 1:
            pixels = max(y for _, y in mark.points) - min(y for _, y in mark.points)
            return (max(mark.values) - min(mark.values)) / pixels if pixels > 1 else 0.0
        return 0.0

    def _scatter_scale(self) -> float:
        heights = [(m.box[1] + m.box[3]) / 2 for m in self.layout.marks]
        values = [m.values[0] for m in self.layout.marks]
        pixels = max(heights, default=0) - min(heights, default=0)
        return (max(values) - min(values)) / pixels if pixels > 1 else 0.0

    def apart(self, *values: Decimal) -> bool:
        """Whether all of these can be told apart."""
        ordered = sorted(values)
        return all(b - a >= self.step for a, b in pairwise(ordered))

    def legible(self, *values: Decimal) -> bool:
        """Whether these can be read, exactly or within the usual tolerance."""
        if self.exact:
            return True
        if self.layout.kind in {"pie", "donut"}:
            return False  # no axis
        return all(abs(v) * _RELATIVE_ERROR * 2 >= self.step for v in values)

    def summable(self, values: Sequence[Decimal]) -> bool:
        """Whether a person would add these up, and can."""
        return len(values) <= _MANY and self.legible(*values) and not self.scatter

    def top_of(self, series: Series, place: int = 0) -> int | None:
        """The index of the ``place``-highest value (-1: lowest), if no other one is as high."""
        order = series.order
        if len(order) < 2 or not -len(order) <= place < len(order):
            return None
        place %= len(order)
        neighbours = order[max(place - 1, 0) : place + 2]
        return order[place] if self.apart(*(series.values[i] for i in neighbours)) else None

    def readable_x(self, index: int) -> bool:
        """Whether the point of a scatter chart can be told from the others by its x."""
        xs = [float(label) for label in self.labels]
        span = (max(xs) - min(xs)) or 1.0
        return all(abs(x - xs[index]) > 0.02 * span for i, x in enumerate(xs) if i != index)

    def nameable(self, index: int) -> bool:
        """Whether a row can be called by its label."""
        return not self.scatter or self.readable_x(index)

    # Series

    def series(self, index: int) -> Series:
        """A column."""
        name = self.table.columns[index]
        bare = self.noun if self.single else f"{self.noun} {self._of(index)}"
        subject = self._subject(index)
        return Series(self.labels, self.columns[index], subject, bare, name, index)

    def all_series(self) -> Iterator[Series]:
        """Every column."""
        return map(self.series, range(len(self.columns)))

    def any_series(self, rng: Random) -> Series:
        """One of the columns."""
        return self.series(rng.randrange(len(self.columns)))

    def across(self, index: int) -> Series:
        """A row, seen across the columns."""
        values = tuple(column[index] for column in self.columns)
        return Series(self.table.columns, values, f"the {self.noun}", self.noun, index=index)

    # Words

    @cached_property
    def measure(self) -> str:
        """What is measured, as a noun phrase in the singular; empty if nobody says so."""
        given = self.table.columns[0] if self.single else self.table.notes.get("measure", "")
        if self.single and self.whole:
            return "share" if self.table.unit == "%" else "value"
        return wording.quantity(given, self.table.unit)

    @property
    def noun(self) -> str:
        """What a single value is called."""
        return self.measure or "value"

    def _of(self, index: int) -> str:
        """The name of a series behind its preposition."""
        name = self.table.columns[index]
        return f"in {name}" if _YEARS.fullmatch(name) else f"for {wording.named(name)}"

    def _subject(self, index: int) -> str:
        """A series as a noun phrase: "the value of Spain", "the price for Spain", "inflation"."""
        noun = wording.definite(self.noun)
        if self.single:
            return noun
        whose = self._of(index)
        return f"{noun} {re.sub('^for ', 'of ', whose) if self.noun == 'value' else whose}"

    def that(self, series: Series) -> str:
        """A series behind one that has just been named: "that of Spain"."""
        return "that " + series.subject.removeprefix(f"{wording.definite(self.noun)} ")

    def having(self, series: Series, words: str) -> str:
        """A value of a series with what is said of it: "a value above 5 % for Spain"."""
        if self.single:
            return f"{wording.article(self.noun)} {words}"
        return f"{wording.article(self.noun)} {words} {self._of(series.index)}"

    @cached_property
    def additive(self) -> bool:
        """Whether the sum of a column's values means something."""
        told = f"{self.measure} {self.table.unit} {self.table.title if not self.single else ''}"
        intensive = bool(_INTENSIVE.search(told.lower())) or "%" in self.table.unit
        positive = all(v >= 0 for column in self.columns for v in column)
        return positive and not self.scatter and (self.whole or not intensive)

    def number(self, value: Decimal, decimals: int | None = None) -> str:
        """A number as the table shows it, or with another number of decimals."""
        places = self.table.decimals if decimals is None else decimals
        return f"{wording.rounded(value, places):f}"

    def amount(self, value: Decimal, decimals: int | None = None) -> str:
        """A number with its unit."""
        return wording.with_unit(self.number(value, decimals), self.table.unit)

    def limit(self, value: Decimal) -> str:
        """A round number with its unit."""
        return wording.with_unit(wording.plain(value), self.table.unit)

    def at(self, label: str) -> str:
        """Where a value stands: "in 2010", "for miners", "in Norway", "where the age is 30"."""
        if self.scatter:
            return f"where {wording.definite(self.row)} is {label}"
        if self.time:
            article = "the " if re.fullmatch(r"\d{4}s", label) else ""
            return f"{self._preposition} {article}{label}"
        group = f"the {self.row} " if self.row.endswith(" group") else ""
        return f"{self._preposition} {group}{wording.named(label)}"

    def cell(self, index: int, column: int = 0) -> str:
        """One value as a noun phrase: "the unemployment rate in 2010"."""
        label = self.labels[index]
        if self.single and self.whole:
            return f"the {self.measure} of {wording.named(label)}"
        if not self.single and _YEARS.fullmatch(self.table.columns[column]):
            of = "of" if self.noun == "value" else "for"
            noun = wording.definite(self.noun)
            return f"{noun} {of} {wording.named(label)} {self._of(column)}"
        return f"{self._subject(column)} {self.at(label)}"

    @property
    def span(self) -> str:
        """The period that is shown: "from 2001 to 2010"."""
        return f"from {self.labels[0]} to {self.labels[-1]}"

    @cached_property
    def regular(self) -> bool:
        """Whether no time between two rows is left out, as far as that can be told."""
        years = [int(label) for label in self.labels if _YEARS.fullmatch(label)]
        return len(years) < len(self.labels) or all(b - a == 1 for a, b in pairwise(years))

    @property
    def each(self) -> str:
        """A row where it is compared with its neighbour: "year", or "year shown" with gaps."""
        return self.row if self.regular else f"{self.row} shown"

    @property
    def was(self) -> str:
        """The tense: what has a date is past."""
        return "was" if self.time else "is"

    @property
    def points(self) -> str:
        """What a difference is counted in, behind a preposition; empty for plain counts."""
        if self.table.unit == "%":
            return "percentage points"
        return self.table.unit

    @property
    def mean_places(self) -> int:
        """Decimals for a mean: one more than shown, but none for large whole numbers."""
        largest = max((abs(v) for column in self.columns for v in column), default=Decimal(0))
        return self.table.decimals + (largest < 1000)

    def name(self, index: int) -> str:
        """The label of a row in running text."""
        return self.labels[index] if self.time else wording.named(self.labels[index])

    @property
    def which_at(self) -> str:
        """How one asks where a value stands: "in which year", "for which group"."""
        return f"{self._preposition} which {self.row}"

    @property
    def every_at(self) -> str:
        """Everywhere: "in every year", "for every group"."""
        return "for every point" if self.scatter else f"{self._preposition} every {self.row}"

    @property
    def _preposition(self) -> str:
        if self.scatter:
            return "at"
        usual = "in" if self.time or self.row in _WITHIN or self.row.endswith(" group") else "for"
        return _PREPOSITIONS.get(self.row, usual)

    def say(
        self,
        rng: Random,
        *default: str,
        time: Sequence[str] = (),
        number: Sequence[str] = (),
        series: Series | None = None,
        **words: Any,
    ) -> str:
        """One of the wordings, filled in; those for the kind of table where there are any."""
        options = (number if self.scatter else time if self.time else ()) or default
        known: dict[str, Any] = {
            "row": self.row, "rows": self.rows, "was": self.was, "which_at": self.which_at,
            "has": "had" if self.time else "has", "have": "had" if self.time else "have",
            "the_row": wording.definite(self.row), "span": self.span, "every_at": self.every_at,
            "step": self.each,
        }  # fmt: skip
        if series is not None:
            known |= {"subject": series.subject, "bare": series.bare, "series": series.name}
        return wording.capitalised(wording.choice(rng, options).format(**(known | words)))
