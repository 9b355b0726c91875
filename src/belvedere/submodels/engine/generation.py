"""From prompts to answers: batches, ends, and what was measured on the way."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch

from belvedere.errors import BadInput
from belvedere.submodels.engine.cascade import Cascade
from belvedere.submodels.engine.sampling import Chooser
from belvedere.submodels.engine.session import ROOM, Session
from belvedere.submodels.engine.strategies import Found

Strategy = Callable[[Session, Chooser], Found]


@dataclass(frozen=True)
class New:
    """Some new tokens of one sequence.

    Attributes:
        row: which sequence.
        tokens: ids.
        depths: the layers of the sub-model that found each.
        finished: whether an end token, a stop or the limit ended the sequence with them.
    """

    row: int
    tokens: list[int]
    depths: list[int]
    finished: bool


@dataclass
class Statistics:
    """What a batch took.

    Attributes:
        prompt_tokens, tokens: read and written, over all sequences.
        rounds: passes of the strategy.
        seconds: in all; those until the first new token are ``first_seconds``.
        depths: how many tokens were found at each depth.
    """

    prompt_tokens: int = 0
    tokens: int = 0
    rounds: int = 0
    seconds: float = 0.0
    first_seconds: float = 0.0
    depths: Counter[int] = field(default_factory=Counter)

    @property
    def tokens_per_second(self) -> float:
        """New tokens a second, the prompt's time included."""
        return self.tokens / self.seconds if self.seconds else 0.0


@torch.no_grad()
def generate(
    cascade: Cascade,
    prompts: Sequence[Sequence[int]],
    strategy: Strategy,
    choose: Chooser,
    *,
    max_new_tokens: int,
    end_ids: Sequence[int] = (),
    ends: Callable[[int, list[int]], int | None] | None = None,
    statistics: Statistics | None = None,
) -> Iterator[New]:
    """Write answers to a batch of prompts, token by token.

    Args:
        cascade: the model and its exits.
        prompts: token ids, of any lengths, none empty.
        strategy: finds the next tokens.
        choose: of tokens.
        max_new_tokens: longest answer, its end token included.
        end_ids: tokens that end an answer.
        ends: asked with the number of a sequence and all its new tokens after each round; how many
            of them are the whole answer, where it has come to an end, else None.
        statistics: is filled.

    Yields:
        The new tokens of each sequence, round by round, until all have come to an end.

    Raises:
        BadInput: an empty prompt, or no room for prompt and answer in the model's context.
    """
    check_lengths(cascade, prompts, max_new_tokens)
    found = statistics if statistics is not None else Statistics()
    start = time.perf_counter()
    session = opened(cascade, prompts, max_new_tokens)
    found.prompt_tokens += sum(map(len, prompts))
    written: list[list[int]] = [[] for _ in prompts]
    while bool(session.alive.any()):
        new = strategy(session, choose)
        if not found.rounds:
            found.first_seconds = time.perf_counter() - start
        found.rounds += 1
        counts, tokens, depths = new.counts.tolist(), new.tokens.tolist(), new.depths.tolist()
        for row in session.alive.nonzero()[:, 0].tolist():
            before = len(written[row])
            written[row] += tokens[row][: counts[row]]
            end = length_of(written[row], before, end_ids, max_new_tokens)
            if ends is not None:
                cut = ends(row, written[row][:end])
                end = cut if cut is not None else end
            finished = end is not None
            added = written[row][before:end]
            found.tokens += len(added)
            found.depths.update(depths[row][: len(added)])
            found.seconds = time.perf_counter() - start
            if finished:
                session.alive[row] = False
            yield New(row, added, depths[row][: len(added)], finished)


def length_of(tokens: list[int], before: int, end_ids: Sequence[int], limit: int) -> int | None:
    """How many new tokens make the whole answer, if it has come to an end; else None."""
    for number in range(before, min(len(tokens), limit)):
        if tokens[number] in end_ids:
            return number + 1
    return limit if len(tokens) >= limit else None


def check_lengths(
    cascade: Cascade, prompts: Sequence[Sequence[int]], new: int, where: str | None = None
) -> None:
    """Raise `BadInput` for prompts that cannot be answered, which are from a place."""
    if new < 1:
        raise BadInput(f"{new} new tokens", where="max_new_tokens", remedy="give 1 or more")
    if not prompts or not all(prompts):
        raise BadInput("a prompt is empty", where=where, remedy="give one token or more")
    room, longest = cascade.context, max(map(len, prompts))
    if longest + new > room:
        raise BadInput(
            f"a prompt of {longest} and an answer of {new} tokens exceed the context of {room}",
            where=where or "max_new_tokens",
            remedy="shorten the prompt or lower max_new_tokens",
        )


def opened(cascade: Cascade, prompts: Sequence[Sequence[int]], new: int) -> Session:
    """A session with the prompts in it, padded on the left."""
    longest = max(map(len, prompts))
    ids = torch.zeros(len(prompts), longest, dtype=torch.long)
    real = torch.zeros(len(prompts), longest, dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        real[row, longest - len(prompt) :] = True
    device = cascade.model.device
    session = Session(cascade, len(prompts), longest + new + ROOM)
    session.push(ids.to(device), real.to(device))
    session.goals = session.lengths + new
    return session
