"""Which tokens go how deep: at one depth, as far as they have to be sure, or drafted and verified.

Each strategy is a function of a session whose last column is the newest token of each sequence. It
finds the next one or more, pushes the last of them, and says at which depth each was found.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from belvedere.submodels.engine.sampling import Chooser
from belvedere.submodels.engine.session import ROOM, Session

TENTHS = 10
"""Classes of an exit's probability, in which drafts are counted apart."""
BELIEF = 2.0
"""Drafts of each class that count as seen before the first one."""


@dataclass
class Found:
    """New tokens of each sequence.

    Attributes:
        tokens: [batch, new]; of a sequence with fewer the rest has no meaning.
        counts: [batch], how many each has.
        depths: [batch, new], the layers of the sub-model that each was found by.
    """

    tokens: Tensor
    counts: Tensor
    depths: Tensor

    @classmethod
    def one(cls, tokens: Tensor, depths: Tensor) -> "Found":
        """One token [batch] for every sequence."""
        return cls(tokens[:, None], torch.ones_like(tokens), depths[:, None])


def fixed(session: Session, choose: Chooser, stage: int) -> Found:
    """The next token, by the sub-model of one stage, which is the deepest that is ever read."""
    session.deepest = stage
    scores = choose.scores(session.read(stage)[:, -1], session.history)
    tokens = choose.pick(scores)
    session.push(tokens[:, None])
    return Found.one(tokens, torch.full_like(tokens, session.cascade.stops[stage]))


def confident(session: Session, choose: Chooser, thresholds: Sequence[float]) -> Found:
    """The next token, by the first exit that is sure enough of one, else by the full model.

    Args:
        session: whose cascade is cut at the exits.
        choose: of tokens.
        thresholds: for each exit the probability that its likeliest token has to have.
    """
    stops = session.cascade.stops
    tokens = torch.zeros_like(session.lengths)
    depths = torch.zeros_like(session.lengths)
    left = ~session.alive
    for stage, threshold in enumerate([*thresholds, 0.0]):
        logits = session.read(stage)[:, -1].float()  # as calibration does
        # The probability of the likeliest token, without the others'.
        sure = (logits.amax(-1) - logits.logsumexp(-1)).exp() >= threshold
        leaves = sure & ~left
        if leaves.any():
            picked = choose.pick(choose.scores(logits, session.history))
            tokens = torch.where(leaves, picked, tokens)
            depths = torch.where(leaves, stops[stage], depths)
            left |= leaves
        if left.all():
            break
    session.push(tokens[:, None])
    return Found.one(tokens, depths)


@dataclass
class Drafting:
    """When to stop drafting: once the next draft is not likely to pay, going by those of late.

    A draft that stands saves a pass through the full model, one that falls has cost its own pass
    for nothing. So the next one is made as long as the drafts up to it are likely enough to stand
    all together: as likely as its cost would find tokens in the pace of the rounds before. How
    likely a draft is to stand is learned for each tenth of the exit's probability of it.
    (arXiv 2211.17192, section 3.3, has the costs; stopping by the exit's own probability is ours)

    Attributes:
        cost: of a draft, as a share of a pass through the full model.
        longest: most drafts in a row.
        memory: weight of the past in what is learned, for each draft or round.
        rate: how likely the next draft is to stand, while nothing is known of it.
        drafted, accepted: over all rounds since `count_anew`.
    """

    cost: float
    longest: int = ROOM - 4
    memory: float = 0.97
    rate: float = 0.8
    drafted: int = 0
    accepted: int = 0
    stood: list[float] = field(init=False)
    tried: list[float] = field(init=False)
    found: float = field(init=False, default=0.0)
    spent: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        # At first an exit is as right as it is sure.
        self.tried = [BELIEF] * TENTHS
        self.stood = [BELIEF * (tenth + 0.5) / TENTHS for tenth in range(TENTHS)]

    def count_anew(self) -> None:
        """Begin to count again; what was learned stays."""
        self.drafted = self.accepted = 0

    @property
    def pace(self) -> float:
        """Tokens found for the cost of a full pass; the full model alone finds one."""
        return max(self.found / self.spent, 1.0) if self.spent else 1.0

    def chance(self, sure: float) -> float:
        """How likely a draft is to stand of which an exit is so sure."""
        tenth = tenth_of(sure)
        return self.stood[tenth] / self.tried[tenth]

    def goes_on(self, sure: Sequence[Sequence[float]]) -> bool:
        """Whether one more draft pays.

        Args:
            sure: of each draft so far, how sure the exit is of it in each sequence.
        """
        if len(sure) >= self.longest:
            return False
        together = [math.prod(map(self.chance, of_one)) for of_one in zip(*sure, strict=True)]
        return self.rate * sum(together) > self.cost * self.pace * len(together)

    def note(self, accepted: int, sure: Sequence[float]) -> None:
        """Learn how many drafts of one sequence stood.

        Args:
            accepted: how many of the first.
            sure: how sure the exit was of each draft.
        """
        self.drafted += len(sure)
        self.accepted += accepted
        for number, one in enumerate(sure[: accepted + 1]):  # what came later was not tried
            stood, tenth = float(number < accepted), tenth_of(one)
            self.rate = self.memory * self.rate + (1 - self.memory) * stood
            self.stood[tenth] = self.memory * self.stood[tenth] + stood
            self.tried[tenth] = self.memory * self.tried[tenth] + 1
        self.found = self.memory * self.found + accepted + 1
        self.spent = self.memory * self.spent + 1 + self.cost * len(sure)


def tenth_of(sure: float) -> int:
    """Which tenth a probability lies in."""
    return min(int(sure * TENTHS), TENTHS - 1)


def speculative(session: Session, choose: Chooser, stage: int, drafting: Drafting) -> Found:
    """Tokens drafted by an exit, as far as the full model stands by them, and one of its own.

    What the drafts were read off at the exit is what the full model goes on from.

    Args:
        session: its cascade is cut at the exit.
        choose: of tokens.
        stage: of the exit.
        drafting: how many; it learns.
    """
    if session.left <= 1:
        return fixed(session, choose, len(session.cascade.stops) - 1)
    most = min(drafting.longest, session.left - 1)
    session.make_room(most + 1)
    stops, start = session.cascade.stops, session.columns
    guesses: list[Tensor] = []
    sure: list[list[float]] = []
    while len(guesses) < most and (not sure or drafting.goes_on(sure)):
        scores = choose.scores(session.read(stage)[:, -1], session.history)
        picked = choose.pick(scores)
        guesses.append(scores)
        sure.append(choose.probability(scores, picked)[session.alive].tolist())
        session.push(picked[:, None])
    length = len(guesses)
    drafts = session.ids[:, start : session.columns].clone()
    logits = session.read(len(stops) - 1, last=length + 1)
    history = session.history
    scores = torch.stack(
        [choose.scores(logits[:, i], history[:, : start + i]) for i in range(length + 1)],
        dim=1,
    )
    stand, following = choose.accept(drafts, torch.stack(guesses, 1), scores)
    of_each = zip(*sure, strict=True)
    for accepted, was_sure in zip(stand[session.alive].tolist(), of_each, strict=True):
        drafting.note(accepted, was_sure)
    session.keep(start, stand)
    session.push(following[:, None])
    tokens = torch.cat([drafts, following[:, None]], 1).scatter(
        1, stand[:, None], following[:, None]
    )
    places = torch.arange(tokens.shape[1], device=tokens.device)
    depths = torch.where(places < stand[:, None], stops[stage], stops[-1])
    return Found(tokens, stand + 1, depths)
