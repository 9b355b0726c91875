"""Pictures that show no chart: blank pages, patterns, shapes, clouds, texts, mosaics, scribbles.

A reader that has only seen charts invents a table for anything. These are drawn while it is trained
(each time anew, so nothing of them is stored), and each kind of `HELD_OUT` only when it is tested.
"""

import io
import math
from collections.abc import Callable
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from belvedere.charts.fonts import FAMILIES, MATPLOTLIB, font_file

Size = tuple[int, int]
Colour = tuple[int, int, int]
WORDS = (
    *("the", "of", "and", "a", "to", "in", "is", "was", "for", "on", "with", "as", "by", "at"),
    *("from", "his", "her", "that", "it", "were", "which", "had", "one", "their", "first", "new"),
    *("year", "city", "river", "house", "company", "team", "season", "school", "water", "small"),
)
# Those that are there without the fonts of charts, so that the pictures are the same everywhere.
PAGE_FAMILIES = [name for name, family in FAMILIES.items() if family.package == MATPLOTLIB]


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
    """Paragraphs as on a page of a book, in one of several fonts, often below a title."""
    family = rng.choice(PAGE_FAMILIES)
    return _page(size, rng, str(font_file(family)), str(font_file(family, bold=True)))


def typed_page(size: Size, rng: Random) -> Image.Image:
    """The same from a typewriter: letters of one width, as no chart has them."""
    file = font_file(PAGE_FAMILIES[0]).with_name("DejaVuSansMono.ttf")
    return _page(size, rng, str(file), str(file))


def _page(size: Size, rng: Random, regular: str, bold: str) -> Image.Image:
    picture = Image.new("RGB", size, _colour(rng, 225))
    draw = ImageDraw.Draw(picture)
    ink, em, left = _colour(rng, 0, 90), rng.randint(8, 14), rng.randint(4, 24)
    words, y = ImageFont.truetype(regular, em), rng.randint(4, 20)
    if rng.random() < 0.5:
        title = " ".join(rng.choices(WORDS, k=rng.randint(2, 5))).capitalize()
        draw.text((left, y), title, ink, ImageFont.truetype(bold, em + rng.randint(1, 6)))
        y += 2 * em + 6
    step = em + rng.randint(2, 6)
    right = size[0] - left
    while y < size[1] - step:
        end = right if rng.random() < 0.8 else rng.uniform(0.2, 0.9) * right
        x: float = left + (12 if rng.random() < 0.15 else 0)
        while True:
            word = f"{rng.choice(WORDS)} " if rng.random() < 0.95 else f"{rng.randint(1, 2030)} "
            if (after := x + draw.textlength(word, words)) > end:
                break
            draw.text((x, y), word, ink, words)
            x = after
        y += step if rng.random() < 0.85 else step + em
    return picture


def poster(size: Size, rng: Random) -> Image.Image:
    """Large words across a patch of colour, as logos and covers have them."""
    picture = shapes(size, rng) if rng.random() < 0.3 else Image.new("RGB", size, _colour(rng))
    draw = ImageDraw.Draw(picture)
    sides = [rng.uniform(0.1, 0.4) * side for side in (*size, *size)]
    box = (sides[0], sides[1], size[0] - sides[2], size[1] - sides[3])
    draw.rounded_rectangle(box, rng.randint(0, 30), fill=_colour(rng))
    for _ in range(rng.randint(1, 3)):
        family, em = rng.choice(PAGE_FAMILIES), rng.randint(12, 48)
        lettering = ImageFont.truetype(str(font_file(family, rng.random() < 0.6)), em)
        text = " ".join(rng.choices(WORDS, k=rng.randint(1, 2)))
        text = rng.choice([text.upper(), text.title(), text])
        at = (rng.uniform(-0.05, 0.5) * size[0], rng.uniform(0, 0.8) * size[1])
        draw.text(at, text, _colour(rng), lettering)
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
    "poster": poster,
    "clouds": clouds,
}
HELD_OUT: dict[str, Callable[[Size, Random], Image.Image]] = {
    "mosaic": mosaic,
    "scribbles": scribbles,
    "typed page": typed_page,
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
