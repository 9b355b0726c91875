"""The commands beside the four verbs end with one line where their input cannot be used."""

import sys
from importlib import import_module
from pathlib import Path

import pytest

OTHER = Path(__file__).resolve().parents[1] / "data/corpus/validation.parquet"
COMMANDS = [
    (["charts.build", "{here}", "--charts", "train=many"], "train=many is not SPLIT=COUNT"),
    (["charts.build", "{here}/file", "--charts", "train=1"], "{here}/file: File exists"),
    (["charts.build", "{here}", "--processes", "0"], "0 is not a whole number from 1 on"),
    (["charts.build", "{here}", "--scale", "0"], "0 is not a number from 0.5 to 16"),
    (["charts.build", "{here}", "--scale", "nan"], "nan is not a number from 0.5 to 16"),
    (["charts.build", "{here}", "--scale", "big"], "big is not a number from 0.5 to 16"),
    (["charts.tokenizer", "{here}/nowhere.parquet", "--output", "{here}"], "nowhere.parquet"),
    (["charts.tokenizer", "{here}/file", "--output", "{here}"], "{here}/file: not a Parquet file"),
    (["charts.tokenizer", "{here}", "--output", "{here}"], "{here}"),
    (["charts.tokenizer", "{other}", "--output", "{here}"], "{other}: there is no column 'id'"),
    (["charts.tokenizer", "x", "--output", "x", "--vocabulary", "0"], "0 is not a whole number"),
    (["charts.sheet", "{here}/a.png", "--count", "0"], "0 is not a whole number from 1 on"),
    (["charts.sheet", "{here}/a.png", "--columns", "-1"], "argument --columns: "),
    (["charts.sheet", "{here}/a.png", "--zoom", "0.5"], "0.5 is not a whole number from 1 on"),
    (["charts.sheet", "{here}/a.psd"], "{here}/a.psd: no format of pictures is called that"),
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
    places = {"here": tmp_path, "other": OTHER}
    module, *arguments = (part.format(**places) for part in command)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    with pytest.raises(SystemExit) as stopped:
        import_module(f"belvedere.{module}").main()
    assert stopped.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "error: " in last
    assert said.format(**places) in last
