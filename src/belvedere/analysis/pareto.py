"""Which sub-models are the best at their speed."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from belvedere.runs.compare import value_of
from belvedere.runs.report import METRICS

Row = dict[str, Any]


def front(rows: Sequence[Row], metric: str, *, low: bool) -> list[Row]:
    """The rows that no other row beats in both decoding speed and a metric, slowest first.

    Args:
        rows: of reports.
        metric: of their ``metrics``.
        low: whether it had better be low.
    """
    sign = -1 if low else 1
    found: list[Row] = []
    best = float("-inf")
    ordered = sorted(rows, key=lambda r: (r["speedup"], sign * r["metrics"][metric]), reverse=True)
    for row in ordered:
        value = sign * row["metrics"][metric]
        if value > best:
            found.append(row)
            best = value
    return found[::-1]


def without_copies(rows: Sequence[Row]) -> list[Row]:
    """The rows but for baselines of full depth: each is the full model of another row."""
    deepest = max(row["layers"] for row in rows)
    return [row for row in rows if row["kind"] != "baseline" or row["layers"] < deepest]


def listed(rows: Sequence[Row], metrics: Sequence[str]) -> pd.DataFrame:
    """Merged rows as a table: method, layers, metrics with their spread over runs, speed-up.

    Args:
        rows: as of `belvedere.runs.compare.merge`.
        metrics: of them; a row that lacks one has a dash.
    """
    cells = []
    for row in rows:
        values = {METRICS[metric][0]: value_of(row, metric) for metric in metrics}
        if row["runs"] == 1:  # a single run has no spread
            values = {title: value.partition(" ±")[0] for title, value in values.items()}
        speed = {"speed-up": f"{row['speedup']:.2f}x", "runs": row["runs"]}
        cells.append({"method": row["method"], "layers": row["layers"], **values, **speed})
    return pd.DataFrame(cells, index=pd.Index([row["name"] for row in rows], name="sub-model"))


def said_of_front(rows: Sequence[Row], metric: str = "agreement") -> str:
    """Which sub-models no other one beats in both speed and a metric, in a sentence.

    Args:
        rows: as of `belvedere.runs.compare.merge`; full models and baselines of full depth, which
            are those again, are left out.
        metric: that had better be high.
    """
    deepest = max(row["layers"] for row in rows)
    best = front([row for row in rows if row["layers"] < deepest], metric, low=False)
    methods: dict[str, list[str]] = {}
    for row in best:
        methods.setdefault(row["method"], []).append(str(row["layers"]))
    named = "; ".join(f"{name} with {', '.join(layers)}" for name, layers in methods.items())
    return f"No sub-model is both faster and in closer {metric} than these (layers): {named}."
