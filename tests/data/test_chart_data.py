from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from belvedere.charts.build import Recipe, make_record, write_split
from belvedere.charts.letters import ALPHABET, CELL, CLASSES, FIRST_MARK, MARKS, NOTHING, UNKNOWN
from belvedere.charts.not_charts import HELD_OUT, SEEN
from belvedere.charts.places import UNSEEN
from belvedere.charts.tasks import NO_CHART
from belvedere.charts.tokenizer import encode, encode_prompt, shortened, texts, train
from belvedere.data.chart_corpus import ChartCorpusDataModule, NotCharts
from belvedere.errors import BadInput

SIZE = (192, 256)
TASKS = {"texts": 1, "table": 2, "elements": 1, "reasoning": 1, "open": 1, "summary": 1}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("charts")
    for split, count in (("train", 6), ("validation", 2), ("test", 2)):
        rows: Iterator[dict[str, Any]] = (make_record(Recipe(), split, i) for i in range(count))
        write_split(folder, split, rows, shard=4)
    return folder


@pytest.fixture(scope="module")
def tokenizer(corpus: Path) -> Any:
    return train(texts(sorted(corpus.glob("train*"))), 400, 512)


def charts(corpus: Path, tokenizer: Any, **options: Any) -> ChartCorpusDataModule:
    options = {"image_size": SIZE, "batch_size": 3, "eval_batch_size": 2, **options}
    tasks = options.pop("tasks", TASKS)
    made = ChartCorpusDataModule(tokenizer, str(corpus), tasks, name="charts", **options)
    made.setup()
    return made


def test_a_batch_has_pictures_and_texts_about_them(corpus: Path, tokenizer: Any) -> None:
    batch = next(iter(charts(corpus, tokenizer, letters=True).train_dataloader()))
    assert batch["pixels"].shape == (3, 3, *SIZE)
    assert batch["picture"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert batch["letters"].shape == (3, SIZE[0] // CELL, SIZE[1] // CELL)
    for i, example in enumerate(batch["examples"]):
        prompt = encode_prompt(tokenizer, example.task, example.question)
        answer = [*encode(tokenizer, example.answer), tokenizer.eos_token_id]
        length = len(prompt) + len(answer)
        assert batch["tokens"][i] == length
        assert batch["ids"][i, :length].tolist() == [*prompt, *answer]
        labels = batch["labels"][i]
        assert labels[labels != -100].tolist() == answer
        # A label is the token that follows its place; the first one is that of <s_answer>.
        assert int((labels != -100).nonzero()[0]) == len(prompt) - 1
        assert tokenizer.decode(answer[:-1]) == example.answer


def test_letters_lie_on_ink(corpus: Path, tokenizer: Any) -> None:
    rows = charts(corpus, tokenizer, letters=True).rows["train"]
    row = rows[1]
    assert row.letters is not None
    grey = row.pixels.float().mean(0)
    parts = grey.unfold(0, CELL, CELL).unfold(1, CELL, CELL).flatten(2)
    contrast = parts.amax(-1) - parts.amin(-1)
    named = (row.letters > NOTHING) & (row.letters < FIRST_MARK)
    assert named.sum() > 20
    assert (contrast[named] > 30).float().mean() > 0.9
    assert int(row.letters.max()) < CLASSES


def test_marks_are_named_where_they_end(corpus: Path, tokenizer: Any) -> None:
    made = charts(corpus, tokenizer, letters=True)
    for index, chart in enumerate(made.charts("test")):
        row = made.rows["test"][index]
        assert chart.ends
        assert row.letters is not None
        for kind, (x, y) in chart.ends:
            found = int(row.letters[int(y // CELL), int(x // CELL)])
            assert found == FIRST_MARK + MARKS.index(kind) or 0 < found < FIRST_MARK


def test_tokens_have_the_place_of_their_letters_on_the_page(corpus: Path, tokenizer: Any) -> None:
    made = charts(corpus, tokenizer, tasks={"texts": 1}, tasks_per_chart=1, letters=True)
    batch = next(iter(made.train_dataloader()))
    assert batch["looks"].shape == (*batch["ids"].shape, 3, 2)
    checked = 0
    for labels, places, letters in zip(
        batch["labels"], batch["looks"][:, :, 0], batch["letters"], strict=True
    ):
        assert (places[labels == -100] == -1).all()
        for label, (x, y) in zip(labels.tolist(), places.tolist(), strict=True):
            text = tokenizer.decode([label]).strip() if x >= 0 else ""
            if len(text) == 1 and text in ALPHABET:
                named = letters[int(y) // CELL, int(x) // CELL]
                # Two letters may share a cell, of which the map has the later one.
                checked += int(named == ALPHABET.index(text) + 1)
                assert named != NOTHING
    assert checked > 80


def test_some_training_pictures_show_no_chart(corpus: Path, tokenizer: Any) -> None:
    rows = charts(corpus, tokenizer, no_chart=0.5, letters=True).rows["train"]
    seen = [rows[number] for number in range(24)]
    without = [row for row in seen if row.kind in SEEN]
    assert 4 < len(without) < 20
    for row in without:
        assert row.letters is not None
        assert (row.letters == UNKNOWN).all()
        for example, (_, answer), looks in zip(row.examples, row.ids, row.looks, strict=True):
            assert example.answer == NO_CHART
            assert tokenizer.decode(answer[:-1]) == NO_CHART
            assert set(looks) == {UNSEEN}
    rows = charts(corpus, tokenizer).rows["train"]
    assert {rows[number].kind for number in range(24)} & set(SEEN) == set()


def test_some_training_pictures_are_dark_unless_a_colour_is_asked_for(
    corpus: Path, tokenizer: Any
) -> None:
    data = charts(corpus, tokenizer, dark=0.99, tasks_per_chart=6)
    plain = charts(corpus, tokenizer, tasks_per_chart=6).rows["train"]
    dark = data.rows["train"]
    records = dark.charts.table.to_pylist()  # type: ignore[attr-defined]
    coloured = {
        one["text"] for record in records for one in record["questions"]
        if one["family"] == "colour"
    }  # fmt: skip
    shown = set()
    for i in range(60):
        row, light = dark[i], plain[i]
        asks = any(example.question in coloured for example in row.examples)
        same = row.pixels.float().mean() == light.pixels.float().mean()
        darker = row.pixels.float().mean() < light.pixels.float().mean() - 50
        assert same or darker
        assert not (asks and darker)
        shown.add((asks, bool(darker)))
    assert shown >= {(True, False), (False, True)}
    assert torch.equal(
        data.rows["test"][0].pixels, charts(corpus, tokenizer).rows["test"][0].pixels
    )


def test_pictures_without_a_chart_are_asked_what_charts_are(corpus: Path, tokenizer: Any) -> None:
    made = charts(corpus, tokenizer).rows["test"].charts
    without = NotCharts(made, each=2, size=(90, 60))
    assert len(without) == 2 * len(SEEN | HELD_OUT)
    assert [chart.kind for chart in without] == [k for k in (*SEEN, *HELD_OUT) for _ in "ab"]
    assert without[3].picture == without[3].picture != without[2].picture
    for chart, asked in ((without[2], made[0]), (without[3], made[1])):
        assert {e.task for e in chart.examples} == set(TASKS)
        assert len(chart.examples) == len(TASKS)
        assert {e.question for e in chart.examples} <= {e.question for e in asked.examples}
        assert {e.answer for e in chart.examples} == {NO_CHART}


def test_training_draws_anew_each_epoch_and_the_same_when_asked_again(
    corpus: Path, tokenizer: Any
) -> None:
    made = charts(corpus, tokenizer)
    rows = made.rows["train"]
    assert rows[0].ids == rows[0].ids
    assert rows[0].ids != rows[len(rows)].ids
    loader = made.train_dataloader()
    first = [batch["ids"].tolist() for batch in loader]
    assert first == [
        batch["ids"].tolist() for batch in charts(corpus, tokenizer).train_dataloader()
    ]
    loader.sampler.set_epoch(1)
    assert first != [batch["ids"].tolist() for batch in loader]


def test_held_out_charts_come_whole_and_undisturbed(corpus: Path, tokenizer: Any) -> None:
    batch = next(iter(charts(corpus, tokenizer).test_dataloader()))
    tasks = [example.task for example in batch["examples"]]
    assert tasks.count("table") == 2
    assert tasks.count("texts") == 2
    assert tasks.count("reasoning") >= 6
    assert len(batch["kinds"]) == len(tasks)
    assert "letters" not in batch


def test_answers_that_are_too_long_are_cut_and_counted(corpus: Path, tokenizer: Any) -> None:
    batch = next(iter(charts(corpus, tokenizer, positions=24).test_dataloader()))
    assert batch["ids"].shape[1] == 24
    whole = next(iter(charts(corpus, tokenizer).test_dataloader()))
    assert int(batch["truncated"]) == int((whole["tokens"] > 24).sum()) > 0


def test_questions_that_are_cut_are_counted(corpus: Path, tokenizer: Any, tmp_path: Path) -> None:
    asked = pq.read_table(corpus / "train-00000.parquet")["questions"][1].as_py()
    long = [one | {"text": "How many? " * 40, "answer": "4"} for one in asked]
    charts_of(corpus, tmp_path, {"questions": long})
    rows = charts(tmp_path, tokenizer, positions=64, tasks={"reasoning": 1}).rows["train"]
    assert [rows[number].truncated for number in range(3)] == [0, 3, 0]
    assert len(rows[1].ids[0][0]) == 63


def test_a_task_token_in_a_question_is_text(tokenizer: Any) -> None:
    ids = encode_prompt(tokenizer, "reasoning", "Is <s_answer> or <chartqa> shown?")
    special = {tokenizer.convert_tokens_to_ids(t) for t in ("<s_answer>", "<chartqa>")}
    assert ids[0] in special
    assert ids[-1] in special
    assert not special & set(ids[1:-1])
    assert tokenizer.decode(ids[1:-1]) == "Is <s_answer> or <chartqa> shown?"


def test_a_question_that_is_too_long_is_cut_between_its_two_tokens(
    corpus: Path, tokenizer: Any
) -> None:
    whole = encode_prompt(tokenizer, "reasoning", "How many bars are there? " * 20)
    assert shortened(whole, 30) == [*whole[:29], whole[-1]]
    made = charts(corpus, tokenizer, positions=3, tasks={"reasoning": 1})
    batch = next(iter(made.train_dataloader()))
    assert batch["ids"].tolist() == [
        [whole[0], whole[-1], ids[-1]] for ids in batch["ids"].tolist()
    ]
    assert int(batch["truncated"]) == len(batch["ids"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": {"tabel": 1}}, r"data\.tasks: there is no task 'tabel'"),
        ({"test_split": "test_unseen"}, r"no charts of the split 'test_unseen'"),
        ({"batch_size": 0}, r"data\.batch_size: 0 is too small"),
        ({"positions": 2}, r"data\.positions: 2 is too small"),
        ({"train_charts": 0}, r"data\.train_charts: 0 is too small"),
        ({"eval_charts": -1}, r"data\.eval_charts: -1 is too small"),
        ({"no_chart": 1}, r"data\.no_chart: 1 is no share"),
        ({"dark": -0.1}, r"data\.dark: -0\.1 is no share"),
        ({"tasks_per_chart": -1}, r"data\.tasks_per_chart: -1 is too small"),
    ],
)
def test_bad_input(corpus: Path, tokenizer: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        charts(corpus, tokenizer, **options)


def test_a_file_of_another_kind_is_named(corpus: Path, tokenizer: Any, tmp_path: Path) -> None:
    (tmp_path / "train-00000.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(BadInput, match=r"train-00000\.parquet: not a Parquet file"):
        charts(tmp_path, tokenizer)
    other = Path("data/corpus/validation.parquet")
    (tmp_path / "train-00000.parquet").write_bytes(other.read_bytes())
    with pytest.raises(BadInput, match=r"there is no column"):
        charts(tmp_path, tokenizer)
    table = pq.read_table(corpus / "train-00000.parquet")
    flat = table.set_column(1, "image", pa.array([b"x"] * table.num_rows))
    pq.write_table(flat, tmp_path / "train-00000.parquet")
    with pytest.raises(BadInput, match=r"train-00000\.parquet: columns of other types"):
        charts(tmp_path, tokenizer)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image": None}, "the chart train-000001 has no image.bytes"),
        ({"image": {"bytes": None, "path": "x.png"}}, "the chart train-000001 has no image.bytes"),
        ({"questions": []}, "the chart train-000001 has no questions"),
        ({"questions": None}, "the chart train-000001 has no questions"),
        ({"questions": [{"text": None}]}, r"the chart train-000001 has no questions\.0\.text"),
        ({"summaries": None}, "the chart train-000001 has no summaries"),
        ({"id": None}, "the chart None has no id"),
        ({"table": ""}, "the chart has no table"),
        ({"table": "A | B & 1"}, "the rows of the table differ in length"),
    ],
)
def test_a_chart_that_lacks_something_is_named(
    corpus: Path, tokenizer: Any, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    charts_of(corpus, tmp_path, changes)
    with pytest.raises(BadInput, match=rf"train-00000\.parquet\[1\]: {said}"):
        charts(tmp_path, tokenizer)


def test_what_is_not_read_may_be_missing(corpus: Path, tokenizer: Any, tmp_path: Path) -> None:
    picture = pq.read_table(corpus / "train-00000.parquet")["image"][0].as_py()
    charts_of(corpus, tmp_path, {"image": picture | {"path": None}, "questions": []})
    rows = charts(tmp_path, tokenizer, tasks={"table": 1}).rows["train"]
    assert rows[1].examples[0].task == "table"


def test_a_damaged_picture_is_named_in_training(
    corpus: Path, tokenizer: Any, tmp_path: Path
) -> None:
    charts_of(corpus, tmp_path, {"image": {"bytes": b"", "path": "x.png"}})
    with pytest.raises(BadInput, match="train-000001: not a picture that can be read"):
        list(charts(tmp_path, tokenizer).train_dataloader())


def charts_of(corpus: Path, folder: Path, changes: dict[str, Any]) -> None:
    """A copy of a corpus, of whose second training chart something is changed."""
    for split in ("train", "validation", "test"):
        table = pq.read_table(corpus / f"{split}-00000.parquet")
        rows = table.to_pylist()
        if split == "train":
            rows[1] |= changes
        pq.write_table(
            pa.Table.from_pylist(rows, schema=table.schema), folder / f"{split}-00000.parquet"
        )


def test_pixels_are_bytes(corpus: Path, tokenizer: Any) -> None:
    batch = next(iter(charts(corpus, tokenizer).val_dataloader()))
    assert batch["pixels"].dtype == torch.uint8
