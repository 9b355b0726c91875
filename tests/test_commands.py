"""The commands beside the four verbs end with one line where their input cannot be used."""

import sys
from importlib import import_module

import pytest

COMMANDS = [
    (["charts.build", "{here}", "--charts", "train=many"], "train=many is not SPLIT=COUNT"),
    (["charts.build", "{here}/file", "--charts", "train=1"], "{here}/file: File exists"),
    (["charts.tokenizer", "{here}/nowhere.parquet", "--output", "{here}"], "nowhere.parquet"),
    (["charts.sheet", "{here}/sheet"], "{here}/sheet: no format of pictures is called that"),
    (["corpus.tokenizer", "--corpus", "{here}/nowhere.parquet"], "nowhere.parquet"),
    (["corpus.build", "--facts", "{here}/nowhere.json"], "{here}/nowhere.json: No such file"),
    (["corpus.recall", "{here}/nowhere", "{here}/file"], "nowhere"),
    (["runs.compare", "{here}"], "{here}: there is no report.json"),
    (["runs.judge", "{here}", "{here}"], "{here}: no answers here"),
    (["runs.ship", "{here}", "{here}"], "there is no tokenizer"),
]


@pytest.mark.parametrize(("command", "said"), COMMANDS, ids=[c[0] for c, _ in COMMANDS])
def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys, command, said):
    (tmp_path / "file").write_text("")
    module, *arguments = (part.format(here=tmp_path) for part in command)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    with pytest.raises(SystemExit) as stopped:
        import_module(f"belvedere.{module}").main()
    assert stopped.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "error: " in last
    assert said.format(here=tmp_path) in last
