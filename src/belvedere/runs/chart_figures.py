"""Charts with the table that was extracted beside the true one, and readers of several depths."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from belvedere.charts.tables import parse
from belvedere.charts.tasks import TaskName, read_marks
from belvedere.data.charts import ChartDataModule
from belvedere.data.pictures import open_picture
from belvedere.metrics.chart_tasks import HEADLINE
from belvedere.metrics.marks import ReadMark
from belvedere.runs.dashboard import show
from belvedere.runs.figures import STYLES, plain, write_figures
from belvedere.unichart.module import UniChartModule

THERE: dict[str, Any] = {"color": "#000000", "linestyle": ":", "marker": "o"}
READ: dict[str, Any] = {"color": "#D55E00", "linestyle": "-", "marker": "x"}
"""How elements that are there, and those that were read, are drawn."""
WITHOUT_EXTENT = {"line", "area", "point"}
"""Marks that are drawn as places."""
CELL_LETTERS = 14
"""A longer cell is shortened in the figure."""


class ChartPages(Callback):
    """Shows a few test charts as they were read, in TensorBoard and for the report.

    One picture has charts with their extracted tables, another one their visual elements.

    Args:
        run_dir: of the run; the picture goes to its ``figures``.
        charts: how many.

    Attributes:
        files: the pictures that were written.
    """

    def __init__(self, run_dir: Path, charts: int = 6) -> None:
        self.folder = run_dir / "figures"
        self.charts = charts
        self.files: list[Path] = []

    def on_test_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Draw the first test charts whose table, and whose elements, were asked for."""
        if not trainer.is_global_zero:
            return
        drawers: dict[TaskName, tuple[str, Callable[[list[ReadPage]], Figure]]] = {
            "table": ("charts", draw_pages), "elements": ("elements", draw_elements),
        }  # fmt: skip
        for task, (name, draw) in drawers.items():
            pages = self._pages(trainer, cast(UniChartModule, module), task)
            if pages:
                figure = draw(pages)
                self.files += write_figures({name: figure}, self.folder)
                show(trainer, name, figure)

    def _pages(self, trainer: Trainer, module: UniChartModule, task: TaskName) -> list["ReadPage"]:
        rows = cast(ChartDataModule, cast(Any, trainer).datamodule).rows["test"]
        answers = [one for one in module.answered if one.task == task][: self.charts]
        wanted = {one.picture: one for one in answers}
        found = []
        for index in range(len(rows)):
            if not wanted:
                break
            # One of several processes has answered some of the charts alone.
            chart = rows.charts[index]
            one = wanted.pop(chart.where, None)
            if one is not None:
                # Not the page that it is read on: elements are told by shares of the picture.
                picture = np.asarray(open_picture(chart.picture, chart.where))
                found.append(ReadPage(picture, one.accepted[0], one.answer, one.confidence))
        return found


class ReadPage(NamedTuple):
    """A picture [height, width, 3], what is right to say of it, and what was read."""

    picture: np.ndarray
    gold: str
    read: str
    confidence: float


def draw_pages(shown: list[ReadPage]) -> Figure:
    """Rows of a picture, its true table, and the extracted one with its confidence."""
    figure = Figure(figsize=(9, 2.2 * len(shown)), layout="constrained")
    grid = figure.subplots(len(shown), 3, squeeze=False, width_ratios=[1, 1, 1])
    for axes, (picture, gold, read, confidence) in zip(grid, shown, strict=True):
        axes[0].imshow(picture)
        for one in axes:
            one.set_axis_off()
        _draw_table(axes[1], gold, "in the chart")
        _draw_table(axes[2], read, f"read, confidence {confidence:.2f}")
    return figure


def draw_elements(shown: list[ReadPage]) -> Figure:
    """Pictures with the visual elements that are there, and those that were read, over them."""
    columns = min(2, len(shown))
    lines = -(-len(shown) // columns)
    figure = Figure(figsize=(4.4 * columns, 3.6 * lines + 0.4), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, page in zip(panels, shown, strict=False):
        gold, read = read_marks(page.gold), read_marks(page.read)
        # Paler, so that what is drawn on it is seen.
        axes.imshow(128 + page.picture // 2)
        height, width = page.picture.shape[:2]
        for marks, how in ((gold, THERE), (read, READ)):
            for mark in marks:
                _draw_mark(axes, mark, (width, height), how)
        axes.set_title(f"{len(gold)} there, {len(read)} read", fontsize=9)
    handles = [
        Line2D([], [], color=how["color"], linestyle=how["linestyle"], marker=how["marker"],
               markerfacecolor="none", label=label)
        for label, how in (("there", THERE), ("read", READ))
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _draw_mark(axes: Axes, mark: ReadMark, size: tuple[int, int], how: Mapping[str, Any]) -> None:
    """A box, or the middle of a mark that has no extent or is a point."""
    xs = [edge * size[0] for edge in sorted(mark.box[0::2])]
    ys = [edge * size[1] for edge in sorted(mark.box[1::2])]
    if mark.kind in WITHOUT_EXTENT:
        axes.plot(sum(xs) / 2, sum(ys) / 2, how["marker"], color=how["color"],
                  markersize=7, markerfacecolor="none", markeredgewidth=1.4)  # fmt: skip
        return
    box = Rectangle((xs[0], ys[0]), xs[1] - xs[0], ys[1] - ys[0], fill=False,
                    edgecolor=how["color"], linestyle=how["linestyle"], linewidth=1.4)  # fmt: skip
    axes.add_patch(box)


def write_depth_figures(submodels: list[dict[str, Any]], folder: Path) -> list[Path]:
    """Draw each task's headline measure against depth and against speed; names the PNG files.

    Args:
        submodels: rows of a report, the full reader last.
        folder: made if it is not there.
    """
    axes = {
        "depth": ("layers", "decoder layers"),
        "speed": ("speedup", "answers per second, full reader = 1"),
    }
    figures = {
        f"quality_against_{name}": draw_depths(submodels, key, label)
        for name, (key, label) in axes.items()
    }
    return write_figures(figures, folder)


def draw_depths(submodels: list[dict[str, Any]], key: str, label: str) -> Figure:
    """One panel for each task: its headline measure against ``key`` of the reader of each depth."""
    tasks = [task for task in HEADLINE if task in submodels[0]["tasks"]]
    figure = Figure(figsize=(3.2 * len(tasks), 3.2), layout="constrained")
    panels = figure.subplots(1, len(tasks), squeeze=False)[0]
    for axes, task, (colour, marker) in zip(panels, tasks, STYLES, strict=False):
        rows = sorted(submodels, key=lambda row: row["layers"])
        xs = [row[key] for row in rows]
        ys = [row["tasks"][task][HEADLINE[task]] for row in rows]
        axes.plot(xs, ys, marker=marker, color=colour, linewidth=1.5)
        for row, x, y in zip(rows, xs, ys, strict=True):
            axes.annotate(str(row["layers"]), (x, y), (4, 4), textcoords="offset points", size=8)
        if key == "layers":
            axes.set_xticks(xs)
        axes.set(xlabel=label, title=f"{task}: {HEADLINE[task].replace('_', ' ')}")
        axes.set_ylim(bottom=0)
        plain(axes)
    return figure


def _draw_table(axes: Axes, line: str, title: str) -> None:
    axes.set_title(title, fontsize=9)
    rows = parse(line)
    columns = max((len(row) for row in rows), default=0)
    if not columns:
        return
    cells = [[short(cell) for cell in row] + [""] * (columns - len(row)) for row in rows]
    table = axes.table(cells, loc="upper center", cellLoc="left")
    table.auto_set_font_size(False)
    table.set_fontsize(7)
    for cell in table.get_celld().values():
        cell.set_linewidth(0.4)
        cell.get_text().set_parse_math(False)  # a dollar is a dollar


def short(cell: str) -> str:
    """A cell of a table with at most `CELL_LETTERS` letters."""
    return cell if len(cell) <= CELL_LETTERS else cell[: CELL_LETTERS - 1] + "…"
