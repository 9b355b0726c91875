"""The published sets of charts from small folders in their layouts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chart_sets import write, write_chart_to_text, write_chartqa, write_opencqa
from hydra.utils import instantiate
from omegaconf import OmegaConf

from belvedere.charts.tables import parse
from belvedere.charts.tasks import NO_CHART
from belvedere.charts.tokenizer import encode
from belvedere.data.chart_to_text import ChartToTextDataModule
from belvedere.data.chartqa import ChartQADataModule, ChartToTableDataModule, read_table
from belvedere.data.downstream import DownstreamDataModule, spread
from belvedere.data.opencqa import OpenCQADataModule
from belvedere.errors import BadInput

CONFIGS = Path(__file__).resolve().parents[2] / "configs/data"


def module(kind: type[DownstreamDataModule], tokenizer: Any, **options: Any) -> Any:
    return kind(tokenizer, **{"name": "charts", "image_size": (40, 60), "batch_size": 2} | options)


@pytest.fixture
def chartqa(tmp_path: Path) -> Path:
    return write_chartqa(tmp_path)


@pytest.fixture
def opencqa(tmp_path: Path) -> Path:
    return write_opencqa(tmp_path)


@pytest.fixture
def chart_to_text(tmp_path: Path) -> Path:
    return write_chart_to_text(tmp_path)


def test_questions_about_a_picture_come_together_and_groups_apart(
    chartqa: Path, letters: Any
) -> None:
    data = module(ChartQADataModule, letters, path=str(chartqa))
    data.setup()
    charts = data.rows["test"].charts
    assert [(Path(chart.picture).name, chart.kind) for chart in charts] == [
        ("0.png", "human"),
        ("1.png", "human"),
        ("0.png", "augmented"),
    ]
    assert [one.question for one in charts[0].examples] == ["What is shown?", "How much?"]
    assert {one.task for chart in charts for one in chart.examples} == {"reasoning"}
    years = charts[1].examples[0]
    assert (years.answer, years.accepted) == ("2019", ("2019", "2020"))
    batch = next(iter(data.test_dataloader()))
    assert batch["picture"].tolist() == [0, 0, 1, 2]
    assert batch["kinds"] == ["human", "human", "human", "augmented"]
    assert batch["pixels"].shape == (3, 3, 40, 60)
    assert next(iter(data.train_dataloader()))["pixels"].shape[0] == 2


def test_an_answer_that_is_too_long_is_cut_and_counted(chartqa: Path, letters: Any) -> None:
    label = "a very long answer that no decoder holds " * 4
    write(chartqa / "test/test_human.json", [{"imgname": "0.png", "query": "?", "label": label}])
    data = module(ChartQADataModule, letters, path=str(chartqa), positions=64)
    data.setup("test")
    batch = next(iter(data.test_dataloader()))
    assert int(batch["truncated"]) == 1
    assert batch["ids"].shape[1] == 64
    # What is right stays whole.
    assert batch["examples"][0].accepted == (label.strip(),)


def test_a_task_token_in_a_question_stays_text(chartqa: Path, letters: Any) -> None:
    query = "Is it <s_answer> 3 <chartqa>?"
    write(chartqa / "test/test_human.json", [{"imgname": "0.png", "query": query, "label": "3"}])
    data = module(ChartQADataModule, letters, path=str(chartqa))
    data.setup("test")
    prompt, answer = data.rows["test"][0].ids[0]
    special = set(letters.convert_tokens_to_ids(["<s_answer>", "<chartqa>"]))
    assert prompt[1:-1] == encode(letters, query)
    assert not special & set(prompt[1:-1])
    assert {prompt[0], prompt[-1]} == special
    assert letters.decode(answer[:-1]) == "3"


def test_tables_are_read_whole_and_pictures_without_one_are_counted(
    chartqa: Path, letters: Any
) -> None:
    data = module(ChartToTableDataModule, letters, path=str(chartqa))
    data.setup()
    (chart,) = data.rows["test"].charts
    (example,) = chart.examples
    assert (example.task, example.question) == ("table", "")
    assert parse(example.answer) == [
        ["Year", "Share, per cent"],
        ["2019", "41"],
        ["2020", "a|b & c"],
    ]
    assert data.summary()["without_answer"] == 3
    assert data.summary()["test_charts"] == 1


def test_open_questions(opencqa: Path, letters: Any) -> None:
    data = module(OpenCQADataModule, letters, path=str(opencqa))
    data.setup()
    (chart,) = data.rows["validation"].charts
    assert [(one.task, one.question, one.answer) for one in chart.examples] == [
        ("open", "Compare both?", "One is\nlarger .")
    ]
    # One empty answer in each split; all three splits ask about one picture.
    assert data.summary()["without_answer"] == 3
    assert data.summary()["test_pictures_in_train"] == 1


@pytest.mark.parametrize("below", ["", "pew_dataset/dataset"])
def test_summaries_of_simple_and_complex_charts(
    chart_to_text: Path, letters: Any, below: str
) -> None:
    data = module(ChartToTextDataModule, letters, path=str(chart_to_text / below), source="pew")
    data.setup()
    charts = data.rows["train"].charts
    assert [(chart.kind, chart.examples[0].answer) for chart in charts] == [
        ("simple", "A caption of pew ."),
        ("complex", "Two lines ."),
    ]
    assert {one.task for chart in charts for one in chart.examples} == {"summary"}
    assert "multiColumn" in charts[1].picture
    assert data.summary()["without_answer"] == 3


def test_only_the_splits_of_a_stage_are_opened(opencqa: Path, letters: Any) -> None:
    for split in ("train", "val"):
        (opencqa / f"{split}.json").unlink()
    data = module(OpenCQADataModule, letters, path=str(opencqa))
    data.setup("test")
    assert list(data.rows) == ["test"]
    summary = data.summary()
    assert (summary["charts"], summary["test_charts"]) == (None, 1)
    with pytest.raises(BadInput, match=r"no train\.json; choose one of test as data\.train_"):
        data.setup("fit")


def test_without_a_name_the_test_split_is_test_or_else_validation(
    opencqa: Path, letters: Any
) -> None:
    whole = module(OpenCQADataModule, letters, path=str(opencqa), test_split=None)
    assert whole.parts("test") == ["test"]
    (opencqa / "test.json").unlink()
    part = module(OpenCQADataModule, letters, path=str(opencqa), test_split=None)
    assert part.parts("test") == ["val"]


def test_some_training_pictures_of_a_set_show_no_chart(opencqa: Path, letters: Any) -> None:
    data = module(OpenCQADataModule, letters, path=str(opencqa), no_chart=0.5)
    data.setup()
    rows = [data.rows["train"][number] for number in range(24)]
    answers = {example.answer for row in rows for example in row.examples}
    assert NO_CHART in answers
    assert len(answers) == 2
    held_out = data.rows["validation"]
    assert all(held_out[number].examples[0].answer != NO_CHART for number in range(24))


def test_splits_go_by_the_names_that_are_given(opencqa: Path, letters: Any) -> None:
    (opencqa / "train.json").unlink()
    (opencqa / "test.json").unlink()
    data = module(
        OpenCQADataModule, letters, path=str(opencqa), train_split="val", test_split="val"
    )
    data.setup("fit")
    assert set(data.rows) == {"train", "validation"}
    data.setup("test")
    assert set(data.rows) == {"train", "validation", "test"}


def test_a_split_that_is_there_in_parts_is_all_of_them(chartqa: Path, letters: Any) -> None:
    (chartqa / "test").rename(chartqa / "test_simple")
    (chartqa / "val").rename(chartqa / "test_complex")
    data = module(ChartQADataModule, letters, path=str(chartqa), eval_charts=4)
    assert data.parts("test") == ["test_complex", "test_simple"]
    assert data.parts("train") == ["train"]
    data.setup("test")
    folders = [Path(chart.picture).parts[-3] for chart in data.rows["test"].charts]
    assert folders == ["test_complex", "test_complex", "test_simple", "test_simple"]
    tables = module(ChartToTableDataModule, letters, path=str(chartqa))
    (chartqa / "test_complex/tables/0.csv").unlink()
    (chartqa / "test_complex/tables").rmdir()
    assert tables.parts("test") == ["test_simple"]


def test_a_limit_is_spread_over_the_groups(chartqa: Path, letters: Any) -> None:
    data = module(ChartQADataModule, letters, path=str(chartqa), eval_charts=2, train_charts=1)
    data.setup()
    assert len(data.rows["train"]) == 1
    assert len(data.rows["test"]) == 2
    assert spread(list("abcde"), 2) == ["a", "c"]
    assert spread(list("abc"), 3) == spread(list("abc"), None) == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["chartqa", "chart_to_table", "opencqa", "chart_to_text"])
def test_the_configuration_makes_the_module(
    name: str, request: pytest.FixtureRequest, letters: Any
) -> None:
    folder = request.getfixturevalue("chartqa" if name == "chart_to_table" else name)
    config = OmegaConf.create({"seed": 1, "data": OmegaConf.load(CONFIGS / f"{name}.yaml")})
    config.data.path = str(folder)
    data = instantiate(config.data, tokenizer=letters, image_size=[40, 60], positions=64)
    data.setup()
    assert len(data.rows["test"]) > 0
    assert data.name.startswith(name)


Broken = Callable[[Path], None]


def refused(kind: Any, letters: Any, folder: Path, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        module(kind, letters, path=str(folder)).setup()


@pytest.mark.parametrize(
    ("breaks", "message"),
    [
        (
            lambda p: (p / "val/png/1.png").unlink(),
            r"val_human\.json\[1\]: there is no picture .*val/png/1\.png; add it",
        ),
        (
            lambda p: write(p / "test/test_human.json", [{"imgname": "0.png", "query": "?"}]),
            r"test_human\.json\[0\]: there is no field 'label'",
        ),
        (
            lambda p: write(
                p / "test/test_human.json", [{"imgname": "0.png", "query": "?", "label": [1]}]
            ),
            r"test_human\.json\[0\]: 'label' is no list of texts",
        ),
        (
            lambda p: write(
                p / "test/test_human.json", [{"imgname": 3, "query": "?", "label": "x"}]
            ),
            r"test_human\.json\[0\]: 'imgname' is int, not text",
        ),
        *(
            (
                lambda p, name=name: write(
                    p / "test/test_human.json", [{"imgname": name, "query": "?", "label": "x"}]
                ),
                r"test_human\.json\[0\]: 'imgname' leaves the folder of its files; give the path",
            )
            for name in ("../../val/png/1.png", "/etc/passwd")
        ),
        (
            lambda p: write(p / "train/train_human.json", '[{"imgname": '),
            r"train_human\.json: broken JSON",
        ),
        (
            lambda p: [f.unlink() for f in (p / "test").glob("*.json")],
            r"test: there are no questions; add test_human\.json or test_augmented\.json",
        ),
        (
            lambda p: [write(f, []) for f in (p / "test").glob("*.json")],
            r"no charts with an answer in the split 'test'; .*data\.test_split",
        ),
        (lambda p: write(p / "test/more.json", []), r"more\.json: these are neither people's"),
        (
            lambda p: (p / "test").rename(p / "hard_test"),
            r"there is no test/png; choose one of hard_test, train, val as data\.test_split",
        ),
    ],
)
def test_a_broken_chartqa_is_named_by_its_place(
    chartqa: Path, letters: Any, breaks: Broken, message: str
) -> None:
    breaks(chartqa)
    refused(ChartQADataModule, letters, chartqa, message)


@pytest.mark.parametrize(
    ("breaks", "message"),
    [
        (lambda p: write(p / "val/tables/0.csv", "a,b\n1,2\n3,4,5\n"), r"0\.csv:3: the row has 3"),
        (lambda p: write(p / "val/tables/0.csv", ""), r"0\.csv: the table is empty"),
        (lambda p: write(p / "val/tables/0.csv", "a,b\n"), r"0\.csv: the table has no data point"),
        (lambda p: write(p / "val/tables/0.csv", "a\n1\n"), r"0\.csv: the table has no data point"),
        (lambda p: (p / "val/tables/0.csv").write_bytes(b"a,b\n\xff,2\n"), r"0\.csv: not a CSV"),
        (
            lambda p: (p / "val/tables/0.csv").unlink(),
            r"no charts with an answer in the split 'val'; .*data\.validation_split",
        ),
        (
            lambda p: (p / "test/png/0.png").unlink(),
            r"tables/0\.csv: there is no picture .*test/png/0\.png",
        ),
    ],
)
def test_a_broken_table_is_named_by_its_place(
    chartqa: Path, letters: Any, breaks: Broken, message: str
) -> None:
    breaks(chartqa)
    refused(ChartToTableDataModule, letters, chartqa, message)


@pytest.mark.parametrize(
    ("breaks", "message"),
    [
        (lambda p: (p / "png/7.png").unlink(), r"train\.json\[0\]: there is no picture"),
        (
            lambda p: write(p / "val.json", [{"imgname": "7.png", "question": "?"}]),
            r"val\.json\[0\]: there is no field 'abstractive_answer'",
        ),
        (
            lambda p: (p / "val.json").unlink(),
            r"no val\.json; choose one of test, train as data\.validation_split",
        ),
    ],
)
def test_a_broken_opencqa_is_named_by_its_place(
    opencqa: Path, letters: Any, breaks: Broken, message: str
) -> None:
    breaks(opencqa)
    refused(OpenCQADataModule, letters, opencqa, message)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("dataset_split/val_index_mapping.csv", "File_No\n\n7.png", r"val_.*csv:3: '7\.png' names"),
        ("dataset_split/val_index_mapping.csv", "two_col-9.txt", r"val_.*csv:1: there is no pict"),
        ("dataset_split/val_index_mapping.csv", None, r"choose one of test, train as data\.valid"),
        ("captions/1.txt", b"\xff", r"captions/1\.txt:1: not UTF-8 at byte 0"),
        ("imgs/1.png", None, r"train_index_mapping\.csv:2: there is no picture .*imgs/1\.png"),
    ],
)
def test_a_broken_chart_to_text_is_named_by_its_place(
    chart_to_text: Path, letters: Any, file: str, content: str | bytes | None, message: str
) -> None:
    place = chart_to_text / "statista_dataset/dataset" / file
    place.unlink()
    if content is not None:
        place.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(ChartToTextDataModule, letters, chart_to_text, message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"data: neither data\.path nor data\.hub is given; .*data\.path=FOLDER"),
        ({"path": "/nowhere"}, r"/nowhere: there is no such folder; check data\.path"),
        ({"path": ".", "eval_charts": 0}, r"data\.eval_charts: 0 is too small"),
        ({"path": ".", "letters": True}, r"data\.letters: .* set data\.letters=false and model"),
        ({"path": ".", "source": "oecd"}, r"data\.source: .*'oecd'; choose pew or statista"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    letters: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        module(ChartToTextDataModule, letters, **options)


def test_a_picture_that_is_none_is_named_when_it_is_read(chartqa: Path, letters: Any) -> None:
    write(chartqa / "test/png/0.png", "no picture")
    data = module(ChartQADataModule, letters, path=str(chartqa))
    data.setup("test")
    with pytest.raises(BadInput, match=r"test/png/0\.png: not a picture"):
        data.rows["test"][0]


def test_real_chartqa(shared_data: Path, letters: Any) -> None:
    folder = shared_data / "charts/chartqa"
    data = module(
        ChartQADataModule, letters, path=str(folder), test_split="test_simple", eval_charts=30
    )
    data.setup()
    assert data.summary()["charts"] == 300
    charts = data.rows["test"].charts
    assert {chart.kind for chart in charts} == {"human", "augmented"}
    assert len(charts) == 30
    batch = next(iter(data.test_dataloader()))
    assert batch["pixels"].shape == (16, 3, 40, 60)
    both = module(ChartQADataModule, letters, path=str(folder))
    both.setup("test")
    folders = {Path(chart.picture).parts[-3] for chart in both.rows["test"].charts}
    assert folders == {"test_complex", "test_simple"}


def test_real_tables(shared_data: Path, letters: Any) -> None:
    folder = shared_data / "charts/chartqa"
    data = module(ChartToTableDataModule, letters, path=str(folder), test_split="test_simple")
    data.setup("test")
    assert data.summary()["test_charts"] == 11
    assert data.summary()["without_answer"] == 59
    for chart in data.rows["test"].charts:
        table = folder / "test_simple/tables" / Path(chart.picture).with_suffix(".csv").name
        assert parse(chart.examples[0].answer) == read_table(table)
    with pytest.raises(BadInput, match=r"there is no train/tables; choose one of test_simple as"):
        data.setup("fit")


def test_real_opencqa(shared_data: Path, letters: Any) -> None:
    folder = str(shared_data / "charts/opencqa")
    data = module(OpenCQADataModule, letters, path=folder, test_split="val")
    data.setup("test")
    assert data.summary()["test_charts"] == 120
    assert data.summary()["without_answer"] == 0
    assert len(next(iter(data.test_dataloader()))["examples"]) == 16
