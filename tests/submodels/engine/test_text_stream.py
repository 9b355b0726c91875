from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from belvedere.submodels.engine.text import TextStream, overlap

BACKBONE = Path(__file__).parents[3] / "data" / "backbone"


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(BACKBONE)


def pieces(stream: TextStream, tokens: list[int]) -> list[str]:
    return [stream.feed(token) for token in tokens]


@pytest.mark.parametrize(
    "text", ["The cat sat on the mat.", "Zürich – 5 °C, 日本 🙂!", " a\n\n  b"]
)
def test_pieces_are_the_text(tokenizer: PreTrainedTokenizerBase, text: str) -> None:
    ids = tokenizer(text, add_special_tokens=False).input_ids
    stream = TextStream(tokenizer)
    found = pieces(stream, ids)
    assert "".join(found) + stream.rest() == text == stream.text
    assert not any("\ufffd" in piece for piece in found)
    assert len([piece for piece in found if piece]) > 2


def test_an_answer_ends_before_a_stop(tokenizer: PreTrainedTokenizerBase) -> None:
    ids = tokenizer("One two three\n\nQ: four", add_special_tokens=False).input_ids
    stream = TextStream(tokenizer, ["\n\nQ", "zzz"])
    found = pieces(stream, ids)
    assert "".join(found) == stream.text == "One two three"
    assert stream.ended
    assert stream.rest() == ""


def test_what_only_begins_like_a_stop_is_given_out(tokenizer: PreTrainedTokenizerBase) -> None:
    ids = tokenizer("a\n\nb and the end\n", add_special_tokens=False).input_ids
    stream = TextStream(tokenizer, ["\n\nQ"])
    found = "".join(pieces(stream, ids))
    assert found == "a\n\nb and the end"
    assert stream.rest() == "\n"
    assert not stream.ended


def test_special_tokens_are_not_text(tokenizer: PreTrainedTokenizerBase) -> None:
    ids = tokenizer("a b", add_special_tokens=False).input_ids
    stream = TextStream(tokenizer)
    assert "".join(pieces(stream, [*ids, tokenizer.eos_token_id])) == "a b"


@pytest.mark.parametrize(
    ("text", "stop", "length"),
    [("abc", "cd", 1), ("abc", "bcd", 2), ("abc", "abc", 0), ("abc", "x", 0), ("", "x", 0)],
)
def test_the_end_of_a_text_may_begin_a_stop(text: str, stop: str, length: int) -> None:
    assert overlap(text, stop) == length
