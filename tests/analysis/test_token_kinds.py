import pytest

from belvedere.analysis.kinds import KINDS, kind_of, texts_of


@pytest.mark.parametrize(
    ("text", "before", "kind"),
    [
        (" river", " the", "word"),
        ("river", "\n", "word"),
        (" Paris", " of", "capitalised word"),
        ("sta", " Co", "rest of a word"),
        ("Sta", " Co", "rest of a word"),
        ("s", "'", "word"),
        ("7", "1", "digits"),
        (" 7", ",", "digits"),
        (".", " river", "punctuation"),
        (" ###", "\n", "punctuation"),
        ("\n", ".", "white space"),
        ("", ".", "end of text"),
        ("\ufffd", " caf", "rest of a word"),
    ],
)
def test_a_token_has_the_kind_that_a_reader_would_say(text, before, kind):
    assert kind_of(text, before) == kind
    assert kind in KINDS


def test_texts_put_together_are_the_text_again(tokenizer):
    text = " the capital of france is paris, and people pay 100 euro."
    ids = tokenizer(text, add_special_tokens=False).input_ids
    texts = texts_of(tokenizer, ids)
    assert "".join(texts[id] for id in ids) == text


def test_special_tokens_have_no_text(tokenizer):
    assert texts_of(tokenizer, [tokenizer.eos_token_id]) == {tokenizer.eos_token_id: ""}
