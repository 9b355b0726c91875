"""Fixtures for whole runs: a tiny corpus, and ``train.py`` as the command line calls it."""

import json
import runpy
import sys
from pathlib import Path

import pytest

from belvedere.charts.build import Recipe, make_record, write_split
from belvedere.charts.tokenizer import texts, train

PROJECT = Path(__file__).resolve().parents[2]


def command_line(monkeypatch, arguments):
    """``python train.py ARGUMENTS``, in this process."""
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    runpy.run_path(str(PROJECT / "train.py"), run_name="__main__")


@pytest.fixture
def corpus(tmp_path, sentences):
    file = tmp_path / "corpus.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in sentences))
    return file


@pytest.fixture
def run(tmp_path, backbone_folder, corpus, monkeypatch):
    """Runs an experiment on the tiny backbone; by default on the tiny corpus."""

    def call(experiment="balcony_llama3", *overrides, data=None, backbone=backbone_folder):
        data = data or ["data=text", f"data.path={corpus}", f"data.cache_dir={tmp_path / 'cache'}"]
        arguments = [
            f"experiment={experiment}", f"runs={tmp_path / 'runs'}", *data,
            "data.sequence_length=64", "data.batch_size=4",
            "trainer.max_steps=6", "trainer.val_check_interval=3", "trainer.precision=32-true",
            "trainer.accelerator=cpu", "checkpoint_every=2", "samples=[the capital]",
            "speed={prompt_tokens: 8, new_tokens: 2, repeats: 1}", *overrides,
        ]  # fmt: skip
        if backbone is not None:
            arguments.insert(2, f"backbone.name={backbone}")
        command_line(monkeypatch, arguments)
        return tmp_path / "runs" / experiment / "latest"

    return call


@pytest.fixture(scope="module")
def charts(tmp_path_factory):
    """A few charts of each split, and a tokenizer of them."""
    folder = tmp_path_factory.mktemp("charts")
    for split in ("train", "validation", "test"):
        write_split(folder, split, (make_record(Recipe(questions=2), split, i) for i in range(3)))
    train(texts(folder.glob("train*")), 320, 512).save_pretrained(folder / "tokenizer")
    return folder


@pytest.fixture
def run_reader(tmp_path, charts, monkeypatch):
    """Runs an experiment of chart readers on a few charts."""

    def call(experiment, *overrides):
        arguments = [
            f"experiment={experiment}", f"runs={tmp_path / 'runs'}", f"data.path={charts}",
            f"reader.tokenizer_name={charts / 'tokenizer'}", "data.batch_size=2",
            "trainer.max_steps=2", "trainer.val_check_interval=1", "checkpoint_every=1",
            "trainer.log_every_n_steps=1", "trainer.precision=32-true", "speed.repeats=2",
            "trainer.accelerator=cpu", "model.new_tokens=8", *overrides,
        ]  # fmt: skip
        command_line(monkeypatch, arguments)
        return tmp_path / "runs" / experiment / "latest"

    return call
