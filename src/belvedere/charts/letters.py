"""Where the letters of a picture are: the target of the encoder's auxiliary loss.

The picture is divided into square cells; each has the class of the letter whose middle lies in it.
A reader that learns to name the letters at every place reads before it writes: from the answers
alone, a small model on few pictures learns what tables look like and nothing of what they say.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

CELL = 4
"""Side of a cell in pixels: about the distance of letters in the smallest text."""
ALPHABET = "".join(c for c in map(chr, range(33, 256)) if c.isprintable()) + "€"
NOTHING = 0
"""The class of a cell without a letter."""
CLASSES = len(ALPHABET) + 1
UNKNOWN = -100
"""In place of a class where nobody knows what letters there are."""
_CLASS = {letter: i + 1 for i, letter in enumerate(ALPHABET)}


def letter_map(
    texts: Sequence[Mapping[str, Any]],
    size: tuple[int, int],
    share: float = 1.0,
    at: tuple[int, int] = (0, 0),
) -> NDArray[np.int64]:
    """The class of each cell of a page on which the picture lies.

    Args:
        texts: of a record of `belvedere.charts.build.FEATURES`.
        size: (height, width) of the page in pixels.
        share: by which the picture was made smaller.
        at: (x, y) of the picture's corner on the page.

    Returns:
        [height / 4, width / 4], rounded up; `NOTHING` where no letter is. Where two letters have
        their middle in one cell, the later one is there.
    """
    cells = np.full((-(-size[0] // CELL), -(-size[1] // CELL)), NOTHING, np.int64)
    for text in texts:
        for letter, (x, y) in zip(text["text"], text["characters"], strict=True):
            row = int((y * share + at[1]) // CELL)
            column = int((x * share + at[0]) // CELL)
            if letter in _CLASS and 0 <= row < len(cells) and 0 <= column < cells.shape[1]:
                cells[row, column] = _CLASS[letter]
    return cells
