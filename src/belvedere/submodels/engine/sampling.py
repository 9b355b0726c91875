"""Which token comes next: greedily, or drawn; and the rule by which drawn drafts are accepted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    SuppressTokensLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from belvedere.errors import BadInput

NUMBERS = ("temperature", "top_p", "repetition_penalty")
"""What `Sampling` has that transformers takes as fractions only."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen; by default the likeliest.

    Attributes:
        temperature: 0 takes the likeliest token, more draws from the logits divided by it.
        top_k: only the so many likeliest tokens may be drawn; None for all.
        top_p: only the likeliest tokens that together have this probability; 1 for all.
        repetition_penalty: logits of tokens that are there already are divided by it (multiplied
            where negative); 1 for none.

    Raises:
        BadInput: a value that cannot be.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float = 1.0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        for name in NUMBERS:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise BadInput(f"{value!r} is no number", where=name)
        whole = isinstance(self.top_k, int) and not isinstance(self.top_k, bool)
        wrong = [
            ("temperature", not 0 <= self.temperature < math.inf, "0 or more"),
            ("top_k", self.top_k is not None and not (whole and self.top_k >= 1), "1 or more"),
            ("top_p", not 0 < self.top_p <= 1, "more than 0 and at most 1"),
            ("repetition_penalty", not 0 < self.repetition_penalty < math.inf, "more than 0"),
        ]
        for name, bad, allowed in wrong:
            if bad:
                raise BadInput(
                    f"{getattr(self, name)} cannot be", where=name, remedy=f"give {allowed}"
                )
        for name in NUMBERS:
            object.__setattr__(self, name, float(getattr(self, name)))  # as transformers wants them


class Chooser:
    """Chooses tokens from logits, by the processors of transformers.

    Args:
        sampling: how.
        generator: of random numbers, on the device of the logits; only for drawing.
        forbidden: tokens that are never chosen.
    """

    def __init__(
        self,
        sampling: Sampling,
        generator: torch.Generator | None = None,
        forbidden: Sequence[int] = (),
    ) -> None:
        self.greedy = sampling.temperature == 0
        self.generator = generator
        self.processors = LogitsProcessorList()
        if forbidden:
            self.processors.append(SuppressTokensLogitsProcessor(list(forbidden)))
        if sampling.repetition_penalty != 1:
            penalty = RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty)
            self.processors.append(penalty)
        if not self.greedy:
            if sampling.temperature != 1:
                self.processors.append(TemperatureLogitsWarper(sampling.temperature))
            if sampling.top_k is not None:
                self.processors.append(TopKLogitsWarper(sampling.top_k))
            if sampling.top_p < 1:
                self.processors.append(TopPLogitsWarper(sampling.top_p))

    def scores(self, logits: Tensor, ids: Tensor) -> Tensor:
        """What is chosen by: logits [batch, vocabulary], or probabilities where tokens are drawn.

        Args:
            logits: [batch, vocabulary].
            ids: [batch, length], all tokens before.
        """
        scores: Any = logits
        if self.processors:
            scores = self.processors(cast(Any, ids), cast(Any, logits.float()))
        found: Tensor = scores if self.greedy else scores.float().softmax(-1)
        return found

    def pick(self, scores: Tensor) -> Tensor:
        """Tokens [batch] by their scores."""
        if self.greedy:
            return scores.argmax(-1)
        return torch.multinomial(scores, 1, generator=self.generator)[:, 0]

    def probability(self, scores: Tensor, tokens: Tensor) -> Tensor:
        """How probable tokens [batch] are by their scores; [batch], float32."""
        of_tokens = scores.gather(1, tokens[:, None])[:, 0].float()
        return (of_tokens - scores.float().logsumexp(-1)).exp() if self.greedy else of_tokens

    def accept(self, drafts: Tensor, guesses: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """How many drafts stand, and the token that comes after these.

        Greedy drafts stand as long as they are the full model's own choices. Drawn ones stand with
        probability min(1, p/q), p the full model's and q the exit's probability of them, and the
        first that does not is drawn anew from max(0, p - q): then tokens are distributed as the
        full model's (arXiv 2211.17192, theorem 1).

        Args:
            drafts: [batch, drafted].
            guesses: [batch, drafted, vocabulary], the scores that they were picked by.
            scores: [batch, drafted + 1, vocabulary], those of the full model at the same places and
                after the last draft.

        Returns:
            [batch], 0 to drafted; and [batch].
        """
        drafted = drafts.shape[1]
        if self.greedy:
            choices = scores.argmax(-1)
            stand = (choices[:, :drafted] == drafts).long().cumprod(1).sum(1)
            return stand, choices.gather(1, stand[:, None])[:, 0]
        of_drafts = drafts[..., None]
        p = scores[:, :drafted].gather(2, of_drafts)[..., 0]
        q = guesses.gather(2, of_drafts)[..., 0]
        drawn = torch.rand(p.shape, generator=self.generator, device=p.device)
        stand = (drawn * q < p).long().cumprod(1).sum(1)
        # After all drafts there is no guess to take off.
        guesses = torch.cat([guesses, torch.zeros_like(scores[:, :1])], 1)
        at = stand[:, None, None].expand(-1, 1, scores.shape[2])
        rest = (scores.gather(1, at) - guesses.gather(1, at))[:, 0].clamp(min=0)
        return stand, self.pick(rest)
