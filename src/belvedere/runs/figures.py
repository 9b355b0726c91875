"""Figures of a run: its course, and quality against depth and against measured speed."""

import logging
from collections.abc import Iterable, Mapping
from itertools import cycle
from math import ceil
from pathlib import Path
from typing import Any

from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, NullFormatter

from belvedere.charts.colours import clearest_on

# Okabe and Ito's palette is told apart without colour vision; markers differ as well.
STYLES = (
    ("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#000000", "x"),
    ("#56B4E9", "v"), ("#E69F00", "P"), ("#999999", "d"),
)  # fmt: skip
METRICS = {
    "exact_match": "exact match",
    "agreement": "agreement with the full model",
    "kl_to_full": "KL to the full model (nats)",
}
"""What is drawn, in this order; a metric that the runs do not have is left out."""
COURSES = {
    "train/loss": "loss in training",
    "train/kl_to_full": "KL to the full model in training (nats)",
    "validation/loss": "held-out loss",
    "validation/agreement": "held-out agreement with the full model",
    "validation/kl_to_full": "held-out KL to the full model (nats)",
}
"""What is drawn of a training, in this order, and its titles."""
AXES = {
    "depth": ("layers", "decoder layers that a token goes through"),
    "speed": ("speedup", "decoding speed, full model = 1"),
}
"""What it is drawn against: the key of a report's rows, and what the axis is called."""


def draw_qualities(submodels: list[dict[str, Any]]) -> dict[str, Figure]:
    """Quality against depth and, if speeds are known, against speed, by the figures' names.

    Args:
        submodels: rows of a report, or of several merged.
    """
    return {
        f"quality_against_{name}": draw(submodels, key, label)
        for name, (key, label) in AXES.items()
        if all(row.get(key) for row in submodels)
    }


def write_figures(figures: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Save figures under their names (see `save`), and name the PNG files.

    Args:
        figures: by name.
        folder: made if it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{name}.png" for name in figures]
    for file, figure in zip(files, figures.values(), strict=True):
        save(figure, file)
    return files


def save(figure: Figure, file: Path) -> None:
    """Write a figure as a picture, and beside it as a PDF of lines and letters, for publications.

    Args:
        figure: what is drawn.
        file: the picture, a PNG file.
    """
    figure.savefig(file, dpi=150)
    logging.getLogger("fontTools.subset").setLevel(logging.WARNING)  # it tells of every letter
    with rc_context({"pdf.fonttype": 42}):  # letters that publishers and editors take
        figure.savefig(file.with_suffix(".pdf"))


def draw_positions(positions: dict[str, list[float]]) -> Figure:
    """KL to the full model of every sub-model, by octaves of the position in the answer."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for name, look in looks_of(positions).items():
        begins = [2**octave for octave in range(len(positions[name]))]
        axes.plot(begins, positions[name], **look)
    axes.set_xscale("log", base=2)
    log_values(axes)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}")
    axes.set(
        xlabel="position in the answer (first token of each octave)", title=METRICS["kl_to_full"]
    )
    plain(axes)
    axes.legend(frameon=False)
    return figure


def draw_courses(curves: Mapping[str, Mapping[int, float]]) -> Figure | None:
    """The course of a training, a panel for each measure and a line for each sub-model or task.

    Args:
        curves: values by step, for each name ``SPLIT/METRIC/SUBMODEL`` of `COURSES`.

    Returns:
        The figure, or None where there is nothing to draw.
    """
    panels: dict[str, dict[str, Mapping[int, float]]] = {}
    for tag, curve in curves.items():
        course, _, name = tag.rpartition("/")
        if any(curve.values()):  # a full model's KL to itself is 0 throughout
            panels.setdefault(course, {})[name] = curve
    if not panels:
        return None
    looks = looks_of({name for lines in panels.values() for name in lines})
    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.5 * columns, 3.4 * rows + 0.4))
    grid = figure.subplots(rows, columns, squeeze=False).flat
    # The courses first: what comes first has one taken that finds no partner.
    for course, axes in zip((one for one in COURSES if one in panels), grid, strict=False):
        for name, look in looks.items():
            if name in panels[course]:
                steps, values = zip(*sorted(panels[course][name].items()), strict=True)
                axes.plot(steps, values, **look, markevery=max(len(steps) // 8, 1))
        if course.endswith("kl_to_full"):
            log_values(axes)
        axes.set(xlabel="step", title=COURSES[course])
        axes.set_xlim(left=0)
        plain(axes)
    for axes in grid:  # what is left of them
        axes.set_axis_off()
    handles = {line.get_label(): line for axes in figure.axes for line in axes.get_lines()}
    figure.legend(
        [handles[look["label"]] for look in looks.values()],
        [look["label"] for look in looks.values()],
        loc="outside lower center", ncols=min(len(looks), 6), frameon=False,
    )  # fmt: skip
    ConstrainedLayoutEngine().execute(figure)
    return figure


def looks_of(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """How the line of each sub-model is drawn, in the order of their depths."""
    ordered = sorted(names, key=_by_number)
    colours = colormaps["viridis"].resampled(len(ordered) + 1)
    return {
        name: {"color": colours(i), "marker": STYLES[i % len(STYLES)][1], "linewidth": 1.5,
               "label": name.replace("_", " ")}
        for i, name in enumerate(ordered)
    }  # fmt: skip


def plain(axes: Axes) -> None:
    """A faint grid, and no frame above and beside."""
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def log_values(axes: Axes) -> None:
    """A logarithmic axis of values with plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _by_number(name: str) -> tuple[str, int]:
    """Sorts names like ``exit_2`` and ``exit_10`` by their number."""
    head, _, number = name.rpartition("_")
    return (head, int(number)) if number.isdigit() else (name, 0)


def draw_heat_map(
    scores: dict[str, dict[str, float]], rows: str, columns: str, judge: str
) -> Figure:
    """Judge scores of every pair of sub-models, from -1 to 1, above 0 where the row's one wins.

    Args:
        scores: for each sub-model of the first system the score against each of the second.
        rows: what the first system is.
        columns: what the second is.
        judge: who says so, for the title.
    """
    names, rivals = list(scores), list(next(iter(scores.values())))
    values = [[scores[name][rival] for rival in rivals] for name in names]
    figure = Figure(
        figsize=(1.7 + 0.75 * len(rivals), 1.5 + 0.6 * len(names)), layout="constrained"
    )
    axes = figure.subplots()
    map = colormaps["PuOr_r"]
    image = axes.imshow(values, cmap=map, vmin=-1, vmax=1, aspect="auto")
    axes.set_xticks(range(len(rivals)), [name.replace("exit_", "") for name in rivals])
    axes.set_yticks(range(len(names)), [name.replace("exit_", "") for name in names])
    axes.set(xlabel=f"{columns}: layers", ylabel=f"{rows}: layers")
    axes.set_title(judge, fontsize=9)
    for i, line in enumerate(values):
        for j, value in enumerate(line):
            colour = clearest_on(to_hex(map((value + 1) / 2)))
            axes.text(j, i, f"{value:+.2f}", ha="center", va="center", color=colour, fontsize=9)
    figure.colorbar(image, label="judge score (wins - losses) / prompts")
    return figure


def draw(submodels: list[dict[str, Any]], key: str, label: str) -> Figure:
    """Agreement and KL of every method against ``key`` of its sub-models."""
    metrics = [metric for metric in METRICS if all(metric in r["metrics"] for r in submodels)]
    figure = Figure(figsize=(4.5 * len(metrics), 4.2))
    methods = list(dict.fromkeys(row["method"] for row in submodels if row["kind"] != "full"))
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        for method, (colour, marker) in zip(methods, cycle(STYLES), strict=False):
            rows = sorted((r for r in submodels if r["method"] == method), key=lambda r: r[key])
            if (
                metric == "kl_to_full"
            ):  # a full model's own is 0, which a logarithm has no place for
                rows = [row for row in rows if row["metrics"][metric] > 0]
            xs = [row[key] for row in rows]
            ys = [row["metrics"][metric] for row in rows]
            # One that is not trained may be what another method's was before: both are to be seen.
            above = all(row["kind"] == "baseline" for row in rows)
            axes.plot(xs, ys, "--" if above else "-", marker=marker, color=colour, label=method,
                      linewidth=1.5, zorder=2.5 if above else 2)  # fmt: skip
        for row in submodels:
            if row["kind"] == "full" and metric != "kl_to_full":
                axes.plot(row[key], row["metrics"][metric], "*", color="black", markersize=13,
                          fillstyle="none", label="full model")  # fmt: skip
        if metric == "kl_to_full":
            log_values(axes)
        axes.set(xlabel=label, title=METRICS[metric])
        plain(axes)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))  # several full models have one star
    lines = ceil(len(once) / (2.5 * len(metrics)))  # as many names as fit below a panel
    figure.legend(
        once.values(), once.keys(), loc="outside lower center", ncols=ceil(len(once) / lines),
        frameon=False,
    )  # fmt: skip
    ConstrainedLayoutEngine().execute(figure)  # once: a layout of the figure's own asks each time
    return figure
