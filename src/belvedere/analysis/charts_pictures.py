"""The charts that were read best and worst, as pictures beside their tables."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from numpy.typing import NDArray
from omegaconf import OmegaConf

from belvedere.analysis.charts import asked, ranked
from belvedere.analysis.place import DPI
from belvedere.charts.build import read_shard
from belvedere.charts.tables import parse
from belvedere.charts.tasks import NO_CHART
from belvedere.data.pictures import open_picture
from belvedere.data.records import find_files
from belvedere.errors import BadInput
from belvedere.metrics.chart_tasks import Answered
from belvedere.metrics.relaxed import relaxed_match
from belvedere.runs.chart_figures import short
from belvedere.runs.entry import PROJECT

SHIPPED = PROJECT / "data" / "charts"
"""The charts of recorded results."""
ROWS, COLUMNS = 10, 5
"""Of a table as it is drawn: further rows and columns are counted."""
FEWEST_ROWS = 5
"""Which a picture needs beside it."""
WRONG = "#f0c8a0"
"""The ground of cells that are wrong; their text is bold as well."""


@dataclass(frozen=True)
class ReadChart:
    """A chart, and what was read of it.

    Attributes:
        picture: [height, width, 3], uint8.
        right: its table, in one line.
        answer: the table that was read.
        title: what is said of it.
    """

    picture: NDArray[np.uint8]
    right: str
    answer: str
    title: str


def best_and_worst(
    answered: Sequence[Answered], place: Path, count: int = 2
) -> tuple[list[ReadChart], list[ReadChart]]:
    """The charts that were read best and worst (see `belvedere.analysis.charts.ranked`).

    Args:
        answered: of a run.
        place: the run's folder, or that of recorded results.
        count: of each, at most half of all.

    Raises:
        BadInput: no table was asked for, or the run's data are not there any more.
    """
    order = ranked(answered)
    count = min(count, len(order) // 2)
    chosen = pd.concat([order[::-1].head(count), order.head(count)])
    found = pictures(place, list(chosen.index))
    tables = {one.picture: one for one in asked(answered, "table")}
    charts = [
        ReadChart(
            found[name],
            tables[name].accepted[0],
            tables[name].answer,
            _title(name, chosen.loc[name]),
        )
        for name in chosen.index
    ]
    return charts[:count], charts[count:]


def _title(name: str, scores: pd.Series) -> str:
    questions = (
        f", {scores.right} of {scores.questions} questions right" if scores.questions else ""
    )
    return (
        f"{Path(name).name}, {scores.kind}: RMS-F1 {scores.f1:.0f}, "
        f"confidence {scores.confidence:.2f}{questions}"
    )


def pictures(place: Path, names: Collection[str]) -> dict[str, NDArray[np.uint8]]:
    """Pictures of a run's charts by the names that its answers have for them.

    These are files, or rows of the run's chart shards (`belvedere.charts.build`).

    Args:
        place: the run's folder; without a ``config.yaml`` the shards are the shipped ones.
        names: of the pictures.

    Returns:
        By name, [height, width, 3].

    Raises:
        BadInput: the data are not there any more, or lack one of the pictures.
    """
    found = {name: open_picture(_there(name)) for name in names if _there(name).is_file()}
    splits = {name.rpartition("-")[0] for name in names if name not in found}
    for file in find_files(_shards(place)) if splits else []:
        if file.name.rpartition("-")[0] in splits:
            rows = read_shard(file, ["id", "image"])
            for index, name in enumerate(rows["id"].to_pylist()):
                if name in names:
                    picture = rows["image"][index].as_py()["bytes"]
                    found[name] = open_picture(picture, f"{file}[{index}]")
    for name in names:
        if name not in found:
            raise BadInput(
                f"the run's data have no picture {name!r}",
                where=str(place),
                remedy="evaluate the reader anew",
            )
    return {name: np.asarray(picture) for name, picture in found.items()}


def _shards(place: Path) -> Path:
    file = place / "config.yaml"
    return _there(OmegaConf.load(file).data.path) if file.exists() else SHIPPED


def _there(path: str) -> Path:
    """A path of a run: a relative one is below the project's folder, where runs are started."""
    return Path(path) if Path(path).exists() else PROJECT / path


def draw_charts(charts: Sequence[ReadChart]) -> Figure:
    """Each chart beside its table and the table that was read, wrong cells shaded and bold."""
    rows = [max(FEWEST_ROWS, _rows(one.right), _rows(one.answer)) for one in charts]
    heights = [0.75 + 0.23 * count for count in rows]
    figure = Figure(figsize=(10, sum(heights)), dpi=DPI, layout="constrained")
    figure.get_layout_engine().set(wspace=0.05)  # type: ignore[union-attr, call-arg]
    parts = figure.subfigures(len(charts), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, one, count in zip(parts, charts, rows, strict=True):
        part.suptitle(one.title, fontsize=10, x=0.01, ha="left", parse_math=False)
        left, middle, right = part.subplots(1, 3, width_ratios=[1, 1.1, 1.1])
        left.imshow(one.picture)
        for axes in (left, middle, right):
            axes.set_axis_off()
        _draw_table(middle, "in the chart", one.right, one.right, count)
        _draw_table(right, "read", one.answer, one.right, count)
    return figure


def _rows(line: str) -> int:
    """How many rows a table takes when it is drawn."""
    return min(len(parse(line)), ROWS)


def _draw_table(axes: Axes, name: str, line: str, right: str, room: int) -> None:
    """Draw a table where there is room for some rows."""
    rows = [] if line == NO_CHART else parse(line)
    columns = max(map(len, rows), default=0)
    left_out = [
        f"{count - shown} more {what}"
        for count, shown, what in ((len(rows), ROWS, "rows"), (columns, COLUMNS, "columns"))
        if count > shown
    ]
    axes.set_title(", ".join([name, *left_out]), fontsize=9)
    if not rows:
        axes.text(0.5, 0.5, line or "nothing", ha="center", style="italic", parse_math=False)
        return
    wrong = wrong_cells(rows, parse(right))
    shown = [[*row, *[""] * (columns - len(row))][:COLUMNS] for row in rows[:ROWS]]
    height = len(shown) / room
    table = axes.table(
        [[short(cell) for cell in row] for row in shown],
        bbox=Bbox.from_bounds(0, 1 - height, 1, height),
        cellLoc="left",
    )
    table.auto_set_font_size(False)
    for (row, column), cell in table.get_celld().items():
        cell.set_linewidth(0.4)
        cell.PAD = 0.04
        cell.get_text().set_parse_math(False)  # a dollar is a dollar
        cell.get_text().set_fontsize(8)
        if (row, column) in wrong:
            cell.set_facecolor(WRONG)
            cell.get_text().set_fontweight("bold")


def wrong_cells(
    rows: Sequence[Sequence[str]], right: Sequence[Sequence[str]]
) -> set[tuple[int, int]]:
    """The places (row, column) of cells that are not in the right table, at the same names.

    The names of rows and columns have to be there letter for letter but for case; a value is
    compared with that of the same names by relaxed accuracy, within 5 %.

    Example:
        >>> right = [["Year", "Sales"], ["1999", "200"], ["2000", "250"]]
        >>> sorted(wrong_cells([["Year", "Sale"], ["1999", "205"], ["2000", "90"]], right))
        [(0, 1), (1, 1), (2, 1)]
        >>> sorted(wrong_cells([["Year", "Sales"], ["2000", "90"], ["1999", "205"]], right))
        [(1, 1)]
    """
    header = [cell.lower() for cell in right[0]] if right else []
    values = {
        (row[0].lower(), column): value
        for row in right[1:]
        for column, value in zip(header[1:], row[1:], strict=False)
    }
    names = {row for row, _ in values}
    read = [cell.lower() for cell in rows[0]] if rows else []
    found = {(0, j) for j, cell in enumerate(read) if cell not in header}
    for i, row in enumerate(rows[1:], start=1):
        label = row[0].lower() if row else ""
        if label not in names:
            found.add((i, 0))
        for j, value in enumerate(row[1:], start=1):
            wanted = values.get((label, read[j] if j < len(read) else ""))
            if wanted is None or not relaxed_match(value, [wanted]):
                found.add((i, j))
    return found
