"""Contact sheets of charts, as the command draws them."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from belvedere.charts import sheet
from belvedere.charts.build import Recipe, make_chart


def page(file: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> np.ndarray:
    monkeypatch.setattr(sys, "argv", ["sheet", str(file), *options])
    sheet.main()
    return np.asarray(Image.open(file).convert("RGB"))


def has(picture: np.ndarray, colour: str) -> bool:
    return bool((picture == ImageColor.getrgb(colour)).all(-1).any())


def test_charts_stand_in_a_grid_and_boxes_frame_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = [sheet.picture(make_chart(Recipe(), "train", i)[0], boxes=False) for i in range(3)]
    plain = page(tmp_path / "plain.png", monkeypatch, "--count", "3", "--columns", "2")
    cell = max(one.width for one in drawn) + sheet.GAP, max(one.height for one in drawn) + sheet.GAP
    assert plain.shape == (2 * cell[1] + sheet.GAP, 2 * cell[0] + sheet.GAP, 3)
    for i, one in enumerate(drawn):
        x, y = sheet.GAP + i % 2 * cell[0], sheet.GAP + i // 2 * cell[1]
        assert np.array_equal(plain[y : y + one.height, x : x + one.width], np.asarray(one))
    colours = (sheet.MARK, sheet.TEXT, sheet.CHARACTER)
    assert not any(has(plain, colour) for colour in colours)

    options = ("--count", "1", "--columns", "1", "--boxes", "--zoom", "2")
    framed = page(tmp_path / "framed.png", monkeypatch, *options)
    width, height = (2 * side + 2 * sheet.GAP for side in drawn[0].size)
    assert framed.shape == (height, width, 3)
    assert all(has(framed, colour) for colour in colours)
