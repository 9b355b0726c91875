"""The elements of a chart, drawn on its picture with the numbers that a list calls them by."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from belvedere.metrics.marks import ReadMark

SHOWN = 760
"""Pixels of the longer side that a picture is enlarged to, so that numbers have room on it."""
INK, PAPER = "#c2185b", "#ffffff"
DOT = 6
"""Half of the side of what stands for an element without extent."""
LETTERS = 14


def drawn(picture: Image.Image, marks: Sequence[ReadMark]) -> Image.Image:
    """A picture, enlarged if it is small, with a numbered frame around each element.

    Args:
        picture: RGB.
        marks: with boxes in shares of the picture.
    """
    share = max(SHOWN / max(picture.size), 1.0)
    size = max(1, round(picture.width * share)), max(1, round(picture.height * share))
    page = picture.resize(size, Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(page)
    font = ImageFont.load_default(LETTERS)
    boxes = [framed(mark, size) for mark in marks]
    for box in boxes:
        wider = (box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1)
        pen.rectangle(wider, outline=PAPER, width=4)  # seen on a mark of any colour
        pen.rectangle(box, outline=INK, width=2)
    for number, (left, top, _, _) in enumerate(boxes, 1):
        at = left, max(top - LETTERS - 4, 0)
        text = str(number)
        width = pen.textlength(text, font)
        pen.rectangle((at[0], at[1], at[0] + width + 5, at[1] + LETTERS + 3), fill=INK)
        pen.text((at[0] + 3, at[1] + 1), text, PAPER, font)
    return page


def framed(mark: ReadMark, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The box of an element in pixels, its corners in order, and never without extent."""
    (x0, x1), (y0, y1) = (
        sorted(mark.box[axis::2]) for axis in (0, 1)
    )  # a reader may have written the corners in either order
    left, top, right, bottom = x0 * size[0], y0 * size[1], x1 * size[0], y1 * size[1]
    if right - left < 2 * DOT:
        left, right = (left + right) / 2 - DOT, (left + right) / 2 + DOT
    if bottom - top < 2 * DOT:
        top, bottom = (top + bottom) / 2 - DOT, (top + bottom) / 2 + DOT
    return left, top, right, bottom
