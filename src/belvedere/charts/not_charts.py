"""Pictures that show no chart: blank pages, patterns, shapes, clouds, text, mosaics, scribbles.

A reader that has only seen charts invents a table for anything. These are drawn while it is trained
(each time anew, so nothing of them is stored), and each kind of `HELD_OUT` only when it is tested.
"""

import io
import math
from collections.abc import Callable
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Size = tuple[int, int]
Colour = tuple[int, int, int]
WORDS = (
    *("the", "of", "and", "a", "to", "in", "is", "was", "for", "on", "with", "as", "by", "at"),
    *("from", "his", "her", "that", "it", "were", "which", "had", "one", "their", "first", "new"),
    *("year", "city", "river", "house", "company", "team", "season", "school", "water", "small"),
)


def _colour(rng: Random, low: int = 0, high: int = 255) -> Colour:
    return rng.randint(low, high), rng.randint(low, high), rng.randint(low, high)


def blank(size: Size, rng: Random) -> Image.Image:
    """One colour, half of the time white or nearly so."""
    white = rng.random() < 0.5
    return Image.new("RGB", size, _colour(rng, 245 if white else 0))


def gradient(size: Size, rng: Random) -> Image.Image:
    """Two colours that run into one another along some direction."""
    angle = rng.uniform(0, 2 * math.pi)
    x, y = np.meshgrid(np.linspace(-1, 1, size[0]), np.linspace(-1, 1, size[1]))
    share = (x * math.cos(angle) + y * math.sin(angle) + 1.5).clip(0, 3)[..., None] / 3
    ends = np.array([_colour(rng), _colour(rng)], np.float64)
    return Image.fromarray((ends[0] * share + ends[1] * (1 - share)).astype(np.uint8))


def noise(size: Size, rng: Random) -> Image.Image:
    """Each pixel of its own, in grey or in colour."""
    channels = rng.choice([1, 3])
    grains = _grains(rng, (size[1], size[0], channels)).repeat(3 // channels, axis=2)
    return Image.fromarray((grains * 255).astype(np.uint8))


def clouds(size: Size, rng: Random) -> Image.Image:
    """Soft patches of several sizes, as an unsharp photograph has them."""
    found = np.zeros((size[1], size[0], 3))
    for grid in (3, 6, 12, 24):
        coarse = Image.fromarray((_grains(rng, (grid, grid, 3)) * 255).astype(np.uint8))
        fine = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), np.float64)
        found += fine * grid**-0.7
    found -= found.min()
    return Image.fromarray((found / max(found.max(), 1e-6) * 255).astype(np.uint8))


def shapes(size: Size, rng: Random) -> Image.Image:
    """Ellipses, polygons and boxes across one another."""
    picture = Image.new("RGB", size, _colour(rng, 128))
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.randint(3, 14)):
        (x0, x1), (y0, y1) = (sorted(rng.randint(-9, side + 9) for _ in "ab") for side in size)
        outline = _colour(rng) if rng.random() < 0.5 else None
        if (kind := rng.randrange(3)) == 0:
            draw.ellipse((x0, y0, x1, y1), fill=_colour(rng), outline=outline)
        elif kind == 1:
            draw.rectangle((x0, y0, x1, y1), fill=_colour(rng), outline=outline)
        else:
            corners = [(rng.randint(0, size[0]), rng.randint(0, size[1])) for _ in range(3)]
            draw.polygon(corners, fill=_colour(rng), outline=outline)
    return picture


def text_page(size: Size, rng: Random) -> Image.Image:
    """Lines of words, as on a page of a book."""
    picture = Image.new("RGB", size, _colour(rng, 235))
    draw = ImageDraw.Draw(picture)
    ink, step = _colour(rng, 0, 90), rng.randint(10, 16)
    for y in range(rng.randint(4, 20), size[1] - step, step):
        words = [rng.choice(WORDS) for _ in range(size[0] // 24)]
        indent = 20 if rng.random() < 0.2 else 6
        draw.text((indent, y), " ".join(words), fill=ink)
    return picture


def mosaic(size: Size, rng: Random) -> Image.Image:
    """Tiles of many colours."""
    tile = rng.randint(8, 40)
    grid = (-(-size[0] // tile), -(-size[1] // tile))
    colours = Image.new("RGB", grid)
    colours.putdata([_colour(rng) for _ in range(grid[0] * grid[1])])
    big = colours.resize((grid[0] * tile, grid[1] * tile), Image.Resampling.NEAREST)
    return big.crop((0, 0, *size))


def scribbles(size: Size, rng: Random) -> Image.Image:
    """Wandering strokes of a pen, slightly unsharp."""
    picture = Image.new("RGB", size, _colour(rng, 225))
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.randint(2, 9)):
        ink, width = _colour(rng, 0, 120), rng.randint(1, 3)
        x, y = rng.uniform(0, size[0]), rng.uniform(0, size[1])
        heading, points = rng.uniform(0, 2 * math.pi), [(x, y)]
        for _ in range(rng.randint(20, 90)):
            heading += rng.gauss(0, 0.5)
            x, y = x + 4 * math.cos(heading), y + 4 * math.sin(heading)
            points.append((x, y))
        draw.line(points, fill=ink, width=width, joint="curve")
    return picture.filter(ImageFilter.GaussianBlur(0.4))


SEEN: dict[str, Callable[[Size, Random], Image.Image]] = {
    "blank": blank,
    "gradient": gradient,
    "noise": noise,
    "shapes": shapes,
    "text page": text_page,
    "clouds": clouds,
}
HELD_OUT: dict[str, Callable[[Size, Random], Image.Image]] = {
    "mosaic": mosaic,
    "scribbles": scribbles,
}


def draw_not_chart(kind: str, size: Size, rng: Random) -> bytes:
    """A picture without a chart, as the bytes of a PNG file.

    Args:
        kind: of `SEEN` or `HELD_OUT`.
        size: (width, height) in pixels.
        rng: all chance.
    """
    found = io.BytesIO()
    (SEEN | HELD_OUT)[kind](size, rng).save(found, "PNG", compress_level=1)
    return found.getvalue()


def _grains(rng: Random, shape: tuple[int, ...]) -> NDArray[np.float64]:
    return np.random.default_rng(rng.getrandbits(64)).random(shape)
