"""Where the letters and marks of a picture are: the target of the encoder's auxiliary loss.

The picture is divided into square cells; each has the class of the letter whose middle lies in it,
or of the mark that ends there. A reader that learns to name them at every place reads before it
writes: from the answers alone, a small model on few pictures learns what tables look like and
nothing of what they say.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from belvedere.charts.places import Point

CELL = 4
"""Side of a cell in pixels: about the distance of letters in the smallest text."""
ALPHABET = "".join(c for c in map(chr, range(33, 256)) if c.isprintable()) + "€"
NOTHING = 0
"""The class of a cell without a letter."""
MARKS = ("bar", "line", "area", "point", "wedge")
"""The kinds of marks, whose classes follow those of the letters."""
FIRST_MARK = len(ALPHABET) + 1
CLASSES = FIRST_MARK + len(MARKS)
UNKNOWN = -100
"""In place of a class where nobody knows what letters there are."""
_CLASS = {name: i for i, name in enumerate((*ALPHABET, *MARKS), start=1)}


def letter_map(
    texts: Sequence[Mapping[str, Any]],
    ends: Sequence[tuple[str, Point]],
    size: tuple[int, int],
    share: float = 1.0,
    at: tuple[int, int] = (0, 0),
) -> NDArray[np.int64]:
    """The class of each cell of a page on which the picture lies.

    Args:
        texts: of a record of `belvedere.charts.build.FEATURES`.
        ends: the kinds of its marks and where they end (`belvedere.charts.places.ends_of`).
        size: (height, width) of the page in pixels.
        share: by which the picture was made smaller.
        at: (x, y) of the picture's corner on the page.

    Returns:
        [height / 4, width / 4], rounded up; `NOTHING` where neither is. Where several lie in one
        cell, the last letter is there, or else the last mark.
    """
    cells = np.full((-(-size[0] // CELL), -(-size[1] // CELL)), NOTHING, np.int64)
    letters = (
        (letter, point)
        for text in texts
        for letter, point in zip(text["text"], text["characters"], strict=True)
    )
    for name, (x, y) in chain(ends, letters):
        row = int((y * share + at[1]) // CELL)
        column = int((x * share + at[0]) // CELL)
        if name in _CLASS and 0 <= row < len(cells) and 0 <= column < cells.shape[1]:
            cells[row, column] = _CLASS[name]
    return cells
