"""How charts look: themes in the manner of several publishers, and styles drawn from them.

Sizes are in pixels of a small picture; `Style.scale` makes all of them larger for large ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from belvedere.charts.fonts import FAMILIES

Grid = Literal["none", "values", "both"]
Legend = Literal["top", "bottom", "right", "inside", "direct"]
Align = Literal["left", "center"]
Side = Literal["left", "right", "top", "bottom"]


@dataclass(frozen=True)
class Theme:
    """What the charts of one publisher have in common. The choices of a tuple are equally likely.

    Attributes:
        fonts: families of `belvedere.charts.fonts`.
        palettes: colours of series, in order of use.
        background, panel: of the picture and of the plot.
        ink, muted, faint: of titles, of labels, of grids and axes.
        grids, legends, aligns: choices.
        spines: sides of the plot that have a line.
        value_labels: probability that values stand at the marks.
        sources: probability that the source is named, if the table has one.
        axis_names: probability that axes are named.
        title_weight: of the title's font.
        edge: colour around bars and wedges.
        tag: colour of a bar above the title, in the manner of some newspapers.
        value_side: side of the value axis.
        held_out: charts of this look are only in the test split "test_unseen".
    """

    name: str
    fonts: tuple[str, ...]
    palettes: tuple[tuple[str, ...], ...]
    background: str = "#ffffff"
    panel: str = "#ffffff"
    ink: str = "#222222"
    muted: str = "#555555"
    faint: str = "#d9d9d9"
    grids: tuple[Grid, ...] = ("values",)
    legends: tuple[Legend, ...] = ("top", "bottom")
    aligns: tuple[Align, ...] = ("left",)
    spines: tuple[Side, ...] = ("bottom",)
    value_labels: float = 0.5
    sources: float = 0.5
    axis_names: float = 0.3
    title_weight: Literal["normal", "bold"] = "bold"
    edge: str | None = None
    tag: str | None = None
    value_side: Literal["left", "right"] = "left"
    held_out: bool = False


THEMES: tuple[Theme, ...] = (
    Theme(
        "statistics portal", ("Source Sans", "Roboto"),
        (("#2876dd", "#0f283e", "#bababa", "#c03a3a"), ("#2876dd", "#8bbc21", "#f28f43")),
        faint="#e3e3e3", grids=("values", "both"), legends=("bottom", "top"), value_labels=0.9,
        aligns=("left", "center"), axis_names=0.5,
    ),
    Theme(
        "research centre", ("Source Sans", "Hanken Grotesk"),
        (("#bf9b30", "#436983", "#949d48", "#a55a26"), ("#436983", "#d1a730", "#6e6e6e")),
        ink="#000000", faint="#bfbfbf", grids=("none",), legends=("direct", "top"),
        value_labels=1.0, sources=0.9, axis_names=0.0,
    ),
    Theme(
        "data atlas", ("Source Serif", "DejaVu Serif"),
        (("#6d3e91", "#c05917", "#2c8465", "#4c6a9c"), ("#b13507", "#00295b", "#578145")),
        ink="#4e4e4e", faint="#dddddd", legends=("direct", "direct", "right"), value_labels=0.45,
        sources=0.9, title_weight="normal",
    ),
    Theme(
        "economic agency", ("Source Sans", "DejaVu Sans"),
        (("#006299", "#e73741", "#7fa8d9", "#12326e"), ("#4f81bd", "#000000", "#a7b9e3")),
        panel="#eaf3f9", faint="#ffffff", legends=("top",), spines=(), value_labels=0.25,
        axis_names=0.4,
    ),
    Theme(
        "spreadsheet", ("Roboto", "Source Sans"),
        (("#4472c4", "#ed7d31", "#a5a5a5", "#ffc000"), ("#5b9bd5", "#70ad47", "#264478")),
        ink="#595959", muted="#595959", legends=("bottom", "right", "top"), aligns=("center",),
        title_weight="normal", sources=0.1,
    ),
    Theme(
        "old spreadsheet", ("DejaVu Sans", "STIX"),
        (("#9999ff", "#993366", "#ffffcc", "#ccffff"), ("#000080", "#ff00ff", "#ffff00")),
        panel="#c0c0c0", ink="#000000", muted="#000000", faint="#808080", legends=("right",),
        aligns=("center",), spines=("left", "right", "top", "bottom"), edge="#000000",
        value_labels=0.3, axis_names=0.6, sources=0.1,
    ),
    Theme(
        "plotting library", ("DejaVu Sans",),
        (("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728"), ("#4c72b0", "#dd8452", "#55a868")),
        ink="#000000", muted="#000000", faint="#cccccc", grids=("none", "values", "both"),
        legends=("inside", "right", "top"), aligns=("center",), title_weight="normal",
        spines=("left", "right", "top", "bottom"), value_labels=0.25, axis_names=0.9, sources=0.0,
    ),
    Theme(
        "grammar of graphics", ("DejaVu Sans", "Roboto"),
        (("#f8766d", "#00ba38", "#619cff", "#c77cff"), ("#e41a1c", "#377eb8", "#4daf4a")),
        panel="#ebebeb", ink="#000000", muted="#4d4d4d", faint="#ffffff", grids=("both",),
        legends=("right", "bottom"), spines=(), title_weight="normal", value_labels=0.2,
        axis_names=0.9, sources=0.1,
    ),
    Theme(
        "dashboard", ("Manrope", "Hanken Grotesk"),
        (("#6366f1", "#06b6d4", "#f59e0b", "#ef4444"), ("#0ea5e9", "#a855f7", "#22c55e")),
        background="#f8fafc", panel="#f8fafc", ink="#0f172a", muted="#64748b", faint="#e2e8f0",
        legends=("top", "bottom"), spines=(), value_labels=0.5, axis_names=0.1, sources=0.2,
    ),
    Theme(
        "annual report", ("Source Serif", "STIX"),
        (("#08306b", "#6baed6", "#bdbdbd", "#2171b5"), ("#00441b", "#74c476", "#969696")),
        faint="#c8c8c8", grids=("none", "values"), legends=("bottom", "right"),
        aligns=("left", "center"), spines=("left", "bottom"), value_labels=0.7, sources=0.4,
    ),
    Theme(
        "business daily", ("Source Serif", "Source Sans"),
        (("#0d7680", "#990f3d", "#262a33", "#ff8833"), ("#1e558c", "#eb5e8d", "#96cc28")),
        background="#fff1e5", panel="#fff1e5", ink="#33302e", muted="#66605c", faint="#e3d5c8",
        legends=("direct", "top"), value_labels=0.4, sources=0.8, axis_names=0.1,
    ),
    Theme(
        "school book", ("DejaVu Sans", "Manrope"),
        (("#e4572e", "#17bebb", "#ffc914", "#76b041"), ("#cc3333", "#3366cc", "#33aa55")),
        background="#fffdf5", panel="#ffffff", faint="#cfe3cf", grids=("both", "values"),
        legends=("right", "bottom"), aligns=("center",), spines=("left", "bottom"),
        edge="#333333", value_labels=0.5, axis_names=0.8, sources=0.1,
    ),
    Theme(
        "weekly newspaper", ("Roboto", "Source Sans"),
        (("#01a2d9", "#014d64", "#76c0c1", "#ee8f71"), ("#c83e53", "#00526d", "#adadad")),
        background="#d5e4eb", panel="#d5e4eb", ink="#121212", muted="#333333", faint="#ffffff",
        legends=("top", "direct"), tag="#e3120b", value_side="right", value_labels=0.35,
        sources=0.8, axis_names=0.0, held_out=True,
    ),
    Theme(
        "dark dashboard", ("Manrope", "Roboto"),
        (("#38bdf8", "#f472b6", "#facc15", "#4ade80"), ("#818cf8", "#fb923c", "#2dd4bf")),
        background="#0f172a", panel="#0f172a", ink="#f1f5f9", muted="#cbd5e1", faint="#334155",
        legends=("top", "bottom"), spines=(), value_labels=0.5, axis_names=0.1, sources=0.2,
        held_out=True,
    ),
    Theme(
        "lecture slides", ("Hanken Grotesk", "DejaVu Serif"),
        (("#264653", "#e9c46a", "#e76f51", "#2a9d8f"), ("#5f0f40", "#fb8b24", "#0f4c5c")),
        background="#f4f1ea", panel="#ffffff", faint="#d8d2c4", grids=("none", "values"),
        legends=("bottom", "inside"), aligns=("center",), spines=("left", "bottom"),
        value_labels=0.6, axis_names=0.5, sources=0.3, held_out=True,
    ),
)  # fmt: skip
"""All looks; those that are held out come last."""


@dataclass(frozen=True)
class Style:
    """The look of one chart. Sizes are in pixels before `scale`.

    Attributes:
        theme: where it comes from.
        width, height: of the picture, with the scale.
        font: family.
        title_size, text_size: of the letters' em.
        palette: colours of the series, in a drawn order.
        varied: each bar of one series has a colour of its own.
        grid, legend, align: as in the theme.
        value_labels, axis_names, source: what is there.
        rotation: of the row labels, in degrees.
        bar_width: share of the room of a row.
        markers: points on lines.
        commas: thousands are parted.
        unit_at: where the unit stands if it has a sign: at every number, or apart from them in the
            subtitle. Of a chart with named axes the value axis' name says it in any case.
        from_zero: the value axis of lines begins at zero (that of bars always does).
        noise: standard deviation of the pixels' noise, of 255.
        jpeg: quality if the picture went through JPEG, else None.
        scale: of all sizes.
    """

    theme: Theme
    width: int
    height: int
    font: str
    title_size: float
    text_size: float
    palette: tuple[str, ...]
    varied: bool = False
    grid: Grid = "values"
    legend: Legend = "top"
    align: Align = "left"
    value_labels: bool = True
    axis_names: bool = False
    source: bool = False
    rotation: Literal[0, 45, 90] = 0
    bar_width: float = 0.7
    markers: bool = True
    commas: bool = True
    unit_at: Literal["ticks", "apart"] = "apart"
    from_zero: bool = True
    noise: float = 0.0
    jpeg: int | None = None
    scale: float = 1.0

    def plainer(self, attempt: int) -> "Style":
        """The style with less in it, for a table that left no room; at each attempt less still."""
        crowded = self.legend == "inside"
        outside = replace(self, legend="top") if crowded else self
        steps: Sequence[dict[str, object]] = (
            {} if crowded else {"rotation": 45},
            {"rotation": 90, "axis_names": False},
            {"value_labels": False, "rotation": 0},
            {"value_labels": False, "rotation": 90, "axis_names": False, "legend": "bottom"},
        )
        return replace(outside, **steps[attempt])  # type: ignore[arg-type]


@dataclass(frozen=True)
class Sizes:
    """How large pictures are, in pixels; the letters grow with ``scale``."""

    width: tuple[int, int] = (216, 256)
    height: tuple[int, int] = (160, 192)
    scale: float = 1.0


@dataclass(frozen=True)
class Wear:
    """What happens to pictures on their way: the share that goes through JPEG, and its quality;

    of those the share that is noisy (noise in a PNG would only make files large).
    """

    jpeg: float = 0.3
    noise: float = 0.4
    quality: tuple[int, int] = (60, 95)


def draw_style(rng: Random, sizes: Sizes, wear: Wear, held_out: bool = False) -> Style:
    """A style of one of the themes.

    Args:
        rng: decides about everything.
        sizes: of pictures.
        wear: of pictures.
        held_out: of the themes that no training chart has.
    """
    theme = rng.choice([one for one in THEMES if one.held_out == held_out])
    font = rng.choice(theme.fonts)
    palette = list(rng.choice(theme.palettes))
    if rng.random() < 0.3:
        rng.shuffle(palette)
    jpeg = rng.randint(*wear.quality) if rng.random() < wear.jpeg else None
    letters = FAMILIES[font].size * rng.choice([1.0, 1.0, 1.1])
    style = Style(
        theme=theme,
        width=round(rng.randint(*sizes.width) * sizes.scale),
        height=round(rng.randint(*sizes.height) * sizes.scale),
        font=font,
        title_size=letters * rng.choice([1.15, 1.25, 1.3]),
        text_size=letters,
        palette=tuple(palette),
        varied=rng.random() < 0.1,
        grid=rng.choice(theme.grids),
        legend=rng.choice(theme.legends),
        align=rng.choice(theme.aligns),
        value_labels=rng.random() < theme.value_labels,
        axis_names=rng.random() < theme.axis_names,
        source=rng.random() < theme.sources,
        jpeg=jpeg,
        scale=sizes.scale,
    )
    # Of no use, but without it all that is drawn next would be another chart's: the charts of a
    # seed are to stay as they are. For the same reason the unit has two chances of three below.
    rng.random()
    return replace(
        style,
        rotation=rng.choice([0, 0, 0, 0, 45, 90]),
        bar_width=rng.uniform(0.5, 0.85),
        markers=rng.random() < 0.5,
        commas=rng.random() < 0.7,
        unit_at=rng.choice(["ticks", "apart", "apart"]),
        from_zero=rng.random() < 0.6,
        noise=rng.uniform(1, 5) if jpeg is not None and rng.random() < wear.noise else 0.0,
    )
