"""Pictures for the tests of data."""

import io

from PIL import Image


def png(shade: int) -> bytes:
    """A small picture of one colour as a file."""
    file = io.BytesIO()
    Image.new("RGB", (30, 20), (shade, 80, 160)).save(file, "PNG")
    return file.getvalue()
