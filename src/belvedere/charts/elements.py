"""What is to be seen in the picture of a chart: marks and texts, with their places in pixels.

Pixels are counted from the picture's upper left corner; a box is (left, top, right, bottom).
"""

from dataclasses import dataclass, field
from typing import Literal

Box = tuple[float, float, float, float]
Point = tuple[float, float]

ChartKind = Literal[
    "vertical bar", "horizontal bar", "grouped bar", "stacked bar", "line", "multi line", "area",
    "pie", "donut", "scatter",
]  # fmt: skip
CHART_KINDS: tuple[ChartKind, ...] = ChartKind.__args__  # type: ignore[attr-defined]

MarkKind = Literal["bar", "line", "area", "wedge", "point"]
TextRole = Literal[
    "title", "subtitle", "source", "x label", "y label", "x tick", "y tick", "legend", "series",
    "value",
]  # fmt: skip


@dataclass(frozen=True)
class Mark:
    """One bar, wedge or point, or the whole line or area of a series.

    Attributes:
        kind: what it is.
        series: the column that it shows.
        labels: the rows that it shows: one, or all of them for a line or an area.
        values: one for each label.
        colour: "#rrggbb".
        colour_name: as a person would say it, e.g. "dark blue".
        box: around it.
        points: the vertices of a line or of an area's upper edge, one for each label; the middle of
            a wedge; empty for bars.
    """

    kind: MarkKind
    series: str
    labels: tuple[str, ...]
    values: tuple[float, ...]
    colour: str
    colour_name: str
    box: Box
    points: tuple[Point, ...] = ()


@dataclass(frozen=True)
class Text:
    """A piece of text in the picture.

    Attributes:
        role: what it is for.
        text: as drawn, lines parted by a line break.
        box: around it.
        characters: the middle of each character of ``text`` (blanks and breaks too).
    """

    role: TextRole
    text: str
    box: Box
    characters: tuple[Point, ...] = field(default=())


@dataclass(frozen=True)
class Layout:
    """Everything drawn in a picture of ``width`` x ``height`` pixels."""

    kind: ChartKind
    width: int
    height: int
    marks: tuple[Mark, ...]
    texts: tuple[Text, ...]
    plot: Box
