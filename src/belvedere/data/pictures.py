"""Opens pictures of any kind as RGB, safely, and fits them into the size that a model takes."""

import io
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from belvedere.errors import BadInput

MOST_PIXELS = 50_000_000
"""A larger picture is refused before it is decoded: its pixels could fill the memory."""
WHITE = (255, 255, 255)
MEAN, SPREAD = 127.5, 127.5
"""Pixels become (value - MEAN) / SPREAD, from -1 to 1, as for Donut."""
PageKind = Literal["plain", "donut"]
"""How pictures are laid on pages; see `fit`."""
PADDING: dict[PageKind, int] = {"plain": 255, "donut": 0}
"""The value of pixels beside the picture."""


def open_picture(source: bytes | str | Path, where: str = "") -> Image.Image:
    """A picture as RGB: turned as its EXIF data say, transparency on white, 16 bits made 8.

    Args:
        source: the bytes of a picture's file, or the file.
        where: what to call the source in a message; by default the file's path.

    Raises:
        BadInput: no picture, a damaged or truncated one, one of too many pixels, or a file that the
            system does not let us read.
    """
    name = where or (str(source) if isinstance(source, str | Path) else "picture")
    try:
        with warnings.catch_warnings():
            # Pillow warns of large pictures, which are refused below by a limit of our own.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
        width, height = opened.size
        if width * height > MOST_PIXELS:
            raise _too_large(f"{width} x {height}", name)
        opened.load()
        white = _white(opened)
        return _rgb(ImageOps.exif_transpose(opened), white)
    except FileNotFoundError as error:
        raise BadInput("there is no such picture", where=name, remedy="check the path") from error
    except IsADirectoryError as error:
        raise BadInput("a folder, not a picture", where=name, remedy="name a file") from error
    except Image.DecompressionBombError as error:
        # Pillow refuses still larger ones by itself, and says how many pixels they have.
        count = re.search(r"\d+", str(error))
        raise _too_large(f"{int(count[0]):,}" if count else "too many", name) from error
    except UnidentifiedImageError as error:
        raise BadInput(
            "not a picture that can be read", where=name, remedy="give PNG, JPEG, WebP or GIF"
        ) from error
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, BadInput):
            raise
        if isinstance(error, OSError) and error.errno:  # of the system; Pillow gives no number
            raise BadInput(
                f"cannot be read ({error.strerror})",
                where=name,
                remedy="check the path and its permissions",
            ) from error
        raise BadInput(
            f"the picture is damaged ({str(error)[:60]})", where=name, remedy="save it again"
        ) from error


def _too_large(pixels: str, name: str) -> BadInput:
    return BadInput(
        f"the picture has {pixels} pixels, more than {MOST_PIXELS:,}",
        where=name,
        remedy="give a smaller one",
    )


def _white(opened: Image.Image) -> float:
    """The value that is white in a picture as it was opened, before anything was done to it.

    That is 65535 in a picture of 16 bits, however dark it is. Grey of 32 bits or in fractions (from
    TIFF, mostly) has no white of its own: there it is the least of 255, 65535 and, for fractions, 1
    that no value is above.
    """
    # Pillow opens 16 bits of PGM, and in older releases of PNG, as if they were 32.
    narrow = opened.mode == "I" and opened.format in {"PNG", "PPM"}
    if narrow or opened.mode.startswith("I;16"):
        return 65535.0
    if opened.mode not in {"I", "F"}:
        return 255.0
    values = np.asarray(opened, dtype=np.float64)
    top = values[np.isfinite(values)].max(initial=0)
    if opened.mode == "F" and 0 < top <= 1:
        return 1.0
    return 255.0 if top <= 255 else 65535.0


def _rgb(picture: Image.Image, white: float) -> Image.Image:
    """The picture in 8 bits RGB, what is transparent on white.

    Args:
        picture: of any mode.
        white: the value that is white in one of more than 8 bits.
    """
    if picture.mode.startswith(("I", "F")):  # 16 bits and more, of which Pillow would cut the top
        values = np.nan_to_num(np.asarray(picture, dtype=np.float64), posinf=white)
        picture = Image.fromarray((values.clip(0, white) / white * 255).round().astype(np.uint8))
    if picture.mode in {"RGBA", "LA", "PA"} or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        page = Image.new("RGBA", layer.size, (*WHITE, 255))
        return Image.alpha_composite(page, layer).convert("RGB")
    return picture.convert("RGB")


@dataclass(frozen=True)
class Page:
    """A picture on a page of the size that a model takes.

    Attributes:
        pixels: [3, height, width], uint8.
        shares: (x, y) by which the picture was made smaller, or larger where they are more than 1.
        at: (x, y) of its upper left corner.
    """

    pixels: Tensor
    shares: tuple[float, float]
    at: tuple[int, int]

    @property
    def share(self) -> float:
        """Both shares as one, which they are but for rounding."""
        return sum(self.shares) / 2

    def place(self, point: tuple[float, float] | None) -> tuple[float, float] | None:
        """A point (x, y) of the picture as one of the page."""
        if point is None:
            return None
        return self.along(0, point[0]), self.along(1, point[1])

    def along(self, axis: int, place: float) -> float:
        """How far along the page something is that is so far along the picture.

        Args:
            axis: 0 for x, 1 for y.
            place: in pixels of the picture.
        """
        return place * self.shares[axis] + self.at[axis]


def fit(
    picture: Image.Image,
    size: tuple[int, int],
    rng: Random | None = None,
    kind: PageKind = "plain",
) -> Page:
    """A picture on a page.

    On a *plain* page, which is white, it is made smaller if it has to be, never larger: enlarging
    would add nothing to read, and a small model knows letters by their size.

    A page of *Donut* is what the released checkpoints learned from (arXiv 2111.15664, section 3.1,
    and the image processor of transformers with ``do_resize``, ``do_thumbnail`` and ``do_pad``).
    The picture is made smaller or larger until its short side is that of the page, then smaller if
    its long side does not fit, both bilinearly and with sizes rounded down; the rest is black. It
    has every pixel of ``DonutImageProcessorPil``, but for two things: a picture so long and thin
    that it would be enlarged to more than `MOST_PIXELS` goes to its last size at once, where it is
    at least a pixel wide; and `open_picture` puts on white what is transparent. The processor's
    backend of torchvision rounds otherwise.

    Args:
        picture: RGB.
        size: (height, width) of the page.
        rng: puts the picture somewhere on the page (the random padding of UniChart's training);
            by default it is in the upper left corner of a plain page, in the middle of Donut's.
        kind: of page.
    """
    height, width = size
    before = picture.size
    if kind == "donut":
        for shape in _donut_shapes(before, size):
            picture = picture.resize(shape, Image.Resampling.BILINEAR)
        shares = picture.width / before[0], picture.height / before[1]
        x, y = (width - picture.width) // 2, (height - picture.height) // 2
    else:
        share = min(height / picture.height, width / picture.width, 1.0)
        if share < 1:
            shape = max(1, round(picture.width * share)), max(1, round(picture.height * share))
            picture = picture.resize(shape, Image.Resampling.LANCZOS)
        shares = share, share
        x, y = 0, 0
    if rng is not None:
        x, y = rng.randint(0, width - picture.width), rng.randint(0, height - picture.height)
    page = np.full((3, height, width), PADDING[kind], np.uint8)
    page[:, y : y + picture.height, x : x + picture.width] = np.asarray(picture).transpose(2, 0, 1)
    return Page(torch.from_numpy(page), shares, (x, y))


def turned_over(picture: Image.Image) -> Image.Image:
    """An RGB picture with its lightness turned over: what was dark on light is light on dark.

    Hues stay, as far as the lightness allows.
    """
    lightness, *hues = picture.convert("YCbCr").split()
    return Image.merge("YCbCr", [ImageOps.invert(lightness), *hues]).convert("RGB")


def _donut_shapes(picture: tuple[int, int], size: tuple[int, int]) -> list[tuple[int, int]]:
    """The (width, height) that Donut gives a picture, one after the other.

    Args:
        picture: (width, height).
        size: (height, width) of the page.
    """
    height, width = size
    edge, short = min(size), min(picture)
    first = edge * picture[0] // short, edge * picture[1] // short
    last = min(first[0], width), min(first[1], height)
    if first[0] > first[1]:
        last = last[0], max(1, first[1] * last[0] // first[0])
    elif first[1] > first[0]:
        last = max(1, first[0] * last[1] // first[1]), last[1]
    return [first, last] if first[0] * first[1] <= MOST_PIXELS else [last]


def normalised(pixels: Tensor) -> Tensor:
    """uint8 pixels of any shape as float32 from -1 to 1."""
    return (pixels.float() - MEAN) / SPREAD
