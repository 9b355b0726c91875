import io
from random import Random

import pytest
from PIL import Image

from belvedere.charts.not_charts import HELD_OUT, SEEN, draw_not_chart


@pytest.mark.parametrize("kind", [*SEEN, *HELD_OUT])
def test_pictures_without_a_chart_are_drawn_anew_from_their_seed(kind: str) -> None:
    one, same, other = (draw_not_chart(kind, (90, 61), Random(seed)) for seed in (1, 1, 2))
    picture = Image.open(io.BytesIO(one))
    assert (picture.size, picture.mode) == ((90, 61), "RGB")
    assert one == same != other


def test_only_a_blank_page_is_blank() -> None:
    for kind in [*SEEN, *HELD_OUT]:
        picture = Image.open(io.BytesIO(draw_not_chart(kind, (90, 61), Random(1))))
        colours = picture.getcolors(maxcolors=90 * 61)
        assert colours is not None
        assert (len(colours) == 1) == (kind == "blank")
