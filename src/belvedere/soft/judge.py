"""Compares the answers of two systems in pairs, as the Sorted LLaMA paper does (section 4.2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

from torch import nn

from belvedere.errors import BadInput, first_line
from belvedere.metrics.answers import SCORES
from belvedere.submodels.decoding import complete
from belvedere.submodels.loading import Backbone

Verdict = Literal[1, 0, -1]
"""The first answer is better, neither is, the second is."""

PANDALM = (
    "Below are two responses for a given task. The task is defined by the Instruction{context}. "
    "Evaluate the responses and generate a reference answer for the task.\n\n"
    "### Instruction:\n{instruction}\n\n{given}### Response 1:\n{first}\n\n"
    "### Response 2:\n{second}\n\n### Evaluation:\n"
)
"""The form that PandaLM-7B is asked in; it then writes 1, 2 or Tie.

``{context}`` and ``{given}`` are there for instructions with an input only.
"""

CONTEXT = " with an Input that provides further context"


@dataclass(frozen=True)
class Pair:
    """Two answers to one prompt.

    Attributes:
        question: the instruction or question.
        given: its input; may be "".
        accepted: the right answers; may be empty.
        first: one system's answer.
        second: the other's.
    """

    question: str
    given: str
    accepted: tuple[str, ...]
    first: str
    second: str

    def swapped(self) -> "Pair":
        """The same answers in the other order."""
        return Pair(self.question, self.given, self.accepted, self.second, self.first)


class Judge(Protocol):
    """What compares answers."""

    @property
    def name(self) -> str:
        """As it is shown wherever a score is."""

    def verdicts(self, pairs: Sequence[Pair]) -> list[Verdict]:
        """Which answer of each pair is better."""


@dataclass(frozen=True)
class ReferenceJudge:
    """Judges by how near each answer is to the right ones; needs no network and no model. (ours)

    Attributes:
        metric: a score of `AnswerQuality`.
        margin: a smaller difference is a tie.
    """

    metric: str = "rouge_l"
    margin: float = 0.05

    def __post_init__(self) -> None:
        if self.metric not in SCORES:
            raise BadInput(
                f"there is no metric {self.metric!r}", remedy=f"choose one of {', '.join(SCORES)}"
            )

    @property
    def name(self) -> str:
        """The metric and its margin."""
        return f"reference judge ({self.metric}, ties within {self.margin:g})"

    def verdicts(self, pairs: Sequence[Pair]) -> list[Verdict]:
        """Which answer of each pair is nearer to the right ones.

        Raises:
            BadInput: a prompt has no right answer to compare with.
        """
        return [self._verdict(pair) for pair in pairs]

    def _verdict(self, pair: Pair) -> Verdict:
        if not pair.accepted:
            raise BadInput(
                "a prompt has no right answer that the reference judge could compare with",
                where=pair.question[:60],
                remedy="name a model as the judge",
            )
        score = SCORES[self.metric]
        gain = score(pair.first, pair.accepted) - score(pair.second, pair.accepted)
        return 0 if abs(gain) <= self.margin else 1 if gain > 0 else -1


@dataclass(frozen=True)
class ModelJudge:
    """Asks a causal language model, by default in the form of PandaLM-7B.

    Attributes:
        model: a local folder or a name on the hub.
        prompt: with ``{instruction}``, ``{first}`` and ``{second}``; ``{given}`` becomes the input
            under its heading and ``{context}`` a mention of it, or nothing where there is none.
        dtype: of the weights.
        device: where it runs.
        batch_size: how many pairs are judged at once.
    """

    model: str = "WeOpenML/PandaLM-7B-v1"
    prompt: str = PANDALM
    dtype: str = "bfloat16"
    device: str = "cpu"
    batch_size: int = 8

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        backbone = Backbone(self.model, dtype=self.dtype)
        model: nn.Module = backbone.load()
        try:
            return model.to(self.device), backbone.tokenizer()
        except (RuntimeError, AssertionError) as error:  # torch's, for a device that is not there
            raise BadInput(
                f"the judge cannot run on {self.device} ({first_line(error)})",
                where="--device",
                remedy="choose cpu, or use a machine with a GPU",
            ) from error

    def verdicts(self, pairs: Sequence[Pair]) -> list[Verdict]:
        """What the model says of each pair; what is no verdict counts as a tie."""
        model, tokenizer = self._loaded
        prompts = [self._filled(pair) for pair in pairs]
        texts: list[str] = []
        for begin in range(0, len(prompts), self.batch_size):
            texts += complete(model, tokenizer, prompts[begin : begin + self.batch_size], 4)
        return [verdict_of(text) for text in texts]

    def _filled(self, pair: Pair) -> str:
        values = {
            "instruction": pair.question,
            "given": f"### Input:\n{pair.given}\n\n" if pair.given else "",
            "context": CONTEXT if pair.given else "",
            "first": pair.first,
            "second": pair.second,
        }
        pieces = self.prompt.split("{")
        # By hand: answers may hold braces, which str.replace would fill in again.
        filled = [pieces[0]]
        for piece in pieces[1:]:
            key, _, rest = piece.partition("}")
            filled.append(f"{values[key]}{rest}" if key in values else f"{{{piece}")
        return "".join(filled)


def verdict_of(text: str) -> Verdict:
    """A judge's first word as a verdict: 1, 2, or anything else for a tie."""
    word = (text.split() or [""])[0].strip(".:").lower()
    return 1 if word == "1" else -1 if word == "2" else 0


def judge_score(judge: Judge, pairs: Sequence[Pair]) -> float:
    """(wins - losses) / prompts of the first system, the mean over both orders of the answers."""
    there = judge.verdicts(pairs)
    back = judge.verdicts([pair.swapped() for pair in pairs])
    return (sum(there) - sum(back)) / (2 * len(pairs))
