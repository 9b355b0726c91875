"""An auxiliary head that names the letters at every place of a picture."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from belvedere.charts.letters import CELL, CLASSES, NOTHING
from belvedere.errors import BadInput

NOTHING_WEIGHT = 0.1
"""Of cells without a letter in the loss: there are some twenty for each letter."""


class LetterHead(nn.Module):
    """Reads the letters of each encoder token's part of the picture.

    A token of the encoder sees ``stride`` x ``stride`` pixels, which are several cells of
    `belvedere.charts.letters`: each of them gets scores of its own.

    Args:
        hidden: width of the encoder's states.
        stride: pixels to a side of one token.

    Raises:
        BadInput: the stride is no multiple of a cell's side.
    """

    def __init__(self, hidden: int, stride: int) -> None:
        super().__init__()
        if stride % CELL:
            raise BadInput(
                f"tokens of {stride} pixels are no multiple of {CELL} pixels",
                where="model.letters_weight",
                remedy="set it to 0, or use another patch_size",
            )
        self.stride, self.cells = stride, stride // CELL
        self.scores = nn.Linear(hidden, self.cells**2 * CLASSES)

    def forward(self, states: Tensor, size: tuple[int, int]) -> Tensor:
        """Scores of the classes of each cell.

        Args:
            states: [batch, tokens, hidden], row by row.
            size: (height, width) of the pictures in pixels.

        Returns:
            [batch, rows, columns, classes]: whole tokens, so the rows and columns of cells may be
            more than the picture has.
        """
        rows = -(-size[0] // self.stride)
        k = self.cells
        parts = self.scores(states).unflatten(1, (rows, -1)).unflatten(-1, (k, k, CLASSES))
        return parts.transpose(2, 3).flatten(3, 4).flatten(1, 2)

    def loss(self, states: Tensor, letters: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The weighted cross-entropy, and the share of letters that are named right.

        Args:
            states: as in `forward`.
            letters: [batch, rows, columns], the classes.
            size: as in `forward`.
        """
        scores = self(states, size)[:, : letters.shape[1], : letters.shape[2]]
        there = letters != NOTHING
        weights = torch.where(there, 1.0, NOTHING_WEIGHT)
        each = F.cross_entropy(scores.flatten(0, 2).float(), letters.flatten(), reduction="none")
        right = (scores.argmax(-1) == letters) & there
        loss = (each * weights.flatten()).sum() / weights.sum()
        return loss, right.sum() / there.sum().clamp(min=1)
