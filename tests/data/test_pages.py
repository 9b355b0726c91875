"""Donut's pages, against transformers' own image processor."""

from dataclasses import replace
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from chart_sets import write_opencqa
from omegaconf import OmegaConf
from PIL import Image
from transformers.models.donut.image_processing_pil_donut import DonutImageProcessorPil

from belvedere.data.pictures import Page, fit, normalised, open_picture
from belvedere.runs.chart_evaluation import opened
from belvedere.unichart.config import ChartModelConfig

CONFIGS = Path(__file__).resolve().parents[2] / "configs/data"

PICTURES = [(30, 20), (20, 30), (25, 25), (401, 299), (300, 411), (64, 48), (48, 64), (97, 3)]
PAGES = [(48, 48), (48, 64), (64, 48), (96, 96)]


def noise(size: tuple[int, int], seed: int = 0) -> Image.Image:
    """A picture of the (width, height) without a black pixel."""
    pixels = np.random.default_rng(seed).integers(1, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def donuts(picture: Image.Image, size: tuple[int, int]) -> torch.Tensor:
    """The page that transformers makes, with the settings of the released checkpoints."""
    processor: Any = DonutImageProcessorPil(
        size={"height": size[0], "width": size[1]},
        do_align_long_axis=False,
        do_thumbnail=True,
        do_pad=True,
        resample=Image.Resampling.BILINEAR,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    pixels: torch.Tensor = processor(picture, return_tensors="pt")["pixel_values"][0]
    return pixels


def box(page: Page) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is not black."""
    rows, columns = (page.pixels.amax(0) > 0).nonzero(as_tuple=True)
    ends = int(columns.max()) + 1, int(rows.max()) + 1
    return int(columns.min()), int(rows.min()), *ends


@pytest.mark.parametrize("size", PAGES, ids=str)
@pytest.mark.parametrize("shape", PICTURES, ids=str)
def test_pages_are_those_of_donuts_processor(shape: tuple[int, int], size: tuple[int, int]) -> None:
    picture = noise(shape)
    page = fit(picture, size, kind="donut")
    assert page.pixels.shape == (3, *size)
    torch.testing.assert_close(normalised(page.pixels), donuts(picture, size), atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", PAGES, ids=str)
@pytest.mark.parametrize("shape", PICTURES, ids=str)
def test_points_go_where_the_picture_goes(shape: tuple[int, int], size: tuple[int, int]) -> None:
    for rng in (None, Random(1)):
        page = fit(noise(shape), size, rng, "donut")
        left, top, right, bottom = box(page)
        assert page.at == (left, top)
        assert page.place((0, 0)) == (left, top)
        assert page.place(shape) == pytest.approx((right, bottom))
        assert page.place(None) is None


def test_small_pictures_grow_and_have_black_on_both_sides() -> None:
    page = fit(Image.new("RGB", (12, 6), "white"), (48, 48), kind="donut")
    assert page.share == 4
    assert box(page) == (0, 12, 48, 36)
    assert set(page.pixels.unique().tolist()) == {0, 255}


def test_training_moves_the_picture_within_its_page() -> None:
    picture = noise((40, 10))
    middle = fit(picture, (48, 48), kind="donut")
    pages = [fit(picture, (48, 48), Random(seed), "donut") for seed in range(9)]
    assert len({page.at for page in pages}) > 3
    for page in pages:
        left, top, right, bottom = box(page)
        (x, y), (far, low) = middle.at, (middle.at[0] + right - left, middle.at[1] + bottom - top)
        assert torch.equal(page.pixels[:, top:bottom, left:right], middle.pixels[:, y:low, x:far])


def test_a_long_thin_picture_takes_no_more_memory_than_its_page() -> None:
    # Its short side made 960 pixels long, it would have 1.8 gigapixels before it shrinks again.
    page = fit(Image.new("RGB", (2000, 1), "white"), (960, 960), kind="donut")
    assert box(page) == (0, 479, 960, 480)


def test_plain_pages_stay_as_they_were() -> None:
    page = fit(Image.new("RGB", (12, 6), "black"), (48, 48))
    assert (page.share, page.at) == (1, (0, 0))
    assert int(page.pixels.sum()) == 255 * 3 * (48 * 48 - 12 * 6)


def test_charts_are_put_on_the_pages_of_each_reader(tmp_path: Path, letters: Any) -> None:
    folder = write_opencqa(tmp_path)
    config = OmegaConf.create({"seed": 1, "data": OmegaConf.load(CONFIGS / "opencqa.yaml")})
    config.data.path = str(folder)
    reader = ChartModelConfig.named("tiny", image_size=(40, 60), page="donut")
    rivals = {"same": reader, "other": replace(reader, page="plain")}
    model: Any = SimpleNamespace(config=reader)
    (asked,) = opened(config, model, letters, [], rivals)
    assert asked.rivals["same"] is asked.datamodule
    other = asked.rivals["other"]
    other.setup("test")
    own, others = (data.rows["test"] for data in (asked.datamodule, other))
    chart = own.charts[0]
    picture = open_picture(chart.picture)
    assert torch.equal(own[0].pixels, fit(picture, (40, 60), kind="donut").pixels)
    assert torch.equal(others[0].pixels, fit(picture, (40, 60)).pixels)
    assert not torch.equal(own[0].pixels, others[0].pixels)
