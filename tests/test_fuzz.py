"""Damaged files of every kind that is read: none of them may end in anything but `BadInput`.

Files that are right are mutated by chance, the same each time. What is still right may be read.
"""

import json
import random
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from chart_sets import write_chart_to_text, write_chartqa, write_opencqa
from omegaconf import OmegaConf
from PIL import Image
from transformers import PreTrainedTokenizerFast

from belvedere.charts.build import Recipe, make_record, write_split
from belvedere.charts.tokenizer import train
from belvedere.data.alpaca import AlpacaDataModule, InstructionPrompt
from belvedere.data.chart_corpus import ChartCorpusDataModule
from belvedere.data.chart_to_text import ChartToTextDataModule
from belvedere.data.chartqa import ChartQADataModule, ChartToTableDataModule
from belvedere.data.opencqa import OpenCQADataModule
from belvedere.data.pictures import open_picture
from belvedere.data.records import read_records
from belvedere.data.text import TextDataModule
from belvedere.data.triviaqa import TriviaQADataModule
from belvedere.errors import BadInput
from belvedere.runs.checkpoints import DurableCheckpoints, checkpoint_to_resume, file_of
from belvedere.submodels.checkpoints import load_checkpoint
from belvedere.submodels.engine.calibration import Calibration
from belvedere.unichart.config import ChartModelConfig, DecoderConfig, EncoderConfig
from belvedere.unichart.loading import load_reader, save_reader
from belvedere.unichart.model import ChartModel

MUTATIONS = 95
"""Of each kind of input."""
SLOW = {"backbone": 25}
"""Fewer, where each takes long."""
TOKENS = [
    b"null", b"-1", b"1e999", b"NaN", b"{}", b"[]", b'""', b"9" * 400, b"[" * 5000, b'{"a":' * 2000,
    b"../../../etc/passwd", b"\x00", b"\xff\xfe", b"\\ud800", b"true", b"\n\n", b"| & |", b'"',
]  # fmt: skip
"""What breaks parsers."""
REPLACED = ("token cache", "resume")
"""What is damaged there is made anew, or something older takes its place."""
Case = tuple[list[Path], Callable[[], Any]]


def mutated(content: bytes, rng: random.Random) -> bytes:
    """The content with one to three things done to it."""
    found = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(found) + 1)
        length = rng.choice([1, 4, 40, 400])
        match rng.randrange(7):
            case 0 if at < len(found):
                found[at] ^= 1 << rng.randrange(8)
            case 1:
                found[at : at + length] = rng.randbytes(length)
            case 2:
                del found[at:]
            case 3:
                del found[at : at + length]
            case 4:
                found[at:at] = found[at : at + length]
            case 5:
                found[at:at] = rng.choice(TOKENS)
            case _:
                found[at : at + rng.randint(0, 12)] = rng.choice(TOKENS)
    return bytes(found)


def swapped(content: bytes, rng: random.Random) -> bytes:
    """JSON with one value, anywhere in it, in the place of another; else `mutated`."""
    try:
        lines = [json.loads(line) for line in content.splitlines()]
        many = True
    except ValueError:
        try:
            lines, many = [json.loads(content)], False
        except ValueError:
            return mutated(content, rng)
    places: list[tuple[Any, Any]] = []

    def walk(tree: Any) -> None:
        for key, value in list(tree.items() if isinstance(tree, dict) else enumerate(tree)):
            places.append((tree, key))
            if isinstance(value, dict | list):
                walk(value)

    walk(lines)
    if not places:
        return mutated(content, rng)
    tree, key = rng.choice(places)
    if rng.random() < 0.25:
        del tree[key]
    else:
        tree[key] = rng.choice(
            [None, -1, 0, 1e400, 10**30, "", "../x", "\ud800", [], {}, [[]], True, "x" * 9999, 2.5]
        )
    text = "\n".join(map(json.dumps, lines)) if many else json.dumps(lines[0] if lines else None)
    return text.encode("utf-8", "surrogatepass")


@pytest.fixture(scope="module")
def words() -> PreTrainedTokenizerFast:
    return train(["What is the share of bread? 41 per cent in 2019."] * 4, 300, 512)


def rows_of(data: Any) -> None:
    """Read everything that a data module has."""
    data.setup()
    for split in data.rows:
        for number in range(len(data.rows[split])):
            data.rows[split][number]


def records_case(folder: Path, suffix: str) -> Case:
    rows = [{"text": f"row {i}", "label": {"b": [i]}} for i in range(8)]
    file = folder / f"rows{suffix}"
    if suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), file)
    elif suffix == ".txt":
        file.write_text("one\ntwo\n\nthree\n")
    else:
        lines = [json.dumps(row) for row in rows]
        file.write_text("\n".join(lines) if suffix == ".jsonl" else f"[{','.join(lines)}]")
    return [file], lambda: [record.text("text") for record in read_records(file)]


def alpaca_case(folder: Path, tokenizer: Any) -> Case:
    file = folder / "alpaca.json"
    rows = [{"instruction": f"say {i}", "input": "", "output": f"word {i}"} for i in range(60)]
    file.write_text(json.dumps(rows))
    prompt = InstructionPrompt("{instruction} | {input} =", "{instruction} =")
    options = {"name": "a", "sequence_length": 64, "batch_size": 2, "held_out": 0.3}
    return [file], lambda: rows_of(
        AlpacaDataModule(tokenizer, prompt, path=str(file), hub=None, **options)
    )


def triviaqa_case(folder: Path, tokenizer: Any) -> Case:
    file = folder / "trivia.jsonl"
    rows = [
        {"question": f"where is {i}?", "answer": {"value": f"p {i}", "aliases": [f"p {i}"]}}
        for i in range(60)
    ]
    file.write_text("\n".join(map(json.dumps, rows)))
    options = {"name": "t", "sequence_length": 64, "batch_size": 2, "held_out": 0.3}
    return [file], lambda: rows_of(
        TriviaQADataModule(tokenizer, "Q: {question} A:", path=str(file), hub=None, **options)
    )


def text_case(folder: Path, tokenizer: Any) -> Case:
    file = folder / "text.jsonl"
    file.write_text("\n".join(json.dumps({"text": f"the capital {i} " * 9}) for i in range(30)))
    return [file], lambda: rows_of(
        TextDataModule(
            tokenizer, name="text", path=str(file), sequence_length=32, batch_size=2, held_out=0.3,
            cache_dir=str(folder / "cache"), eval_tokens=200,
        )
    )  # fmt: skip


def token_cache_case(folder: Path, tokenizer: Any) -> Case:
    _, read = text_case(folder, tokenizer)
    read()
    return [file for file in (folder / "cache").rglob("*") if file.is_file()], read


def charts_case(folder: Path, tokenizer: Any) -> Case:
    for split in ("train", "validation", "test"):
        write_split(folder, split, iter([make_record(Recipe(questions=2), split, 0)]))
    tasks = {"table": 1, "elements": 1, "reasoning": 1, "summary": 1}

    def read() -> None:
        rows_of(
            ChartCorpusDataModule(
                tokenizer, str(folder), tasks, name="charts", image_size=(48, 64), letters=True
            )
        )

    return list(folder.glob("*.parquet")), read


def published_case(folder: Path, tokenizer: Any, kind: Any, write: Any) -> Case:
    write(folder)
    options = {"name": "charts", "image_size": (48, 64), "batch_size": 2}

    def read() -> None:
        data = kind(tokenizer, path=str(folder), **options)
        rows_of(data)
        data.summary()

    return [file for file in folder.rglob("*") if file.is_file()], read


def picture_case(folder: Path, form: str) -> Case:
    file = folder / f"picture.{form}"
    shades = Image.effect_noise((40, 30), 60).convert("P" if form == "gif" else "RGB")
    shades.save(file, dpi=(72, 72))

    def read() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            open_picture(file)
            open_picture(file.read_bytes(), "bytes")

    return [file], read


def resume_case(folder: Path) -> Case:
    state = {"state_dict": {"weight": torch.arange(500.0)}, "global_step": 2}
    for step in (2, 4):
        DurableCheckpoints().save_checkpoint(state, file_of(folder / "checkpoints", step))
    config = OmegaConf.create({"resume": True, "run_dir": str(folder)})

    def read() -> None:
        found = checkpoint_to_resume(config)
        assert found is not None
        torch.load(found, weights_only=True)

    return list((folder / "checkpoints").iterdir()), read


def reader_case(folder: Path) -> Case:
    encoder = EncoderConfig(8, (1,), (1,), window=4, patch_size=8, drop_path=0.0)
    decoder = DecoderConfig(layers=1, d_model=8, heads=1, ffn=16, max_positions=32)
    save_reader(ChartModel(ChartModelConfig("small", (32, 32), 300, encoder, decoder)), folder)
    return list(folder.iterdir()), lambda: load_reader(folder)


def backbone_case(folder: Path, backbone: Path) -> Case:
    shutil.copytree(backbone, folder, dirs_exist_ok=True)
    files = [file for file in folder.iterdir() if file.suffix in (".safetensors", ".json")]
    return files, lambda: load_checkpoint(str(folder))


def thresholds_case(folder: Path) -> Case:
    Calibration(0.99, {2: 0.9, 4: 0.8}, {2: 0.99, 4: 0.995}, "corpus", 100).save(folder)
    return list(folder.iterdir()), lambda: Calibration.load(folder)


CASES = {
    ".jsonl": lambda folder, *_: records_case(folder, ".jsonl"),
    ".json": lambda folder, *_: records_case(folder, ".json"),
    ".txt": lambda folder, *_: records_case(folder, ".txt"),
    ".parquet": lambda folder, *_: records_case(folder, ".parquet"),
    "alpaca": lambda folder, words, *_: alpaca_case(folder, words),
    "triviaqa": lambda folder, words, *_: triviaqa_case(folder, words),
    "text": lambda folder, words, *_: text_case(folder, words),
    "token cache": lambda folder, words, *_: token_cache_case(folder, words),
    "charts": lambda folder, words, *_: charts_case(folder, words),
    "chartqa": lambda folder, words, *_: published_case(
        folder, words, ChartQADataModule, write_chartqa
    ),
    "chart to table": lambda folder, words, *_: published_case(
        folder, words, ChartToTableDataModule, write_chartqa
    ),
    "opencqa": lambda folder, words, *_: published_case(
        folder, words, OpenCQADataModule, write_opencqa
    ),
    "chart to text": lambda folder, words, *_: published_case(
        folder, words, ChartToTextDataModule, write_chart_to_text
    ),
    **{
        form: lambda folder, *_, form=form: picture_case(folder, form)
        for form in ("png", "jpeg", "gif", "webp", "tiff", "bmp")
    },
    "resume": lambda folder, *_: resume_case(folder),
    "reader": lambda folder, *_: reader_case(folder),
    "backbone": lambda folder, words, backbone: backbone_case(folder, backbone),
    "thresholds": lambda folder, *_: thresholds_case(folder),
}


def outcome_of(read: Callable[[], Any]) -> Exception | None:
    """How reading ended."""
    try:
        read()
    except Exception as error:
        return error
    return None


def test_there_are_at_least_2000_inputs() -> None:
    assert MUTATIONS * len(CASES.keys() - SLOW.keys()) + sum(SLOW.values()) >= 2000


@pytest.mark.parametrize("kind", CASES)
def test_damaged_files_are_refused_in_one_line(
    kind: str, tmp_path: Path, words: Any, backbone_folder: Path
) -> None:
    rng = random.Random(kind)
    files, read = CASES[kind](tmp_path, words, backbone_folder)
    read()
    files.sort()
    refused = 0
    for _ in range(SLOW.get(kind, MUTATIONS)):
        file = rng.choice(files)
        content = file.read_bytes()
        change = swapped if file.suffix in (".json", ".jsonl") and rng.random() < 0.5 else mutated
        damaged = change(content, rng)
        file.write_bytes(damaged)
        ended = outcome_of(read)
        if not isinstance(ended, BadInput | None):
            raise AssertionError(f"{file.name}: {ended!r}"[:500]) from ended
        refused += ended is not None
        assert "\n" not in str(ended)
        file.write_bytes(content)
    assert refused > 0 or kind in REPLACED
