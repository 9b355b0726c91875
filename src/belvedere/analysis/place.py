"""Where a notebook finds what it shows: a run of one's own, or the recorded results that ship."""

import os
from collections.abc import Sequence
from pathlib import Path

from belvedere.errors import BadInput
from belvedere.runs.compare import Run, read_runs, told_apart
from belvedere.runs.entry import PROJECT

RECORDED = Path("data") / "recorded"
"""The recorded results, in the project's folder."""
ONLY_RECORDED = "BELVEDERE_RECORDED"
"""With this in the environment notebooks show recorded results, whatever runs are there."""
DPI = 100
"""Of figures in notebooks: readable, and a page of them stays small."""


def locate(run: str, recorded: str) -> Path:
    """The folder of a run that is there and complete, else of the recorded results.

    It prints one sentence that says which of them is shown.

    Args:
        run: a run's folder, or one with runs at any depth below it, as of a comparison. A relative
            one is looked for in the working directory and in the project's folder.
        recorded: a folder in ``data/recorded``.

    Raises:
        BadInput: neither has a ``report.json``.
    """
    own = None if os.environ.get(ONLY_RECORDED) else found(run)
    if own is not None:
        print(f"This page shows the run {run}.")
        return own
    place = PROJECT / RECORDED / recorded
    if not complete(place):
        raise BadInput(
            "there is no finished run and nothing was recorded",
            where=run,
            remedy=f"train one first, or restore {RECORDED / recorded}",
        )
    print(f"This page shows recorded results ({(RECORDED / recorded).as_posix()}), not {run}.")
    return place


def complete(place: Path) -> bool:
    """Whether a run has ended there, or in a folder below."""
    return (place / "report.json").exists() or next(place.glob("**/report.json"), None) is not None


def found(run: str) -> Path | None:
    """The folder of a run that is there and complete, in the working directory or the project."""
    return next((place for place in (Path(run), PROJECT / run) if complete(place)), None)


def runs_of(place: Path, rivals: Sequence[str] = ()) -> list[Run]:
    """The runs at or below a place, and those of its rivals that are there, told apart by name.

    Recorded results have their rivals beside them and get no others. A rival that was tested on
    other data is left out, and named.

    Args:
        place: as of `locate`.
        rivals: folders of runs, as `locate` takes them.

    Raises:
        BadInput: there is no run at the place.
    """
    runs = read_runs([place])
    if not place.resolve().is_relative_to(PROJECT / RECORDED):
        for rival in rivals:
            there = found(rival)
            more = [] if there is None else read_runs([there])
            runs += [one for one in more if tested_on(one) == tested_on(runs[0])]
            if any(tested_on(one) != tested_on(runs[0]) for one in more):
                print(f"{rival} was tested on other data, and is left out.")
    return told_apart(runs)


def tested_on(run: Run) -> tuple[str | None, int | None]:
    """The name of a run's data, and how many tokens its test split has."""
    data = run.report["data"]
    return data.get("name"), data.get("test_tokens")
