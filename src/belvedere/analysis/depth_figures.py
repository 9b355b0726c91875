"""Figures of sub-models by depth; told apart by marker and filling as well as by colour."""

from collections.abc import Sequence
from itertools import cycle
from typing import Any, Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from belvedere.analysis.agreement import RAW
from belvedere.analysis.exit_layers import SOURCES, ExitLayers
from belvedere.analysis.pareto import Row, front, without_copies
from belvedere.analysis.place import DPI
from belvedere.runs.figures import METRICS, STYLES, log_values, plain

FILLINGS = (("#FFFFFF", ""), ("#009E73", "///"), ("#D55E00", "..."), ("#999999", "xx"))
"""Colour and hatch of each outcome, which are told apart in grey as well."""
Place = Literal["outside lower center", "outside upper center"]
AGREEMENT = "agreement with the full model"


def draw_pareto(rows: Sequence[Row]) -> Figure:
    """Agreement and KL against measured decoding speed; a line joins what nothing else beats.

    Beside each point are its layers.

    Args:
        rows: as of `belvedere.runs.compare.merge`, each with ``speedup`` against the full model of
            its own run; see `without_copies`.
    """
    rows = without_copies(rows)
    figure = Figure(figsize=(8.6, 4.4), layout="constrained", dpi=DPI)
    left, right = figure.subplots(1, 2)
    _pareto(left, rows, "agreement")
    left.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    # A full model's KL to itself is 0, which a logarithm has no place for.
    _pareto(right, [row for row in rows if row["metrics"]["kl_to_full"] > 0], "kl_to_full")
    log_values(right)
    legend_outside(figure, columns=3)
    return figure


def _pareto(axes: Axes, rows: Sequence[Row], metric: str) -> None:
    """One panel of `draw_pareto`."""
    best = front(rows, metric, low=metric == "kl_to_full")
    xs, ys = _points(best, metric)
    axes.plot(xs, ys, color="#999999", linewidth=4, alpha=0.45, zorder=1, label="best at its speed")
    methods = sorted({row["method"] for row in rows if row["kind"] != "full"})
    for method, (colour, marker) in zip(methods, cycle(STYLES), strict=False):
        cut = [row for row in rows if row["method"] == method and row["kind"] != "full"]
        style = {"marker": marker, "color": colour, "markersize": 7, "label": method}
        axes.plot(*_points(cut, metric), linestyle="none", **style)
        for row, x, y in zip(cut, *_points(cut, metric), strict=True):
            axes.annotate(
                str(row["layers"]), (x, y), xytext=(7, 5), textcoords="offset points", fontsize=8
            )
    full = _points([row for row in rows if row["kind"] == "full"], metric)
    axes.plot(*full, linestyle="none", marker="*", color="black", markersize=11, label="full model")
    axes.set(title=METRICS[metric], xlabel="decoding speed, full model of the run = 1")
    axes.margins(x=0.1)
    plain(axes)


def _points(rows: Sequence[Row], metric: str) -> tuple[list[float], list[float]]:
    """Where rows are drawn: their speed-ups, and their values of a metric."""
    return [row["speedup"] for row in rows], [row["metrics"][metric] for row in rows]


def draw_kinds(found: pd.DataFrame) -> Figure:
    """Agreement of every sub-model for each kind of token, as of `by_kind`."""
    figure = Figure(figsize=(8.6, 1.4 + 0.42 * len(found)), layout="constrained", dpi=DPI)
    axes = figure.subplots()
    places = range(len(found))
    for name, style in styles(found).items():
        axes.plot(found[name], places, markersize=8, **(style | {"linestyle": "none"}))
    labels = [
        f"{kind} ({share:.0%})" for kind, share in (found["tokens"] / found["tokens"].sum()).items()
    ]
    axes.set_yticks(places, labels)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set(xlabel=AGREEMENT, xlim=(None, 1.01))
    plain(axes)
    figure.legend(loc="outside right center", frameon=False)
    return figure


def draw_groups(positions: pd.DataFrame, ranks: pd.DataFrame, sureness: pd.DataFrame) -> Figure:
    """Agreement of every sub-model by position, frequency and certainty; see `agreement`."""
    figure = Figure(figsize=(9.6, 4.2), layout="constrained", dpi=DPI)
    panels = figure.subplots(1, 3, sharey=True)
    for axes, found, label in zip(
        panels,
        (positions, ranks, sureness),
        (
            "position in the document (octaves)",
            "rank of the token in the training text (octaves)",
            "the full model's highest probability",
        ),
        strict=True,
    ):
        for name, style in styles(found).items():
            axes.plot(found.index, found[name], linewidth=1.3, markersize=6, **style)
        if found is not sureness:
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}")
        axes.set_xlabel(label, fontsize=9)
        plain(axes)
    panels[0].set_ylabel(AGREEMENT)
    panels[0].yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    legend_outside(figure, columns=3)
    return figure


def draw_kl(found: pd.DataFrame) -> Figure:
    """The mean KL of every sub-model by the full model's certainty, as of `kl_by_sureness`."""
    figure = Figure(figsize=(7.2, 3.6), layout="constrained", dpi=DPI)
    axes = figure.subplots()
    for name, style in styles(found).items():
        axes.plot(found.index, found[name], linewidth=1.3, markersize=6, **style)
    log_values(axes)
    axes.set_xlabel("the full model's highest probability")
    axes.set_ylabel("mean KL to the full model (nats)")
    plain(axes)
    figure.legend(loc="outside right center", frameon=False)
    return figure


def draw_outcomes(found: pd.DataFrame, label: str) -> Figure:
    """Stacked bars: what share of a whole has each of up to four outcomes.

    Args:
        found: a row for each bar, a column for each outcome; the first is drawn plain.
        label: what the shares are of.
    """
    figure = Figure(figsize=(8.6, 1.5 + 0.45 * len(found)), layout="constrained", dpi=DPI)
    axes = figure.subplots()
    places = range(len(found))
    begin = pd.Series(0.0, index=found.index)
    for outcome, (colour, hatch) in zip(found, FILLINGS, strict=False):
        axes.barh(places, found[outcome], left=begin, color=colour, hatch=hatch,
                  edgecolor="black", linewidth=0.7, label=str(outcome))  # fmt: skip
        begin = begin + found[outcome]
    axes.set_yticks(places, [str(name).replace("_", " ") for name in found.index])
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set(xlabel=label, xlim=(0, 1))
    axes.spines[["top", "right"]].set_visible(False)
    legend_outside(figure, columns=4)
    return figure


def draw_exit_layers(found: ExitLayers) -> Figure:
    """How far each weight of each exit moved, and where the states point; see `ExitLayers`."""
    figure = Figure(figsize=(9.6, 4.4), layout="constrained", dpi=DPI)
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    draw_changes(left, found.changes)
    for number, (source, (colour, marker)) in enumerate(zip(SOURCES, STYLES, strict=False)):
        values = [row[source] for row in found.directions.values()]
        face = colour if number else "white"
        right.plot(values, marker=marker, color=colour, label=source, markersize=8,
                   linewidth=1.3, markerfacecolor=face)  # fmt: skip
    names = [name.replace("_", " ") for name in found.directions]
    right.set_xticks(range(len(names)), names)
    right.margins(x=0.12)
    right.set_title("cosine to the state behind the last layer", fontsize=10)
    right.legend(frameon=False, fontsize=9)
    plain(right)
    return figure


def draw_changes(axes: Axes, changes: dict[str, dict[str, float]]) -> None:
    """A heat map of `ExitLayers.changes`, with its numbers."""
    axes.set_title("change of each weight, of its own length", fontsize=10)
    if not changes:
        axes.text(0.5, 0.5, "the exits began with random weights", ha="center", va="center")
        axes.set_axis_off()
        return
    names = list(next(iter(changes.values())))
    values = [[row[name] for row in changes.values()] for name in names]
    axes.imshow(values, cmap="cividis", vmin=0, aspect="auto")
    axes.set_xticks(range(len(changes)), [exit.replace("_", " ") for exit in changes])
    axes.set_yticks(range(len(names)), [name.removeprefix("layer.") for name in names], fontsize=9)
    write_shares(axes, values, max(map(max, values)) / 2, decimals=0)


def write_shares(
    axes: Axes, values: Sequence[Sequence[float]], middle: float, decimals: int
) -> None:
    """Write the shares of a heat map into it, white below the middle of its colours.

    Args:
        axes: of the map.
        values: rows by columns; NaN is a dash.
        middle: the share in the middle of the colours.
        decimals: of the percentages.
    """
    for i, line in enumerate(values):
        for j, value in enumerate(line):
            colour = "white" if value < middle else "black"
            text = "-" if value != value else f"{value:.{decimals}%}"  # NaN is not itself
            axes.text(j, i, text, ha="center", va="center", color=colour, fontsize=9)


def styles(found: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """How each sub-model of a table is drawn: one colour and marker a depth, raw exits hollow."""
    names = [str(name) for name in found if name != "tokens"]
    depths = sorted({int(name.rpartition("_")[2]) for name in names})
    shown = {}
    for name in names:
        colour, marker = STYLES[depths.index(int(name.rpartition("_")[2])) % len(STYLES)]
        raw = name.startswith(RAW)
        shown[name] = {
            "label": name.replace("_", " ").replace("raw exit", "raw early exit"),
            "marker": marker,
            "color": to_rgb(colour),
            "markerfacecolor": "white" if raw else colour,
            "linestyle": "--" if raw else "-",
        }
    return shown


def legend_outside(figure: Figure, columns: int, place: Place = "outside lower center") -> None:
    """One legend below or above all panels, each label once."""
    once: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            once.setdefault(label, handle)
    figure.legend(list(once.values()), list(once), loc=place,
                  ncols=min(columns, len(once)), frameon=False)  # fmt: skip


def draw_grid(found: pd.DataFrame, title: str) -> Figure:
    """A heat map of shares with their numbers: rows by columns of a table."""
    width, height = 2.2 + 1.15 * found.shape[1], 1.2 + 0.32 * found.shape[0]
    figure = Figure(figsize=(width, height), layout="constrained", dpi=DPI)
    axes = figure.subplots()
    axes.imshow(found.to_numpy(), cmap="cividis", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(found.shape[1]), [str(name).replace("_", " ") for name in found])
    axes.set_yticks(range(found.shape[0]), [str(name).replace("_", " ") for name in found.index])
    axes.set_ylabel(found.index.name or "")
    axes.set_title(title, fontsize=10)
    write_shares(axes, found.to_numpy().tolist(), 0.5, decimals=1)
    return figure


def draw_positions(found: dict[str, pd.DataFrame]) -> Figure:
    """KL by position, a panel for each sub-model; see `sorted_runs.positions_by_submodel`."""
    figure = Figure(figsize=(1.2 + 2.2 * len(found), 3.8), layout="constrained", dpi=DPI)
    panels = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    for axes, (name, table) in zip(panels, found.items(), strict=True):
        for method, (colour, marker) in zip(table, cycle(STYLES), strict=False):
            axes.plot(table.index, table[method], marker=marker, color=colour, label=method)
        axes.set_xscale("log", base=2)
        log_values(axes)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}")
        axes.set_title(name.replace("_", " "), fontsize=10)
        plain(axes)
    panels[0].set_ylabel("KL to its full model (nats)")
    figure.supxlabel("position in the answer (first token of each octave)", fontsize=10)
    legend_outside(figure, columns=5, place="outside upper center")
    return figure
