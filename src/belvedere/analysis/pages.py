"""Executes the notebooks.

``python -m belvedere.analysis.pages`` executes those that ship, in their place, on the recorded
results. ``python -m belvedere.analysis.pages balcony RUN`` writes the page of one's own run into
the run's folder, as a notebook and as a page for a browser.
"""

import argparse
import os
import re
from pathlib import Path
from typing import Any

from belvedere.analysis.place import ONLY_RECORDED, found
from belvedere.errors import BadInput, told_in_one_line
from belvedere.runs.entry import PROJECT

NOTEBOOKS = PROJECT / "notebooks"
ENDING = "_analysis.ipynb"
LONGEST = 300
"""Seconds that a cell may take."""
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
LIBRARIES = ("mathjax", "require_js", "jquery", "mermaid_js", "mermaid_layout_elk_js")
NOTHING_ELSE = {f"{name}_url": "" for name in LIBRARIES}
"""Scripts that a page would load from elsewhere."""


def notebooks() -> list[Path]:
    """The project's notebooks."""
    return sorted(NOTEBOOKS.glob("*.ipynb"))


def executed(file: Path, run: Path | None = None) -> Any:
    """A notebook with the outputs that its cells have now; the file stays as it is.

    Args:
        file: the notebook.
        run: what it shows in the place of the recorded results.

    Raises:
        BadInput: what executes notebooks is not installed.
        nbclient.exceptions.CellExecutionError: a cell raises an error.
    """
    nbformat, client_of, _ = _jupyter()
    page = nbformat.read(file, as_version=4)
    environment = {key: value for key, value in os.environ.items() if key != ONLY_RECORDED}
    if run is None:
        environment[ONLY_RECORDED] = "1"
    else:
        first = next(cell for cell in page.cells if cell.cell_type == "code")
        first.source = re.sub("^RUN = .*", lambda _: f"RUN = {str(run)!r}", first.source)
    quiet = ["--IPKernelApp.log_level=ERROR"]
    client = client_of(page, timeout=LONGEST, record_timing=False, extra_arguments=quiet)
    client.resources = {"metadata": {"path": str(file.parent)}}
    return client.execute(env=environment)


def page_of(name: str, run: str) -> list[Path]:
    """Write what a notebook shows of a run into the run's folder ``analysis``.

    Args:
        name: of the notebook, as in `names`.
        run: the run's folder, or one with runs below it.

    Returns:
        The executed notebook, and the same as a page that loads nothing from elsewhere.

    Raises:
        BadInput: there is no finished run, or one that this notebook is not about; or what executes
            notebooks is not installed.
    """
    nbformat, _, exporter_of = _jupyter()
    place = found(run)
    if place is None:
        raise BadInput("there is no finished run", where=run, remedy="train one first")
    try:
        page = executed(NOTEBOOKS / f"{name}{ENDING}", place.resolve())
    except Exception as error:  # of the kernel, with a cell's traceback as its text
        said = COLOURS.sub("", str(error)).strip().splitlines()[-1]
        raise BadInput(f"the {name} notebook cannot show this run: {said}", where=run) from error
    file = place / "analysis" / f"{name}{ENDING}"
    file.parent.mkdir(exist_ok=True)
    nbformat.write(page, file)
    browsed = file.with_suffix(".html")
    browsed.write_text(exporter_of(**NOTHING_ELSE).from_notebook_node(page)[0], encoding="utf-8")
    return [file, browsed]


def names() -> list[str]:
    """The notebooks' names, without what all of them end on."""
    return [file.name.removesuffix(ENDING) for file in notebooks()]


def _jupyter() -> tuple[Any, Any, Any]:
    """``nbformat``, ``NotebookClient`` and ``HTMLExporter``, an extra; else raises `BadInput`."""
    try:
        import nbformat
        from nbclient import NotebookClient
        from nbconvert import HTMLExporter
    except ImportError as error:
        raise BadInput(
            f"{error.name} is not installed", remedy="pip install -e '.[notebooks]'"
        ) from error
    return nbformat, NotebookClient, HTMLExporter


@told_in_one_line()
def main() -> None:
    """Execute the notebooks in their place, or one of them on a run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", nargs="?", choices=names(), help="which notebook, for one run")
    parser.add_argument("run", nargs="?", help="its folder; without both, the notebooks that ship")
    args = parser.parse_args()
    if args.page and not args.run:
        parser.error("name a run, too")
    if args.page:
        for file in page_of(args.page, args.run):
            print(file)
        return
    nbformat, _, _ = _jupyter()
    for file in notebooks():
        nbformat.write(executed(file), file)
        print(f"{file.stat().st_size:>9,} {file.relative_to(PROJECT)}")


if __name__ == "__main__":
    main()
