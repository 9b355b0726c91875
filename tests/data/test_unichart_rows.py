"""UniChart's published pretraining set, from small files in its form."""

import json
import zipfile
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_pictures import png

from belvedere.charts.tasks import Example
from belvedere.charts.tokenizer import encode_prompt
from belvedere.data.pictures import open_picture
from belvedere.data.unichart_rows import UniChartRowsDataModule
from belvedere.errors import BadInput

QUERIES = {
    "<extract_data_table> <s_answer>": ("table", "", " Year | Share & 2019 | 41 "),
    "<summarize_chart> <s_answer>": ("summary", "", "It fell."),
    "<chartqa> How much > 4? <s_answer>": ("reasoning", "How much > 4?", "41"),
    "<opencqa> Why so?": ("open", "Why so?", "So."),
    "<chartqa>In 2019?<s_answer>": ("reasoning", "In 2019?", "Yes"),
}
"""Five rows about each picture: the query; the task, the question and the label."""


pytestmark = pytest.mark.usefixtures("own_cache")


def rows_about(numbers: Any) -> list[dict[str, str]]:
    """Rows as published: those of a picture do not stand together."""
    return [
        {"imgname": f"{number}.png", "query": query, "label": label}
        for query, (_, _, label) in QUERIES.items()
        for number in numbers
    ]


def draw(folder: Path, numbers: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (folder / f"{number}.png").write_bytes(png(number))
    return folder


def write(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=3)
    elif file.suffix == ".json":
        file.write_text(json.dumps(rows))
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def archive(file: Path, numbers: Any, inside: str = "content/images/") -> Path:
    with zipfile.ZipFile(file, "w") as opened:
        opened.writestr("__MACOSX/content/images/._0.png", b"no picture")
        for number in numbers:
            kind = zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED
            opened.writestr(f"{inside}{number}.png", png(number), kind)
    return file


def module(tokenizer: Any, path: Any, images: Any, **options: Any) -> UniChartRowsDataModule:
    options = {
        "name": "rows", "image_size": (40, 60), "batch_size": 4, "held_out": 0.4, **options
    }  # fmt: skip
    return UniChartRowsDataModule(
        tokenizer, str(path), None if images is None else str(images), **options
    )


def charts_of(data: UniChartRowsDataModule) -> dict[str, list[Any]]:
    data.setup()
    return {split: list(rows.charts) for split, rows in data.rows.items()}


def names_of(charts: list[Any]) -> set[str]:
    return {chart.where.rpartition("/")[2] for chart in charts}


@pytest.mark.parametrize("name", ["rows.parquet", "rows.jsonl", "rows.json"])
@pytest.mark.parametrize("packed", [True, False])
def test_every_row_comes_once_and_a_picture_is_in_one_split(
    tmp_path: Path, letters: Any, name: str, packed: bool
) -> None:
    numbers = range(20)
    if packed:
        images = archive(tmp_path / "Images.zip", numbers)
    else:
        images = draw(tmp_path / "images/content/images", numbers).parents[1]
    file = write(tmp_path / "rows" / name, rows_about(numbers))
    charts = charts_of(module(letters, file, images))
    names = {split: names_of(found) for split, found in charts.items()}
    assert all(names.values())
    assert sum(map(len, names.values())) == len(set().union(*names.values())) == 20
    for chart in (one for found in charts.values() for one in found):
        number = int(Path(chart.where).stem)
        assert chart.where == f"{images}/content/images/{number}.png"
        assert open_picture(chart.picture).getpixel((0, 0)) == (number, 80, 160)
    every = [
        (Path(chart.where).stem, example.task, example.question, example.answer)
        for found in charts.values() for chart in found for example in chart.examples
    ]  # fmt: skip
    assert sorted(every) == sorted(
        (str(number), task, question, label.strip())
        for number in numbers for task, question, label in QUERIES.values()
    )  # fmt: skip


@pytest.mark.parametrize(("most", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), (9, [5])])
def test_rows_about_a_picture_are_asked_together(
    tmp_path: Path, letters: Any, most: int, sizes: list[int]
) -> None:
    file = write(tmp_path / "rows.parquet", rows_about([1, 2]))
    images = draw(tmp_path / "images", [1, 2])
    data = module(letters, file, images, texts_per_chart=most, held_out=0.0)
    charts = data.charts("train")
    assert [len(chart.examples) for chart in charts] == sizes * 2
    assert names_of(list(charts)[: len(sizes)]) == {"1.png"}
    assert charts[0].examples[0] == Example("table", "", "Year | Share & 2019 | 41", (
        "Year | Share & 2019 | 41",
    ))  # fmt: skip


def test_batches_have_the_published_prompts_and_no_letters(tmp_path: Path, letters: Any) -> None:
    file = write(tmp_path / "rows.parquet", rows_about(range(10)))
    data = module(letters, file, draw(tmp_path / "images", range(10)), texts_per_chart=5)
    data.setup()
    batch = next(iter(data.train_dataloader()))
    assert batch["pixels"].shape == (4, 3, 40, 60)
    assert batch["picture"].tolist() == [i for i in range(4) for _ in QUERIES]
    assert (batch["looks"] == -1).all()
    assert "letters" not in batch
    for row, labels, example in zip(batch["ids"], batch["labels"], batch["examples"], strict=True):
        prompt = encode_prompt(letters, example.task, example.question)
        assert row[: len(prompt)].tolist() == prompt
        assert (labels[: len(prompt) - 1] == -100).all()
        assert letters.decode(labels[labels >= 0], skip_special_tokens=True) == example.answer


def test_processes_that_make_batches_read_one_archive(tmp_path: Path, letters: Any) -> None:
    images = archive(tmp_path / "a.zip", range(30))
    file = write(tmp_path / "rows.parquet", rows_about(range(30)))
    data = module(letters, file, images, num_workers=2, texts_per_chart=5, batch_size=1)
    data.setup()
    charts = data.rows["train"].charts
    seen = [batch["pixels"][0, 0].min().item() for batch in data.train_dataloader()]
    assert sorted(seen) == sorted(int(Path(chart.where).stem) for chart in charts)


def test_named_files_are_the_splits(tmp_path: Path, letters: Any) -> None:
    images = draw(tmp_path / "images", range(20))
    folder = tmp_path / "rows"
    write(folder / "train-00000.parquet", rows_about(range(10)))
    write(folder / "train-00001.parquet", rows_about(range(10, 14)))
    write(folder / "test.jsonl", rows_about([15]))
    data = module(letters, folder, images)
    names = {split: names_of(found) for split, found in charts_of(data).items()}
    assert names["train"] | names["validation"] == {f"{i}.png" for i in range(14)}
    assert names["train"].isdisjoint(names["validation"])
    assert names["test"] == {"15.png"}
    write(folder / "validation.json", rows_about([16, 17]))
    (folder / "test.jsonl").unlink()
    names = {k: names_of(v) for k, v in charts_of(module(letters, folder, images)).items()}
    assert names["train"] == {f"{i}.png" for i in range(14)}
    assert names["validation"] == names["test"] == {"16.png", "17.png"}


def test_the_hub_is_asked_for_what_is_no_file(
    tmp_path: Path, letters: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def load(name: str, config: Any, split: str, streaming: bool) -> Any:
        asked.append((name, config, split, streaming))
        return datasets.Dataset.from_list(rows_about(range(9)))

    monkeypatch.setattr(datasets, "load_dataset", load)
    data = module(letters, "someone/rows", draw(tmp_path / "images", range(8)))
    with pytest.raises(BadInput, match=r"someone/rows/train\[8\]: there is no picture 8\.png in"):
        data.setup()
    draw(tmp_path / "images", [8])
    data.setup()
    assert asked == [("someone/rows", None, "train", False)] * 2


def test_what_is_used_and_left_out_is_counted(tmp_path: Path, letters: Any) -> None:
    rows = rows_about(range(20))
    rows += [{"imgname": "lost.png", "query": "<chartqa> ?", "label": " \n"}]
    rows += [{"imgname": "3.png", "query": "<read_texts> <s_answer>", "label": "Bread"}]
    for row in rows[:20]:
        row["label"] = "no table"
    file = write(tmp_path / "rows.jsonl", rows)
    images = draw(tmp_path / "images", range(20))
    data = module(letters, file, images, tasks=["table", "summary"], train_charts=3, eval_charts=2)
    charts = charts_of(data)
    summary = data.summary()
    assert (summary["charts"], summary["validation_charts"], summary["test_charts"]) == (3, 2, 2)
    assert summary["rows"] == {
        "train": {"table": 3, "summary": 3},
        "validation": {"table": 2, "summary": 2},
        "test": {"summary": 2},  # no answer could be measured by "no table"
    }
    assert (summary["without_answer"], summary["tables_without_data"]) == (1, 2)
    assert {example.task for chart in charts["train"] for example in chart.examples} == {
        "table", "summary"
    }  # fmt: skip
    assert json.loads(json.dumps(summary)) == summary
    again = module(letters, file, images, test_split="validation", eval_charts=2)
    assert again.parts("test") == ["validation"]
    again.setup("test")
    assert names_of(list(again.rows["test"].charts)) == names_of(charts["validation"])


def test_names_may_have_folders(tmp_path: Path, letters: Any) -> None:
    rows = [
        {"imgname": f"{source}/1.png", "query": "<chartqa> ?", "label": source}
        for source in ("pew", "owid")
    ]
    draw(tmp_path / "images/pew", [1])
    draw(tmp_path / "images/deep/owid", [1])
    file = write(tmp_path / "rows.json", rows)
    charts = module(letters, file, tmp_path / "images", held_out=0.0).charts("train")
    assert [(one.picture, one.examples[0].answer) for one in charts] == [
        (str(tmp_path / "images/pew/1.png"), "pew"),
        (str(tmp_path / "images/deep/owid/1.png"), "owid"),
    ]


GOOD = {"imgname": "0.png", "query": "<chartqa> ?", "label": "1"}


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("rows.parquet", {"query": "<detect> <s_answer>"},
         r"rows\.parquet\[1\]: the query '<detect> <s_answer>' begins with the token of no task; "
         r"begin it with one of <read_texts> <extract_data_table> "),
        ("rows.jsonl", {"query": "Why?"}, r"rows\.jsonl\[1\]: the query 'Why\?' begins with"),
        ("rows.jsonl", {"label": 3}, r"rows\.jsonl:2: 'label' is int, not text; give"),
        ("rows.jsonl", {"label": None}, r"rows\.jsonl:2: 'label' is NoneType, not text"),
        ("rows.parquet", {"query": None}, r"rows\.parquet\[1\]: 'query' is NoneType, not text"),
        ("rows.json", {"imgname": "9.png"},
         r"rows\.json\[1\]: there is no picture 9\.png in .*images; give the place that has it"),
    ],
)  # fmt: skip
def test_a_malformed_row_is_named(
    tmp_path: Path, letters: Any, name: str, row: dict[str, Any], message: str
) -> None:
    file = write(tmp_path / name, [GOOD, GOOD | row])
    with pytest.raises(BadInput, match=message) as found:
        module(letters, file, draw(tmp_path / "images", [0])).setup()
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.jsonl", b'{"imgname": "0.png", \n', r"rows\.jsonl:1: broken JSON"),
        ("rows.jsonl", b'{"imgname": "0.png", "label": "1"}\n', r"jsonl:1: there is no field 'que"),
        ("rows.parquet", b"PAR1 no Parquet", r"rows\.parquet: broken Parquet"),
        ("rows.json", b"", r"rows\.json: the file is empty"),
        ("rows.json", b"[]", r"rows\.json: "),
        ("rows.txt", b"text", r"rows\.txt: no rows in this form; give \.parquet, \.jsonl or"),
        ("elsewhere.jsonl", b"{}", r"rows\.jsonl: there is no such file or folder; check data"),
    ],
)
def test_a_broken_file_is_named(
    tmp_path: Path, letters: Any, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    path = tmp_path / (name if name.startswith("rows") else "rows.jsonl")
    with pytest.raises(BadInput, match=message):
        module(letters, path, draw(tmp_path / "images", [0])).setup()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": None}, r"data\.images: it is not said where the pictures are; fetch the arch"),
        ({"images": "nowhere"}, r"nowhere: there is no such file; give the pictures as data\.im"),
        ({"images": "rows.parquet"}, r"rows\.parquet: neither a folder nor a \.zip file"),
        ({"images": "broken.zip"}, r"broken\.zip: not a zip archive that can be read"),
        ({"images": "."}, r"both images/0\.png and other/0\.png are called 0\.png; keep one"),
        ({"letters": True}, r"data\.letters: published charts do not say where"),
        ({"tasks": ["tables"]}, r"data\.tasks: there is no task 'tables'; tasks are texts, table"),
        ({"tasks": ["summary"]}, r"there are no rows with an answer for the train split; give"),
        ({"held_out": 0.0}, r"there are no rows with an answer for the validation split"),
        ({"held_out": 1.0}, r"data\.held_out: 1\.0 is no share"),
        ({"texts_per_chart": 0}, r"data\.texts_per_chart: 0 is too small"),
        ({"test_split": "val"}, r"data\.test_split: there is no split 'val'; choose one of train"),
    ],
)
def test_bad_settings(tmp_path: Path, letters: Any, options: dict[str, Any], message: str) -> None:
    write(tmp_path / "rows.parquet", [GOOD])
    (tmp_path / "broken.zip").write_bytes(b"PK no archive")
    draw(tmp_path / "images", [0])
    draw(tmp_path / "other", [0])
    options = {"images": "images", **options}
    images = options.pop("images")
    place = images if images is None else tmp_path / images
    with pytest.raises(BadInput, match=message):
        module(letters, tmp_path / "rows.parquet", place, **options).setup()


def test_a_damaged_archive_is_named(tmp_path: Path, letters: Any) -> None:
    file = write(tmp_path / "rows.jsonl", [GOOD | {"imgname": "1.png"}])
    images = archive(tmp_path / "a.zip", [1])
    charts = module(letters, file, images, held_out=0.0).charts("train")
    with zipfile.ZipFile(images) as opened:
        start = opened.getinfo("content/images/1.png").header_offset
    content = bytearray(images.read_bytes())
    content[start + 60 : start + 80] = b"\xff" * 20
    images.write_bytes(content)
    with pytest.raises(BadInput, match=r"a\.zip/content/images/1\.png: damaged in the archive"):
        charts[0]
    with zipfile.ZipFile(images, "w", zipfile.ZIP_LZMA) as opened:
        opened.writestr("1.png", png(1))
    with pytest.raises(BadInput, match=r"a\.zip/1\.png: is encrypted or compressed in a rare way"):
        module(letters, file, images, held_out=0.0).charts("train")


def test_folders_may_be_called_as_patterns_are(tmp_path: Path, letters: Any) -> None:
    file = write(tmp_path / "new [1] *" / "rows.jsonl", [GOOD])
    images = draw(tmp_path / "images", [0])
    assert len(module(letters, file, images, held_out=0.0).charts("train")) == 1


def test_a_changed_file_is_read_anew(tmp_path: Path, letters: Any) -> None:
    images = draw(tmp_path / "images", [0])
    for label in ("one", "three"):
        file = write(tmp_path / "rows.jsonl", [GOOD | {"label": label}])
        charts = module(letters, file, images, held_out=0.0).charts("train")
        assert charts[0].examples[0].answer == label


def test_rows_are_numbered_through_all_files(tmp_path: Path, letters: Any) -> None:
    for part, numbers in (("a", [0, 1, 2]), ("b", [3]), ("c", [4, 5])):
        table = pa.Table.from_pylist([GOOD | {"imgname": f"{i}.png"} for i in numbers])
        if part == "b":  # as some tools write texts
            table = table.cast(
                pa.schema([(name, pa.large_string()) for name in table.column_names])
            )
        (tmp_path / "rows").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / f"rows/{part}.parquet")
    data = module(letters, tmp_path / "rows", draw(tmp_path / "images", range(5)))
    with pytest.raises(BadInput, match=r"c\.parquet\[1\]: there is no picture 5\.png"):
        data.setup()
    draw(tmp_path / "images", [5])
    rows, split_of, _ = module(letters, tmp_path / "rows", tmp_path / "images").found
    assert [rows[i]["imgname"] for i in range(len(rows))] == [f"{i}.png" for i in range(6)]
    assert isinstance(split_of, np.ndarray)
