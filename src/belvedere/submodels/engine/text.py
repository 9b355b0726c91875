"""Answers as text, as they grow: pieces that may be shown at once, and strings that end them."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

UNFINISHED = "\ufffd"
"""What tokenizers write for the first bytes of a letter."""


class TextStream:
    """Turns the tokens of one answer into text that will not change any more.

    Args:
        tokenizer: of the tokens.
        stops: strings that end the answer, and do not belong to it.

    Attributes:
        text: what was given out so far.
        ended: whether a stop was met.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stops: Sequence[str] = ()) -> None:
        self.tokenizer, self.stops = tokenizer, [stop for stop in stops if stop]
        self.text, self.ended = "", False
        self.ids: list[int] = []
        self.context, self.read = 0, 0  # tokens are decoded after those before, which may join them
        self.held = ""  # may be the beginning of a stop

    def feed(self, token: int) -> str:
        """The text that one more token makes sure of; empty in the midst of a letter or a stop."""
        if self.ended:
            return ""
        self.ids.append(token)
        before, now = (
            self._decoded(self.ids[self.context : self.read]),
            self._decoded(self.ids[self.context :]),
        )
        if now.endswith(UNFINISHED) or len(now) <= len(before):
            return ""
        self.context, self.read = self.read, len(self.ids)
        return self._given(self.held + now[len(before) :])

    def rest(self) -> str:
        """The text that was held back, once the answer has ended without a stop."""
        tail = "" if self.ended else self._decoded(self.ids[self.context :])
        before = self._decoded(self.ids[self.context : self.read])
        found, self.held = self.held + tail[len(before) :], ""
        self.text += found
        return found

    def _given(self, text: str) -> str:
        at = [text.find(stop) for stop in self.stops if stop in text]
        if at:
            self.ended, self.held = True, ""
            found = text[: min(at)]
        else:
            held = max((overlap(text, stop) for stop in self.stops), default=0)
            found, self.held = text[: len(text) - held], text[len(text) - held :]
        self.text += found
        return found

    def _decoded(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))


def overlap(text: str, stop: str) -> int:
    """How many letters at the end of a text begin a stop."""
    return next(
        (n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0
    )
