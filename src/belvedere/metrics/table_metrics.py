"""How right a table is that was read from a chart: RNSS and RMS.

Both are DePlot's (Liu et al. 2023, section 4 and appendix): RNSS, the relative number set
similarity, compares the numbers of two tables wherever they stand; RMS, the relative mapping
similarity, compares what the tables say about each pair of row and column. Scores go from 0 to 100,
as they are published. A table is given by its cells, header first, or as the line that
``belvedere.charts.tables.linearise`` writes.
"""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchmetrics import Metric

from belvedere.charts.tables import linearise, parse
from belvedere.errors import BadInput
from belvedere.metrics.relaxed import number

Cells = Sequence[Sequence[str]]

TEXT_TAU = 0.5
NUMBER_THETA = 0.1


class RMS(NamedTuple):
    """Precision, recall and their harmonic mean, each from 0 to 100."""

    precision: float
    recall: float
    f1: float


def rnss(prediction: str | Cells, target: str | Cells) -> float:
    """The relative number set similarity of two tables, from 0 to 100.

    The numbers are all cells that ``float`` accepts, those of the header and of a title row too.
    They are paired so that the sum of D = min(1, |p - t| / |t|) is the least, and the score is 1
    less that sum over the larger number of numbers: what is left over costs nothing by itself. For
    t = 0, D is 0 where p = 0, else 1 (the published code has that the wrong way round). "nan" and
    "inf" are only near to themselves. Two tables without numbers agree fully, one with and one
    without not at all.

    Example:
        >>> rnss("0.5 | foo | 0.6", "baz | foo | 0.4")
        87.5
    """
    given, right = _numbers(_cells(prediction)), _numbers(_cells(target))
    if not len(given) or not len(right):
        return 100.0 if len(given) == len(right) else 0.0
    distance = _relative_distances(given, right)
    return 100 * (1 - float(distance[_matching(distance)].sum()) / max(distance.shape))


def _numbers(cells: Cells) -> NDArray[np.float64]:
    found = []
    for row in cells:
        for cell in row:
            try:
                found.append(float(cell))
            except ValueError:
                continue
    return np.array(found)


def _relative_distances(
    given: NDArray[np.float64], right: NDArray[np.float64]
) -> NDArray[np.float64]:
    """One row for each right number, one column for each given one."""
    t, p = right[:, None], given[None, :]
    with np.errstate(all="ignore"):
        relative = np.abs((t - p) / t)
    same = (t == p) | (np.isnan(t) & np.isnan(p))
    usable = np.isfinite(relative) & (t != 0)
    return np.where(same, 0.0, np.where(usable, np.minimum(relative, 1), 1.0))


def rms(
    prediction: str | Cells,
    target: str | Cells,
    *,
    title_row: bool = False,
    empty_title: bool = False,
) -> RMS:
    """The relative mapping similarity of two tables, from 0 to 100.

    The prediction is read as it is and transposed, and what gives the better F1 counts.

    Args:
        prediction: the table that was read. It may be ragged or have no data point at all.
        target: the right one.
        title_row: whether a first row ``title | …``, as DePlot writes it, is the table's title and
            thereby a data point of its own. A table whose rows are called "Title" needs False.
        empty_title: whether a table without a title gets an empty one, as in DePlot's evaluation
            program. That gives every table one point for nothing; only to compare with numbers
            that were got that way.

    Raises:
        BadInput: the target has no data point, as after a wrong separator. The published code
            lets an empty prediction score fully there.

    Example:
        >>> target = "year | a | b & 1999 | 200 | 158"
        >>> prediction = "year | a | b & 1999 | 202 | 0"
        >>> rms(prediction, target)
        RMS(precision=49.5, recall=49.5, f1=49.5)
        >>> round(rms(prediction, target, empty_title=True).f1, 2)
        66.33
    """
    title, cells = _titled(_cells(target), title_row, empty_title)
    if not data_points(cells):
        raise BadInput(
            f"a target table has no data point: {linearise(cells)[:60]!r}",
            remedy="it needs a header and a row, cells parted by ' | ' and rows by ' & '",
        )
    right = data_points(cells, title)
    given_title, given = _titled(_cells(prediction), title_row, empty_title)
    # Turned first, as in the published code: of two equal F1 the first one is kept.
    turned = [list(column) for column in zip_longest(*given, fillvalue="")]
    shares = [_match(data_points(one, given_title), right) for one in (turned, given)]
    return RMS(*(100 * share for share in max(shares, key=lambda share: share[-1])))


def data_points(cells: Cells, title: str | None = None) -> dict[str, str]:
    """What a table says, in lower case: "row column" -> value, and "title" -> the title.

    Where two cells have the same names, the later one counts.

    Example:
        >>> data_points([["Year", "A", "B"], ["1999", "200"]], title="Sales")
        {'title': 'sales', '1999 a': '200'}
    """
    points = {} if title is None else {"title": _folded(title)}
    header = [_folded(cell) for cell in cells[0]] if cells else []
    for row in cells[1:]:
        name, *values = map(_folded, row or [""])
        pairs = zip(header[1:], values, strict=False)  # what a ragged row lacks is not said
        points |= {f"{name} {column}": value for column, value in pairs}
    return points


def match_points(prediction: Mapping[str, str], target: Mapping[str, str]) -> RMS:
    """The RMS of two sets of data points (`data_points`).

    Points are paired so that the sum of 1 - `anls` of their keys is the least; values play no part
    in that. A pair scores the similarity of its keys times that of its values.

    Example:
        >>> match_points({}, {})
        RMS(precision=100.0, recall=100.0, f1=100.0)
        >>> match_points({"a b": "1"}, {}), match_points({}, {"a b": "1"})
        (RMS(precision=0.0, recall=100.0, f1=0.0), RMS(precision=100.0, recall=0.0, f1=0.0))
    """
    return RMS(*(100 * share for share in _match(prediction, target)))


def _match(prediction: Mapping[str, str], target: Mapping[str, str]) -> tuple[float, float, float]:
    """Precision, recall and F1 as shares."""
    if not prediction or not target:
        precision, recall = float(not prediction), float(not target)
        return precision, recall, precision * recall
    given, right = list(prediction.values()), list(target.values())
    keys = _key_similarities(list(target), list(prediction))
    total = sum(
        float(keys[t, p]) * value_similarity(given[p], right[t])
        for t, p in zip(*_matching(1 - keys), strict=True)
    )
    if not total:
        return 0.0, 0.0, 0.0
    precision, recall = total / len(given), total / len(right)
    return precision, recall, 2 * precision * recall / (precision + recall)


def value_similarity(prediction: str, target: str) -> float:
    """How alike two values are, from 0 to 1.

    Numbers ("%" divides by 100) lose their relative distance, and everything from 10 % on. Where
    one of them is no number or the target is 0, texts are compared (`anls`).

    Example:
        >>> round(value_similarity("202", "200"), 3), value_similarity("220", "200")
        (0.99, 0.0)
        >>> value_similarity("n/a", "n/a"), value_similarity("0.0", "0")
        (1.0, 0.0)
    """
    given, right = number(prediction), number(target)
    if given is not None and right:
        distance = abs((right - given) / right)
        return 1 - distance if distance < NUMBER_THETA else 0.0
    return anls(prediction, target)


def anls(text: str, other: str) -> float:
    """1 less the edit distance over the longer length; 0 where that distance is above 0.5.

    (Biten et al. 2019, equation 1, with Pix2Struct's reading of the threshold: 0.5 still counts.)

    Example:
        >>> anls("abcd", "abxy"), anls("abcd", "axyz"), anls("", "")
        (0.5, 0.0, 1.0)
    """
    distance = Levenshtein.distance(text, other) / (max(len(text), len(other)) or 1)
    return 1 - distance if distance <= TEXT_TAU else 0.0


def _key_similarities(keys: list[str], others: list[str]) -> NDArray[np.float64]:
    """`anls` of each of the keys (rows) with each of the others (columns); none is empty."""
    lengths = np.maximum.outer([len(key) for key in keys], [len(other) for other in others])
    distance = cdist(keys, others, scorer=Levenshtein.distance) / lengths
    return np.where(distance <= TEXT_TAU, 1 - distance, 0.0)


def _matching(cost: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    # Rows are the target's, as in the published code: so ties are broken alike.
    rows, columns = linear_sum_assignment(cost)
    return rows, columns


def _cells(table: str | Cells) -> Cells:
    return parse(table) if isinstance(table, str) else table


def _titled(cells: Cells, title_row: bool, empty_title: bool) -> tuple[str | None, Cells]:
    title = None
    if title_row and cells and len(cells[0]) > 1 and _folded(cells[0][0]) == "title":
        title, cells = " | ".join(cells[0][1:]), cells[1:]
    return ("" if title is None and empty_title else title), cells


def _folded(cell: str) -> str:
    return cell.strip().lower()


class TableQuality(Metric):
    """The means of `rnss` and `rms` over tables, from 0 to 100.

    Args:
        title_row: see `rms`.
        empty_title: see `rms`.
        options: of torchmetrics' ``Metric``, such as ``sync_on_compute``.

    Example:
        >>> quality = TableQuality()
        >>> quality.update(["year | a | b & 1999 | 202 | 0"], ["year | a | b & 1999 | 200 | 158"])
        >>> {name: round(value, 2) for name, value in quality.compute().items()}
        {'rnss': 66.33, 'rms_precision': 49.5, 'rms_recall': 49.5, 'rms_f1': 49.5}
    """

    full_state_update = False
    sums: Tensor
    count: Tensor

    def __init__(
        self, *, title_row: bool = False, empty_title: bool = False, **options: Any
    ) -> None:
        super().__init__(**options)
        self.title_row, self.empty_title = title_row, empty_title
        self.add_state("sums", torch.zeros(4, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, predictions: Sequence[str | Cells], targets: Sequence[str | Cells]) -> None:
        """Add tables, each with the right one.

        Raises:
            BadInput: a target has no data point; then none of the tables is added.
        """
        scores = [
            (rnss(given, right),
             *rms(given, right, title_row=self.title_row, empty_title=self.empty_title))
            for given, right in zip(predictions, targets, strict=True)
        ]  # fmt: skip
        for values in scores:
            self.sums += torch.tensor(values, dtype=torch.float64, device=self.sums.device)
        self.count += len(scores)

    def compute(self) -> dict[str, float]:
        """The means by name; 0 where there was no table."""
        means = (self.sums / self.count.clamp(min=1)).tolist()
        return dict(zip(("rnss", "rms_precision", "rms_recall", "rms_f1"), means, strict=True))
