"""The chart reader's tokenizer: numbers are their digits, and a table comes back as it was."""

import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from belvedere.charts import tokenizer as command
from belvedere.charts.build import Recipe, make_record, write_split
from belvedere.charts.tasks import ANSWER, TOKENS
from belvedere.charts.tokenizer import encode, texts, train

TABLE = r"Year | Share | A\|B & 2019 | 41.5 | -1200 & 2020 | 48 | 0.07"


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = (make_record(Recipe(), "train", i) for i in range(3))
    (file,) = write_split(tmp_path_factory.mktemp("charts"), "train", rows)
    return file


@pytest.fixture(scope="module")
def trained(shard: Path) -> PreTrainedTokenizerFast:
    return train([*texts([shard]), *[TABLE] * 50], 500, 256)


def pieces(tokenizer: Any, text: str) -> list[str]:
    return [tokenizer.decode([one]) for one in encode(tokenizer, text)]


def test_each_digit_and_each_separator_is_a_token(trained: PreTrainedTokenizerFast) -> None:
    assert pieces(trained, "2019 | 41.5 & 48") == [
        *"2019", " | ", *"41", ".", "5", " & ", *"48",
    ]  # fmt: skip
    vocabulary = [trained.decode([i]) for i in range(len(trained))]
    assert not [one for one in vocabulary if len(one) > 1 and any(map(str.isdigit, one))]
    assert [one for one in vocabulary if len(one.strip()) > 1 and set("|&") & set(one)] == []


@pytest.mark.parametrize(
    "text", [TABLE, "", "  two  blanks\nand a line", "Ünïcode € 日本 🙂", "|&"]
)
def test_text_comes_back_as_it_was(trained: PreTrainedTokenizerFast, text: str) -> None:
    assert trained.decode(encode(trained, text)) == text


def test_the_texts_of_charts_are_all_that_is_written_about_them(shard: Path) -> None:
    record = make_record(Recipe(), "train", 1)
    found = list(texts([shard]))
    assert {record["title"], record["table"], *record["summaries"].values()} <= set(found)
    for asked in [*record["questions"], record["open_question"]]:
        assert {asked["text"], asked["answer"]} <= set(found)


def test_the_command_writes_a_tokenizer_that_transformers_opens(
    shard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--output", str(tmp_path / "made"), "--vocabulary", "400", "--positions", "99"]
    monkeypatch.setattr(sys, "argv", ["tokenizer", str(shard), *options])
    command.main()
    opened = AutoTokenizer.from_pretrained(tmp_path / "made")
    assert len(opened) == 400
    assert opened.model_max_length == 99
    assert opened.convert_tokens_to_ids(["<s>", "<pad>", "</s>", "<unk>"]) == [0, 1, 2, 3]
    assert all(opened.convert_tokens_to_ids(one) > 3 for one in [*TOKENS.values(), ANSWER])
    assert opened.decode(encode(opened, TABLE)) == TABLE
