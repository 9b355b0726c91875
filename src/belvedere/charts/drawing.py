"""The frame of a chart's picture: titles, legend, axes; and where everything came to be."""

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.text import Text as TextArtist
from matplotlib.ticker import MaxNLocator

from belvedere.charts.colours import colour_name
from belvedere.charts.elements import (
    Box,
    ChartKind,
    Layout,
    Mark,
    MarkKind,
    Point,
    Text,
    TextRole,
)
from belvedere.charts.fonts import advance, font
from belvedere.charts.styles import Style
from belvedere.charts.tables import Table

PREFIXES = {"dollars": "$", "euros": "€"}
SUFFIXES = {"%": "%", "°C": "°"}
MARGIN = 4.0
"""Pixels between the contents and the picture's edge."""
ROUND = ("pie", "donut")


class Drawing:
    """A chart being drawn.

    Args:
        table: what is shown.
        kind: how.
        style: the look.

    Attributes:
        fits: False as soon as something has no room.
    """

    def __init__(self, table: Table, kind: ChartKind, style: Style) -> None:
        self.table, self.kind, self.style = table, kind, style
        theme = style.theme
        self.figure = Figure(
            figsize=(style.width / 72, style.height / 72), dpi=72, facecolor=theme.background
        )
        self.canvas = FigureCanvasAgg(self.figure)
        self.axes: Axes = self.figure.add_axes((0.15, 0.15, 0.7, 0.6), facecolor=theme.panel)
        self.renderer: Any = self.canvas.get_renderer()
        self.letters = font(style.font, style.text_size * style.scale)
        self.fits = True
        self._marks: list[tuple[MarkKind, str, tuple[str, ...], tuple[float, ...], str, Any]] = []
        self._texts: list[tuple[TextRole, list[TextArtist]]] = []
        self._handles: list[Patch | Line2D] = []

    # What the plots of all kinds use.

    @property
    def unit_symbols(self) -> tuple[str, str]:
        """What stands before and behind each number."""
        if self.style.unit_at != "ticks":
            return "", ""
        unit = self.table.unit
        return PREFIXES.get(unit, ""), SUFFIXES.get(unit, "")

    def number(self, value: float, decimals: int | None = None) -> str:
        """A value as the picture shows it."""
        before, after = self.unit_symbols
        places = self.table.decimals if decimals is None else decimals
        comma = "," if self.style.commas else ""
        sign = "-" if value < 0 else ""
        return f"{sign}{before}{abs(value):{comma}.{places}f}{after}"

    def colours(self) -> list[str]:
        """A colour for each series."""
        return [self.style.palette[i] for i in range(len(self.table.columns))]

    def px(self, size: float) -> float:
        """A length of the style, in pixels of this picture."""
        return size * self.style.scale

    def mark(
        self, kind: MarkKind, series: int, rows: Sequence[int], colour: str, artist: Any
    ) -> None:
        """Remember what an artist (or an array of data points) shows."""
        table = self.table
        labels = tuple(table.rows[i] for i in rows)
        values = tuple(table.values[i][series] for i in rows)
        self._marks.append((kind, table.columns[series], labels, values, colour, artist))

    def text(self, role: TextRole, *artists: TextArtist) -> None:
        """Remember a text; its lines are artists of their own."""
        self._texts.append((role, list(artists)))

    def write(
        self, role: TextRole, x: float, y: float, text: str, colour: str | None = None, **look: Any
    ) -> None:
        """Write a text of the plot at data coordinates and remember it."""
        artist = self.axes.text(
            x, y, text, fontproperties=self.letters, color=colour or self.style.theme.muted,
            **look,
        )  # fmt: skip
        self.text(role, artist)

    def handle(self, series: str, colour: str, line: bool = False) -> None:
        """Add an entry to the legend."""
        if line:
            entry: Patch | Line2D = Line2D([], [], color=colour, label=series, linewidth=self.px(2))
        else:
            entry = Rectangle((0, 0), 1, 1, facecolor=colour, label=series, linewidth=0)
        self._handles.append(entry)

    def extent(self, artist: Artist) -> tuple[float, float]:
        """Width and height of an artist in pixels."""
        box = artist.get_window_extent(self.renderer)
        return box.width, box.height

    def width_of(self, text: str, properties: FontProperties) -> float:
        """The width of a text in pixels."""
        return self.renderer.get_text_width_height_descent(text, properties, False)[0]

    # The frame around the plot.

    def finish(self) -> None:
        """Title, legend and source; the plot takes the room that is left."""
        top = self._head()
        bottom = self._foot()
        self._place(top, bottom)

    def _head(self) -> float:
        """Tag, title and subtitle. Returns the y of their lower edge, counted from above."""
        style, theme = self.style, self.style.theme
        y = self.px(MARGIN)
        if theme.tag:
            height = self.px(3)
            self._frame(Rectangle(
                (0, style.height - height), self.px(26), height, color=theme.tag, linewidth=0
            ))  # fmt: skip
            y += height
        bold = theme.title_weight == "bold"
        title = font(style.font, style.title_size * style.scale, bold)
        lines = self._wrapped(self.table.title, title)
        self.fits &= len(lines) <= 2
        y = self._lines("title", lines, y, title, theme.ink)
        if subtitle := self.subtitle():
            y = self._lines("subtitle", [subtitle], y, self.letters, theme.muted)
        return y + self.px(3)

    def subtitle(self) -> str:
        """What is measured and its unit, where no axis says it; "" if nothing is to be said."""
        table, style = self.table, self.style
        if table.row_kind == "number" or (style.axis_names and self.kind not in ROUND):
            return ""
        measure = table.columns[0] if len(table.columns) == 1 else ""
        shown = not table.unit or (
            style.unit_at == "ticks" and table.unit in {**PREFIXES, **SUFFIXES}
        )
        unit = "" if shown else in_unit(table.unit)
        text = f"{measure} {unit}".strip()
        return text[:1].upper() + text[1:]

    def _wrapped(self, text: str, properties: FontProperties) -> list[str]:
        """The text in lines that the picture has room for."""
        room = self.style.width - 2 * self.px(MARGIN)
        lines = [""]
        for word in text.split():
            longer = f"{lines[-1]} {word}".strip()
            if self.width_of(longer, properties) > room and lines[-1]:
                lines.append(word)
            else:
                lines[-1] = longer
        return lines

    def _lines(
        self, role: TextRole, lines: list[str], y: float, properties: FontProperties, colour: str
    ) -> float:
        """Write lines below y, counted from above. Returns the y of their lower edge."""
        style, artists = self.style, []
        left = style.align == "left"
        x = self.px(MARGIN) if left else style.width / 2
        for line in lines:
            artist = self.figure.text(
                x / style.width, 1 - y / style.height, line, fontproperties=properties,
                color=colour, ha="left" if left else "center", va="top",
            )  # fmt: skip
            artists.append(artist)
            # Some families have a box that is higher than the usual distance of lines.
            y += max(properties.get_size_in_points() * 1.25, self.extent(artist)[1] - 0.4)
        self.text(role, *artists)
        return y

    def _foot(self) -> float:
        """The source. Returns the y of its upper edge, counted from below."""
        style = self.style
        y = self.px(MARGIN - 1)
        if not (style.source and self.table.source):
            return y
        artist = self.figure.text(
            self.px(MARGIN) / style.width, y / style.height, f"Source: {self.table.source}",
            fontproperties=self.letters, color=style.theme.muted, ha="left", va="bottom",
        )  # fmt: skip
        self.text("source", artist)
        return y + self.letters.get_size_in_points() * 1.3

    def _frame(self, patch: Patch) -> None:
        """Add a patch in pixels of the picture."""
        patch.set_transform(None)
        self.figure.add_artist(patch)

    def _place(self, top: float, bottom: float) -> None:
        """Give the plot and its legend the room between ``top`` and ``bottom``."""
        style = self.style
        left, right = self.px(MARGIN), style.width - self.px(MARGIN)
        if self._handles:
            legend = self._legend(top, bottom)
            width, height = self.extent(legend)
            self.fits &= width <= right - left + 1
            where = self.legend_at
            if where == "top":
                top += height
            elif where == "bottom":
                bottom += height
            elif where == "right":
                right -= width + self.px(2)
        for _ in range(2):  # the labels' size depends a little on the plot's
            self._fill((left, bottom, right, style.height - top))
        _, _, width, height = self.axes.get_position().bounds
        self.fits &= width * style.width > self.px(60) and height * style.height > self.px(60)

    @property
    def legend_at(self) -> str:
        """Where the legend is; a plot that could not write at its marks has it above."""
        return "top" if self.style.legend == "direct" else self.style.legend

    def _legend(self, top: float, bottom: float) -> Artist:
        style, where = self.style, self.legend_at
        places: dict[str, tuple[float, float, Any]] = {
            "top": (self.px(MARGIN), style.height - top, "upper left"),
            "bottom": (style.width / 2, bottom, "lower center"),
            "right": (style.width - self.px(2), (style.height - top + bottom) / 2, "center right"),
            "inside": (0.0, 0.0, "upper right"),
        }
        x, y, corner = places[where]
        placed: dict[str, Any] = (
            {"bbox_to_anchor": (1, 1), "bbox_transform": self.axes.transAxes}
            if where == "inside"
            else {"bbox_to_anchor": (x / style.width, y / style.height)}
        )

        def legend_of(columns: int) -> Any:
            return self.figure.legend(
                handles=self._handles, loc=corner, ncols=columns, prop=self.letters,
                frameon=False, handlelength=0.9, handleheight=0.7, handletextpad=0.4,
                columnspacing=1.0, borderaxespad=0.2, borderpad=0.2,
                labelcolor=style.theme.muted, **placed,
            )  # fmt: skip

        columns = len(self._handles) if where in {"top", "bottom"} else 1
        legend = legend_of(columns)
        if columns > 1 and self.extent(legend)[0] > style.width - 2 * self.px(MARGIN):
            legend.remove()
            legend = legend_of(2)
        for text in legend.get_texts():
            self.text("legend", text)
        return legend

    def _fill(self, room: tuple[float, float, float, float]) -> None:
        """Move the plot so that it fills the room (left, bottom, right, top) with its labels."""
        tight = self.axes.get_tightbbox(self.renderer)
        assert tight is not None  # it has axes at least
        box = self.axes.get_window_extent(self.renderer)
        left, bottom, right, top = room
        x0 = left + max(box.x0 - tight.x0, 0)
        y0 = bottom + max(box.y0 - tight.y0, 0)
        x1 = right - max(tight.x1 - box.x1, 0)
        y1 = top - max(tight.y1 - box.y1, 0)
        w, h = self.style.width, self.style.height
        size = max(x1 - x0, 5.0), max(y1 - y0, 5.0)
        self.axes.set_position((x0 / w, y0 / h, size[0] / w, size[1] / h))

    # The axes.

    def value_axis(self, low: float, high: float, horizontal: bool = False) -> None:
        """Ticks, labels and grid of the axis that has the values."""
        style, axes = self.style, self.axes
        locator = MaxNLocator(nbins=4 if horizontal else 5, steps=[1, 2, 2.5, 5, 10])
        ticks = [t for t in locator.tick_values(low, high) if low - 1e-9 <= t <= high * 1.0001]
        places = max(decimals_of(tick) for tick in ticks)
        hidden = style.theme.grids == ("none",) and style.value_labels
        labels = [] if hidden else [self.number(tick, places) for tick in ticks]
        shown = [] if hidden else ticks
        if horizontal:
            axes.set_xticks(shown, labels)
            axes.set_xlim(low, high)
            self.tick_texts("x tick", axes.get_xticklabels())
        else:
            axes.set_yticks(shown, labels)
            axes.set_ylim(low, high)
            if style.theme.value_side == "right":
                axes.yaxis.tick_right()
                axes.yaxis.set_label_position("right")
            self.tick_texts("y tick", axes.get_yticklabels())
        if style.axis_names:
            self.name_axis("x" if horizontal else "y", self.axis_title())
        self._dress(horizontal)

    def axis_title(self) -> str:
        """What the value axis is called: the measure or, for several series, the unit."""
        table = self.table
        single = table.columns[0] if len(table.columns) == 1 else ""
        if not table.unit:
            return single
        if not single:
            return in_unit(table.unit).capitalize() if table.unit.islower() else table.unit
        return f"{single} ({table.unit})"

    def row_axis(self, positions: Sequence[float], horizontal: bool = False) -> None:
        """The labels of the rows."""
        axes, labels = self.axes, list(self.table.rows)
        if horizontal:
            axes.set_yticks(positions, labels)
            self.tick_texts("y tick", axes.get_yticklabels())
        else:
            axes.set_xticks(positions, labels)
            self.tick_texts("x tick", axes.get_xticklabels(), self.style.rotation)
        if self.style.axis_names:
            self.name_axis("y" if horizontal else "x", self.table.row_name)

    def tick_texts(self, role: TextRole, labels: list[TextArtist], rotation: int = 0) -> None:
        """Give the labels of ticks their look, and remember them."""
        for label in labels:
            label.set_fontproperties(self.letters)
            label.set_color(self.style.theme.muted)
            label.set_rotation(rotation)
            if rotation == 45:
                label.set_horizontalalignment("right")
                label.set_rotation_mode("anchor")
            self.text(role, label)

    def name_axis(self, axis: str, name: str) -> None:
        """Write an axis' name, if there is one."""
        if not name:
            return
        put = self.axes.set_xlabel if axis == "x" else self.axes.set_ylabel
        artist = put(
            name, fontproperties=self.letters, color=self.style.theme.muted, labelpad=self.px(2)
        )
        self.text("x label" if axis == "x" else "y label", artist)

    def _dress(self, horizontal: bool) -> None:
        """Grid, spines and ticks."""
        style, axes, theme = self.style, self.axes, self.style.theme
        if style.grid != "none":
            which = "both" if style.grid == "both" else ("x" if horizontal else "y")
            axes.grid(True, axis=which, color=theme.faint, linewidth=self.px(0.8))  # type: ignore[arg-type]
        axes.set_axisbelow(True)
        sides = set(theme.spines)
        if horizontal and "bottom" in sides and len(sides) == 1:
            sides = {"left"}
        for side, spine in axes.spines.items():
            spine.set_visible(side in sides)
            spine.set_linewidth(self.px(0.8))
            spine.set_color(theme.muted if len(sides) > 2 else theme.faint)
        for axis in ("x", "y"):
            axes.tick_params(axis=axis, length=0, pad=self.px(2.5))

    # What came of it.

    def pixels(self) -> np.ndarray:
        """The picture, [height, width, 3], uint8."""
        self.canvas.draw()
        return np.asarray(self.canvas.buffer_rgba())[..., :3].copy()

    def layout(self) -> Layout:
        """Where everything is; to be asked for after `pixels`, which places the legend."""
        box = self.axes.get_window_extent(self.renderer)
        return Layout(
            kind=self.kind,
            width=self.style.width,
            height=self.style.height,
            marks=tuple(self._seen_mark(*mark) for mark in self._marks),
            texts=tuple(self._seen_text(role, artists) for role, artists in self._texts),
            plot=self._flipped(box.x0, box.y0, box.x1, box.y1),
        )

    def _seen_mark(
        self, kind: MarkKind, series: str, labels: tuple[str, ...], values: tuple[float, ...],
        colour: str, artist: Any,
    ) -> Mark:  # fmt: skip
        points: tuple[Point, ...] = ()
        if isinstance(artist, Artist):
            extent = artist.get_window_extent(self.renderer)
            box = self._flipped(extent.x0, extent.y0, extent.x1, extent.y1)
            if kind == "wedge":
                points = (self._middle_of(artist),)
        else:
            places = self.axes.transData.transform(np.asarray(artist, dtype=float))
            points = tuple((float(x), self.style.height - float(y)) for x, y in places)
            radius = self.px(2)
            xs, ys = [p[0] for p in points], [p[1] for p in points]
            box = (min(xs) - radius, min(ys) - radius, max(xs) + radius, max(ys) + radius)
        return Mark(kind, series, labels, values, colour, colour_name(colour), box, points)

    def _middle_of(self, wedge: Any) -> Point:
        """The point in the middle of a wedge's ring or sector."""
        angle = math.radians((wedge.theta1 + wedge.theta2) / 2)
        radius = wedge.r - (wedge.width or wedge.r) / 2
        x, y = (
            wedge.center[0] + radius * math.cos(angle),
            wedge.center[1] + radius * math.sin(angle),
        )
        px, py = self.axes.transData.transform((x, y))
        return float(px), self.style.height - float(py)

    def _seen_text(self, role: TextRole, artists: list[TextArtist]) -> Text:
        boxes, characters = [], []  # type: list[Box], list[Point]
        for line, artist in enumerate(artists):
            extent = artist.get_window_extent(self.renderer)
            boxes.append(self._flipped(extent.x0, extent.y0, extent.x1, extent.y1))
            if line:
                characters.append(characters[-1])  # the line break
            characters += self._characters(artist, boxes[-1])
        union = (
            min(b[0] for b in boxes), min(b[1] for b in boxes),
            max(b[2] for b in boxes), max(b[3] for b in boxes),
        )  # fmt: skip
        return Text(role, "\n".join(a.get_text() for a in artists), union, tuple(characters))

    def _characters(self, artist: TextArtist, box: Box) -> list[Point]:
        """The middle of each character, along the text's direction through the box's middle."""
        text, properties = artist.get_text(), artist.get_fontproperties()
        file = str(properties.get_file())
        ends = list(accumulate(advance(file, character) for character in text))
        angle = math.radians(artist.get_rotation())
        middle = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        scale = self.width_of(text, properties) / ends[-1]  # hinting moves letters together
        places = []
        for start, end in zip([0.0, *ends[:-1]], ends, strict=True):
            along = scale * ((start + end) / 2 - ends[-1] / 2)
            places.append(
                (middle[0] + along * math.cos(angle), middle[1] - along * math.sin(angle))
            )
        return places

    def _flipped(self, x0: float, y0: float, x1: float, y1: float) -> Box:
        height = self.style.height
        return float(x0), float(height - y1), float(x1), float(height - y0)


def in_unit(unit: str) -> str:
    """The unit behind a measure, as prose: "in million", "per 1000"."""
    return unit if unit.startswith("per ") else f"in {unit}"


def decimals_of(value: float) -> int:
    """How many decimals the number needs, at most three."""
    return next((n for n in range(3) if math.isclose(value, round(value, n), abs_tol=1e-9)), 3)
