"""A run on disk, from which the commands measure, record and time."""

import json
import sys

import pytest
from omegaconf import OmegaConf

from belvedere.analysis import record, speeds, tokens
from belvedere.analysis.exit_layers import read_exits
from belvedere.balcony import BalconyModule
from belvedere.errors import BadInput
from belvedere.optimisation import Optimisation
from belvedere.runs.compare import read_runs
from belvedere.submodels.exits import ExitConfig
from belvedere.submodels.loading import Backbone


@pytest.fixture(scope="module")
def text(tmp_path_factory, sentences):
    folder = tmp_path_factory.mktemp("text")
    for split, part in (("train", sentences[:300]), ("test", sentences[300:])):
        (folder / f"{split}.txt").write_text("\n\n".join(part))
    return folder


@pytest.fixture
def run(tmp_path, backbone_folder, tokenizer, text):
    """A run of Balcony as it ends, with one exit that was not trained."""
    folder = tmp_path / "run"
    backbone = Backbone(str(backbone_folder)).load()
    module = BalconyModule(backbone, ExitConfig((2,)), Optimisation(lr=1e-3))
    module.save_model(str(folder / "checkpoints" / "model"))
    tokenizer.save_pretrained(folder / "checkpoints" / "model")
    data = {
        "_target_": "belvedere.data.text.TextDataModule", "name": "sentences", "path": str(text),
        "sequence_length": 64, "cache_dir": str(text / "cache"),
    }  # fmt: skip
    OmegaConf.save({"data": data}, folder / "config.yaml")
    rows = [
        {"name": d.name, "kind": d.kind, "method": d.method, "layers": d.layers, "speedup": 9.0,
         "metrics": {"loss": 1.0, "kl_to_full": 0.1, "agreement": 0.9}}
        for d in module.described()
    ]  # fmt: skip
    report = {"submodels": rows, "seed": 3, "experiment": "balcony_llama3", "data": {}}
    (folder / "report.json").write_text(json.dumps(report))
    return folder


def command(module, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
    module.main()


def test_tokens_are_measured_by_a_command_or_when_they_are_asked_for(run, monkeypatch, capsys):
    command(tokens, monkeypatch, run, "--tokens", 200)
    assert len(tokens.tokens_of(run)) == 200
    assert "measured once" not in capsys.readouterr().out
    (run / "analysis" / "tokens.parquet").unlink()
    assert len(tokens.tokens_of(run)) > 200
    assert "measured once" in capsys.readouterr().out
    assert set(read_exits(run).changes) == {"exit_2"}


def test_a_folder_that_is_no_run_is_refused_in_one_line(backbone_folder, monkeypatch, capsys):
    with pytest.raises(SystemExit) as stopped:
        command(tokens, monkeypatch, backbone_folder)
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "config.yaml: does not say what it was trained on" in line


def test_tokens_are_recorded_with_the_run_that_has_exits(run, tmp_path):
    runs = read_runs([run])
    files = record.record(runs, tmp_path / "recorded", tokens=True)
    names = {str(file.relative_to(tmp_path / "recorded")) for file in files}
    assert names == {
        "balcony_seed_3/report.json", "balcony_seed_3/analysis/exits.json",
        "balcony_seed_3/analysis/tokens.parquet",
    }  # fmt: skip
    again = read_runs([tmp_path / "recorded"])
    assert tokens.tokens_of(tokens.with_exits(again)).equals(tokens.tokens_of(run))


def test_a_run_without_exits_has_none_to_measure(run):
    (run / "checkpoints" / "model" / "exits.safetensors").unlink()
    with pytest.raises(BadInput, match="none of the runs has exits"):
        tokens.with_exits(read_runs([run]))


def test_speeds_are_measured_anew_and_nothing_else_changes(run):
    before = read_runs([run])[0].report
    (timed,) = speeds.in_turn(read_runs([run]), repeats=1)
    rows = timed.report["submodels"]
    assert [row["name"] for row in rows] == ["exit_2", "raw_exit_2", "full"]
    assert all(row["tokens_per_second"] > 0 for row in rows)
    assert rows[-1]["speedup"] == 1
    assert [row["metrics"] for row in rows] == [row["metrics"] for row in before["submodels"]]
