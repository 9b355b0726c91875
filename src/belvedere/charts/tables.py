"""A data table, and its form in one line of text.

A line holds the rows of a table, header first: cells are parted by `` | `` and rows by `` & ``
(UniChart, section 3.2). A cell that contains ``|``, ``&`` or a backslash has it escaped by a
backslash, so that every table can be read back.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

CELL, ROW = " | ", " & "
_PIECES = re.compile(r"(?:\\.|[^\\|&]|(?<=\S)&(?=\S))+|[|&]|\\", re.DOTALL)
_SPECIAL = re.compile(r"[\\|&]")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)

RowKind = Literal["time", "category", "number"]


@dataclass(frozen=True)
class Table:
    """What a chart shows.

    Attributes:
        title: of the chart.
        row_name: what the rows are, e.g. "Year" or "Country": the header's first cell.
        columns: the names of the series; for one series, the name of what is measured.
        rows: the label of each row; for a scatter chart (``row_kind`` "number") its x as text.
        values: one tuple for each row with one number for each column.
        row_kind: "time" where the rows follow one another, "number" where they are measured.
        unit: what the values count, e.g. "%", "million", "°C"; empty for plain counts.
        decimals: how many are shown.
        whole: the values of each column are shares of one whole.
        topic: the subject's name.
        source: whom the chart names as its source; empty if nobody.
        notes: "measure" says what several columns measure, where they are things that each have it.
    """

    title: str
    row_name: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    row_kind: RowKind = "category"
    unit: str = ""
    decimals: int = 0
    whole: bool = False
    topic: str = ""
    source: str = ""
    notes: dict[str, str] = field(default_factory=dict)

    def column(self, index: int) -> tuple[float, ...]:
        """The values of a series, one for each row."""
        return tuple(row[index] for row in self.values)

    def number(self, value: float) -> str:
        """A value of this table as its cells show it: no unit, no thousands commas."""
        return f"{value:.{self.decimals}f}"

    def cells(self) -> list[list[str]]:
        """All cells as text, header first."""
        body = [
            [label, *map(self.number, row)]
            for label, row in zip(self.rows, self.values, strict=True)
        ]
        return [[self.row_name, *self.columns], *body]


def linearise(cells: Sequence[Sequence[str]]) -> str:
    """The cells of a table, header first, as one line."""
    return ROW.join(CELL.join(escape(cell) for cell in row) for row in cells)


def parse(line: str) -> list[list[str]]:
    """The cells of a line that `linearise` wrote, or that a model did.

    Blanks around cells are dropped. An ``&`` without a blank beside it is a part of its cell:
    published checkpoints escape nothing, not even "R&D". The rows are as long as the line has them:
    a model's table may be ragged. An empty line has no rows.
    """
    if not line.strip():
        return []
    rows, cell = [[]], ""  # type: list[list[str]], str
    for piece in _PIECES.findall(line):
        if piece in {"|", "&"}:
            rows[-1].append(unescape(cell.strip()))
            cell = ""
            if piece == "&":
                rows.append([])
        else:
            cell += piece
    rows[-1].append(unescape(cell.strip()))
    return rows


def escape(cell: str) -> str:
    """A cell with its separators escaped, on one line."""
    return _SPECIAL.sub(r"\\\g<0>", " ".join(cell.split()))


def unescape(cell: str) -> str:
    """What `escape` was given. A backslash at the end, which a model may write, stays."""
    return _ESCAPED.sub(r"\1", cell)
