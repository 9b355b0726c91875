import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from PIL import Image

from belvedere.charts.build import LEVELS, UNSEEN, Recipe, make_record, records, write_split
from belvedere.charts.styles import THEMES
from belvedere.charts.tables import parse
from belvedere.charts.tasks import TOKENS, all_examples, draw_example, read_marks

RECIPE = Recipe(seed=5)


@pytest.fixture(scope="module")
def made() -> list[dict[str, Any]]:
    return [make_record(RECIPE, "train", i) for i in range(24)]


def test_a_corpus_is_read_by_datasets_as_it_was_made(
    made: list[dict[str, Any]], tmp_path: Path
) -> None:
    files = write_split(tmp_path, "train", iter(made), shard=10)
    assert [file.name for file in files] == [f"train-0000{i}.parquet" for i in range(3)]
    assert not list(tmp_path.glob("*.part"))
    read = load_dataset(
        "parquet", data_files=[str(f) for f in files], split="train", cache_dir=str(tmp_path)
    )
    assert read["id"][:2] == ["train-000000", "train-000001"]
    for record, row in zip(made, read, strict=True):
        assert row["image"].size == (record["width"], record["height"])
        assert row["table"] == record["table"]
        assert row["questions"] == record["questions"]
        assert [mark["labels"] for mark in row["marks"]] == [
            list(mark["labels"]) for mark in record["marks"]
        ]


def test_a_smaller_corpus_leaves_nothing_of_a_larger_one(
    made: list[dict[str, Any]], tmp_path: Path
) -> None:
    write_split(tmp_path, "train", iter(made[:5]), shard=2)
    others = [f"train_more-0000{i}.parquet" for i in range(2)] + ["train-notes.parquet"]
    for other in others:
        (tmp_path / other).touch()
    files = write_split(tmp_path, "train", iter(made[:3]), shard=2)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(
        [*(file.name for file in files), *others]
    )
    ids = [row for file in files for row in pq.read_table(file)["id"].to_pylist()]
    assert ids == [record["id"] for record in made[:3]]


def test_charts_depend_on_the_seed_and_their_number_alone() -> None:
    def ids(rows: Iterator[dict[str, Any]]) -> list[tuple[str, bytes]]:
        return [(row["id"], row["image"]["bytes"]) for row in rows]

    alone, together = (ids(records(RECIPE, "train", 4, n)) for n in (1, 2))
    assert alone == together
    assert ids(records(Recipe(seed=6), "train", 4, 1)) != alone


def test_records_are_whole(made: list[dict[str, Any]]) -> None:
    for record in made:
        picture = Image.open(io.BytesIO(record["image"]["bytes"]))
        assert picture.size == (record["width"], record["height"])
        cells = parse(record["table"])
        rows, columns = len(cells) - 1, len(cells[0]) - 1
        assert sum(len(mark["values"]) for mark in record["marks"]) == rows * columns
        assert len(record["questions"]) >= 3
        assert set(record["summaries"]) == set(LEVELS)


def test_unseen_looks_are_in_no_other_split(made: list[dict[str, Any]]) -> None:
    held_out = {theme.name for theme in THEMES if theme.held_out}
    assert not held_out & {record["theme"] for record in made}
    assert {make_record(RECIPE, UNSEEN, i)["theme"] for i in range(6)} <= held_out


def test_held_out_charts_show_tables_that_no_training_chart_has() -> None:
    def tables(split: str) -> set[frozenset[tuple[str, ...]]]:
        (file,) = Path("data/charts").glob(f"{split}-*.parquet")
        lines = pq.read_table(file, columns=["table"])["table"].to_pylist()
        return {frozenset(map(tuple, parse(line)[1:])) for line in lines}

    train = tables("train")
    assert len(train) > 1900
    for split in ("validation", "test", "test_unseen"):
        assert len(tables(split) & train) <= 1  # two made-up ones are equal: 3, 3 and 3 burglaries


def test_every_task_has_examples(made: list[dict[str, Any]]) -> None:
    from random import Random

    for record in made[:6]:
        found = list(all_examples(record))
        assert {example.task for example in found} == set(TOKENS)
        assert all(example.answer for example in found)
        for task in TOKENS:
            assert draw_example(record, task, Random(0)).task == task
        (elements,) = [example.answer for example in found if example.task == "elements"]
        assert len(read_marks(elements)) == sum(len(mark["values"]) for mark in record["marks"])
