import json

import pytest

from belvedere.analysis.place import ONLY_RECORDED, locate, runs_of
from belvedere.errors import BadInput


@pytest.fixture(autouse=True)
def _any_run(monkeypatch):
    monkeypatch.delenv(ONLY_RECORDED, raising=False)


def run(folder, method="balcony", data="corpus", tokens=100):
    folder.mkdir(parents=True)
    rows = [{"name": "exit_1", "kind": "exit", "method": method, "layers": 2}]
    report = {"submodels": rows, "data": {"name": data, "test_tokens": tokens}, "seed": 1}
    (folder / "report.json").write_text(json.dumps(report))
    return folder


def test_a_finished_run_is_shown(tmp_path, capsys):
    folder = run(tmp_path / "mine")
    assert locate(str(folder), "balcony") == folder
    assert capsys.readouterr().out == f"This page shows the run {folder}.\n"


def test_a_folder_of_runs_is_shown(tmp_path):
    run(tmp_path / "sweep" / "0")
    assert locate(str(tmp_path / "sweep"), "balcony") == tmp_path / "sweep"


def test_recorded_results_stand_in_for_a_run_that_has_not_ended(tmp_path, capsys):
    (tmp_path / "begun").mkdir()
    found = locate(str(tmp_path / "begun"), "balcony")
    assert found.parts[-3:] == ("data", "recorded", "balcony")
    told = capsys.readouterr().out
    assert "data/recorded/balcony" in told
    assert len(told.splitlines()) == 1


def test_recorded_results_can_be_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv(ONLY_RECORDED, "1")
    assert locate(str(run(tmp_path / "mine")), "balcony").name == "balcony"


def test_with_neither_one_line_says_what_to_do(tmp_path):
    with pytest.raises(BadInput, match="no finished run and nothing was recorded"):
        locate(str(tmp_path), "never_recorded")


def test_rivals_that_are_there_stand_beside_a_run(tmp_path):
    mine = run(tmp_path / "mine")
    run(tmp_path / "rival", "layerskip")
    found = runs_of(mine, [str(tmp_path / "rival"), str(tmp_path / "never_trained")])
    assert [one.method for one in found] == ["balcony", "layerskip"]


def test_a_rival_that_was_tested_on_other_data_is_named_and_left_out(tmp_path, capsys):
    mine = run(tmp_path / "mine")
    run(tmp_path / "rival", "layerskip", tokens=99)
    assert len(runs_of(mine, [str(tmp_path / "rival")])) == 1
    assert "rival was tested on other data" in capsys.readouterr().out


def test_recorded_results_get_no_rivals_of_this_machine(tmp_path):
    run(tmp_path / "rival", "layerskip")
    place = locate(str(tmp_path / "nothing"), "balcony")
    assert len(runs_of(place, [str(tmp_path / "rival")])) == len(runs_of(place))
