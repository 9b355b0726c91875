"""What kind of thing a token of text is."""

from collections.abc import Iterable

from transformers import PreTrainedTokenizerBase

KINDS = (
    "word",
    "capitalised word",
    "rest of a word",
    "digits",
    "punctuation",
    "white space",
    "end of text",
)
"""All kinds, in the order of tables and figures."""


def kind_of(text: str, before: str) -> str:
    """The kind of a token, one of `KINDS`.

    Args:
        text: of the token; "" of one that ends a text.
        before: the text of the token before it.
    """
    bare = text.strip()
    if not text:
        return "end of text"
    if not bare:
        return "white space"
    if bare.isnumeric():
        return "digits"
    # A byte of a character that several tokens make up decodes to U+FFFD.
    if not any(char.isalnum() or char == "\ufffd" for char in bare):
        return "punctuation"
    if text[0] == bare[0] and before and before[-1].isalpha():
        return "rest of a word"
    return "capitalised word" if bare[0].isupper() else "word"


def texts_of(tokenizer: PreTrainedTokenizerBase, ids: Iterable[int]) -> dict[int, str]:
    """The text that each token adds behind another one; "" of special tokens.

    Behind another one, since some tokenizers leave out the space in front of a text's first token.
    """
    anchor = tokenizer("a", add_special_tokens=False).input_ids[-1:]
    begin = len(_decoded(tokenizer, anchor))
    special = set(tokenizer.all_special_ids)
    return {
        id: "" if id in special else _decoded(tokenizer, [*anchor, id])[begin:]
        for id in dict.fromkeys(map(int, ids))
    }


def _decoded(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))
