"""Fixtures for whole runs: tiny data and models, and the verbs as the command line calls them."""

import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import PreTrainedTokenizerFast

from belvedere.charts.build import Recipe, make_record, write_split
from belvedere.charts.tokenizer import BOS, EOS, PAD, UNK, texts, train
from belvedere.unichart.config import ChartModelConfig, DecoderConfig, EncoderConfig
from belvedere.unichart.loading import save_reader
from belvedere.unichart.model import ChartModel

PROJECT = Path(__file__).resolve().parents[2]


def command_line(monkeypatch, arguments, verb="train"):
    """``python VERB.py ARGUMENTS``, in this process."""
    monkeypatch.setattr(sys, "argv", [f"{verb}.py", *arguments])
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    runpy.run_path(str(PROJECT / f"{verb}.py"), run_name="__main__")


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


@pytest.fixture(scope="module")
def narrow_reader(charts, tmp_path_factory):
    """A random reader of the kind that ships, with all its parts, but narrow."""
    torch.manual_seed(0)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(charts / "tokenizer")
    tiny = ChartModelConfig.named("tiny", vocab_size=len(tokenizer))
    encoder = replace(tiny.encoder, embed_dim=32, patch_size=16, patch_width=8, stem_width=16)
    decoder = replace(tiny.decoder, d_model=48, heads=4, ffn=64)
    folder = tmp_path_factory.mktemp("narrow")
    save_reader(ChartModel(replace(tiny, name="narrow", encoder=encoder, decoder=decoder)), folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def run_reader(tmp_path, charts, narrow_reader, monkeypatch):
    """Runs an experiment of chart readers on a few charts; by default from a narrow reader."""

    def call(experiment, *overrides):
        arguments = [
            f"experiment={experiment}", f"runs={tmp_path / 'runs'}", f"data.path={charts}",
            f"init={narrow_reader}", f"reader.size_tokenizer={charts / 'tokenizer'}",
            "data.batch_size=2",
            "trainer.max_steps=2", "trainer.val_check_interval=1", "checkpoint_every=1",
            "trainer.log_every_n_steps=1", "trainer.precision=32-true", "speed.repeats=2",
            "trainer.accelerator=cpu", "model.new_tokens=8", *overrides,
        ]  # fmt: skip
        command_line(monkeypatch, arguments)
        return tmp_path / "runs" / experiment / "latest"

    return call


@pytest.fixture(scope="session")
def words():
    """A tokenizer of a few words about charts."""
    return train(["What is the share of bread? 41 per cent in 2019."] * 4, 300, 512)


@pytest.fixture(scope="session")
def plain_words():
    """A tokenizer that knows letters, but no task: as Donut's."""
    special = [BOS, PAD, EOS, UNK]
    letters = [*special, *"abcdefghijklmnopqrstuvwxyz0123456789 |&.,%?"]
    made = Tokenizer(WordLevel({letter: i for i, letter in enumerate(letters)}, unk_token=UNK))
    made.pre_tokenizer = Split(Regex("."), behavior="isolated")
    return PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token=BOS, pad_token=PAD, eos_token=EOS, unk_token=UNK
    )


@pytest.fixture(scope="session")
def chart_model(words):
    """A random reader of Donut's kind, on pages of 48 x 64 pixels."""
    torch.manual_seed(0)
    encoder = EncoderConfig(16, (1, 1), (2, 2), window=4, patch_size=8, drop_path=0.0)
    decoder = DecoderConfig(layers=2, d_model=32, heads=2, ffn=64, max_positions=256)
    shape = ChartModelConfig("small", (48, 64), len(words), encoder, decoder)
    return ChartModel(shape).eval()


@pytest.fixture(scope="session")
def reader_folder(tmp_path_factory, chart_model, words):
    """The random reader with its tokenizer, as a run leaves them."""
    folder = tmp_path_factory.mktemp("reader")
    save_reader(chart_model, folder)
    words.save_pretrained(folder)
    return folder


@pytest.fixture
def evaluate(tmp_path, monkeypatch):
    """``evaluate.py`` with few and short answers; gives the folder of its run."""

    def call(checkpoint, data, *overrides):
        chosen = {"checkpoint": checkpoint, "data": data}
        arguments = [
            *(f"{key}={value}" for key, value in chosen.items() if value is not None),
            f"runs={tmp_path / 'runs'}", "beams=1", "model.new_tokens=8",
            "trainer.accelerator=cpu", "trainer.precision=32-true", *overrides,
        ]  # fmt: skip
        command_line(monkeypatch, arguments, "evaluate")
        return tmp_path / "runs" / f"evaluate_{data}" / "latest"

    return call


@pytest.fixture
def generate(monkeypatch, capsys):
    """``python generate.py`` in this process; what it wrote to stdout and to stderr."""

    def call(checkpoint, *overrides):
        command_line(
            monkeypatch,
            [f"checkpoint={checkpoint}", "max_new_tokens=12", "device=cpu", *overrides],
            verb="generate",
        )
        return capsys.readouterr()

    return call


@pytest.fixture
def export(monkeypatch, capsys):
    """``python export.py`` in this process."""

    def call(checkpoint, exit, output, *overrides):
        arguments = [f"checkpoint={checkpoint}", f"exit={exit}", f"output={output}", *overrides]
        command_line(monkeypatch, arguments, verb="export")
        return capsys.readouterr().out

    return call
