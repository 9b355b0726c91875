"""Thresholds for exits: how sure an exit has to be, so that its tokens are the full model's.

The confidence of an exit is the probability of its likeliest token. On held-out text both models
are asked what follows each token; the thresholds are then the lowest at which a wanted share of the
tokens agrees with the full model's. (arXiv 2503.05005 names exits by confidence, without a rule for
the thresholds; the rule is ours)
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from belvedere.errors import BadInput
from belvedere.submodels.backbone import decoder_inputs
from belvedere.submodels.engine.cascade import Cascade
from belvedere.submodels.exits import Exits, read_submodels

FILE = "thresholds.json"
NEVER = 2.0
"""A threshold that no exit reaches."""
ROWS = 256
"""Positions whose logits are there at once."""


@dataclass(frozen=True)
class Weights:
    """How many weights are read for a token, which is what decoding takes its time for.

    Attributes:
        stages: of the layers from each exit to the next, the last stretch with the full depth's.
        exits: of each exit's layer and norm, and of the head, likewise.
    """

    stages: Sequence[int]
    exits: Sequence[int]

    @classmethod
    def of(cls, cascade: Cascade) -> "Weights":
        """Those of a cascade."""
        stages = [sum(map(numel, layers)) for layers in cascade.stages]
        exits = [
            sum(map(numel, (cascade.layer_of_exit(stage), *cascade.readers(stage))))
            for stage in range(len(cascade.stops))
        ]
        return cls(stages, exits)

    @property
    def full(self) -> int:
        """What the full model reads for a token."""
        return sum(self.stages) + self.exits[-1]

    def share(self, thresholds: Sequence[float], leaves: Sequence[float]) -> float:
        """What is read for a token on average, as a share of what the full model reads.

        Args:
            thresholds: of each exit.
            leaves: share of all tokens that leave there.
        """
        read, here = 0.0, 1.0
        asked = [value <= 1 for value in thresholds] + [True]
        for stage, exit, is_asked, share in zip(
            self.stages, self.exits, asked, [*leaves, 0.0], strict=True
        ):
            read += here * (stage + exit * is_asked)
            here -= share
        return read / self.full

    def draft(self, stage: int) -> float:
        """What an exit's own pass reads, likewise."""
        return (sum(self.stages[: stage + 1]) + self.exits[stage]) / self.full


def numel(module: nn.Module | None) -> int:
    """The weights of a module."""
    return 0 if module is None else sum(weight.numel() for weight in module.parameters())


@dataclass(frozen=True)
class Calibration:
    """Thresholds and what they gave on the text that they were found on.

    Attributes:
        wanted: share of tokens that are to be the full model's.
        thresholds: by depth; more than 1 where no token may leave.
        leaves: share of all tokens that left at each depth.
        agreement: share of all tokens that were the full model's.
        tokens: how many were looked at.
        data: of what text.
        read: how many weights are read for a token, as a share of those of the full model.
    """

    wanted: float
    thresholds: dict[int, float]
    leaves: dict[int, float]
    agreement: float
    tokens: int
    data: str = ""
    read: float = 1.0

    def save(self, folder: Path) -> None:
        """Write it beside a checkpoint's weights."""
        (folder / FILE).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Calibration":
        """What `save` wrote.

        Raises:
            BadInput: there is none, or it is damaged.
        """
        file = folder / FILE
        if not file.is_file():
            raise BadInput(
                "this checkpoint has no thresholds",
                where=str(folder),
                remedy="make them: python -m belvedere.runs.calibrate checkpoint=…, or give some",
            )
        try:
            raw = json.loads(file.read_text(encoding="utf-8"))
            for key in ("thresholds", "leaves"):
                raw[key] = {int(depth): float(value) for depth, value in raw[key].items()}
            return cls(**raw)
        except Exception as error:  # a damaged file raises errors of many kinds
            raise BadInput(
                "no whole thresholds", where=str(file), remedy="calibrate the checkpoint again"
            ) from error


@torch.no_grad()
def compared(
    model: PreTrainedModel,
    depths: Sequence[int],
    exits: Exits | None,
    batches: Iterable[dict[str, Tensor]],
) -> tuple[Tensor, Tensor]:
    """Confidence of each exit, and whether it agrees with the full model, over a text.

    Args:
        model: the full model.
        depths: of the exits, ascending.
        exits: None reads with the model's own norm and head.
        batches: packed, with ``labels``; only places with a label count.

    Returns:
        [exits, tokens] each, float32 and bool, on the CPU.
    """
    sure: list[Tensor] = []
    right: list[Tensor] = []
    for batch in batches:
        counted = batch["labels"].flatten() >= 0
        read = read_submodels(model, depths, exits, **decoder_inputs(batch))
        *found, full = [top(head, states.flatten(0, 1)[counted]) for states, head in read]
        sure.append(torch.stack([share for _, share in found]).cpu())
        right.append(torch.stack([tokens == full[0] for tokens, _ in found]).cpu())
    if not sure:
        raise BadInput("there is no text to calibrate on", where="data", remedy="give some")
    return torch.cat(sure, 1), torch.cat(right, 1)


def top(head: nn.Module, states: Tensor) -> tuple[Tensor, Tensor]:
    """The likeliest token of each state [places, hidden], and its probability, both [places]."""
    tokens, shares = [], []
    for part in states.split(ROWS):
        logits = head(part).float()
        highest, token = logits.max(-1)
        tokens.append(token)
        shares.append((highest - logits.logsumexp(-1)).exp())
    return torch.cat(tokens), torch.cat(shares)


def check_wanted(wanted: Any) -> None:
    """Raise `BadInput` for an agreement that is no share."""
    if not isinstance(wanted, int | float) or not 0 <= wanted <= 1:
        raise BadInput(f"an agreement of {wanted}", where="agreement", remedy="give 0 to 1")


def calibrated(
    depths: Sequence[int],
    sure: Tensor,
    right: Tensor,
    wanted: float,
    weights: Weights,
    data: str = "",
) -> Calibration:
    """The exits that save most, with the lowest thresholds that keep enough tokens as they are.

    Asking an exit costs the reading of its weights, also for tokens that then go on. So exits are
    taken one by one, the one that saves most first, as long as one saves anything; at the others
    no token may leave.

    Args:
        depths: of the exits, ascending.
        sure: [exits, tokens], as of `compared`.
        right: likewise.
        wanted: share of all tokens that are to agree, from 0 to 1.
        weights: what stages and exits read.
        data: what the text is called.

    Raises:
        BadInput: a share that cannot be.
    """
    check_wanted(wanted)

    def tried(used: set[int]) -> Calibration:
        found = thresholds_of(depths, sure, right, wanted, used)
        agreement, leaves = applied(found, sure, right)
        read = weights.share(list(found.values()), list(leaves.values()))
        return Calibration(wanted, found, leaves, agreement, sure.shape[1], data, read)

    used: set[int] = set()
    best = tried(used)
    while len(used) < len(depths):
        more = [tried(used | {number}) for number in range(len(depths)) if number not in used]
        better = min(more, key=lambda one: one.read)
        if better.read >= best.read:
            break
        best = better
        used = {n for n, value in enumerate(best.thresholds.values()) if value <= 1}
    return best


def thresholds_of(
    depths: Sequence[int], sure: Tensor, right: Tensor, wanted: float, used: Collection[int]
) -> dict[int, float]:
    """The lowest thresholds of some exits with which enough tokens are the full model's.

    Each exit may let an equal part of the tokens that are allowed to differ leave, and what an
    earlier one did not use. Tokens that are left go through the full model and agree.

    Args:
        depths: of all exits, ascending.
        sure: [exits, tokens], as of `compared`.
        right: likewise.
        wanted: share of all tokens that are to agree.
        used: numbers of the exits at which tokens may leave.

    Returns:
        By depth; `NEVER` where no token may leave.
    """
    tokens = sure.shape[1]
    allowed = (1 - wanted) * tokens
    here = torch.ones(tokens, dtype=torch.bool)
    differ = 0
    thresholds = dict.fromkeys(depths, NEVER)
    for turn, number in enumerate(sorted(used), 1):
        budget = allowed * turn / len(used) - differ
        shares, order = sure[number][here].sort(descending=True)
        wrong = (~right[number][here][order]).cumsum(0)
        # Tokens that are equally sure leave together.
        last = torch.cat([shares[1:] < shares[:-1], torch.ones(1, dtype=torch.bool)])
        fits = ((wrong <= budget) & last[: len(shares)]).nonzero()[:, 0]
        threshold = float(shares[fits[-1]]) if len(fits) else NEVER
        thresholds[depths[number]] = threshold
        leaving = here & (sure[number] >= threshold)
        differ += int((leaving & ~right[number]).sum())
        here &= ~leaving
    return thresholds


def applied(
    thresholds: Mapping[int, float], sure: Tensor, right: Tensor
) -> tuple[float, dict[int, float]]:
    """What thresholds give on a text.

    Args:
        thresholds: by depth, ascending.
        sure: [exits, tokens], as of `compared`.
        right: likewise.

    Returns:
        The share of tokens that are the full model's, and of those that leave at each depth.
    """
    tokens = sure.shape[1]
    here = torch.ones(tokens, dtype=torch.bool)
    differ, leaves = 0, {}
    for number, (depth, threshold) in enumerate(thresholds.items()):
        leaving = here & (sure[number] >= threshold)
        differ += int((leaving & ~right[number]).sum())
        leaves[depth] = int(leaving.sum()) / tokens
        here &= ~leaving
    return (tokens - differ) / tokens, leaves
