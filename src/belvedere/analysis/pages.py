"""Executes the notebooks on the recorded results: ``python -m belvedere.analysis.pages``."""

import os
from pathlib import Path
from typing import Any

from belvedere.analysis.place import ONLY_RECORDED
from belvedere.errors import BadInput, told_in_one_line
from belvedere.runs.entry import PROJECT

NOTEBOOKS = PROJECT / "notebooks"
LONGEST = 300
"""Seconds that a cell may take."""


def notebooks() -> list[Path]:
    """The project's notebooks."""
    return sorted(NOTEBOOKS.glob("*.ipynb"))


def executed(file: Path) -> Any:
    """A notebook with the outputs that its cells have now; the file stays as it is.

    Raises:
        BadInput: what executes notebooks is not installed.
        nbclient.exceptions.CellExecutionError: a cell raises an error.
    """
    nbformat, client_of = _jupyter()
    page = nbformat.read(file, as_version=4)
    environment = os.environ | {ONLY_RECORDED: "1"}
    client = client_of(page, timeout=LONGEST, record_timing=False)
    client.resources = {"metadata": {"path": str(file.parent)}}
    return client.execute(env=environment)


def _jupyter() -> tuple[Any, Any]:
    """``nbformat`` and ``NotebookClient``, which are an extra. Raises `BadInput` without it."""
    try:
        import nbformat
        from nbclient import NotebookClient
    except ImportError as error:
        raise BadInput(
            f"{error.name} is not installed", remedy="pip install -e '.[notebooks]'"
        ) from error
    return nbformat, NotebookClient


@told_in_one_line()
def main() -> None:
    """Execute the notebooks in their place."""
    nbformat, _ = _jupyter()
    for file in notebooks():
        nbformat.write(executed(file), file)
        print(f"{file.stat().st_size:>9,} {file.relative_to(PROJECT)}")


if __name__ == "__main__":
    main()
