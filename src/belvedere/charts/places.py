"""Where in its picture a chart's answer is read, letter by letter.

Names stand in ticks and legends, values in labels where there are any. Other values are read at the
end of their mark and at the ticks of the axis below and above it. A small reader is shown where to
look while it learns (`belvedere.unichart.guidance`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from belvedere.charts.tables import CELL, ROW, escape, parse

Point = tuple[float, float]
Place = Point | None
Step = tuple[float, float]
VALUE_LETTERS = frozenset("0123456789.-")
UNEVEN = 1.5
"""Pixels that the numbers of an axis may be off even distances: they are not set to a fraction."""


class Look(NamedTuple):
    """What one letter of an answer is read off.

    Attributes:
        place: where it stands, or the mark that shows it.
        low: for a mark, where the digit of the tick below it stands that corresponds to the letter.
        high: the same of the tick above. Of a mark beyond the last tick, the two nearest count.
        share: where the mark is between them, 0 at the lower tick and 1 at the higher one.
    """

    place: Place = None
    low: Place = None
    high: Place = None
    share: float | None = None

    @property
    def places(self) -> tuple[Place, Place, Place]:
        """The three points of the picture."""
        return self.place, self.low, self.high

    def moved(self, onto: Callable[[Place], Place]) -> "Look":
        """The same look on a page on which the picture lies."""
        place, low, high = map(onto, self.places)
        return Look(place, low, high, self.share)


class End(NamedTuple):
    """Where a mark ends.

    Attributes:
        place: of the end; None if there is no such mark.
        length: of a piece of a stack, along the axis in pixels: its value is that of a bar so long.
    """

    place: Place = None
    length: float | None = None


UNSEEN = Look()
"""Of a letter that stands nowhere in the picture."""
Looks = Sequence[Look]


class Spelled:
    """Cells and where they are read, joined as `belvedere.charts.tables.linearise` does."""

    def __init__(self) -> None:
        self.text = ""
        self.looks: list[Look] = []

    def add(self, cell: str, looks: Looks, separator: str = "") -> None:
        """Add a cell.

        Args:
            cell: as it is read.
            looks: one for each letter of the cell; others are of no use and dropped.
            separator: written before it, unless it is the first.
        """
        written = escape(cell)
        if self.text:
            self.text += separator
            self.looks += [UNSEEN] * len(separator)
        self.text += written
        self.looks += looks if len(looks) == len(written) else [UNSEEN] * len(written)


def texts_read(record: Mapping[str, Any]) -> Spelled:
    """All texts of a picture, each a cell, in the order that its record has them."""
    found = Spelled()
    for text in record["texts"]:
        if text["text"].strip():
            found.add(_shown(text), _letters(text), CELL)
    return found


def table_read(record: Mapping[str, Any]) -> Spelled:
    """The data table; its text is the record's own."""
    (corner, *columns), *rows = parse(record["table"])
    marks = marks_by_cell(record)
    found = Spelled()
    found.add(corner, name_looks(record, corner))
    for column in columns:
        found.add(column, name_looks(record, column), CELL)
    for label, *values in rows:
        ends = [marks.get((label, column), End()) for column in columns]
        found.add(label, label_looks(record, label, ends[0].place), ROW)
        for value, end in zip(values, ends, strict=True):
            found.add(value, value_looks(record, value, end), CELL)
    return found


def ends_of(record: Mapping[str, Any]) -> list[tuple[str, Point]]:
    """The kind of each mark, and where it ends; a line does so at each of its values."""
    return [
        (mark["kind"], place_of(mark, i, record["kind"]))
        for mark in record["marks"]
        for i in range(len(mark["values"]))
    ]


def marks_by_cell(record: Mapping[str, Any]) -> dict[tuple[str, str], End]:
    """The end of each mark, by its row and column."""
    return {
        (label, mark["series"]): end_of(mark, i, record["kind"])
        for mark in record["marks"]
        for i, label in enumerate(mark["labels"])
    }


def end_of(mark: Mapping[str, Any], index: int, kind: str) -> End:
    """The end of a mark, or of the point of a line with that index, in a chart of this kind."""
    place = place_of(mark, index, kind)
    return End(place, mark["box"][3] - mark["box"][1] if kind == "stacked bar" else None)


def place_of(mark: Mapping[str, Any], index: int, kind: str) -> Point:
    """Where a mark ends that shows a value: the far edge of a bar, else the point or the middle."""
    if mark["points"]:
        x, y = mark["points"][min(index, len(mark["points"]) - 1)]
        return x, y
    x0, y0, x1, y1 = mark["box"]
    negative = mark["values"][index] < 0
    if kind == "horizontal bar":
        return (x0 if negative else x1), (y0 + y1) / 2
    return (x0 + x1) / 2, (y1 if negative else y0)


def name_looks(record: Mapping[str, Any], name: str) -> Looks:
    """The letters of a series or axis: those of a text that says just this, or else has it."""
    wanted = name.lower()
    texts = [(_shown(text).lower(), text) for text in record["texts"]]
    for text, entry in sorted(texts, key=lambda pair: pair[0] != wanted):
        at = text.find(wanted)
        if at >= 0:
            return _letters(entry)[at : at + len(wanted)]
    return []


def label_looks(record: Mapping[str, Any], label: str, mark: Place) -> Looks:
    """The letters of a row's label: of the text that says so and is in line with its mark.

    The labels of pies have the value in the same text. Those of a scatter chart are numbers, read
    off the mark and its axis.
    """
    if record["kind"] == "scatter":
        return _off_mark(record, label, End(mark), across=True)
    found = [text for text in record["texts"] if _shown(text) == label]
    if found:
        return _letters(min(found, key=lambda text: _offset(text, mark)))
    labels = [text for text in record["texts"] if text["role"] == "value"]
    inside = [text for text in labels if _shown(text).startswith(label)]
    return _letters(inside[0])[: len(label)] if inside else []


def value_looks(record: Mapping[str, Any], value: str, mark: End) -> Looks:
    """The digits of a value: of the nearest label that ends with them, or else off the mark."""
    found: list[tuple[bool, float, Looks]] = []
    for text in record["texts"]:
        if text["role"] == "value":
            kept = _digits(text)
            digits = "".join(letter for letter, _ in kept)
            if digits.endswith(value):
                looks = [look for _, look in kept[-len(value) :]]
                found.append((digits != value, _distance(looks[0], mark.place), looks))
    if found:
        return min(found, key=lambda one: one[:2])[2]
    return _off_mark(record, value, mark, across=record["kind"] == "horizontal bar")


def _off_mark(record: Mapping[str, Any], value: str, end: End, *, across: bool) -> Looks:
    """The looks at a mark, and at the digits of the ticks below and above it along its axis.

    Of a piece of a stack, the ticks are those around the end of a bar of its length.

    Args:
        record: of the chart.
        value: that is shown.
        end: of the mark.
        across: whether the axis is the horizontal one.
    """
    mark = end.place
    if mark is None:
        return []
    ticks = _ticks(record, across=across)
    if len(ticks) < 2 or record["kind"] in {"pie", "donut"}:
        return [Look(mark)] * len(value)
    at = mark[0] if across else -mark[1]
    zeros = [tick.at for tick in ticks if not any(letter in "123456789" for letter in tick.digits)]
    if end.length is not None and zeros:
        at = zeros[0] + end.length
    above = min(max(sum(tick.at <= at for tick in ticks), 1), len(ticks) - 1)
    low, high = ticks[above - 1 : above + 1]
    share = (at - low.at) / (high.at - low.at) if high.at > low.at else None
    return [Look(mark, low.letter(i), high.letter(i), share) for i in range(len(value))]


class _Tick(NamedTuple):
    """A number at an axis: how far along it is, in pixels, and its digits and their places."""

    at: float
    digits: str
    places: list[Place]

    def letter(self, index: int) -> Place:
        """The place of a digit; beyond the last one that of the last one."""
        return self.places[min(index, len(self.places) - 1)]


def _ticks(record: Mapping[str, Any], *, across: bool) -> list[_Tick]:
    """The numbers at an axis, in the direction in which values grow."""
    role, axis = ("x tick", 0) if across else ("y tick", 1)
    found = []
    for text in record["texts"]:
        digits = _digits(text) if text["role"] == role else []
        if any(letter.isdigit() for letter, _ in digits):
            middle = (text["box"][axis] + text["box"][axis + 2]) / 2
            middle = middle if across else -middle  # pixels are counted downwards, values upwards
            letters, looks = zip(*digits, strict=True)
            found.append(_Tick(middle, "".join(letters), [look.place for look in looks]))
    return sorted(found)


def steps_of(record: Mapping[str, Any]) -> tuple[Step | None, Step | None]:
    """Where the first two numbers of the x axis and of the y axis are, in pixels of that axis.

    None for an axis whose numbers are not evenly spaced, or that has none.
    """
    return _step(record, across=True), _step(record, across=False)


def _step(record: Mapping[str, Any], *, across: bool) -> Step | None:
    at = [tick.at if across else -tick.at for tick in _ticks(record, across=across)]
    if len(at) < 2:
        return None
    step = (at[-1] - at[0]) / (len(at) - 1)
    even = all(abs(at[0] + i * step - one) <= UNEVEN for i, one in enumerate(at))
    return (at[0], at[0] + step) if even and abs(step) > 2 * UNEVEN else None


def _digits(text: Mapping[str, Any]) -> list[tuple[str, Look]]:
    """The letters of a text that a number is made of, as a table writes it."""
    shown = _shown(text).replace("−", "-")
    pairs = zip(shown, _letters(text), strict=True)
    return [(letter, look) for letter, look in pairs if letter in VALUE_LETTERS]


def _distance(look: Look, mark: Place) -> float:
    if look.place is None or mark is None:
        return 0.0
    return (look.place[0] - mark[0]) ** 2 + (look.place[1] - mark[1]) ** 2


def _shown(text: Mapping[str, Any]) -> str:
    """A text on one line, letter for letter."""
    shown: str = text["text"].replace("\n", " ")
    return shown


def _letters(text: Mapping[str, Any]) -> Looks:
    """The middle of each letter of a text."""
    return [Look((x, y)) for x, y in text["characters"]]


def _offset(text: Mapping[str, Any], mark: Place) -> float:
    if mark is None:
        return 0.0
    x0, y0, x1, y1 = text["box"]
    return min(abs((x0 + x1) / 2 - mark[0]), abs((y0 + y1) / 2 - mark[1]))
