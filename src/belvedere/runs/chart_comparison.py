"""Puts the reports of chart readers side by side, the mean over the runs of each label."""

import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from belvedere.metrics.chart_tasks import HEADLINE
from belvedere.runs.chart_report import SHOWN
from belvedere.runs.report import aligned

Scores = Mapping[str, Mapping[str, float]]


def compared(reports: Iterable[dict[str, Any]]) -> list[str]:
    """Tables of all measures, and of each task's headline for each kind of chart.

    Args:
        reports: of chart readers; those of one label, or of one experiment where they have no
            label, are of the same kind and differ in their seeds.

    Returns:
        Lines of Markdown: mean ± standard deviation. A baseline that all reports have, such as the
        blank image, has a column of its own, of all runs.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for report in reports:
        groups.setdefault(report.get("label") or report["experiment"], []).append(report)
    return [*_by_task(groups), "", *_by_kind(groups)]


def _by_task(groups: Mapping[str, list[dict[str, Any]]]) -> list[str]:
    every = [report for reports in groups.values() for report in reports]
    shared = [
        name for name in every[0]["baselines"] if all(name in one["baselines"] for one in every)
    ]
    columns: dict[str, list[Scores]] = {
        label: [report["tasks"] for report in reports] for label, reports in groups.items()
    } | {name: [report["baselines"][name] for report in every] for name in shared}
    cells = [["task", "measure", *columns]]
    for task in HEADLINE:
        for measure, (title, _) in SHOWN.items():
            row = [spread(scores, task, measure) for scores in columns.values()]
            if any(cell != "-" for cell in row):
                cells.append([task, title, *row])
    counts = [f"{len(reports)}" for reports in groups.values()]
    cells.append(["runs", "", *counts, *[f"{len(every)}"] * len(shared)])
    return aligned(cells)


def _by_kind(groups: Mapping[str, list[dict[str, Any]]]) -> list[str]:
    kinds = dict.fromkeys(
        kind for reports in groups.values() for report in reports for kind in report["kinds"]
    )
    cells = [["charts", "task, measure", *groups]]
    for kind in kinds:
        for task, measure in HEADLINE.items():
            row = [
                spread([report["kinds"].get(kind, {}) for report in reports], task, measure)
                for reports in groups.values()
            ]
            if any(cell != "-" for cell in row):
                cells.append([kind, f"{task}, {SHOWN[measure][0]}", *row])
    return aligned(cells) if kinds else []


def spread(scores: Iterable[Scores], task: str, measure: str) -> str:
    """A measure's mean ± standard deviation over runs, or a dash where a run lacks it."""
    values = [one.get(task, {}).get(measure) for one in scores]
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return "-"
    form = SHOWN[measure][1].format
    off = statistics.stdev(known) if len(known) > 1 else 0.0
    return f"{form(statistics.fmean(known))} ± {form(off)}"
