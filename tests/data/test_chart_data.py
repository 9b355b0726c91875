from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from belvedere.charts.build import Recipe, make_record, write_split
from belvedere.charts.letters import ALPHABET, CELL, NOTHING, UNKNOWN
from belvedere.charts.not_charts import HELD_OUT, SEEN
from belvedere.charts.places import UNSEEN
from belvedere.charts.tasks import NO_CHART
from belvedere.charts.tokenizer import encode, encode_prompt, texts, train
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
    named = row.letters != NOTHING
    assert named.sum() > 20
    assert (contrast[named] > 30).float().mean() > 0.9
    assert int(row.letters.max()) <= len(ALPHABET)


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


def test_a_task_token_in_a_question_is_text(tokenizer: Any) -> None:
    ids = encode_prompt(tokenizer, "reasoning", "Is <s_answer> or <chartqa> shown?")
    special = {tokenizer.convert_tokens_to_ids(t) for t in ("<s_answer>", "<chartqa>")}
    assert ids[0] in special
    assert ids[-1] in special
    assert not special & set(ids[1:-1])
    assert tokenizer.decode(ids[1:-1]) == "Is <s_answer> or <chartqa> shown?"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": {"tabel": 1}}, r"data\.tasks: there is no task 'tabel'"),
        ({"test_split": "test_unseen"}, r"no charts of the split 'test_unseen'"),
        ({"batch_size": 0}, r"data\.batch_size: 0 is too small"),
        ({"no_chart": 1}, r"data\.no_chart: 1 is no share"),
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


def test_pixels_are_bytes(corpus: Path, tokenizer: Any) -> None:
    batch = next(iter(charts(corpus, tokenizer).val_dataloader()))
    assert batch["pixels"].dtype == torch.uint8
