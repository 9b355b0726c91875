import sys

import pytest
import torch

from belvedere.charts.tokenizer import train
from belvedere.runs.ship import main
from belvedere.unichart.loading import WEIGHTS, Reader, save_reader


def test_a_reader_is_shipped_in_half_the_room_and_loads(tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    inside = run / "checkpoints" / "model"
    tokenizer = train(["a chart | 12"], 300, 64)
    model = Reader("tiny").load(len(tokenizer))
    save_reader(model, inside)
    tokenizer.save_pretrained(inside)
    shipped = tmp_path / "shipped"
    monkeypatch.setattr(sys, "argv", ["ship", str(run), str(shipped)])
    main()
    size = (shipped / WEIGHTS).stat().st_size
    assert f"{size:,} bytes" in capsys.readouterr().out
    assert size < 0.51 * (inside / WEIGHTS).stat().st_size
    reader = Reader(str(shipped))
    loaded = reader.load(len(reader.tokenizer()))
    for one, other in zip(loaded.parameters(), model.parameters(), strict=True):
        assert torch.allclose(one, other, atol=2e-3)


@pytest.mark.parametrize("what", ["no reader", "other files"])
def test_what_cannot_be_shipped_is_said_in_one_line(tmp_path, monkeypatch, capsys, what):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    run = tmp_path / "run"
    if what == "other files":
        tokenizer = train(["a chart"], 300, 64)
        save_reader(Reader("tiny").load(len(tokenizer)), run)
        tokenizer.save_pretrained(run)
    monkeypatch.setattr(sys, "argv", ["ship", str(run), str(tmp_path / "full")])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert [file.name for file in (tmp_path / "full").iterdir()] == ["thesis.tex"]
