"""Charts with the table that was extracted beside the true one, and readers of several depths."""

from pathlib import Path
from typing import Any, cast

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from belvedere.charts.tables import parse
from belvedere.data.charts import ChartDataModule
from belvedere.metrics.chart_tasks import HEADLINE
from belvedere.runs.figures import STYLES
from belvedere.unichart.module import UniChartModule

CELL_LETTERS = 14
"""A longer cell is shortened in the figure."""


class ChartPages(Callback):
    """Shows a few test charts with their extracted tables, in TensorBoard and for the report.

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
        """Draw the first test charts whose table was asked for."""
        if not trainer.is_global_zero:
            return
        shown = self._shown(trainer, cast(UniChartModule, module))
        if not shown:
            return
        figure = draw_pages(shown)
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "charts.png"
        figure.savefig(file, dpi=110)
        self.files = [file]
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_figure("charts", figure, trainer.global_step)

    def _shown(
        self, trainer: Trainer, module: UniChartModule
    ) -> list[tuple[np.ndarray, str, str, float]]:
        rows = cast(ChartDataModule, cast(Any, trainer).datamodule).rows["test"]
        tables = [one for one in module.answered if one.task == "table"][: self.charts]
        wanted = {one.picture: one for one in tables}
        found: list[tuple[np.ndarray, str, str, float]] = []
        for index in range(len(rows)):
            if not wanted:
                break
            # One of several processes has answered some of the charts alone.
            one = wanted.pop(rows.charts[index].where, None)
            if one is not None:
                picture = rows[index].pixels.permute(1, 2, 0).numpy()
                found.append((picture, one.accepted[0], one.answer, one.confidence))
        return found


def draw_pages(shown: list[tuple[np.ndarray, str, str, float]]) -> Figure:
    """Rows of a picture, its true table, and the extracted one with its confidence."""
    figure = Figure(figsize=(12, 2.7 * len(shown)), layout="constrained")
    grid = figure.subplots(len(shown), 3, squeeze=False, width_ratios=[1.1, 1, 1])
    for axes, (picture, gold, read, confidence) in zip(grid, shown, strict=True):
        axes[0].imshow(picture)
        for one in axes:
            one.set_axis_off()
        _draw_table(axes[1], gold, "in the chart")
        _draw_table(axes[2], read, f"read, confidence {confidence:.2f}")
    return figure


def write_depth_figures(submodels: list[dict[str, Any]], folder: Path) -> list[Path]:
    """Draw the headline measure of each task against depth and against speed, as PNG files.

    Args:
        submodels: rows of a report, the full reader last.
        folder: made if it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for name, key, label in (
        ("quality_against_depth", "layers", "decoder layers"),
        ("quality_against_speed", "speedup", "answers per second, full reader = 1"),
    ):
        found.append(folder / f"{name}.png")
        draw_depths(submodels, key, label).savefig(found[-1], dpi=150)
    return found


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
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_table(axes: Axes, line: str, title: str) -> None:
    axes.set_title(title, fontsize=9)
    rows = parse(line)
    columns = max((len(row) for row in rows), default=0)
    if not columns:
        return
    cells = [[_short(cell) for cell in row] + [""] * (columns - len(row)) for row in rows]
    table = axes.table(cells, loc="upper center", cellLoc="left")
    table.auto_set_font_size(False)
    table.set_fontsize(7)
    for cell in table.get_celld().values():
        cell.set_linewidth(0.4)
        cell.get_text().set_parse_math(False)  # a dollar is a dollar


def _short(cell: str) -> str:
    return cell if len(cell) <= CELL_LETTERS else cell[: CELL_LETTERS - 1] + "…"
