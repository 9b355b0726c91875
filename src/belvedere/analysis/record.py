"""Records what the notebooks of language models show, small enough to ship with the project.

The command is ``python -m belvedere.analysis.record NAME RUN [RUN ...]``; a run is a folder with a
report, or one that holds such folders. It writes ``data/recorded/NAME``: each run's report without
this machine's paths, and what its answers gave. With ``--tokens`` what was measured of the tokens
and exits of the first run with exits is recorded too; with ``--speeds`` the speeds of all runs are
measured anew, in turn.
"""

import argparse
import json
import shutil
from pathlib import Path

from belvedere.analysis.exit_layers import FOLDER
from belvedere.analysis.place import RECORDED
from belvedere.analysis.sorted_runs import ANSWERS_FILE, answers_of
from belvedere.analysis.speeds import in_turn
from belvedere.analysis.tokens import TOKENS_FILE, measure, with_exits
from belvedere.errors import BadInput, told_in_one_line
from belvedere.runs.compare import Run, read_runs, slug
from belvedere.runs.entry import PROJECT


def record(runs: list[Run], output: Path, *, tokens: bool = False) -> list[Path]:
    """Write what ships of some runs into a folder, in the place of what is there.

    Args:
        runs: of language models.
        output: the folder; each run has one below it, named by method and seed.
        tokens: whether the first run with exits has its tokens and exits recorded as well.

    Returns:
        The files.

    Raises:
        BadInput: two runs of one method and seed; a chart reader; tokens asked for, and no exits.
    """
    names = [f"{slug(run.method)}_seed_{run.report['seed']}" for run in runs if _language(run)]
    if len(set(names)) < len(names):
        raise BadInput("two of the runs have one method and seed", remedy="give each once")
    shutil.rmtree(output, ignore_errors=True)
    for run, name in zip(runs, names, strict=True):
        folder = output / name
        folder.mkdir(parents=True)
        text = json.dumps(run.report, indent=1, ensure_ascii=False)
        (folder / "report.json").write_text(without_paths(text) + "\n", encoding="utf-8")
    if tokens:
        _record_tokens(runs, [output / name for name in names])
    answers = answers_of(output, runs)
    if answers.scores:
        (output / ANSWERS_FILE).write_text(answers.to_json(), encoding="utf-8")
    return sorted(file for file in output.rglob("*") if file.is_file())


def _language(run: Run) -> bool:
    if "submodels" not in run.report:
        raise BadInput(
            "is a run of a chart reader", where=str(run.folder), remedy="give language models"
        )
    return True


def _record_tokens(runs: list[Run], folders: list[Path]) -> None:
    """Copy what was measured of the first run with exits; it is measured if that was not done."""
    measured = with_exits(runs)
    if not (measured / FOLDER / TOKENS_FILE).exists():
        measure(measured)
    (into,) = (folder for run, folder in zip(runs, folders, strict=True) if run.folder == measured)
    shutil.copytree(measured / FOLDER, into / FOLDER)


def without_paths(text: str) -> str:
    """A text whose paths below the project's folder are relative to it."""
    return text.replace(f"{PROJECT}/", "")


@told_in_one_line()
def main() -> None:
    """Record what notebooks show of runs."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("name", help="of the folder in data/recorded")
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--tokens", action="store_true", help="and tokens and exits")
    parser.add_argument("--speeds", action="store_true", help="measure them anew, all in turn")
    args = parser.parse_args()
    runs = read_runs(args.runs)
    output = PROJECT / RECORDED / args.name
    for file in record(in_turn(runs) if args.speeds else runs, output, tokens=args.tokens):
        print(f"{file.stat().st_size:>9,} {file.relative_to(PROJECT)}")


if __name__ == "__main__":
    main()
