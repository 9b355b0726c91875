"""Opens pictures of any kind as RGB, safely, and fits them into the size that a model takes."""

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from random import Random

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


def open_picture(source: bytes | str | Path, where: str = "") -> Image.Image:
    """A picture as RGB: turned as its EXIF data say, transparency on white, 16 bits made 8.

    Args:
        source: the bytes of a picture's file, or the file.
        where: what to call the source in a message; by default the file's path.

    Raises:
        BadInput: no picture, a damaged or truncated one, or one of too many pixels.
    """
    name = where or (str(source) if isinstance(source, str | Path) else "picture")
    try:
        with warnings.catch_warnings():
            # Pillow warns of large pictures, which are refused below by a limit of our own.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
        width, height = opened.size
        if width * height > MOST_PIXELS:
            raise BadInput(
                f"the picture has {width} x {height} pixels, more than {MOST_PIXELS:,}",
                where=name,
                remedy="give a smaller one",
            )
        opened.load()
        return _rgb(ImageOps.exif_transpose(opened))
    except FileNotFoundError as error:
        raise BadInput("there is no such picture", where=name, remedy="check the path") from error
    except Image.DecompressionBombError as error:
        raise BadInput(
            "the picture is too large", where=name, remedy="give a smaller one"
        ) from error
    except UnidentifiedImageError as error:
        raise BadInput(
            "not a picture that can be read", where=name, remedy="give PNG, JPEG, WebP or GIF"
        ) from error
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(
            f"the picture is damaged ({str(error)[:60]})", where=name, remedy="save it again"
        ) from error


def _rgb(picture: Image.Image) -> Image.Image:
    """The picture in 8 bits RGB, what is transparent on white."""
    if picture.mode.startswith(("I", "F")):  # 16 bits and more, of which Pillow would cut the top
        values = np.asarray(picture, dtype=np.float64)
        top = 65535.0 if values.max() > 255 else 255.0
        picture = Image.fromarray((values.clip(0, top) / top * 255).round().astype(np.uint8))
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
        share: by which the picture was made smaller, at most 1.
        at: (x, y) of its upper left corner.
    """

    pixels: Tensor
    share: float
    at: tuple[int, int]

    def place(self, point: tuple[float, float] | None) -> tuple[float, float] | None:
        """A point (x, y) of the picture as one of the page."""
        if point is None:
            return None
        return point[0] * self.share + self.at[0], point[1] * self.share + self.at[1]


def fit(picture: Image.Image, size: tuple[int, int], rng: Random | None = None) -> Page:
    """A picture on a white page, made smaller if it has to be, never larger.

    Enlarging would add nothing to read, and a model knows letters by their size.

    Args:
        picture: RGB.
        size: (height, width) of the page.
        rng: puts the picture somewhere on the page (the random padding of UniChart's training);
            by default it is in the upper left corner.
    """
    height, width = size
    share = min(height / picture.height, width / picture.width, 1.0)
    if share < 1:
        shape = max(1, round(picture.width * share)), max(1, round(picture.height * share))
        picture = picture.resize(shape, Image.Resampling.LANCZOS)
    x, y = 0, 0
    if rng is not None:
        x, y = rng.randint(0, width - picture.width), rng.randint(0, height - picture.height)
    page = np.full((3, height, width), 255, np.uint8)
    page[:, y : y + picture.height, x : x + picture.width] = np.asarray(picture).transpose(2, 0, 1)
    return Page(torch.from_numpy(page), share, (x, y))


def normalised(pixels: Tensor) -> Tensor:
    """uint8 pixels of any shape as float32 from -1 to 1."""
    return (pixels.float() - MEAN) / SPREAD
