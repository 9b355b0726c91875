"""Auxiliary heads that say what a reader sees while it learns; no answer has anything of them."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from belvedere.charts.letters import CLASSES, FIRST_MARK, NOTHING, UNKNOWN

NOTHING_WEIGHT = 0.1
"""Of cells without a letter in the loss: there are some twenty for each letter."""
BINS = 40
"""Classes of places between two ticks, from `FIRST` of their distance below the lower one."""
FIRST, BIN = -0.5, 0.05


class LetterHead(nn.Module):
    """Names the letter or mark in each cell of `belvedere.charts.letters` from the stem's details.

    Args:
        width: channels of the details.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scores = nn.Linear(width, CLASSES)

    def forward(self, details: Tensor) -> Tensor:
        """Details [batch, width, rows, columns] to scores [batch, rows, columns, classes]."""
        scores: Tensor = self.scores(details.permute(0, 2, 3, 1))
        return scores

    def loss(self, details: Tensor, letters: Tensor) -> tuple[Tensor, Tensor]:
        """The weighted cross-entropy, and how many letters are named right.

        Args:
            details: [batch, width, rows, columns].
            letters: [batch, rows, columns], the classes; `UNKNOWN` cells do not count.

        Returns:
            The loss, and [2]: letters that are named right, letters.
        """
        scores = self(details)
        weights = torch.where(letters > NOTHING, 1.0, NOTHING_WEIGHT).masked_fill(
            letters == UNKNOWN, 0.0
        )
        each = F.cross_entropy(
            scores.flatten(0, 2).float(), letters.flatten(), reduction="none", ignore_index=UNKNOWN
        )
        there = (letters > NOTHING) & (letters < FIRST_MARK)
        right = (scores.argmax(-1) == letters) & there
        loss = (each * weights.flatten()).sum() / weights.sum().clamp(min=NOTHING_WEIGHT)
        return loss, torch.stack([right.sum(), there.sum()])


class AxisHead(nn.Module):
    """Says where between two ticks the mark is whose value comes next.

    A value that no label tells follows from it and the two ticks. Told so, a small decoder learns
    to read marks off long before it would from the digits alone.

    Args:
        width: of the decoder's states.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scores = nn.Linear(width, BINS)

    def loss(self, states: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
        """The summed cross-entropy, and how many places are told to the neighbouring class.

        Args:
            states: [places, width], of a decoder layer.
            shares: [places], 0 at the lower tick and 1 at the higher one.
        """
        aims = ((shares - FIRST) / BIN).long().clamp(0, BINS - 1)
        scores = self.scores(F.layer_norm(states.float(), states.shape[-1:]))
        near = (scores.argmax(-1) - aims).abs() <= 1
        return F.cross_entropy(scores.float(), aims, reduction="sum"), near.sum()


class PhaseHead(nn.Module):
    """Says how far each state is from the numbers of the axes, in steps of an axis.

    Every state says so, of its column and its row: that is learned from far fewer charts than what
    is asked at the ends of marks alone. A place is told up to whole steps, as an angle.

    Args:
        width: of the encoder's states.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.angles = nn.Linear(width, 4)

    def loss(self, states: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        """The mean squared distance on the unit circle, and the share of places told to `BIN`.

        Args:
            states: [..., width].
            steps: [..., 2], how many steps of the x axis and of the y axis each is from one of its
                numbers; NaN where there is none.
        """
        told = self.angles(F.layer_norm(states.float(), states.shape[-1:])).float()
        known = ~steps.isnan()
        told, angles = told.unflatten(-1, (2, 2))[known], 2 * math.pi * steps[known]
        aims = torch.stack([angles.cos(), angles.sin()], -1)
        off = (torch.atan2(told[:, 1], told[:, 0]) - angles).detach() / (2 * math.pi)
        near = ((off - off.round()).abs() <= BIN).sum()
        places = max(len(angles), 1)
        return (told - aims).square().sum() / places, near / places
