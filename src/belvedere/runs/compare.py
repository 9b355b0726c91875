"""Merges the reports of any runs into one table and one pair of figures.

The command is ``python -m belvedere.runs.compare RUN [RUN ...] [--output DIR]``; a run is a folder
with a ``report.json``, or one that holds such folders at any depth, e.g. a sweep.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from belvedere.errors import BadInput
from belvedere.runs.entry import BAD_INPUT
from belvedere.runs.figures import write_figures

METRICS = ("loss", "kl_to_full", "agreement")


def read_reports(places: Iterable[Path]) -> list[dict[str, Any]]:
    """The reports at or below the given places, each once.

    Raises:
        BadInput: a place without a report.
    """
    files: dict[Path, None] = {}
    for place in places:
        found = [place / "report.json"] if (place / "report.json").exists() else []
        found = found or sorted(place.rglob("report.json"))
        if not found:
            raise BadInput(
                "there is no report.json", where=str(place), remedy="give folders of finished runs"
            )
        files |= {file.resolve(): None for file in found}
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def merge(reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each method and sub-model, with mean and standard deviation over the runs."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for report in reports:
        for row in report["submodels"]:
            groups.setdefault((row["method"], row["name"]), []).append(row)
    merged = []
    for (method, name), rows in groups.items():
        values = {metric: [row["metrics"][metric] for row in rows] for metric in METRICS}
        merged.append(
            {
                "method": method,
                "name": name,
                "kind": rows[0]["kind"],
                "layers": rows[0]["layers"],
                "runs": len(rows),
                "speedup": statistics.median(row["speedup"] for row in rows),
                "metrics": {metric: statistics.fmean(v) for metric, v in values.items()},
                "spread": {
                    metric: statistics.stdev(v) if len(v) > 1 else 0.0
                    for metric, v in values.items()
                },
            }
        )
    return sorted(merged, key=lambda row: (row["kind"] == "full", row["name"], row["method"]))


def table(merged: list[dict[str, Any]]) -> list[str]:
    """The merged rows as lines of a Markdown table: mean ± standard deviation."""
    lines = [
        "| sub-model | method | layers | loss | KL to full | agreement | speed-up | runs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in merged:
        mean, spread = row["metrics"], row["spread"]
        lines.append(
            f"| {row['name']} | {row['method']} | {row['layers']} "
            f"| {mean['loss']:.3f} ± {spread['loss']:.3f} "
            f"| {mean['kl_to_full']:.4f} ± {spread['kl_to_full']:.4f} "
            f"| {mean['agreement']:.1%} ± {spread['agreement']:.1%} "
            f"| {row['speedup']:.2f}x | {row['runs']} |"
        )
    return lines


def main() -> None:
    """Compare finished runs."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, default=Path("runs/comparison"))
    args = parser.parse_args()
    try:
        merged = merge(read_reports(args.runs))
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    figures = write_figures(merged, args.output)
    pictures = [f"![{figure.stem.replace('_', ' ')}]({figure.name})" for figure in figures]
    text = "\n".join(["# Comparison", "", *table(merged), "", *pictures])
    (args.output / "comparison.md").write_text(text + "\n", encoding="utf-8")
    print("\n".join(table(merged)))


if __name__ == "__main__":
    main()
