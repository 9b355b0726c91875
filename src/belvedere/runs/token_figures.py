"""Texts whose tokens are coloured by the depth at which they are found."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from belvedere.charts.colours import clearest_on

COLUMNS = 92
"""Letters in a line."""
LETTER, LINE, LEGEND = 0.09, 0.26, 0.75
"""Inches that a letter of the fixed-width font takes (whole pixels, as letters are set on those), a
line, and the legend below all."""
SIZE = LETTER * 72 / 0.602
"""Points of that font: its letters are .602 times as wide as it is high."""
UNKNOWN = "#e4e4e4"
BREAK = "⏎"


@dataclass(frozen=True)
class Token:
    """A piece of text, and the depth at which it is found; None where there is nothing to find."""

    text: str
    depth: int | None


def colours_of(depths: Sequence[int]) -> dict[int, str]:
    """A colour for each depth: the deeper the darker, and told apart without colour vision."""
    map = colormaps["viridis_r"]
    last = max(len(depths) - 1, 1)
    return {depth: to_hex(map(0.03 + 0.97 * n / last)) for n, depth in enumerate(sorted(depths))}


def draw_tokens(tokens: Sequence[Token], names: Mapping[int, str]) -> Figure:
    """Draw a text with each token on the colour of its depth, and how many have which.

    Args:
        tokens: in their order.
        names: what the depths are called.
    """
    colours = colours_of(list(names))
    placed = list(_placed(tokens))
    lines = 1 + max((line for _, line, _, _ in placed), default=0)
    width, height = (COLUMNS + 2) * LETTER, lines * LINE + LEGEND
    figure = Figure(figsize=(width, height))
    inner = (COLUMNS * LETTER / width, lines * LINE / height)
    axes = figure.add_axes((LETTER / width, (LEGEND - 0.1) / height, *inner))
    axes.set(xlim=(0, COLUMNS), ylim=(lines, 0))
    axes.set_axis_off()
    for column, line, piece, depth in placed:
        colour = UNKNOWN if depth is None else colours[depth]
        behind = Rectangle((column, line + 0.08), len(piece) - 0.12, 0.84, color=colour, lw=0)
        axes.add_patch(behind)
        axes.text(column, line + 0.5, piece, family="DejaVu Sans Mono", fontsize=SIZE, va="center",
                  color=clearest_on(colour), parse_math=False)  # fmt: skip
    counts = Counter(token.depth for token in tokens if token.depth is not None)
    total = max(sum(counts.values()), 1)
    patches = [
        Patch(color=colours[depth], label=f"{names[depth]}: {counts[depth] / total:.0%}")
        for depth in sorted(names)
    ]
    if any(token.depth is None for token in tokens):
        patches.append(Patch(color=UNKNOWN, label="not learned"))
    figure.legend(handles=patches, loc="lower center", ncols=len(patches), frameon=False,
                  fontsize=9, title="first exit that says what the full model says")  # fmt: skip
    return figure


def _placed(tokens: Sequence[Token]) -> list[tuple[int, int, str, int | None]]:
    """Column, line, text and depth of each piece; lines end where the text's do, or are full."""
    found: list[tuple[int, int, str, int | None]] = []
    column = line = 0
    for token in tokens:
        for n, part in enumerate(token.text.split("\n")):
            if n:  # a break before this part
                found.append((column, line, BREAK, token.depth))
                column, line = 0, line + 1
            if column + len(part) >= COLUMNS:
                column, line = 0, line + 1
            if part:
                found.append((column, line, part[:COLUMNS], token.depth))
            column += len(part)
    return found
