"""The plots of charts: bars, lines, areas, wedges and points."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from belvedere.charts.colours import readable_on
from belvedere.charts.drawing import Drawing, decimals_of


def vertical_bars(drawn: Drawing) -> None:
    """Bars that stand, one for each row, or side by side for each series."""
    _bars(drawn, horizontal=False)


def horizontal_bars(drawn: Drawing) -> None:
    """Bars that lie, the first row on top."""
    _bars(drawn, horizontal=True)


def _bars(drawn: Drawing, horizontal: bool) -> None:
    table, style = drawn.table, drawn.style
    several = len(table.columns) > 1
    width = style.bar_width / len(table.columns)
    top = max(max(row) for row in table.values)
    # Two thirds of the picture's height are the plot's, more or less; the labels are to be in it.
    letters = 2.4 * drawn.px(style.text_size) / style.height if style.value_labels else 0.04
    room = 0.22 if style.legend == "inside" and several else 0.04 if horizontal else letters
    drawn.value_axis(0, top * (1 + room), horizontal)
    rows = range(len(table.rows))
    places = [float(-i) if horizontal else float(i) for i in rows]
    drawn.row_axis(places, horizontal)
    _room_for_rows(drawn, len(places), horizontal)
    draw = drawn.axes.barh if horizontal else drawn.axes.bar
    for series, colour in enumerate(drawn.colours()):
        shift = (series - (len(table.columns) - 1) / 2) * width * (-1 if horizontal else 1)
        many = not several and style.varied and len(style.palette) >= len(table.rows)
        colours = list(style.palette[: len(table.rows)]) if many else [colour] * len(table.rows)
        values = table.column(series)
        bars = draw(
            [place + shift for place in places], values, width, color=colours,
            edgecolor=style.theme.edge, linewidth=drawn.px(0.7) if style.theme.edge else 0,
        )  # fmt: skip
        for i in rows:
            drawn.mark("bar", series, [i], colours[i], bars.patches[i])
            if style.value_labels:
                _value_at_bar(drawn, places[i] + shift, values[i], top, horizontal)
        if several:
            drawn.handle(table.columns[series], colour)


def _room_for_rows(drawn: Drawing, count: int, horizontal: bool) -> None:
    if horizontal:
        drawn.axes.set_ylim(-count + 0.4, 0.6)
    else:
        drawn.axes.set_xlim(-0.6, count - 0.4)


def _value_at_bar(drawn: Drawing, place: float, value: float, top: float, horizontal: bool) -> None:
    gap = top * 0.015
    if horizontal:
        drawn.write("value", value + gap, place, drawn.number(value), va="center", ha="left")
    else:
        drawn.write("value", place, value + gap, drawn.number(value), va="bottom", ha="center")


def stacked_bars(drawn: Drawing) -> None:
    """Bars that stand on one another, the first series below."""
    table, style = drawn.table, drawn.style
    rows = range(len(table.rows))
    top = max(sum(row) for row in table.values)
    drawn.value_axis(0, top * (1.22 if style.legend == "inside" else 1.04))
    drawn.row_axis([float(i) for i in rows])
    _room_for_rows(drawn, len(table.rows), horizontal=False)
    base = [0.0] * len(table.rows)
    for series, colour in enumerate(drawn.colours()):
        values = table.column(series)
        bars = drawn.axes.bar(
            list(rows), values, style.bar_width, bottom=base, color=colour,
            edgecolor=style.theme.edge, linewidth=drawn.px(0.7) if style.theme.edge else 0,
        )  # fmt: skip
        for i in rows:
            drawn.mark("bar", series, [i], colour, bars.patches[i])
            if style.value_labels:
                _value_in_bar(drawn, i, base[i] + values[i] / 2, values[i], top, colour)
        drawn.handle(table.columns[series], colour)
        base = [b + v for b, v in zip(base, values, strict=True)]


def _value_in_bar(
    drawn: Drawing, row: int, middle: float, value: float, top: float, colour: str
) -> None:
    """A value within its part of a bar; a part that is too low for it makes the chart unfit."""
    height = 0.5 * drawn.style.height * value / top
    drawn.fits &= height >= drawn.px(drawn.style.text_size)
    drawn.write(
        "value", row, middle, drawn.number(value), readable_on(colour), va="center", ha="center"
    )


def lines(drawn: Drawing) -> None:
    """A line for each series, or the area below one."""
    table, style = drawn.table, drawn.style
    every = [value for row in table.values for value in row]
    low, high = min(every), max(every)
    area = drawn.kind == "area"
    room = max(high - low, high * 0.05) * (0.32 if style.legend == "inside" else 0.16)
    floor = 0.0 if style.from_zero or area else max(low - room, 0.0)
    drawn.value_axis(floor, high + room)
    places = [float(i) for i in range(len(table.rows))]
    drawn.row_axis(places)
    drawn.axes.set_xlim(-0.35, len(places) - 0.65)
    several = len(table.columns) > 1
    for series, colour in enumerate(drawn.colours()):
        values = table.column(series)
        if area:
            drawn.axes.fill_between(places, values, floor, color=colour, alpha=0.75, linewidth=0)
        drawn.axes.plot(
            places, values, color=colour, linewidth=drawn.px(1.6),
            marker="o" if style.markers else None, markersize=drawn.px(3.2),
        )  # fmt: skip
        points = np.array([places, values]).T
        drawn.mark("area" if area else "line", series, range(len(places)), colour, points)
        if style.value_labels:
            for i, (x, value) in enumerate(zip(places, values, strict=True)):
                ha, va = ("center", "bottom") if area else _beside_line(values, i)
                up = room * (0.12 if va == "bottom" else -0.12)
                drawn.write("value", x, value + up, drawn.number(value), ha=ha, va=va)
        if several and style.legend != "direct":
            drawn.handle(table.columns[series], colour, line=True)
        elif several:
            drawn.write(
                "series", len(places) - 0.85, values[-1], table.columns[series], colour,
                ha="left", va="center",
            )  # fmt: skip


def _beside_line(values: Sequence[float], place: int) -> tuple[str, str]:
    """How a label is aligned at a point of a line so that the line does not go through it.

    Above a peak and below a valley; above a slope on its outer side.

    Returns:
        The horizontal and the vertical alignment.
    """
    own = values[place]
    before = own - values[place - 1] if place else 0.0
    after = values[place + 1] - own if place < len(values) - 1 else 0.0
    if before <= 0 <= after and (before or after):
        return "center", "top"
    if before > 0 and after > 0:
        return "right", "bottom"
    if before < 0 and after < 0:
        return "left", "bottom"
    return "center", "bottom"


def wedges(drawn: Drawing) -> None:
    """A pie or a donut, clockwise from the top."""
    table, style, axes = drawn.table, drawn.style, drawn.axes
    palette = shades(style.palette, len(table.rows))
    ring = 0.42 if drawn.kind == "donut" else None
    patches = axes.pie(
        table.column(0), colors=palette, startangle=90, counterclock=False,
        wedgeprops={"width": ring, "edgecolor": style.theme.edge or style.theme.background,
                    "linewidth": drawn.px(0.8)},
    )[0]  # fmt: skip
    axes.set_aspect("equal")
    axes.set_xlim(-1.05, 1.05)
    axes.set_ylim(-1.05, 1.05)
    named = style.legend in {"direct", "top", "inside"}
    for i, wedge in enumerate(patches):
        drawn.mark("wedge", 0, [i], palette[i], wedge)
        _label_wedge(drawn, wedge, i, palette[i], named)
        if not named:
            drawn.handle(table.rows[i], palette[i])


def _label_wedge(drawn: Drawing, wedge: Any, row: int, colour: str, named: bool) -> None:
    """The row's name and value beside the wedge, or the value alone within it."""
    table = drawn.table
    angle = math.radians((wedge.theta1 + wedge.theta2) / 2)
    value = drawn.number(table.column(0)[row])
    if named:
        text = f"{table.rows[row]} {value}"
        x, y = 1.1 * math.cos(angle), 1.1 * math.sin(angle)
        side = "left" if x > 0.15 else "right" if x < -0.15 else "center"
        level = "bottom" if y > 0.5 else "top" if y < -0.5 else "center"
        drawn.write("value", x, y, text, ha=side, va=level)
        return
    far = 1.14 if drawn.table.column(0)[row] < 9 else 0.79 if drawn.kind == "donut" else 0.66
    ink = drawn.style.theme.muted if far > 1 else readable_on(colour)
    x, y = far * math.cos(angle), far * math.sin(angle)
    drawn.write("value", x, y, value, ink, ha="center", va="center")


def shades(palette: Sequence[str], count: int) -> list[str]:
    """As many colours as there are wedges: the palette, then the same ones lighter."""
    found = list(palette)
    while len(found) < count:
        rgb = [int(found[len(found) - len(palette)][i : i + 2], 16) for i in (1, 3, 5)]
        found.append("#" + "".join(f"{round(c + (255 - c) * 0.5):02x}" for c in rgb))
    return found[:count]


def points(drawn: Drawing) -> None:
    """A scatter chart; every point is a row."""
    table, style, axes = drawn.table, drawn.style, drawn.axes
    xs, ys = [float(x) for x in table.rows], list(table.column(0))
    pad_x, pad_y = (max(xs) - min(xs)) * 0.08, (max(ys) - min(ys)) * 0.14
    low, high = min(ys) - pad_y, max(ys) + pad_y
    drawn.value_axis(low, high)
    colour = style.palette[0]
    axes.plot(xs, ys, linestyle="none", marker="o", markersize=drawn.px(4.2), color=colour)
    left, right = min(xs) - pad_x, max(xs) + pad_x
    ticks = [
        t for t in MaxNLocator(nbins=5, steps=[1, 2, 5, 10]).tick_values(left, right)
        if left <= t <= right
    ]  # fmt: skip
    axes.set_xticks(ticks, [f"{tick:.{max(map(decimals_of, ticks))}f}" for tick in ticks])
    axes.set_xlim(left, right)
    drawn.tick_texts("x tick", axes.get_xticklabels())
    if not style.axis_names:
        drawn.name_axis("y", drawn.axis_title())
    drawn.name_axis("x", table.row_name)
    for i, (x, y) in enumerate(zip(xs, ys, strict=True)):
        drawn.mark("point", 0, [i], colour, np.array([[x, y]]))
