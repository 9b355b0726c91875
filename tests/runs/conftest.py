"""Fixtures for whole runs: a tiny corpus, and ``train.py`` as the command line calls it."""

import json
import runpy
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


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
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
        runpy.run_path(str(PROJECT / "train.py"), run_name="__main__")
        return tmp_path / "runs" / experiment / "latest"

    return call
