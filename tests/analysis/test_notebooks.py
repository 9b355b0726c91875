"""The notebooks run on the recorded results, and the ones that ship have been run."""

import shutil

import nbformat
import pytest

from belvedere.analysis.pages import executed, main, notebooks
from belvedere.analysis.place import RECORDED
from belvedere.runs.entry import PROJECT

LARGEST = 600_000
"""Bytes of a notebook with its outputs."""
PAGES = [pytest.param(file, id=file.stem) for file in notebooks()]


def outputs(page):
    return [output for cell in page.cells for output in cell.get("outputs", [])]


def said(page):
    """What a page prints."""
    return "".join(output["text"] for output in outputs(page) if output["output_type"] == "stream")


def pictures(page):
    """How many figures a page has."""
    return sum("image/png" in output.get("data", {}) for output in outputs(page))


def test_there_are_notebooks():
    assert len(PAGES) >= 2


@pytest.mark.parametrize("file", PAGES)
def test_a_notebook_runs_and_says_what_the_one_that_ships_says(file):
    before = file.read_bytes()
    page = executed(file)
    assert file.read_bytes() == before
    shipped = nbformat.read(file, as_version=4)
    assert said(page) == said(shipped)
    assert pictures(page) == pictures(shipped)


@pytest.mark.parametrize("file", PAGES)
def test_a_notebook_ships_executed_small_and_with_no_path_of_a_machine(file):
    page = nbformat.read(file, as_version=4)
    nbformat.validate(page)
    code = [cell for cell in page.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    kinds = {output["output_type"] for output in outputs(page)}
    assert "error" not in kinds
    assert not any(output.get("name") == "stderr" for output in outputs(page))
    assert pictures(page) > 0
    assert str(PROJECT) not in file.read_text(encoding="utf-8")
    assert file.stat().st_size < LARGEST


@pytest.mark.parametrize("file", PAGES)
def test_a_notebook_begins_with_the_run_that_it_shows(file):
    page = nbformat.read(file, as_version=4)
    first = next(cell for cell in page.cells if cell.cell_type == "code")
    assert first.source.startswith('RUN = "runs/')


def test_a_run_gets_a_page_of_its_own(tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    shutil.copytree(PROJECT / RECORDED / "soft", run)
    monkeypatch.setattr("sys.argv", ["pages", "soft", str(run)])
    main()
    files = capsys.readouterr().out.split()
    assert files == [str(run / f"analysis/soft_analysis.{kind}") for kind in ("ipynb", "html")]
    page = nbformat.read(files[0], as_version=4)
    assert said(page).startswith(f"This page shows the run {run}.\n")
    assert pictures(page) > 0
    browsed = (run / "analysis/soft_analysis.html").read_text(encoding="utf-8")
    assert browsed.count("data:image/png;base64,") >= pictures(page)
    assert 'src="http' not in browsed


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["balcony", "nowhere"], "error: nowhere: there is no finished run; train one first\n"),
        (
            ["balcony", str(PROJECT / RECORDED / "unichart")],
            "the balcony notebook cannot show this run: KeyError: 'submodels'\n",
        ),
    ],
)
def test_what_a_notebook_cannot_show_is_told(monkeypatch, capsys, arguments, line):
    monkeypatch.setattr("sys.argv", ["pages", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(line)
