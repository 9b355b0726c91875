"""Which tokens go how deep: at one depth, as far as they have to be sure, or drafted and verified.

Each strategy is a function of a session whose last column is the newest token of each sequence. It
finds the next one or more, pushes the last of them, and says at which depth each was found.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from belvedere.submodels.engine.sampling import Chooser
from belvedere.submodels.engine.session import ROOM, Session


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
    """How many tokens are drafted: as many as pay, going by how many were accepted of late.

    With drafts that stand with probability a each, and cost c of a full pass each, n drafts yield
    (1 - a^(n+1)) / (1 - a) tokens at a cost of 1 + n c (arXiv 2211.17192, section 3.3).

    Attributes:
        cost: of a draft, as a share of a pass through the full model.
        longest: most drafts in a row.
        memory: weight of the past in the estimate of a, for each draft.
        rate: the estimate.
        drafted, accepted: over all rounds since `count_anew`.
    """

    cost: float
    longest: int = ROOM - 4
    memory: float = 0.97
    rate: float = 0.8
    drafted: int = 0
    accepted: int = 0
    length: int = field(init=False)

    def __post_init__(self) -> None:
        self.length = self._best()

    def count_anew(self) -> None:
        """Begin to count again; what was learned stays."""
        self.drafted = self.accepted = 0

    def note(self, accepted: int, drafted: int) -> None:
        """Learn how many drafts of one sequence stood."""
        self.drafted += drafted
        self.accepted += accepted
        tried = min(accepted + 1, drafted)  # what came after the first that fell was not tried
        for number in range(tried):
            self.rate = self.memory * self.rate + (1 - self.memory) * (number < accepted)
        self.length = self._best()

    def _best(self) -> int:
        a = min(self.rate, 0.999)
        pays = {
            n: (1 - a ** (n + 1)) / (1 - a) / (1 + n * self.cost)
            for n in range(1, self.longest + 1)
        }
        return max(pays, key=lambda n: pays[n])


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
    length = min(drafting.length, session.left - 1)
    session.make_room(length + 1)
    stops, start = session.cascade.stops, session.columns
    guesses: list[Tensor] = []
    for _ in range(length):
        scores = choose.scores(session.read(stage)[:, -1], session.history)
        guesses.append(scores)
        session.push(choose.pick(scores)[:, None])
    drafts = session.ids[:, start : session.columns].clone()
    logits = session.read(len(stops) - 1, last=length + 1)
    history = session.history
    scores = torch.stack(
        [choose.scores(logits[:, i], history[:, : start + i]) for i in range(length + 1)],
        dim=1,
    )
    stand, following = choose.accept(drafts, torch.stack(guesses, 1), scores)
    for accepted in stand[session.alive].tolist():
        drafting.note(accepted, drafts.shape[1])
    session.keep(start, stand)
    session.push(following[:, None])
    tokens = torch.cat([drafts, following[:, None]], 1).scatter(
        1, stand[:, None], following[:, None]
    )
    places = torch.arange(tokens.shape[1], device=tokens.device)
    depths = torch.where(places < stand[:, None], stops[stage], stops[-1])
    return Found(tokens, stand + 1, depths)
