"""How right the bars, wedges and points are that were read from a chart.

A mark that was read is compared with one that is there by its place, its kind and, more strictly,
by its label and value. This is the project's own measure: UniChart (section 3.2) trains on such
elements and publishes no score for them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchmetrics import Metric

from belvedere.charts.elements import Box

IOU = 0.5
VALUE_TOLERANCE = 0.05
TIE = 1e-6


@dataclass(frozen=True)
class ReadMark:
    """A mark as it was read, or as it ought to be.

    Attributes:
        kind: "bar", "line", "area", "wedge" or "point"; a model may have written something else.
        label: of the row or series that it shows.
        value: that it stands for; None where there is none or it could not be read.
        box: (left, top, right, bottom), as shares of the picture's sides or in pixels; both sides
            of a comparison in the same unit. The corners may come in either order.
    """

    kind: str
    label: str
    value: float | None
    box: Box


class MarkCounts(NamedTuple):
    """How many marks were found, found with the right label and value, read, and there."""

    hits: int
    strict_hits: int
    predicted: int
    gold: int


def mark_counts(
    predicted: Sequence[ReadMark], gold: Sequence[ReadMark], *, min_side: float = 0.03
) -> MarkCounts:
    """Compare the marks of one chart.

    Marks of the same kind are paired so that the sum of their boxes' IoU (intersection over union)
    is the greatest; where boxes are equally near, label and value decide. A pair is a hit from an
    IoU of 0.5 on. It is a strict hit if moreover the labels are equal but for upper and lower case
    and blanks, and the values differ by no more than 5 % of the right one.

    Args:
        predicted: what was read.
        gold: what is there.
        min_side: what a shorter side of a box is widened to on both sides of its middle, in the
            boxes' unit. Without it a point of a line, the line of a flat series or the bar of a
            value near 0 would have no area, and the least error would make their IoU 0. The
            default is for shares of the picture: a point counts if it is placed within 1 % of the
            picture's side (a third of `min_side`) along one axis. For boxes in pixels, give 3 % of
            the picture's side in pixels to the same end.

    Example:
        >>> bar = ReadMark("bar", "Peru", 40.0, (0.1, 0.2, 0.2, 0.8))
        >>> seen = ReadMark("bar", "peru", 41.0, (0.1, 0.25, 0.2, 0.8))
        >>> mark_counts([seen, ReadMark("bar", "Chile", 9.0, (0.5, 0.2, 0.6, 0.8))], [bar])
        MarkCounts(hits=1, strict_hits=1, predicted=2, gold=1)
    """
    hits = strict_hits = 0
    if predicted and gold:
        iou = _iou(_boxes(predicted, min_side), _boxes(gold, min_side))
        same_kind = np.array([[p.kind == g.kind for g in gold] for p in predicted])
        agree = np.array([[_label_agrees(p, g) + _value_agrees(p, g) for g in gold]
                          for p in predicted])  # fmt: skip
        pairs = linear_sum_assignment(same_kind * (iou + TIE * agree), maximize=True)
        found = same_kind[pairs] & (iou[pairs] >= IOU)
        hits, strict_hits = int(found.sum()), int((found & (agree[pairs] == 2)).sum())
    return MarkCounts(hits, strict_hits, len(predicted), len(gold))


def mark_scores(counts: MarkCounts) -> dict[str, float]:
    """Scores, from 0 to 1, from the (summed) result of `mark_counts`.

    ``element_precision``, ``element_recall`` and ``element_f1``, their harmonic mean, over all
    marks, and ``element_f1_strict`` of the strict hits. As for tables, precision is 1 where
    nothing was read, recall is 1 where nothing is there, and all are 1 where both is so.

    Example:
        >>> scores = mark_scores(MarkCounts(hits=2, strict_hits=1, predicted=2, gold=4))
        >>> {name: round(score, 3) for name, score in scores.items()} == {
        ...     "element_precision": 1.0, "element_recall": 0.5,
        ...     "element_f1": 0.667, "element_f1_strict": 0.333}
        True
    """
    hits, strict_hits, predicted, gold = counts
    return {
        "element_precision": hits / predicted if predicted else 1.0,
        "element_recall": hits / gold if gold else 1.0,
        "element_f1": 2 * hits / (predicted + gold) if predicted + gold else 1.0,
        "element_f1_strict": 2 * strict_hits / (predicted + gold) if predicted + gold else 1.0,
    }


def _label_agrees(one: ReadMark, other: ReadMark) -> bool:
    return one.label.casefold().split() == other.label.casefold().split()


def _value_agrees(given: ReadMark, right: ReadMark) -> bool:
    if given.value is None or right.value is None:
        return given.value is right.value
    return abs(given.value - right.value) <= VALUE_TOLERANCE * abs(right.value)


def _boxes(marks: Sequence[ReadMark], min_side: float) -> NDArray[np.float64]:
    """Boxes (marks, 4) with ordered corners and no side shorter than ``min_side``."""
    boxes = np.array([mark.box for mark in marks], dtype=np.float64)
    with np.errstate(all="ignore"):
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        half = np.maximum(np.abs(boxes[:, 2:] - boxes[:, :2]), min_side) / 2
        return np.hstack([middle - half, middle + half])


def _iou(boxes: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of each box with each other one; 0 for a box that is not finite."""
    a, b = boxes[:, None], others[None]
    with np.errstate(all="ignore"):
        sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
        shared = np.maximum(sides, 0).prod(axis=-1)
        union = _area(a) + _area(b) - shared
        return np.nan_to_num(shared / union, nan=0.0, posinf=0.0)


def _area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    area: NDArray[np.float64] = (boxes[..., 2:] - boxes[..., :2]).prod(axis=-1)
    return area


class ElementQuality(Metric):
    """`mark_scores` over the marks of all charts, each mark counting the same.

    Args:
        min_side: see `mark_counts`; in the unit of the boxes.
        options: of torchmetrics' ``Metric``, such as ``sync_on_compute``.

    Example:
        >>> quality = ElementQuality()
        >>> bar = ReadMark("bar", "Peru", 40.0, (0.1, 0.2, 0.2, 0.8))
        >>> quality.update([[bar]], [[bar, ReadMark("bar", "Chile", 9.0, (0.5, 0.7, 0.6, 0.8))]])
        >>> {name: round(score, 3) for name, score in quality.compute().items()} == {
        ...     "element_precision": 1.0, "element_recall": 0.5,
        ...     "element_f1": 0.667, "element_f1_strict": 0.667}
        True
    """

    full_state_update = False
    counts: Tensor
    charts: Tensor

    def __init__(self, *, min_side: float = 0.03, **options: Any) -> None:
        super().__init__(**options)
        self.min_side = min_side
        self.add_state("counts", torch.zeros(4, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("charts", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self, predicted: Sequence[Sequence[ReadMark]], gold: Sequence[Sequence[ReadMark]]
    ) -> None:
        """Add charts: the marks that were read, and those that are there."""
        for read, right in zip(predicted, gold, strict=True):
            counts = mark_counts(read, right, min_side=self.min_side)
            self.counts += torch.tensor(counts, device=self.counts.device)
            self.charts += 1

    def compute(self) -> dict[str, float]:
        """The scores by name; 0 where there was no chart."""
        scores = mark_scores(MarkCounts(*self.counts.tolist()))
        return scores if self.charts else dict.fromkeys(scores, 0.0)
