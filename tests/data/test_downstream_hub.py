"""The published sets of charts in the hub's form: local folders stand for the hub."""

from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, Sequence, Value
from datasets import Image as HubImage
from small_pictures import png

from belvedere.data.chart_to_text import ChartToTextDataModule
from belvedere.data.chartqa import ChartQADataModule, ChartToTableDataModule
from belvedere.data.opencqa import OpenCQADataModule
from belvedere.errors import BadInput

CHARTQA = Features(
    {
        "image": HubImage(),
        "query": Value("string"),
        "label": Sequence(Value("string")),
        "human_or_machine": ClassLabel(names=["human", "machine"]),
    }
)


pytestmark = pytest.mark.usefixtures("own_cache")


def publish(folder: Path, rows: list[dict[str, Any]], features: Features | None = None) -> str:
    for split in ("train", "val", "test"):
        made = Dataset.from_list(rows, features=features)
        made.to_parquet(folder / f"{split}.parquet")
    # datasets takes "val" for its own "validation"; the hub's ChartQA says so in its card.
    card = "".join(f"  - split: {s}\n    path: {s}.parquet\n" for s in ("train", "val", "test"))
    head = "---\nconfigs:\n- config_name: default\n  data_files:\n"
    (folder / "README.md").write_text(f"{head}{card}---\n")
    return str(folder)


def module(kind: Any, tokenizer: Any, **options: Any) -> Any:
    return kind(tokenizer, **{"name": "charts", "image_size": (40, 60)} | options)


def test_chartqa_groups_rows_by_the_bytes_of_their_picture(tmp_path: Path, letters: Any) -> None:
    def row(shade: int, query: str, label: list[str], who: int) -> dict[str, Any]:
        image = {"bytes": png(shade), "path": None}
        return {"image": image, "query": query, "label": label, "human_or_machine": who}

    rows = [
        row(0, "a?", ["1"], 0),
        row(200, "b?", ["2", "two"], 1),
        row(0, "c?", ["3"], 0),
        row(0, "d?", [], 1),
        row(0, "e?", ["5"], 1),
    ]
    data = module(ChartQADataModule, letters, hub=publish(tmp_path / "set", rows, CHARTQA))
    data.setup()
    charts = data.rows["validation"].charts
    assert [(chart.kind, [one.question for one in chart.examples]) for chart in charts] == [
        ("human", ["a?", "c?"]),
        ("augmented", ["b?"]),
        ("augmented", ["e?"]),
    ]
    assert charts[0].picture == png(0)
    assert charts[1].examples[0].accepted == ("2", "two")
    assert charts[1].where.endswith("set/val[1]")
    assert next(iter(data.test_dataloader()))["pixels"].shape == (3, 3, 40, 60)
    summary = data.summary()
    assert summary["without_answer"] == 3
    assert summary["test_pictures_in_train"] == 2


@pytest.mark.parametrize(
    ("kind", "columns", "options", "answer"),
    [
        (ChartToTableDataModule, {"table": "a | b & 1 | 2"}, {}, "a | b & 1 | 2"),
        (OpenCQADataModule, {"question": "?", "abstractive_answer": "So."}, {}, "So."),
        (ChartToTextDataModule, {"text": "It\nfell."}, {"caption_column": "text"}, "It fell."),
    ],
)
def test_other_sets_with_the_right_columns(
    tmp_path: Path, letters: Any, kind: Any, columns: dict[str, str], options: Any, answer: str
) -> None:
    # Without the feature of images, as other tools write Parquet.
    rows = [{"picture": {"bytes": png(9), "path": None}, **columns}]
    options = {"image_column": "picture", **options}
    data = module(kind, letters, hub=publish(tmp_path / "set", rows), **options)
    data.setup("test")
    (chart,) = data.rows["test"].charts
    assert chart.examples[0].answer == answer
    assert data.rows["test"][0].pixels.shape == (3, 40, 60)


def test_the_folder_is_used_where_both_are_given(tmp_path: Path, letters: Any) -> None:
    data = module(OpenCQADataModule, letters, path=str(tmp_path), hub="nobody/nothing")
    with pytest.raises(BadInput, match=r"there is no test\.json"):
        data.setup("test")


def test_a_ragged_table_is_named_by_its_row(tmp_path: Path, letters: Any) -> None:
    picture = {"bytes": png(9), "path": None}
    tables = ["a | b & 1 | 2", "a | b & 1 | 2 & 3 | 4 | 5"]
    hub = publish(tmp_path / "set", [{"image": picture, "table": table} for table in tables])
    with pytest.raises(BadInput, match=r"set/test\[1\]: row 2 of the table has 3 cells, but the"):
        module(ChartToTableDataModule, letters, hub=hub).setup("test")


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        ({}, {"image_column": "img"}, r"set/test: there is no column 'img'; choose one of image, "),
        ({}, {"image_column": "number"}, r"set/test: the column 'number' has no pictures"),
        ({}, {"caption_column": "text"}, r"set/test\[0\]: there is no column 'text'; choose one"),
        ({}, {"test_split": "dev"}, r"data\.hub: the set .* cannot be loaded"),
        ({"image": None}, {}, r"set/test\[1\]: there is no picture; choose another set"),
    ],
)
def test_bad_input(
    tmp_path: Path, letters: Any, row: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    good = {"image": {"bytes": png(9), "path": None}, "caption": "It fell.", "number": 3}
    hub = publish(tmp_path / "set", [good, good | row])
    with pytest.raises(BadInput, match=message):
        module(ChartToTextDataModule, letters, hub=hub, **options).setup("test")
