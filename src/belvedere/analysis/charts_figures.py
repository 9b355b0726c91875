"""Figures of a chart reader's answers: told apart by place and shape, not by colour alone."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from belvedere.analysis.charts import interval
from belvedere.analysis.charts_calibration import Calibration
from belvedere.analysis.place import DPI
from belvedere.metrics.chart_tasks import HEADLINE
from belvedere.runs.chart_report import SHOWN
from belvedere.runs.figures import STYLES

BLUE, ORANGE, GREEN = (colour for colour, _ in STYLES[:3])
PALE = "#9ecae9"
"""As light in grey as `BLUE` is dark."""


def draw_errors(errors: pd.DataFrame, counts: Mapping[str, int]) -> Figure:
    """The errors of each kind of chart in each task as a map of shades with their numbers.

    Args:
        errors: of `belvedere.analysis.charts.errors`.
        counts: charts of each kind.
    """
    figure = Figure(
        figsize=(2.3 + 1.15 * errors.shape[1], 1.1 + 0.38 * len(errors)),
        dpi=DPI,
        layout="constrained",
    )
    axes = figure.subplots()
    image = axes.imshow(errors.to_numpy(), cmap="cividis_r", vmin=0, vmax=100, aspect="auto")
    titles = [f"{task}\n{SHOWN[HEADLINE[task]][0]}" for task in errors.columns]
    axes.set_xticks(range(len(titles)), titles, fontsize=8.5)
    axes.set_yticks(range(len(errors)), [f"{kind} ({counts[kind]})" for kind in errors.index])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.axhline(len(errors) - 1.5, color="white", linewidth=3)
    for (i, j), value in np.ndenumerate(errors.to_numpy()):
        colour = "white" if value > 50 else "black"
        text = "–" if np.isnan(value) else f"{value:.0f}"
        axes.text(j, i, text, ha="center", va="center", color=colour)
    figure.colorbar(image, label="error, % (0 is all right)")
    return figure


def draw_rules(rules: pd.DataFrame) -> Figure:
    """The share of right answers by each rule, by the form of the right answer, with intervals.

    Args:
        rules: of `belvedere.analysis.charts.rules_by_form`.
    """
    figure = Figure(figsize=(7, 3.4), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    looks = (("relaxed", PALE, "", "relaxed accuracy"), ("strict", BLUE, "", "strict"),
             ("exact", "white", "///", "letter for letter"))  # fmt: skip
    at = np.arange(len(rules))
    for number, (rule, colour, hatch, label) in enumerate(looks):
        shares = rules[rule].to_numpy(float)
        bounds = [interval(s * n, n) for s, n in zip(shares, rules["n"], strict=True)]
        whiskers = np.abs(np.array(bounds).T - shares)
        axes.bar(at + 0.26 * (number - 1), 100 * shares, 0.24, yerr=100 * whiskers, color=colour,
                 hatch=hatch, edgecolor="black", linewidth=0.8, label=label, capsize=2,
                 error_kw={"elinewidth": 1})  # fmt: skip
    axes.set_xticks(at, [f"{form}\n({n})" for form, n in zip(rules.index, rules["n"], strict=True)])
    axes.set(ylabel="questions answered right, %", xlabel="right answer (questions)")
    _plain(axes, "y")
    figure.legend(loc="outside upper center", ncols=len(looks), frameon=False)
    return figure


def draw_tables(scores: pd.DataFrame) -> Figure:
    """RMS precision and recall: of each chart; and means for each kind beside its charts' RMS-F1.

    Args:
        scores: of `belvedere.analysis.charts.table_scores`.
    """
    figure = Figure(figsize=(9.6, 4.2), dpi=DPI, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.25])
    left.plot([0, 100], [0, 100], color="grey", linewidth=1, linestyle=":")
    left.scatter(scores["precision"], scores["recall"], s=34, color=BLUE, alpha=0.45, linewidth=0.5,
                 edgecolor="black", clip_on=False, zorder=3)  # fmt: skip
    left.set(xlabel="RMS precision", ylabel="RMS recall", title="each chart",
             xlim=(0, 100), ylim=(0, 100), aspect="equal")  # fmt: skip
    _plain(left, "both")
    means = scores.groupby("kind")[["precision", "recall", "f1"]].mean().sort_values("f1")
    counts = scores["kind"].value_counts()
    at = np.arange(len(means))
    for height, kind in enumerate(means.index):
        found = scores.loc[scores["kind"] == kind, "f1"]
        right.plot(found, [height] * len(found), "|", color="grey", markersize=13, clip_on=False,
                   label=None if height else "RMS-F1 of a chart")  # fmt: skip
    right.plot(means["precision"], at + 0.17, "o", color=BLUE, markersize=6, clip_on=False,
               label="mean precision")  # fmt: skip
    right.plot(means["recall"], at - 0.17, "D", markerfacecolor="white", color=ORANGE, markersize=5,
               label="mean recall", clip_on=False)  # fmt: skip
    right.set_yticks(at, [f"{kind} ({counts[kind]})" for kind in means.index])
    right.set(xlabel="RMS", title="each kind of chart", xlim=(0, 101))
    right.set_xticks(range(0, 101, 20))
    right.margins(y=0.06)
    _plain(right, "both")
    handles, labels = right.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def draw_reliability(calibrations: Mapping[str, Calibration], what: str) -> Figure:
    """Reliability diagrams: how often what has a probability is so, and how many there are.

    Args:
        calibrations: by the name of the probability, one panel each.
        what: is true, for the axis.
    """
    count = len(calibrations)
    figure = Figure(figsize=(0.6 + 3.9 * count, 4.7), dpi=DPI, layout="constrained")
    panels = figure.subplots(2, count, squeeze=False, sharex="col", height_ratios=[3.4, 1])
    for (above, below), (name, found) in zip(panels.T, calibrations.items(), strict=True):
        bins = found.bins()
        whiskers = np.abs(bins[["low", "high"]].to_numpy().T - bins["true"].to_numpy())
        above.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1.2)
        above.errorbar(bins["probability"], bins["true"], whiskers, fmt="o-", color=BLUE,
                       capsize=2, linewidth=1.2, markersize=5, clip_on=False)  # fmt: skip
        above.set(title=f"calibration error {100 * found.error:.1f} %", ylabel=what,
                  xlim=(0, 1), ylim=(0, 1))  # fmt: skip
        below.hist(found.probability, np.linspace(0, 1, 11), color=PALE, edgecolor="black",
                   linewidth=0.8)  # fmt: skip
        below.set(xlabel=name, ylabel="answers")
        for axes in (above, below):
            _plain(axes, "both")
    return figure


def draw_no_chart(kinds: Mapping[str, NDArray[np.float64]]) -> Figure:
    """The probability of ``no chart`` of every question, by what the picture shows.

    Args:
        kinds: of `belvedere.analysis.charts_calibration.no_chart_by_kind`.
    """
    figure = Figure(figsize=(8, 0.9 + 0.33 * len(kinds)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    rng = np.random.default_rng(0)
    for at, values in enumerate(kinds.values()):
        heights = at + rng.uniform(-0.25, 0.25, len(values))
        axes.plot(values, heights, "o", color=BLUE, alpha=0.35, markersize=3.5, markeredgewidth=0,
                  clip_on=False)  # fmt: skip
        axes.plot([values.mean()] * 2, [at - 0.36, at + 0.36], color="black", linewidth=2.2)
    axes.axvline(0.5, color="grey", linewidth=1, linestyle=":")
    axes.set_yticks(range(len(kinds)), [f"{kind} ({len(v)})" for kind, v in kinds.items()])
    axes.invert_yaxis()
    axes.set(xlabel="probability of “no chart” (bar: mean)", xlim=(0, 1))
    _plain(axes, "x")
    return figure


def _plain(axes: Axes, grid: str) -> None:
    axes.grid(alpha=0.3, axis=grid)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
