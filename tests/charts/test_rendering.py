import io
from dataclasses import replace
from itertools import pairwise
from random import Random

import matplotlib
import numpy as np
import pytest
from PIL import Image

from belvedere.charts.colours import colour_name
from belvedere.charts.drawing import Drawing
from belvedere.charts.elements import CHART_KINDS, ChartKind, Layout
from belvedere.charts.rendering import Chart, reads_well, render
from belvedere.charts.styles import THEMES, Sizes, Style, Wear, draw_style
from belvedere.charts.tables import Table

CLEAN = Wear(jpeg=0.0)
SIZES = Sizes(width=(250, 250), height=(185, 185))
SEASONS = Table(
    "Visitors by season", "Season", ("Sea", "Hills"), ("Spring", "Summer", "Autumn"),
    ((20.0, 15.0), (48.0, 31.0), (26.0, 12.0)), unit="thousand",
)  # fmt: skip
ONE = replace(SEASONS, columns=("Visitors",), values=((20.0,), (48.0,), (26.0,)))
WHOLE = replace(ONE, values=((20.0,), (48.0,), (32.0,)), unit="%", whole=True)
PAIRS = Table(
    "Age and price", "Age", ("Price",), ("1", "5", "9"), ((90.0,), (50.0,), (20.0,)), "number"
)
TABLES: dict[ChartKind, Table] = {
    "vertical bar": ONE, "horizontal bar": ONE, "grouped bar": SEASONS, "stacked bar": SEASONS,
    "line": ONE, "multi line": SEASONS, "area": ONE, "pie": WHOLE, "donut": WHOLE, "scatter": PAIRS,
}  # fmt: skip


def style(seed: int = 0, **changes: object) -> Style:
    plain = {"source": False, "varied": False, "rotation": 0, "grid": "none", "legend": "top"}
    drawn = draw_style(Random(seed), SIZES, CLEAN)
    return replace(drawn, theme=replace(THEMES[0]), **{**plain, **changes})  # type: ignore[arg-type]


def drawn(kind: ChartKind, **changes: object) -> Chart:
    chart = render(TABLES[kind], kind, style(**changes), Random(0))
    assert chart is not None
    return chart


def pixels(chart: Chart) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(chart.picture)).convert("RGB"))


def near(picture: np.ndarray, x: float, y: float, colour: str) -> bool:
    """Whether the colour is within a pixel of the place."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    part = picture[max(int(y) - 1, 0) : int(y) + 2, max(int(x) - 1, 0) : int(x) + 2].astype(int)
    return bool((np.abs(part - wanted).sum(-1) < 30).any())


@pytest.mark.parametrize("kind", CHART_KINDS)
def test_marks_are_where_the_records_say(kind: ChartKind) -> None:
    chart = drawn(kind, value_labels=False, markers=True)
    picture, table = pixels(chart), chart.table
    assert picture.shape == (185, 250, 3)
    for mark in chart.layout.marks:
        left, top, right, bottom = mark.box
        places = mark.points or (((left + right) / 2, (top + bottom) / 2),)
        if kind != "area":  # it is half transparent
            assert all(near(picture, x, y, mark.colour) for x, y in places)
        assert mark.colour_name == colour_name(mark.colour)
        for label, value in zip(mark.labels, mark.values, strict=True):
            column = table.columns.index(mark.series)
            assert table.values[table.rows.index(label)][column] == value


def test_bars_are_as_long_as_their_values() -> None:
    marks = drawn("vertical bar", value_labels=False).layout.marks
    heights = [mark.box[3] - mark.box[1] for mark in marks]
    values = [mark.values[0] for mark in marks]
    assert [h / heights[1] for h in heights] == pytest.approx([v / 48 for v in values], abs=0.02)


def test_stacked_bars_stand_on_one_another() -> None:
    marks = drawn("stacked bar", value_labels=False).layout.marks
    sea = [mark for mark in marks if mark.series == "Sea"]
    hills = [mark for mark in marks if mark.series == "Hills"]
    assert [m.box[1] for m in sea] == pytest.approx([m.box[3] for m in hills], abs=0.6)


@pytest.mark.parametrize("kind", ["vertical bar", "line", "pie"])
def test_values_stand_in_the_picture_where_they_are_asked_for(kind: ChartKind) -> None:
    labelled = drawn(kind, value_labels=True).layout
    values = [text.text for text in labelled.texts if text.role == "value"]
    assert len(values) == 3
    assert all(any(wanted in text for text in values) for wanted in ("20", "48"))


def test_letters_are_where_the_records_say() -> None:
    chart = drawn("vertical bar", value_labels=False)
    picture = pixels(chart).astype(int)
    (title,) = [text for text in chart.layout.texts if text.role == "title"]
    assert title.text == "Visitors by season"
    dark = np.abs(picture - picture[-1, -1]).sum(-1) > 150
    columns = dark[int(title.box[1]) : int(title.box[3]) + 1].any(0)
    inked = [columns[int(x) - 1 : int(x) + 2].any() for x, _ in title.characters]
    assert all(ink for ink, letter in zip(inked, title.text, strict=True) if letter != " ")
    # The ink begins and ends where the first and last letter are.
    seen = np.flatnonzero(columns)
    assert title.characters[0][0] == pytest.approx(seen[0] + 3, abs=3)
    assert title.characters[-1][0] == pytest.approx(seen[-1] - 3, abs=3)


@pytest.mark.parametrize("seed", range(40))
def test_no_text_lies_over_another_or_is_cut(seed: int) -> None:
    rng = Random(seed)
    kind = CHART_KINDS[seed % len(CHART_KINDS)]
    look = draw_style(rng, Sizes(), Wear(), held_out=seed % 4 == 0)
    chart = render(TABLES[kind], kind, look, rng)
    assert chart is not None
    assert reads_well(chart.layout, slanted=chart.style.rotation == 45)
    width, height = chart.layout.width, chart.layout.height
    for text in chart.layout.texts:
        assert min(text.box) >= -0.5
        assert text.box[2] <= width + 0.5
        assert text.box[3] <= height + 0.5
    assert set(texts_of(chart.layout)) >= set(chart.table.title.split())


def texts_of(layout: Layout) -> list[str]:
    return [word for text in layout.texts for word in text.text.split()]


def test_a_table_without_room_is_no_chart() -> None:
    rows = tuple(f"A very long name of row {i}" for i in range(40))
    table = replace(ONE, rows=rows, values=tuple((1.0 + i,) for i in range(40)))
    assert render(table, "vertical bar", style(), Random(0)) is None


def test_noise_and_jpeg_change_the_picture_but_not_its_size() -> None:
    worn = drawn("vertical bar", jpeg=70, noise=4.0)
    assert worn.picture[:2] == b"\xff\xd8"
    clean, noisy = pixels(drawn("vertical bar")).astype(int), pixels(worn).astype(int)
    assert clean.shape == noisy.shape
    assert 1 < np.abs(clean - noisy).mean() < 12


def test_the_users_settings_of_matplotlib_change_nothing() -> None:
    plain = drawn("multi line", legend="bottom", grid="both").picture
    theirs = {
        "font.size": 20, "legend.fontsize": 20, "legend.labelspacing": 3, "text.antialiased": False,
        "lines.antialiased": False, "lines.solid_capstyle": "butt", "axes.xmargin": 0.4,
        "path.sketch": (3, 100, 2), "axes.grid": True,
    }  # fmt: skip
    with matplotlib.rc_context(theirs):
        before = dict(matplotlib.rcParams)
        assert drawn("multi line", legend="bottom", grid="both").picture == plain
        assert dict(matplotlib.rcParams) == before


def test_texts_with_two_dollar_signs_are_no_formulas() -> None:
    odd = "$5 to {$9"  # as a formula it could not even be parsed
    table = replace(
        SEASONS, title=f"Tea at {odd}", row_name=f"Bag {odd}", source=f"Shop {odd}",
        columns=(f"A {odd}", "B"), rows=(odd, "None", "$1_2$"),
    )  # fmt: skip
    look = style(source=True, axis_names=True, title_size=9.0, text_size=8.0, value_labels=False)
    chart = render(table, "grouped bar", look, Random(0))
    assert chart is not None
    texts = {text.text for text in chart.layout.texts}
    assert {table.title, table.row_name, f"Source: {table.source}", *table.rows} <= texts
    assert set(table.columns) <= texts
    # A text is as wide as all its letters are, dollars among them.
    measured = Drawing(table, "grouped bar", chart.style)
    for text in chart.layout.texts:
        if text.role in {"x tick", "legend"} and chart.style.rotation == 0:
            wanted = measured.width_of(text.text, measured.letters)
            assert text.box[2] - text.box[0] == pytest.approx(wanted, abs=1)


def test_held_out_themes_are_drawn_only_when_asked_for() -> None:
    rng = Random(0)
    for held_out in (False, True):
        themes = {draw_style(rng, SIZES, CLEAN, held_out).theme for _ in range(200)}
        assert {theme.held_out for theme in themes} == {held_out}
        assert themes == {theme for theme in THEMES if theme.held_out == held_out}


def test_no_line_and_no_other_bar_goes_through_a_value() -> None:
    rng, labelled = Random(3), 0
    for kind in ("line", "multi line", "area", "vertical bar", "grouped bar", "horizontal bar"):
        rows = tuple(str(2010 + i) for i in range(5))
        columns = ("North", "South") if kind in ("multi line", "grouped bar") else ("All",)
        for seed in range(12):
            values = tuple(tuple(round(rng.uniform(5, 60), 1) for _ in columns) for _ in rows)
            table = Table("Visitors", "Year", columns, rows, values, "time")
            chart = render(table, kind, style(seed, value_labels=True), Random(0))
            assert chart is not None
            layout = chart.layout
            boxes = [text.box for text in layout.texts if text.role == "value"]
            labelled += bool(boxes)
            lines = [
                one for mark in layout.marks if mark.kind != "bar"
                for pair in pairwise(mark.points) for one in np.linspace(*pair, 200)
            ]  # fmt: skip
            bars = [mark.box for mark in layout.marks if mark.kind == "bar"]
            for left, top, right, bottom in boxes:
                assert not any(
                    left + 0.6 < x < right - 0.6 and top + 0.6 < y < bottom - 0.6 for x, y in lines
                )
                assert all(
                    min(right, r) - max(left, x) < 0.6 or min(bottom, b) - max(top, y) < 0.6
                    for x, y, r, b in bars
                )
    assert labelled > 36
