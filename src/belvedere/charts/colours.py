"""Colours as people call them, and letters that can be read on them."""

import math
from functools import cache

NAMED = {
    "black": "#000000", "dark grey": "#555555", "grey": "#8c8c8c", "light grey": "#c8c8c8",
    "white": "#ffffff", "red": "#d62728", "dark red": "#8b1a1a", "pink": "#f08cc0",
    "magenta": "#e0218a", "orange": "#ff8c1a", "brown": "#8c5a32", "beige": "#e8d5b0",
    "gold": "#d4a72c", "yellow": "#ffe135", "olive": "#94963c", "light green": "#96d98a",
    "green": "#3aa655", "dark green": "#0b5a26", "teal": "#1b9e9e", "light teal": "#8fd6d2",
    "cyan": "#22c3e6", "light blue": "#8cbfea", "blue": "#2f74d0", "dark blue": "#12306e",
    "purple": "#7b46a8", "light purple": "#b59be0",
}  # fmt: skip
"""What a colour is called that lies nearest to one of these."""
WHITE = (0.9505, 1.0, 1.089)
INKS = ("#000000", "#ffffff")


@cache
def colour_name(colour: str) -> str:
    """The name of the nearest colour of `NAMED`, by the distance in CIELAB.

    Args:
        colour: "#rrggbb".
    """
    own = _lab(colour)
    return min(NAMED, key=lambda name: math.dist(own, _lab(NAMED[name])))


def readable_on(colour: str) -> str:
    """The letters on a chart's marks: white up to a lightness of 62 (CIELAB), else nearly black."""
    return "#ffffff" if _lab(colour)[0] < 62 else "#1a1a1a"


def clearest_on(ground: str) -> str:
    """Black or white, whichever has more contrast with the ground "#rrggbb"."""
    return max(INKS, key=lambda ink: contrast(ink, ground))


def contrast(one: str, other: str) -> float:
    """The contrast of two colours "#rrggbb", 1 to 21 (WCAG 2.2, "contrast ratio")."""
    darker, lighter = sorted(_xyz(colour)[1] for colour in (one, other))
    return (lighter + 0.05) / (darker + 0.05)


@cache
def _lab(colour: str) -> tuple[float, float, float]:
    """CIELAB of an sRGB colour, white point D65."""
    x, y, z = (_root(part / white) for part, white in zip(_xyz(colour), WHITE, strict=True))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def _xyz(colour: str) -> tuple[float, float, float]:
    r, g, b = (_linear(int(colour[i : i + 2], 16) / 255) for i in (1, 3, 5))
    return (
        0.4124 * r + 0.3576 * g + 0.1805 * b,
        0.2126 * r + 0.7152 * g + 0.0722 * b,
        0.0193 * r + 0.1192 * g + 0.9505 * b,
    )


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4


def _root(value: float) -> float:
    return value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116
