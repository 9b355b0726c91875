"""Draws a table as a chart and tells where everything is.

Drawn with matplotlib's objects alone (no pyplot) and its default settings, whatever the user's are.
One point is one pixel. Where the table leaves no room for the style, the chart is drawn anew in a
plainer style; no chart has texts that overlap or are cut off.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, pairwise
from random import Random
from typing import Any

import numpy as np
from matplotlib import style as settings
from PIL import Image

from belvedere.charts import plots
from belvedere.charts.drawing import Drawing
from belvedere.charts.elements import Box, ChartKind, Layout, Point, Text
from belvedere.charts.styles import Style
from belvedere.charts.tables import Table

PLAINER = 4
"""How often a style is made plainer before the chart is given up."""
TOUCHING = 0.5
"""Pixels by which boxes of texts may overlap: a box is a little larger than its letters."""
BLANK = 2.0
"""Pixels between labels that stand beside one another, or they would read as one."""
SETTINGS: list[Any] = ["default", {"text.parse_math": False}]
"""Of matplotlib. A text with two dollar signs is no formula."""

PLOTS: dict[ChartKind, Callable[[Drawing], None]] = {
    "vertical bar": plots.vertical_bars,
    "horizontal bar": plots.horizontal_bars,
    "grouped bar": plots.vertical_bars,
    "stacked bar": plots.stacked_bars,
    "line": plots.lines,
    "multi line": plots.lines,
    "area": plots.lines,
    "pie": plots.wedges,
    "donut": plots.wedges,
    "scatter": plots.points,
}


@dataclass(frozen=True)
class Chart:
    """A picture and everything known about it.

    Attributes:
        picture: the bytes of a PNG or JPEG file.
        table: what is shown.
        style: how it came to be shown.
        layout: where everything is.
    """

    picture: bytes
    table: Table
    style: Style
    layout: Layout


def render(table: Table, kind: ChartKind, style: Style, rng: Random) -> Chart | None:
    """Draw the table.

    Args:
        table: what is shown.
        kind: how; it has to suit the table (`belvedere.charts.topics.kinds_of`).
        style: the look to begin with.
        rng: decides about noise.

    Returns:
        The chart; None if even the plainest style leaves too little room for the table.
    """
    with settings.context(SETTINGS):
        return _render(table, kind, style, rng)


def _render(table: Table, kind: ChartKind, style: Style, rng: Random) -> Chart | None:
    for attempt in range(PLAINER + 1):
        tried = style.plainer(attempt - 1) if attempt else style
        drawn = Drawing(table, kind, tried)
        PLOTS[kind](drawn)
        drawn.finish()
        if not drawn.fits:
            continue
        pixels = drawn.pixels()
        layout = drawn.layout()
        if reads_well(layout, slanted=tried.rotation == 45):
            return Chart(encoded(pixels, tried, rng), table, tried, layout)
    return None


def reads_well(layout: Layout, slanted: bool) -> bool:
    """Whether all texts are within the picture and none lies over another; nor a legend over marks,
    or a value over a mark that is not its own.

    Args:
        layout: of the picture.
        slanted: the row labels are slanted, so that their boxes overlap though they do not.
    """
    if not all(_within(text.box, layout) for text in layout.texts):
        return False
    if any(_hides_mark(text, layout) for text in layout.texts if text.role == "legend"):
        return False
    if any(_struck_out(text.box, layout) for text in layout.texts if text.role == "value"):
        return False
    ticks = [text.box for text in layout.texts if text.role == "x tick"]
    if not slanted and any(_overlap(one, other, BLANK) for one, other in combinations(ticks, 2)):
        return False
    return not any(
        _overlap(one.box, other.box)
        for one, other in combinations(layout.texts, 2)
        if not one.role == other.role == "x tick"
    )


def _hides_mark(text: Text, layout: Layout) -> bool:
    """Whether a legend within the plot lies over a bar or a line's point."""
    left, top, right, bottom = text.box
    for mark in layout.marks:
        if mark.kind == "bar" and _overlap(text.box, mark.box):
            return True
        if any(left < x < right and top < y < bottom for x, y in mark.points):
            return True
    return False


def _struck_out(box: Box, layout: Layout) -> bool:
    """Whether a value's label lies over a line, or a bar; in stacks it is within its own."""
    if layout.kind == "stacked bar":
        return False
    inner = (box[0] + TOUCHING, box[1] + TOUCHING, box[2] - TOUCHING, box[3] - TOUCHING)
    for mark in layout.marks:
        if mark.kind == "bar" and _overlap(box, mark.box):
            return True
        if mark.kind in ("line", "area") and any(
            _crosses(one, other, inner) for one, other in pairwise(mark.points)
        ):
            return True
    return False


def _crosses(one: Point, other: Point, box: Box) -> bool:
    """Whether the way from one point to another goes through a box (Liang and Barsky, 1984)."""
    begin, end = 0.0, 1.0
    for axis in (0, 1):
        step, low, high = other[axis] - one[axis], box[axis] - one[axis], box[axis + 2] - one[axis]
        if step == 0:
            if low > 0 or high < 0:
                return False
            continue
        enter, leave = sorted((low / step, high / step))
        begin, end = max(begin, enter), min(end, leave)
    return begin < end


def _within(box: Box, layout: Layout) -> bool:
    left, top, right, bottom = box
    return left >= -0.5 and top >= -0.5 and right <= layout.width + 0.5 and (
        bottom <= layout.height + 0.5
    )  # fmt: skip


def _overlap(one: Box, other: Box, gap: float = -TOUCHING) -> bool:
    """Whether two boxes have less than the gap between them, to the side and along."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    along = min(one[3], other[3]) - max(one[1], other[1])
    return across > -gap and along > -gap


def encoded(pixels: np.ndarray, style: Style, rng: Random) -> bytes:
    """The picture's file: PNG, or JPEG where the style says so, with its noise.

    Args:
        pixels: [height, width, 3], uint8.
        style: of the chart.
        rng: seeds the noise.
    """
    if style.noise:
        noise = np.random.default_rng(rng.getrandbits(32)).normal(0, style.noise, pixels.shape)
        pixels = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    if style.jpeg is None:
        # A palette, as in many published pictures: half the bytes, and no difference to be seen.
        palette = Image.fromarray(pixels).quantize(
            256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
        )
        palette.save(buffer, "PNG", optimize=True)
    else:
        Image.fromarray(pixels).save(buffer, "JPEG", quality=style.jpeg)
    return buffer.getvalue()
