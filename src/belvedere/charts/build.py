"""Makes a chart corpus: ``python -m belvedere.charts.build OUTPUT --charts train=2000``.

Every chart is drawn from a seed of its own, so a corpus is the same with any number of processes.
The splits are Parquet files that `datasets` opens as they are (``load_dataset("parquet", ...)``);
see `FEATURES` for their columns, and `read_shard`, which reads one with care. Charts of
``test_unseen`` have the looks that no other split has.
"""

import argparse
import glob
import math
import multiprocessing
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, get_args

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import Features, Image, List, Value, load_dataset
from datasets.exceptions import DatasetGenerationError

from belvedere.charts.questions import ask
from belvedere.charts.rendering import Chart, render
from belvedere.charts.styles import Sizes, Wear, draw_style
from belvedere.charts.summaries import Level, open_question, summary
from belvedere.charts.tables import linearise
from belvedere.charts.topics import Limits, draw
from belvedere.errors import BadInput, told_in_one_line

UNSEEN = "test_unseen"
LEVELS: tuple[Level, ...] = get_args(Level)
SHARD = 5_000
"""Charts in one file."""
FEW = 1000
"""Choices of true rows: with fewer, as of planets, the training charts are likely to have all."""
SCALES = (0.5, 16.0)
"""Of the command: below these letters are too small to be read, above them pictures are huge."""

STRING, NUMBER = Value("string"), Value("float32")
QUESTION = {"text": STRING, "answer": STRING, "family": STRING, "template": STRING}
FEATURES = Features(
    {
        "id": STRING,
        "image": Image(),
        "kind": STRING,
        "theme": STRING,
        "topic": STRING,
        "title": STRING,
        "unit": STRING,
        "width": Value("int32"),
        "height": Value("int32"),
        "table": STRING,
        "marks": List(
            {
                "kind": STRING, "series": STRING, "labels": List(STRING), "values": List(NUMBER),
                "colour": STRING, "colour_name": STRING, "box": List(NUMBER),
                "points": List(List(NUMBER)),
            }
        ),
        "texts": List(
            {"role": STRING, "text": STRING, "box": List(NUMBER), "characters": List(List(NUMBER))}
        ),
        "questions": List(QUESTION),
        "open_question": QUESTION,
        "summaries": dict.fromkeys(LEVELS, STRING),
    }
)  # fmt: skip
"""The columns: the picture, its data table in one line, marks and texts with their pixels,
questions with answers, an open question, and summaries at three levels of detail."""


@dataclass(frozen=True)
class Recipe:
    """What the charts of a corpus are like.

    Attributes:
        seed: of all chance.
        limits: of tables.
        sizes: of pictures.
        wear: of pictures.
        questions: for each chart.
    """

    seed: int = 0
    limits: Limits = field(default_factory=Limits)
    sizes: Sizes = field(default_factory=Sizes)
    wear: Wear = field(default_factory=Wear)
    questions: int = 6


def make_chart(recipe: Recipe, split: str, index: int) -> tuple[Chart, Random]:
    """Draw tables and styles until one of them makes a chart; the chance goes on from there."""
    rng = Random(f"{recipe.seed}/{split}/{index}")
    while True:
        drawn = draw(rng, recipe.limits)
        if split != "train" and drawn.ways < FEW:
            continue  # held-out charts are to show tables that no training chart has
        style = draw_style(rng, recipe.sizes, recipe.wear, held_out=split == UNSEEN)
        chart = render(drawn.table, rng.choice(drawn.kinds), style, rng)
        if chart is not None:
            return chart, rng


def make_record(recipe: Recipe, split: str, index: int) -> dict[str, Any]:
    """A chart as a row of `FEATURES`."""
    chart, rng = make_chart(recipe, split, index)
    table, layout = chart.table, chart.layout
    name = f"{split}-{index:06d}"
    ending = "png" if chart.style.jpeg is None else "jpg"
    return {
        "id": name,
        "image": {"bytes": chart.picture, "path": f"{name}.{ending}"},
        "kind": layout.kind,
        "theme": chart.style.theme.name,
        "topic": table.topic,
        "title": table.title,
        "unit": table.unit,
        "width": layout.width,
        "height": layout.height,
        "table": linearise(table.cells()),
        "marks": [on_grid(asdict(mark)) for mark in layout.marks],
        "texts": [on_grid(asdict(text)) for text in layout.texts],
        "questions": [asdict(one) for one in ask(table, layout, rng, recipe.questions)],
        "open_question": asdict(open_question(table, layout, rng)),
        "summaries": {level: summary(table, layout, rng, level) for level in LEVELS},
    }


def on_grid(item: dict[str, Any]) -> dict[str, Any]:
    """A mark or text with its pixels rounded to quarters, which take half the room in a file."""

    def rounded(value: Any) -> Any:
        return round(value * 4) / 4 if isinstance(value, float) else [rounded(v) for v in value]

    places = ("box", "points", "characters")
    return item | {name: rounded(item[name]) for name in places if name in item}


def records(recipe: Recipe, split: str, count: int, processes: int) -> Iterator[dict[str, Any]]:
    """The records of a split in order, made by several processes."""
    if processes == 1:
        yield from (make_record(recipe, split, i) for i in range(count))
        return
    # Forked children would share the parent's threads; spawned ones begin clean.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        repeated = ([value] * count for value in (recipe, split))
        yield from pool.map(make_record, *repeated, range(count), chunksize=16)


def write_split(
    folder: Path, split: str, rows: Iterator[dict[str, Any]], shard: int = SHARD
) -> list[Path]:
    """Write rows as ``SPLIT-00000.parquet``, ... and say which files there are.

    Files of the split that an earlier, larger build left behind them are removed: they would be
    read along with the new ones.
    """
    files: list[Path] = []
    while batch := list(islice(rows, shard)):
        file = folder / f"{split}-{len(files):05d}.parquet"
        encoded = [FEATURES.encode_example(row) for row in batch]
        table = pa.Table.from_pylist(encoded, schema=FEATURES.arrow_schema)
        whole = file.with_suffix(".part")
        pq.write_table(table, whole, compression="zstd", row_group_size=200)
        whole.replace(file)  # a file is there as a whole or not at all
        files.append(file)
        print(f"{file}: {len(batch)} charts, {file.stat().st_size / 1e6:.1f} MB", flush=True)
    for file in sorted(folder.glob(f"{split}-*.parquet")):
        if file not in files and file.stem.removeprefix(f"{split}-").isdecimal():
            file.unlink()
            print(f"{file}: removed, left over from an earlier build", flush=True)
    return files


def read_shard(file: Path, columns: Iterable[str] = tuple(FEATURES)) -> pa.Table:
    """The charts of one file, mapped into memory from a copy that ``datasets`` keeps.

    Args:
        file: that `write_split` wrote.
        columns: of `FEATURES` that are wanted.

    Raises:
        BadInput: no Parquet file, a wrong or missing column, or a chart with something missing.
        OSError: the system does not let us read the file.
    """
    wanted = [FEATURES.arrow_schema.field(name) for name in columns]
    names = [field.name for field in wanted]
    broken = BadInput(
        "not a Parquet file that can be read",
        where=str(file),
        remedy="make it anew: python -m belvedere.charts.build",
    )
    try:
        schema = pq.read_schema(file)
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise broken from error
    remedy = "give charts that python -m belvedere.charts.build made"
    if missing := set(names) - set(schema.names):
        raise BadInput(f"there is no column {sorted(missing)[0]!r}", where=str(file), remedy=remedy)
    try:
        schema.empty_table().select(names).cast(pa.schema(wanted))
    except (pa.ArrowException, ValueError) as error:
        raise BadInput(
            f"columns of other types ({str(error)[:80]})", where=str(file), remedy=remedy
        ) from error
    try:
        rows = load_dataset("parquet", data_files=glob.escape(str(file)), split="train")
    except (DatasetGenerationError, ValueError) as error:  # of its rows, or of its description
        raise broken from error
    found = rows.with_format("arrow")[:].select(names).cast(pa.schema(wanted))
    refuse_nulls(found, file)
    return found


def refuse_nulls(charts: pa.Table, file: Path) -> None:
    """Raise `BadInput`, with its name and number, for a chart that lacks something.

    Args:
        charts: with some of the columns of `FEATURES`. Only the path of an image may be missing.
        file: they are from, for the message.
    """
    for name in charts.column_names:
        column = charts[name]
        if name == "image":
            name, column = "image.bytes", pc.struct_field(column, "bytes")
        if not has_nulls(column):
            continue
        places = (null_in(value, name) for value in column.to_pylist())
        number, place = next((i, place) for i, place in enumerate(places) if place)
        ids = charts["id"].to_pylist() if "id" in charts.column_names else {}
        raise BadInput(
            f"the chart {ids[number] if ids else number} has no {place}",
            where=f"{file}[{number}]",
            remedy="make the file anew: python -m belvedere.charts.build",
        )


def has_nulls(column: pa.ChunkedArray) -> bool:
    """Whether anything is missing in a column, at any depth; Arrow has counted it."""
    if column.null_count:
        return True
    if pa.types.is_struct(column.type):
        return any(has_nulls(part) for part in column.flatten())
    return pa.types.is_list(column.type) and has_nulls(pc.list_flatten(column))


def null_in(value: Any, name: str) -> str | None:
    """Where in a value something is missing, as ``questions.0.answer``; None if nowhere."""
    if value is None:
        return name
    if not isinstance(value, dict | list):
        return None
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    return next((found for key, one in parts if (found := null_in(one, f"{name}.{key}"))), None)


def at_least_one(text: str) -> int:
    """A whole number from 1 on, of the command line.

    Raises:
        argparse.ArgumentTypeError: it is no such thing.
    """
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 on")
    return int(text)


def scale_of(text: str) -> float:
    """A number within `SCALES`, of the command line.

    Raises:
        argparse.ArgumentTypeError: it is no such thing.
    """
    low, high = SCALES
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not low <= found <= high:
        raise argparse.ArgumentTypeError(f"{text} is not a number from {low:g} to {high:g}")
    return found


def split_size(text: str) -> tuple[str, int]:
    """``train=2000`` as a split and how many charts it is to have.

    Raises:
        argparse.ArgumentTypeError: it is no such thing.
    """
    split, _, count = text.partition("=")
    if not split.isidentifier() or not count.isdecimal() or not int(count):
        raise argparse.ArgumentTypeError(f"{text} is not SPLIT=COUNT, e.g. train=2000")
    return split, int(count)


@told_in_one_line()
def main() -> None:
    """Make the splits that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument(
        "--charts", nargs="+", type=split_size, default=[("train", 2000)], metavar="SPLIT=COUNT"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=at_least_one, default=os.cpu_count() or 1)
    parser.add_argument("--scale", type=scale_of, default=1.0, help="of the pictures' sizes")
    args = parser.parse_args()
    recipe = Recipe(seed=args.seed, sizes=Sizes(scale=args.scale))
    args.output.mkdir(parents=True, exist_ok=True)
    for split, count in args.charts:
        write_split(args.output, split, records(recipe, split, count, args.processes))


if __name__ == "__main__":
    main()
