"""Merges the reports of any runs into one report with tables and figures.

The command is ``python -m belvedere.runs.compare RUN [RUN ...] [--output DIR]``; a run is a folder
with a ``report.json``, or one that holds such folders at any depth, e.g. a sweep. Language models
are compared by sub-model, chart readers by task and kind of chart; means are over runs that differ
in nothing but their seed. Where the runs answered prompts, the answers of every two methods are
compared by a judge as well. After a sweep of ``train.py`` its folder has this comparison already.
"""

import argparse
import copy
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from belvedere.errors import BadInput, told_in_one_line
from belvedere.runs.answers import read_answers
from belvedere.runs.chart_comparison import compared
from belvedere.runs.figures import (
    draw_heat_map,
    draw_positions,
    draw_qualities,
    save,
    write_figures,
)
from belvedere.runs.judge import add_judge_options, chosen_judge, scores_of
from belvedere.runs.report import CHANGES, METRICS, aligned, change
from belvedere.runs.sweeps import (
    NO_SETTINGS,
    Failure,
    Settings,
    failures,
    settings_of,
    told,
    varying,
)
from belvedere.soft.judge import Judge, ReferenceJudge

UNTUNED = "not fine-tuned"
"""What `ExtractedModule` calls the model that it took its layers from."""

OF_TRAINING = ("experiment", "model.", "trainer.")
"""Beginnings of the settings that say how is trained."""

Scores = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: where it is.
        report: its ``report.json``.
    """

    folder: Path
    report: dict[str, Any]

    @property
    def method(self) -> str:
        """What its sub-models are called."""
        rows = self.report["submodels"]
        return next((row["method"] for row in rows if row["kind"] == "exit"), rows[-1]["method"])


@dataclass(frozen=True)
class Named:
    """A part of a report that has a name.

    Attributes:
        part: of the report.
        key: of the name in it.
        submodel: which one it is of.
        settings: of the run.
    """

    part: dict[str, Any]
    key: str
    submodel: str
    settings: Settings


def read_runs(places: Iterable[Path]) -> list[Run]:
    """The runs at or below the given places, each once.

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
    return [Run(file.parent, json.loads(file.read_text(encoding="utf-8"))) for file in files]


def told_apart(runs: list[Run]) -> list[Run]:
    """The runs, with what those of one name have set otherwise as a part of that name.

    A name is a sub-model's method, or what a chart reader is called. Sub-models of which nothing
    was trained are the same whatever the training, and what no sub-model is there twice for, such
    as the depth of an extracted one, tells nothing apart.
    """
    runs = copy.deepcopy(runs)
    named: dict[tuple[str, bool], list[Named]] = {}
    for run in runs:
        settings = settings_of(run.folder)
        if "tasks" in run.report:
            name = run.report.get("label") or run.report["experiment"]
            named.setdefault((name, True), []).append(Named(run.report, "label", "", settings))
            continue
        for row in run.report["submodels"]:
            trained = row.get("trained_parameters") != 0
            entry = Named(row, "method", row["name"], settings)
            named.setdefault((row["method"], trained), []).append(entry)
    for (name, trained), entries in named.items():
        ignored = NO_SETTINGS if trained else NO_SETTINGS + OF_TRAINING
        alike = [
            [entry.settings for entry in entries if entry.submodel == submodel]
            for submodel in {entry.submodel: None for entry in entries}
        ]
        keys = dict.fromkeys(key for settings in alike for key in varying(settings, ignored))
        for entry in entries:
            entry.part[entry.key] = ", ".join([name, *told(entry.settings, keys)])
    return runs


def merge(runs: list[Run]) -> list[dict[str, Any]]:
    """One row for each method and sub-model, with mean and standard deviation over the runs."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in runs:
        for row in run.report["submodels"]:
            groups.setdefault((row["method"], row["name"]), []).append(row)
    merged = []
    for (method, name), rows in groups.items():
        values = {
            metric: [row["metrics"][metric] for row in rows]
            for metric in METRICS
            if all(metric in row["metrics"] for row in rows)
        }
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
    return sorted(
        merged, key=lambda row: (row["kind"] == "full", row["layers"], row["name"], row["method"])
    )


def value_of(row: dict[str, Any], metric: str) -> str:
    """A merged row's metric as mean ± standard deviation, or a dash."""
    if metric not in row["metrics"]:
        return "-"
    form = METRICS[metric][1].format
    return f"{form(row['metrics'][metric])} ± {form(row['spread'][metric])}"


def table(merged: list[dict[str, Any]]) -> list[str]:
    """The merged rows as lines of a Markdown table: mean ± standard deviation."""
    shown = [m for m in METRICS if m != "perplexity" and any(m in r["metrics"] for r in merged)]
    titles = [METRICS[metric][0] for metric in shown]
    cells = [["sub-model", "method", "layers", *titles, "speed-up", "runs"]]
    for row in merged:
        values = [value_of(row, metric) for metric in shown]
        speed = f"{row['speedup']:.2f}x"
        cells.append(
            [row["name"], row["method"], str(row["layers"]), *values, speed, str(row["runs"])]
        )
    return aligned(cells)


def by_method(merged: list[dict[str, Any]], metric: str) -> list[str]:
    """One metric as a table of sub-models by methods."""
    methods = list(dict.fromkeys(row["method"] for row in merged))
    names = list(dict.fromkeys(row["name"] for row in merged))
    found = {(row["name"], row["method"]): value_of(row, metric) for row in merged}
    cells = [[METRICS[metric][0], *methods]]
    cells += [[name, *(found.get((name, method), "-") for method in methods)] for name in names]
    return aligned(cells)


def full_models(merged: list[dict[str, Any]]) -> list[str]:
    """What each method made of the full model, and the change against SFT, as a table."""
    rows = [row for row in merged if row["name"] == "full"]
    base = next((row for row in rows if row["method"] == "sft"), None)
    if base is None:
        return []
    shown = [metric for metric in CHANGES if metric in base["metrics"]]
    cells = [["full model", *(METRICS[metric][0] for metric in shown)]]
    for row in rows:
        line = [row["method"]]
        for metric in shown:
            known = row is not base and metric in row["metrics"]
            gain = f" ({change(metric, row['metrics'], base['metrics'])})" if known else ""
            line.append(value_of(row, metric) + gain)
        cells.append(line)
    return ["## The full model, and its change against SFT", "", *aligned(cells), ""]


def sorted_against(merged: list[dict[str, Any]], metric: str = "exact_match") -> list[str]:
    """Whether each SoFT sub-model beats the same depth of SFT and SFT+ICT, as the paper claims."""
    found = {
        (row["name"], row["method"]): row
        for row in merged
        if row["kind"] != "baseline" and metric in row["metrics"]
    }
    lines = [
        f"- {name} against {rival}: {verdict(row, found[name, rival], metric)}"
        for (name, method), row in found.items()
        if method == "soft"
        for rival in ("sft", "sft+ict")
        if (name, rival) in found
    ]
    return ["## SoFT against the same depth of SFT and SFT+ICT", "", *lines, ""] if lines else []


def verdict(ours: dict[str, Any], theirs: dict[str, Any], metric: str) -> str:
    """The difference of a metric that had better be high, and whether it goes beyond the spread.

    It is within the spread where it is no larger than both standard deviations together.
    """
    gain = ours["metrics"][metric] - theirs["metrics"][metric]
    spread = ours["spread"][metric] + theirs["spread"][metric]
    judged = "within the spread" if abs(gain) <= spread else "better" if gain > 0 else "worse"
    title = METRICS[metric][0]
    return f"{title} {change(metric, ours['metrics'], theirs['metrics'])}, {judged}"


def mean_positions(runs: list[Run]) -> dict[str, dict[str, list[float]]]:
    """KL of each octave of positions for each method and sub-model, the mean over its runs."""
    found: dict[str, dict[str, list[list[float]]]] = {}
    for run in runs:
        positions = run.report.get("kl_by_position") or {}
        for name, values in positions.get("submodels", {}).items():
            found.setdefault(run.method, {}).setdefault(name, []).append(values)
    return {
        method: {
            name: [statistics.fmean(values) for values in zip(*rows, strict=False)]
            for name, rows in names.items()
        }
        for method, names in found.items()
    }


def judged(runs: list[Run], judge: Judge) -> dict[tuple[str, str], Scores]:
    """Judge scores of one method against each other one, the mean over pairs of runs of one seed.

    The one is SoFT, as in the paper's figures, or the first of the runs that answered prompts.
    """
    answered = [(run, read_answers(run.folder)) for run in runs]
    answered = [(run, answers) for run, answers in answered if answers]
    methods = list(dict.fromkeys(run.method for run, _ in answered))
    lead = "soft" if "soft" in methods else methods[0] if methods else ""
    found: dict[tuple[str, str], dict[str, dict[str, list[float]]]] = {}
    for (run, ours), (rival, theirs) in product(answered, answered):
        other = rival.method
        if run.method != lead or other == lead or run.report["seed"] != rival.report["seed"]:
            continue
        tuned = {r["name"] for r in rival.report["submodels"] if r["method"] != UNTUNED}
        theirs = {name: answers for name, answers in theirs.items() if name in tuned}
        pair = found.setdefault((lead, other), {})
        for name, scores in scores_of(judge, ours, theirs).items():
            for theirs_name, score in scores.items():
                pair.setdefault(name, {}).setdefault(theirs_name, []).append(score)
    return {
        pair: {
            name: {rival: statistics.fmean(v) for rival, v in scores.items()}
            for name, scores in rows.items()
        }
        for pair, rows in found.items()
    }


def compare_sweep(folder: Path) -> None:
    """Compare the runs of a sweep in its folder, and show the tables."""
    failed = failures([folder])
    runs = [] if failed and not any(folder.rglob("report.json")) else read_runs([folder])
    print("\n".join(write_comparison(runs, folder, ReferenceJudge(), failed)))
    print(f"\ncomparison: {folder / 'comparison.md'}")


def write_comparison(
    runs: list[Run], output: Path, judge: Judge, failed: Sequence[Failure]
) -> list[str]:
    """Write ``comparison.md`` with its figures into a folder; returns the tables for the screen.

    Args:
        runs: that have finished.
        output: the folder.
        judge: of answers.
        failed: runs that have not.
    """
    output.mkdir(parents=True, exist_ok=True)
    runs = told_apart(runs)
    charts = [run.report for run in runs if "tasks" in run.report]
    language = [run for run in runs if "tasks" not in run.report]
    shown = [
        *(compared(charts) if charts else []),
        *([""] if charts and language else []),
        *(table(merge(language)) if language else []),
    ]
    more = language_lines(language, output, judge) if language else []
    more += failed_lines(failed)
    text = "\n".join(["# Comparison", "", *shown, "", *more])
    (output / "comparison.md").write_text(text + "\n", encoding="utf-8")
    return shown


def language_lines(runs: list[Run], output: Path, judge: Judge) -> list[str]:
    """What is said of language models below their table; its figures go into the folder."""
    merged = merge(runs)
    lines = []
    if any(row["method"] == UNTUNED for row in merged):
        lines += [
            "KL and agreement of extracted models are to the full model before fine-tuning.",
            "",
        ]
    if any("exact_match" in row["metrics"] for row in merged):
        lines += [*by_method([r for r in merged if r["kind"] != "baseline"], "exact_match"), ""]
    lines += sorted_against(merged)
    lines += full_models(merged)
    for figure in write_figures(draw_qualities(merged), output):
        lines.append(f"![{figure.stem.replace('_', ' ')}]({figure.name})")
    for method, positions in mean_positions(runs).items():
        file = output / f"kl_by_position_{slug(method)}.png"
        save(draw_positions(positions), file)
        lines += ["", f"## KL to the full model by position: {method}", "", f"![]({file.name})"]
    try:
        found = judged(runs, judge)
    except BadInput as error:  # the tables stand without the judge
        found = {}
        lines += ["", f"Answers were not judged: {error}"]
    for (method, rival), scores in found.items():
        file = output / f"judge_{slug(method)}_against_{slug(rival)}.png"
        save(draw_heat_map(scores, method, rival, judge.name), file)
        lines += ["", f"## {method} against {rival}, by the {judge.name}", "", f"![]({file.name})"]
    return lines


def failed_lines(failed: Sequence[Failure]) -> list[str]:
    """What is said of runs that have failed."""
    if not failed:
        return []
    lines = [f"- {one.run} ({', '.join(one.settings)}): {one.line}" for one in failed]
    return ["", "## Runs that failed", "", *lines]


def slug(name: str) -> str:
    """A name as part of a file's name."""
    return "".join(c if c.isalnum() else "_" for c in name)


@told_in_one_line()
def main() -> None:
    """Compare finished runs."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, default=Path("runs/comparison"))
    add_judge_options(parser)
    args = parser.parse_args()
    judge = chosen_judge(args)
    shown = write_comparison(read_runs(args.runs), args.output, judge, failures(args.runs))
    print("\n".join(shown))


if __name__ == "__main__":
    main()
