"""Sub-models of sorted fine-tuning beside SFT's and SFT+ICT's: tables of what their runs report.

Runs are those that `belvedere.runs.compare.read_runs` finds, told apart by method; numbers are
means over runs that differ in nothing but their seed.
"""

import copy
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from belvedere.analysis.agreement import called
from belvedere.metrics.answers import exact_match
from belvedere.runs.answers import read_answers
from belvedere.runs.compare import UNTUNED, Run, Scores, judged, mean_positions, merge
from belvedere.runs.report import METRICS
from belvedere.soft.judge import ReferenceJudge

ANSWERS_FILE = "answers.json"
"""What `answers_of` says, recorded beside runs whose answers are not."""
CHANGED = ("both right", "only this one right", "only SFT right", "neither right")


@dataclass(frozen=True)
class Answered:
    """What was found by comparing the answers of runs.

    Attributes:
        judge: who compared them.
        scores: for each pair of methods the judge's score of each sub-model of the one against
            each of the other.
        changed: for each method the share of the prompts of each of `CHANGED`, full model against
            SFT's full model of the same seed.
    """

    judge: str
    scores: dict[tuple[str, str], Scores]
    changed: dict[str, dict[str, float]]

    def to_json(self) -> str:
        """As `answers_of` reads it."""
        pairs = [
            {"method": method, "rival": rival, "scores": scores}
            for (method, rival), scores in self.scores.items()
        ]
        found = {"judge": self.judge, "pairs": pairs, "changed": self.changed}
        return json.dumps(found, indent=1) + "\n"


def answers_of(place: Path, runs: Sequence[Run]) -> Answered:
    """Compare the answers of runs, or read what was recorded of them in their place.

    Both lists are empty where no run has answers.
    """
    file = place / ANSWERS_FILE
    if file.exists():
        found = json.loads(file.read_text(encoding="utf-8"))
        scores = {(pair["method"], pair["rival"]): pair["scores"] for pair in found["pairs"]}
        return Answered(found["judge"], scores, found["changed"])
    judge = ReferenceJudge()
    return Answered(judge.name, judged(list(runs), judge), changed_answers(runs))


def changed_answers(runs: Sequence[Run]) -> dict[str, dict[str, float]]:
    """How the right answers of full models differ from those of SFT's; see `Answered.changed`."""
    right = {(run.method, run.report["seed"]): _right(run) for run in runs}
    found: dict[str, list[pd.Series]] = {}
    for (method, seed), ours in right.items():
        base = right.get(("sft", seed), [])
        if method == "sft" or not ours or len(ours) != len(base):
            continue
        names = [
            CHANGED[2 * (not own) + (not theirs)] for own, theirs in zip(ours, base, strict=True)
        ]
        shares = pd.Series(names).value_counts(normalize=True).reindex(CHANGED, fill_value=0.0)
        found.setdefault(method, []).append(shares)
    return {
        method: {name: float(value) for name, value in (sum(rows) / len(rows)).items()}
        for method, rows in found.items()
    }


def _right(run: Run) -> list[bool]:
    """Whether each answer of the run's full model is right; none of one before fine-tuning."""
    if any(row["name"] == "full" and row["method"] == UNTUNED for row in run.report["submodels"]):
        return []
    answers = read_answers(run.folder).get("full", [])
    return [exact_match(one["answer"], one["accepted"]) for one in answers]


def grid(runs: Sequence[Run], metric: str) -> pd.DataFrame:
    """A metric of each sub-model (rows, by layers) for each method (columns).

    Heads on a frozen model have its full model in their column, whatever reports call it; the
    model before fine-tuning, which extracted layers are held against, has none.

    Args:
        runs: baselines of theirs are left out.
        metric: of their rows; what a method does not have is NaN.
    """
    named = []
    for run in runs:
        report = copy.deepcopy(run.report)
        kept = [
            row
            for row in report["submodels"]
            if row["kind"] != "baseline" and row["method"] != UNTUNED and metric in row["metrics"]
        ]
        report["submodels"] = [row | {"method": run.method} for row in kept]
        named.append(Run(run.folder, report))
    cells: dict[str, dict[int, float]] = {}
    for row in merge(named):
        cells.setdefault(row["method"], {})[row["layers"]] = row["metrics"][metric]
    found = pd.DataFrame({method: cells[method] for method in sorted(cells, key=_method_order)})
    return found.sort_index().rename_axis("layers")


def groups(runs: Sequence[Run], method: str) -> pd.DataFrame:
    """Exact match of each sub-model of a method (columns) in each group of prompts (rows).

    Groups are in the order of their mean; empty where the prompts have no groups.
    """
    tables = [
        pd.DataFrame(run.report["exact_match_by_group"])
        for run in runs
        if run.method == method and run.report.get("exact_match_by_group")
    ]
    if not tables:
        return pd.DataFrame()
    found = sum(tables[1:], tables[0]) / len(tables)
    return found.loc[found.mean(axis=1).sort_values(kind="stable").index]


def positions_by_submodel(runs: Sequence[Run]) -> dict[str, pd.DataFrame]:
    """For each trained sub-model the KL to its full model: positions (rows) by methods (columns).

    The index is the first position of each octave, from 1.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for method, names in mean_positions(list(runs)).items():
        for name, values in names.items():
            if not name.startswith("exit_"):
                continue
            found.setdefault(name, {})[method] = values
    ordered = sorted(found, key=lambda name: int(name.rpartition("_")[2]))
    return {name: _by_octave(found[name]) for name in ordered}


def _by_octave(values: dict[str, list[float]]) -> pd.DataFrame:
    columns = sorted(values, key=_method_order)
    table = pd.DataFrame({method: pd.Series(values[method]) for method in columns})
    return table.set_axis([2**number for number in table.index])


def said_of_grid(found: pd.DataFrame, metric: str) -> str:
    """At how many depths SoFT is above SFT and SFT+ICT, and how its full model stands to SFT's."""
    if "soft" not in found or "sft" not in found:
        return ""
    title, form = METRICS[metric]
    early, full = found.iloc[:-1], found.iloc[-1]
    lines = [
        f"SoFT has the higher {title} than {rival.upper()} at "
        f"{int((early['soft'] > early[rival]).sum())} of {int(early[rival].notna().sum())} depths "
        "below the full model."
        for rival in ("sft", "sft+ict")
        if rival in found
    ]
    lines.append(
        f"At full depth SoFT has {form.format(full['soft'])}, SFT {form.format(full['sft'])}."
    )
    return "\n".join(lines)


def said_of_changes(changed: dict[str, dict[str, float]]) -> str:
    """What share of the prompts each method's full model answers otherwise than SFT's."""
    return "\n".join(
        f"{method}: {row[CHANGED[2]]:.1%} of the prompts lost, {row[CHANGED[1]]:.1%} won."
        for method, row in changed.items()
    )


def said_of_positions(found: dict[str, pd.DataFrame]) -> str:
    """For each sub-model the mean over octaves of the KL of SFT, for that of SoFT."""
    lines = []
    for name, table in found.items():
        if {"soft", "sft"} <= set(table):
            ratio = statistics.fmean(table["sft"] / table["soft"])
            lines.append(
                f"{called(name)}: the KL of SFT is {ratio:.1f} times that of SoFT, "
                "the mean over the octaves."
            )
    return "\n".join(lines)


def _method_order(method: str) -> tuple[int, str]:
    """SFT, SFT+ICT, SoFT, then others by name."""
    known = ("sft", "sft+ict", "soft")
    return (known.index(method) if method in known else len(known), method)
