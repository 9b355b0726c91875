"""Figures of a run: quality against depth and against measured speed."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

# Okabe and Ito's palette is told apart without colour vision; markers differ as well.
STYLES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#000000", "*"))
METRICS = {
    "agreement": "agreement with the full model",
    "kl_to_full": "KL to the full model (nats)",
}


def write_figures(submodels: list[dict[str, Any]], folder: Path) -> list[Path]:
    """Draw quality against depth and against speed as PNG files, and name them."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for name, key, label in (
        ("quality_against_depth", "layers", "decoder layers that a token goes through"),
        ("quality_against_speed", "speedup", "decoding speed, full model = 1"),
    ):
        file = folder / f"{name}.png"
        draw(submodels, key, label).savefig(file, dpi=150)
        found.append(file)
    return found


def draw(submodels: list[dict[str, Any]], key: str, label: str) -> Figure:
    """Agreement and KL of every method against ``key`` of its sub-models."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    methods = list(dict.fromkeys(row["method"] for row in submodels if row["kind"] != "full"))
    for axes, (metric, title) in zip(figure.subplots(1, 2), METRICS.items(), strict=True):
        for method, (colour, marker) in zip(methods, STYLES, strict=False):
            rows = sorted((r for r in submodels if r["method"] == method), key=lambda r: r[key])
            xs = [row[key] for row in rows]
            ys = [row["metrics"][metric] for row in rows]
            axes.plot(xs, ys, marker=marker, color=colour, label=method, linewidth=1.5)
        for row in submodels:
            if row["kind"] == "full" and metric == "agreement":
                axes.plot(row[key], row["metrics"][metric], "*", color="black", markersize=11,
                          label="full model")  # fmt: skip
        if metric == "kl_to_full":
            axes.set_yscale("log")
        axes.set(xlabel=label, title=title)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure
