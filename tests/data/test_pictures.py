import errno
import io
import os
import struct
import zlib
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from PIL import Image

from belvedere.data.pictures import fit, normalised, open_picture, turned_over
from belvedere.errors import BadInput

RED = (200, 30, 40)


def saved(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def mean(picture: Image.Image) -> list[float]:
    assert picture.mode == "RGB"
    return np.asarray(picture).reshape(-1, 3).mean(0).tolist()


def test_modes_are_read_right() -> None:
    plain = Image.new("RGB", (6, 4), RED)
    assert mean(open_picture(saved(plain.convert("P", palette=Image.Palette.ADAPTIVE)))) == (
        pytest.approx(RED, abs=3)
    )
    assert mean(open_picture(saved(plain.convert("CMYK"), "TIFF"))) == pytest.approx(RED, abs=3)
    assert mean(open_picture(saved(Image.new("RGBA", (6, 4), (*RED, 0))))) == [255, 255, 255]
    half = mean(open_picture(saved(Image.new("RGBA", (6, 4), (0, 0, 0, 128)))))
    assert half == pytest.approx([127, 127, 127], abs=1)
    grey = Image.fromarray(np.full((4, 6), 0x8000, np.uint16))
    assert mean(open_picture(saved(grey))) == pytest.approx([128] * 3, abs=1)
    assert mean(open_picture(saved(Image.new("1", (6, 4), 1)))) == [255, 255, 255]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_a_dark_picture_of_16_bits_is_dark(kind: str) -> None:
    values = np.array([[200, 0], [150, 255]], np.uint16)
    grey = Image.fromarray(values)
    data = (
        b"P5 2 2 65535\n" + values.astype(">u2").tobytes() if kind == "PPM" else saved(grey, kind)
    )
    assert np.asarray(open_picture(data))[..., 0].tolist() == [[1, 0], [1, 1]]


def test_grey_of_32_bits_is_taken_by_its_largest_value() -> None:
    def brightest(values: list[float], kind: type) -> list[int]:
        picture = Image.fromarray(np.array([values], kind))
        assert picture.mode == ("I" if kind is np.int32 else "F")
        found: list[int] = np.asarray(open_picture(saved(picture, "TIFF")))[0, :, 0].tolist()
        return found

    assert brightest([-5, 0, 200], np.int32) == [0, 0, 200]
    assert brightest([0, 200, 65535], np.int32) == [0, 1, 255]
    assert brightest([0, 0.5, 1], np.float32) == [0, 128, 255]
    assert brightest([0, 0.5, 200], np.float32) == [0, 0, 200]
    assert brightest([float("nan"), float("inf"), 128], np.float32) == [0, 255, 128]


def test_a_transparent_palette_colour_is_white() -> None:
    palette = Image.new("P", (6, 4), 0)
    palette.putpalette([*RED, 0, 0, 255])
    assert mean(open_picture(saved(palette, transparency=0))) == [255, 255, 255]


def test_exif_rotation_is_undone() -> None:
    picture = Image.new("RGB", (8, 4), "white")
    exif = picture.getexif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    assert open_picture(saved(picture, "JPEG", exif=exif)).size == (4, 8)


def png_of(width: int, height: int) -> bytes:
    """A PNG that claims a size, without the pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = b""
    for name, body in ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")):
        crc = struct.pack(">I", zlib.crc32(name + body))
        chunks += struct.pack(">I", len(body)) + name + body + crc
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize("size", [(20_000, 20_000), (9_000, 9_000)])
def test_a_bomb_is_refused_before_it_is_decoded(size: tuple[int, int]) -> None:
    with pytest.raises(
        BadInput, match=r"bomb\.png: the picture has .* pixels, more than 50,000,000"
    ):
        open_picture(png_of(*size), "bomb.png")


def test_damaged_pictures_are_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    whole = saved(Image.fromarray(noise))
    with pytest.raises(BadInput, match=r"cut.png: the picture is damaged"):
        open_picture(whole[: len(whole) // 2], "cut.png")
    with pytest.raises(BadInput, match=r"x: not a picture"):
        open_picture(b"hello", "x")
    with pytest.raises(BadInput, match=r"gone.png: there is no such picture"):
        open_picture(tmp_path / "gone.png")


def test_what_the_system_refuses_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadInput, match=r": a folder, not a picture; name a file$"):
        open_picture(tmp_path)
    with pytest.raises(BadInput, match=r"cannot be read \(File name too long\)"):
        open_picture(tmp_path / ("x" * 300 + ".png"))

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "a.png")

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(BadInput, match=r"a\.png: cannot be read \(Permission denied\); check"):
        open_picture("a.png")


def test_one_pixel_is_a_picture() -> None:
    page = fit(open_picture(saved(Image.new("RGB", (1, 1), RED))), (8, 12)).pixels
    assert page.shape == (3, 8, 12)
    assert page[:, 0, 0].tolist() == list(RED)
    assert (page[:, 1:, 1:] == 255).all()


def test_large_pictures_shrink_and_small_ones_keep_their_size() -> None:
    wide = fit(Image.new("RGB", (400, 100), RED), (50, 100))
    assert wide.share == 0.25
    assert (wide.pixels[0] == 200).sum() == 25 * 100
    small = fit(Image.new("RGB", (10, 5), RED), (50, 100))
    assert small.share == 1
    assert (small.pixels[0] == 200).sum() == 50


def test_random_padding_moves_the_picture_within_the_page() -> None:
    picture = Image.new("RGB", (10, 5), RED)
    pages = [fit(picture, (20, 30), Random(seed)) for seed in range(9)]
    assert len({page.at for page in pages}) > 3
    for page in pages:
        rows, columns = (page.pixels[0] == 200).nonzero(as_tuple=True)
        assert len(rows) == 50
        assert (int(columns[0]), int(rows[0])) == page.at


def test_dark_on_light_is_turned_over_and_hues_stay() -> None:
    picture = Image.new("RGB", (30, 10), "white")
    picture.paste((20, 20, 20), (10, 0, 20, 10))
    picture.paste((150, 30, 40), (20, 0, 30, 10))
    turned = turned_over(picture)
    assert turned.getpixel((5, 5)) == (0, 0, 0)
    assert turned.getpixel((15, 5)) == (235, 235, 235)
    red, green, blue = turned.getpixel((25, 5))
    assert red > 200 > green
    assert abs(green - blue) < 20


def test_pixels_are_from_minus_one_to_one() -> None:
    values = normalised(torch.tensor([0, 255], dtype=torch.uint8))
    assert values.tolist() == [-1.0, 1.0]
