"""What the layout of a picture tells: colours, the order of bars, the legend, texts."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from belvedere.charts.elements import Mark, TextRole
from belvedere.charts.reading import Reading

_NOUNS = {"bar": "bar", "line": "line", "area": "area", "wedge": "segment", "point": "point"}


def noun(r: Reading) -> str:
    """What the marks of the picture are called."""
    return _NOUNS[r.layout.marks[0].kind] if r.layout.marks else "mark"


def centre(mark: Mark, axis: int) -> float:
    """The middle of a mark along an axis: 0 from the left, 1 from the top."""
    return (mark.box[axis] + mark.box[axis + 2]) / 2


def colours_by(r: Reading, name_of: Callable[[Mark], str | None]) -> dict[str, str]:
    """The colour of each name, if each has one and all can be told apart; else nothing."""
    found: dict[str, set[str]] = {}
    for mark in r.layout.marks:
        name = name_of(mark)
        if name is None:
            return {}
        found.setdefault(name, set()).add(mark.colour_name)
    if len(found) < 2 or any(len(names) != 1 for names in found.values()):
        return {}
    colours = {name: next(iter(names)) for name, names in found.items()}
    return colours if distinct(list(colours.values())) else {}


def distinct(colours: Sequence[str]) -> bool:
    """Whether no colour could be meant by the name of another: "blue" may be "dark blue"."""
    return all(
        not f" {a}".endswith(f" {b}") for a in colours for b in colours if a is not b
    ) and len(set(colours)) == len(colours)


def series_colours(r: Reading) -> dict[str, str]:
    """Which colour each series has; empty for a single one."""
    return {} if r.single else colours_by(r, lambda mark: mark.series)


def row_colours(r: Reading) -> dict[str, str]:
    """Which colour each row of a single series has, where they differ."""
    if not r.single or r.scatter:
        return {}
    return colours_by(r, lambda mark: mark.labels[0] if len(mark.labels) == 1 else None)


def coloured(r: Reading) -> bool:
    """The series have colours of their own."""
    return bool(series_colours(r))


def rows_coloured(r: Reading) -> bool:
    """The rows have colours of their own."""
    return bool(row_colours(r))


def ordered_bars(r: Reading) -> tuple[list[int], tuple[str, str]] | None:
    """The rows of a bar chart in the order of their bars, and what its two ends are called."""
    kinds = {"vertical bar": 0, "horizontal bar": 1, "grouped bar": 0, "stacked bar": 0}
    marks = [m for m in r.layout.marks if m.kind == "bar" and len(m.labels) == 1]
    if r.layout.kind not in kinds or len(marks) < len(r.labels):
        return None
    axis = _row_axis(r, marks, kinds[r.layout.kind])
    places = dict.fromkeys(r.labels, 0.0)
    for mark in marks:
        places[mark.labels[0]] += centre(mark, axis)
    order = sorted(range(len(r.labels)), key=lambda i: places[r.labels[i]])
    return order, (("leftmost", "rightmost") if axis == 0 else ("topmost", "lowermost"))


def _row_axis(r: Reading, marks: list[Mark], default: int) -> int:
    """The axis along which the rows lie: grouped and stacked bars may be drawn either way."""
    if r.layout.kind in {"vertical bar", "horizontal bar"}:
        return default
    # Bars of one group or stack share their place along the axis of the rows, so that over all of
    # the bars that axis is the one along which the rows' middles spread without overlapping.
    spans = []
    for axis in (0, 1):
        middles: dict[str, list[float]] = {}
        for mark in marks:
            middles.setdefault(mark.labels[0], []).append(centre(mark, axis))
        ranges = sorted((min(m), max(m)) for m in middles.values())
        spans.append(all(a[1] < b[0] for a, b in pairwise(ranges)))
    return 0 if spans[0] else 1


def has_ordered_bars(r: Reading) -> bool:
    """The rows are bars or groups of bars beside each other."""
    return len(r.labels) >= 3 and ordered_bars(r) is not None


def bar_of_row(r: Reading) -> str:
    """What belongs to one row: a bar, or a group or stack of them."""
    return {"grouped bar": "group of bars", "stacked bar": "stacked bar"}.get(r.layout.kind, "bar")


def texts(r: Reading, role: TextRole) -> list[str]:
    """The texts of a role, on one line each."""
    return [" ".join(t.text.split()) for t in r.layout.texts if t.role == role]


def legend(r: Reading) -> list[str]:
    """The entries of the legend in their order, without its heading; nothing if it is a grid."""
    names = {*r.table.columns, *r.labels}
    entries = [
        t for t in r.layout.texts if t.role == "legend" and " ".join(t.text.split()) in names
    ]
    in_row = _in_sequence([(t.box[0], t.box[2]) for t in entries])
    in_column = _in_sequence([(t.box[1], t.box[3]) for t in entries])
    if in_row == in_column:  # neither: whoever reads a grid may go by rows or by columns
        return []
    entries.sort(key=lambda t: t.box[0] if in_row else t.box[1])
    return [" ".join(t.text.split()) for t in entries]


def _in_sequence(spans: list[tuple[float, float]]) -> bool:
    """Whether intervals follow one another without overlapping."""
    ordered = sorted(spans)
    return all(a[1] <= b[0] + 1 for a, b in pairwise(ordered))


def has_legend(r: Reading) -> bool:
    """There is a legend with at least two entries, in a row or in a column."""
    return len(set(legend(r))) == len(legend(r)) >= 2


def in_colours(r: Reading) -> bool:
    """Several names have to be told from each other, so that a legend would make sense."""
    return not r.single or r.layout.kind in {"pie", "donut"}
