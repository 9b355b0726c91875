"""Packs documents of different lengths into rows of one length, nothing lost and little padded.

Best fit decreasing within windows of documents (Ding et al., "Fewer Truncations Improve Language
Modeling", arXiv 2404.10830): a document that fits into a row stays whole, a longer one goes on in
further rows. Concatenate-and-chop has no padding, but cuts a document at every row's end.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WINDOW = 8192


@dataclass(frozen=True)
class Plan:
    """Which pieces of the token stream each row is made of.

    Attributes:
        starts: [pieces], where a piece begins in the stream.
        lengths: [pieces], its tokens.
        ends: [pieces], whether its document ends with it.
        rows: [rows + 1], row i has the pieces ``rows[i]`` to ``rows[i + 1] - 1``.
        cut: how many documents go over more than one piece.
    """

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    ends: NDArray[np.bool_]
    rows: NDArray[np.int64]
    cut: int

    def __len__(self) -> int:
        return len(self.rows) - 1

    def padding(self, row_length: int) -> float:
        """Share of all places in the rows that no token fills."""
        places = len(self) * row_length
        return 1 - float(self.lengths.sum()) / places if places else 0.0


def pack(starts: NDArray[np.int64], lengths: NDArray[np.int64], row_length: int) -> Plan:
    """Plan rows of ``row_length`` for documents at ``starts`` of ``lengths`` in a token stream."""
    pieces = _pieces(starts, lengths, row_length)
    rows: list[list[int]] = []
    for begin in range(0, len(pieces[0]), WINDOW):
        window = pieces[1][begin : begin + WINDOW]
        rows += [[begin + i for i in row] for row in _best_fit(window, row_length)]
    order = np.fromiter((i for row in rows for i in row), np.int64)
    counts = np.fromiter((len(row) for row in rows), np.int64, count=len(rows))
    return Plan(
        starts=pieces[0][order],
        lengths=pieces[1][order],
        ends=pieces[2][order],
        rows=np.concatenate([[0], counts.cumsum()]).astype(np.int64),
        cut=int((lengths > row_length).sum()),
    )


def _pieces(
    starts: NDArray[np.int64], lengths: NDArray[np.int64], row_length: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Start, length and is-it-the-end of documents cut to at most ``row_length`` tokens."""
    counts = -(-lengths // row_length)
    document = np.repeat(np.arange(len(lengths)), counts)
    first = np.repeat(counts.cumsum() - counts, counts)
    offset = (np.arange(len(document)) - first) * row_length
    left = lengths[document] - offset
    return starts[document] + offset, np.minimum(left, row_length), left <= row_length


def _best_fit(lengths: NDArray[np.int64], row_length: int) -> list[list[int]]:
    """Rows of indices; each piece goes to the open row that it fills best."""
    rows: list[list[int]] = []
    open_rows: dict[int, list[int]] = {}  # free places -> rows
    for index in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[index])
        free = next((f for f in range(length, row_length) if open_rows.get(f)), None)
        if free is None:
            rows.append([])
            row, free = len(rows) - 1, row_length
        else:
            row = open_rows[free].pop()
        rows[row].append(index)
        if free > length:
            open_rows.setdefault(free - length, []).append(row)
    return rows
