"""Thresholds for exits: how sure an exit has to be, so that its tokens are the full model's.

The confidence of an exit is the probability of its likeliest token. On held-out text both models
are asked what follows each token; the thresholds are then the lowest at which a wanted share of the
tokens agrees with the full model's. (arXiv 2503.05005 names exits by confidence, without a rule for
the thresholds; the rule is ours)
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from belvedere.errors import BadInput
from belvedere.submodels.backbone import decoder_inputs
from belvedere.submodels.exits import Exits, read_submodels

FILE = "thresholds.json"
NEVER = 2.0
"""A threshold that no exit reaches."""
ROWS = 256
"""Positions whose logits are there at once."""


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
    """

    wanted: float
    thresholds: dict[int, float]
    leaves: dict[int, float]
    agreement: float
    tokens: int
    data: str = ""

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
    depths: Sequence[int], sure: Tensor, right: Tensor, wanted: float, data: str = ""
) -> Calibration:
    """The lowest thresholds with which enough tokens are the full model's.

    Each exit may let an equal part of the tokens that are allowed to differ leave, and what an
    earlier one did not use. Tokens that are left go through the full model and agree.

    Args:
        depths: of the exits, ascending.
        sure: [exits, tokens], as of `compared`.
        right: likewise.
        wanted: share of all tokens that are to agree, from 0 to 1.
        data: what the text is called.

    Raises:
        BadInput: a share that cannot be.
    """
    check_wanted(wanted)
    tokens = sure.shape[1]
    allowed = (1 - wanted) * tokens
    here = torch.ones(tokens, dtype=torch.bool)
    differ = 0
    thresholds = {}
    for number, depth in enumerate(depths):
        budget = allowed * (number + 1) / len(depths) - differ
        shares, order = sure[number][here].sort(descending=True)
        wrong = (~right[number][here][order]).cumsum(0)
        # Tokens that are equally sure leave together.
        last = torch.cat([shares[1:] < shares[:-1], torch.ones(1, dtype=torch.bool)])
        fits = ((wrong <= budget) & last[: len(shares)]).nonzero()[:, 0]
        thresholds[depth] = float(shares[fits[-1]]) if len(fits) else NEVER
        leaving = here & (sure[number] >= thresholds[depth])
        differ += int((leaving & ~right[number]).sum())
        here &= ~leaving
    agreement, leaves = applied(thresholds, sure, right)
    return Calibration(wanted, thresholds, leaves, agreement, tokens, data)


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
