"""Tokens as HTML, each in the colour of the depth that it was found at."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from statistics import median

from matplotlib import colormaps
from matplotlib.colors import to_hex

from belvedere.charts.colours import clearest_on
from belvedere.runs.writing import Piece

SHALLOW, DEEP = 0.95, 0.35
"""Where exits lie on the colour map, which people see in one order whatever colours they see."""
FULL = "#ffffff"


@dataclass(frozen=True)
class Colour:
    """Of a depth: the ground, and the text that is read best on it; both as ``#rrggbb``."""

    ground: str
    text: str

    @property
    def style(self) -> str:
        """As CSS."""
        return f"background:{self.ground};color:{self.text}"


def colours_of(stops: Sequence[int]) -> dict[int, Colour]:
    """The colours of depths.

    Args:
        stops: depths, ascending; the last is the full model's, which has no colour.
    """
    exits, steps = stops[:-1], max(len(stops) - 2, 1)
    places = [SHALLOW + (DEEP - SHALLOW) * number / steps for number in range(len(exits))]
    grounds = [to_hex(colormaps["viridis"](place)) for place in places]
    return {
        stop: Colour(ground, clearest_on(ground))
        for stop, ground in zip(stops, [*grounds, FULL], strict=True)
    }


@dataclass
class Written:
    """An answer so far.

    Attributes:
        pieces: its tokens.
        seconds: that they took.
        repeats: the seconds that they took when they were written again.
    """

    pieces: list[Piece]
    seconds: float = 0.0
    repeats: list[float] = field(default_factory=list)

    @property
    def speed(self) -> float:
        """Tokens a second, the time for reading the prompt included; the median of repeats."""
        seconds = median(self.repeats) if self.repeats else self.seconds
        return len(self.pieces) / seconds if seconds else 0.0

    @property
    def tokens(self) -> list[int]:
        """Their ids."""
        return [piece.token for piece in self.pieces]


def text_of(prompt: str, written: Written, colours: Mapping[int, Colour], full: int) -> str:
    """The prompt, and each token of the answer on the colour of its depth.

    Args:
        prompt: the text.
        written: the answer.
        colours: of the depths in use.
        full: the depth of the full model.
    """
    tokens = "".join(
        f'<span class="token" style="{colours[piece.depth].style}" '
        f'title="{name_of(piece.depth, full)}">{escape(piece.text)}</span>'
        for piece in written.pieces
        if piece.text
    )
    return f'<div class="written"><span class="prompt">{escape(prompt)}</span>{tokens}</div>'


def shares_of(written: Written, colours: Mapping[int, Colour], full: int) -> str:
    """What share of the tokens each depth has found, as a bar with its legend.

    Args:
        written: the answer.
        colours: of the depths in use.
        full: the depth of the full model.
    """
    counts = Counter(piece.depth for piece in written.pieces)
    total = max(len(written.pieces), 1)
    bar = "".join(
        f'<span style="width:{100 * counts[depth] / total:.2f}%;{colour.style}"></span>'
        for depth, colour in colours.items()
    )
    legend = "".join(
        f'<span class="depth"><i style="{colour.style}"></i>'
        f"{name_of(depth, full)} "
        f"<b>{counts[depth] / total:.0%}</b></span>"
        for depth, colour in colours.items()
    )
    return f'<div class="bar">{bar}</div><div class="legend">{legend}</div>'


def name_of(depth: int, full: int) -> str:
    """What a depth is called."""
    return "full model" if depth == full else f"exit {depth}"


def counters_of(*counters: tuple[str, str]) -> str:
    """Numbers with what they are, side by side."""
    cells = "".join(
        f'<div class="counter"><b>{escape(number)}</b><span>{escape(what)}</span></div>'
        for number, what in counters
    )
    return f'<div class="counters">{cells}</div>'


def notice(text: str, kind: str = "wrong") -> str:
    """A line that is not to be overlooked; ``kind`` is "wrong" or "note"."""
    role = "alert" if kind == "wrong" else "status"
    return f'<div class="notice {kind}" role="{role}">{escape(text)}</div>'
