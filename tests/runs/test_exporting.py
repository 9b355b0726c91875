"""Exports, from the command line to a folder that other tools load."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from belvedere.errors import BAD_INPUT
from belvedere.submodels.checkpoints import load_checkpoint
from belvedere.unichart.hub import from_hub
from belvedere.unichart.loading import Reader, load_reader

IDS = torch.tensor([[5, 9, 31, 7, 44, 12, 60]])


def logits(model):
    with torch.no_grad():
        return model(IDS).logits


def test_what_was_trained_is_exported(run, export, tmp_path):
    folder = run("balcony_llama3", "model.exits.depths=[1, 2]")
    checkpoint = load_checkpoint(str(folder))
    assert checkpoint.depths == (1, 2)
    for exit, layers in ((1, 2), (2, 3), ("full", 4)):
        export(folder, exit, tmp_path / str(exit))
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path / str(exit)).eval()
        assert loaded.config.num_hidden_layers == layers
        depth = 4 if exit == "full" else exit
        assert torch.allclose(logits(loaded), logits(checkpoint.submodel(depth)), atol=1e-5)
    card = (tmp_path / "1" / "README.md").read_text()
    report = json.loads((folder / "report.json").read_text())
    (row,) = [row for row in report["submodels"] if row["name"] == "exit_1"]
    assert "| method | balcony |" in card
    assert f"| agreement | {row['metrics']['agreement']:.4g} |" in card


def test_a_gguf_file_comes_with_the_folder(backbone_folder, export, tmp_path):
    export(backbone_folder, 2, tmp_path / "out", f"gguf={tmp_path / 'model.gguf'}")
    wanted = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="model.gguf").eval()
    assert torch.allclose(logits(loaded), logits(wanted), atol=1e-5)


def test_a_gguf_file_that_cannot_be_is_told_before_anything_is_written(
    backbone_folder, reader_folder, export, tmp_path, capsys
):
    there = tmp_path / "there.gguf"
    there.write_bytes(b"mine")
    for checkpoint, file, says in (
        (backbone_folder, there, "is there already; name a new file"),
        (reader_folder, tmp_path / "new.gguf", "gguf: chart readers have no GGUF file"),
    ):
        with pytest.raises(SystemExit) as stopped:
            export(checkpoint, 1, tmp_path / "out", f"gguf={file}")
        assert stopped.value.code == BAD_INPUT
        assert says in capsys.readouterr().err
    assert there.read_bytes() == b"mine"
    assert not (tmp_path / "out").exists()


def test_exits_of_another_backbone_are_refused(run, export, tmp_path, backbone_folder, capsys):
    folder = run("balcony_llama3", "model.exits.depths=[1]")
    other = tmp_path / "other"
    shutil.copytree(backbone_folder, other)
    state = load_file(other / "model.safetensors")
    state["model.norm.weight"] += 1
    save_file(state, other / "model.safetensors", metadata={"format": "pt"})
    capsys.readouterr()
    for backbone, says in (
        (other, "the exits belong to another backbone"),
        (tmp_path / "gone", "no folder"),
    ):
        with pytest.raises(SystemExit) as stopped:
            export(folder, 1, tmp_path / "out", f"checkpoint_backbone={backbone}")
        assert stopped.value.code == BAD_INPUT
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert says in line
        assert "checkpoint_backbone=" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("exit", "says"),
    [
        ("9", "there is no sub-model of 9"),
        ("deep", "exit: 'deep' is no exit; give a depth, or full"),
    ],
)
def test_what_is_not_there_is_told(export, backbone_folder, tmp_path, capsys, exit, says):
    with pytest.raises(SystemExit) as stopped:
        export(backbone_folder, exit, tmp_path / "out")
    assert stopped.value.code == BAD_INPUT
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_export_without_a_tokenizer_is_refused(export, backbone_folder, tmp_path, capsys):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "bare").mkdir(exist_ok=True)
        shutil.copy(backbone_folder / name, tmp_path / "bare" / name)
    with pytest.raises(SystemExit) as stopped:
        export(tmp_path / "bare", 2, tmp_path / "out")
    assert stopped.value.code == BAD_INPUT
    assert not (tmp_path / "out").exists()


def test_chart_readers_are_exported_in_the_hubs_layout(export, reader_folder, tmp_path):
    export(reader_folder, 1, tmp_path / "one")
    reader, again = load_reader(reader_folder), from_hub(str(tmp_path / "one"))
    assert again.config.decoder.layers == 1 < reader.config.decoder.layers
    pixels = torch.rand(1, 3, *reader.config.image_size)
    ids = torch.tensor([[0, 5, 7]])
    with torch.no_grad():
        assert torch.allclose(again(pixels, ids), reader.cut(1)(pixels, ids), atol=1e-5)
    assert Reader(str(tmp_path / "one")).tokenizer().get_vocab()
    card = (tmp_path / "one" / "README.md").read_text()
    assert "cut at depth 1" in card
    assert f"| decoder layers | 1 of {reader.config.decoder.layers} |" in card
    assert "Its quality was not measured." in card


def test_the_card_of_a_reader_has_the_facts_of_its_run(export, reader_folder, tmp_path):
    folder = tmp_path / "run" / "checkpoints" / "model"
    shutil.copytree(reader_folder, folder)
    tasks = {"table": {"rms_f1": 51.25, "n": 3}}
    report = {
        "experiment": "unichart_pretrain",
        "steps": 7,
        "data": {"name": "charts"},
        "submodels": [
            {"layers": load_reader(folder).config.decoder.layers, "method": "unichart"}
            | {"tasks": tasks}
        ],
    }
    (tmp_path / "run" / "report.json").write_text(json.dumps(report))
    export(tmp_path / "run", "full", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    for line in ("| steps | 7 |", "| data | charts |", "| table, rms_f1 | 51.25 |"):
        assert line in card


def test_a_convolutional_stem_is_refused(export, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        export("data/reader", "full", tmp_path / "out")
    assert stopped.value.code == BAD_INPUT
    assert "a convolutional stem does not fit the hub's layout" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
