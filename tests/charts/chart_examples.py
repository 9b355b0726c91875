"""Tables made by hand or at random, and layouts for them with a plain geometry."""

from random import Random

from belvedere.charts.elements import ChartKind, Layout, Mark, Point, Text, TextRole
from belvedere.charts.tables import Table

WIDTH, HEIGHT = 400, 300
LEFT, TOP, RIGHT, BOTTOM = 50.0, 40.0, 350.0, 240.0
COLOURS = ("blue", "orange", "green", "red", "purple", "teal", "brown", "pink", "grey", "olive")

COUNTRIES = (
    "Norway",
    "United States",
    "Chile",
    "Peru",
    "Japan",
    "Kenya",
    "Italy",
    "Spain",
    "Ghana",
)

RATES = Table(
    title="Unemployment in Spain",
    row_name="Year",
    columns=("Unemployment rate",),
    rows=("2010", "2011", "2012", "2013", "2014", "2015"),
    values=((5.0,), (6.5,), (8.0,), (7.2,), (6.1,), (4.4,)),
    row_kind="time",
    unit="%",
    decimals=1,
    source="Labour Office",
)
LINES = Table(
    title="Visitors of two museums and a zoo",
    row_name="Year",
    columns=("Castle", "Gallery", "Zoo"),
    rows=("2018", "2019", "2020", "2021", "2022"),
    values=((30, 50, 12), (34, 48, 18), (41, 45, 22), (47, 40, 21), (55, 31, 26)),
    row_kind="time",
    unit="thousand",
)
GROUPS = Table(
    title="Reading for pleasure",
    row_name="Age group",
    columns=("Men", "Women", "Everybody"),
    rows=("18-29", "30-49", "50-64", "65+"),
    values=((20, 31, 26), (25, 44, 35), (38, 36, 37), (47, 62, 55)),
    unit="minutes",
)
SHARES = Table(
    title="Electricity by source",
    row_name="Source",
    columns=("Share",),
    rows=("Coal", "Gas", "Wind", "Solar"),
    values=((45,), (27,), (20,), (8,)),
    unit="%",
    whole=True,
)
RANKING = Table(
    title="Emissions by country",
    row_name="Country",
    columns=("Emissions",),
    rows=("Norway", "Spain", "Netherlands", "Ireland", "Chile"),
    values=((7.0,), (5.5,), (9.1,), (8.2,), (4.4,)),
    unit="tonnes",
    decimals=1,
    source="World Data Office",
)
TIED = Table(
    title="Medals",
    row_name="Country",
    columns=("Medals",),
    rows=("Norway", "Spain", "Italy", "Peru"),
    values=((9,), (4,), (9,), (2,)),
)
POINTS = Table(
    title="Size and rent",
    row_name="Size (m2)",
    columns=("Rent",),
    rows=("30", "45", "60", "75", "90", "110"),
    values=((420,), (500,), (610,), (700,), (890,), (1000,)),
    row_kind="number",
)


def layout_of(
    table: Table,
    kind: ChartKind,
    labelled: bool = True,
    legend: bool = True,
    colours: tuple[str, ...] = COLOURS,
    by_row: bool = False,
) -> Layout:
    """A layout without a picture.

    Args:
        table: that is shown.
        kind: of the chart.
        labelled: every value is printed.
        legend: there is one, if several names have to be told apart.
        colours: of the series, or of the rows.
        by_row: each row of a single series has a colour of its own.
    """
    marks = _marks(table, kind, colours, by_row or kind in {"pie", "donut"})
    texts = [_text("title", table.title, 50, 5), _text("y label", table.unit or "Value", 5, 20)]
    if table.source:
        texts.append(_text("source", f"Source: {table.source}", 5, 285))
    if labelled:
        texts += [_text("value", table.number(v), 100, 100) for row in table.values for v in row]
    names = table.rows if kind in {"pie", "donut"} else table.columns
    if legend and len(names) > 1:
        texts += [_text("legend", name, 60 + 40 * i, 25) for i, name in enumerate(names)]
    return Layout(kind, WIDTH, HEIGHT, tuple(marks), tuple(texts), (LEFT, TOP, RIGHT, BOTTOM))


def _text(role: TextRole, text: str, x: float, y: float) -> Text:
    return Text(role, text, (x, y, x + 30, y + 10))


def _marks(table: Table, kind: ChartKind, colours: tuple[str, ...], by_row: bool) -> list[Mark]:
    rows, columns = len(table.rows), len(table.columns)
    highest = max(max(map(sum, table.values)), 1.0) if kind == "stacked bar" else (
        max(*(v for row in table.values for v in row), 1.0)
    )  # fmt: skip
    scale = (BOTTOM - TOP) / highest
    slot = (RIGHT - LEFT) / rows
    marks = []
    for k, series in enumerate(table.columns):
        points: list[Point] = []
        for i, label in enumerate(table.rows):
            value, x = table.values[i][k], LEFT + slot * i
            y = BOTTOM - value * scale
            colour = colours[(i if by_row else k) % len(colours)]
            if kind == "scatter":
                x = LEFT + 2 * float(label)
            points.append((x + slot / 2, y))
            box = (x + 2, y, x + slot - 2, BOTTOM)
            if kind == "grouped bar":
                part = slot / (columns + 1)
                box = (x + part * k, y, x + part * (k + 1), BOTTOM)
            elif kind == "stacked bar":
                below = sum(table.values[i][:k]) * scale
                box = (x + 2, y - below, x + slot - 2, BOTTOM - below)
            elif kind == "horizontal bar":
                high = (BOTTOM - TOP) / rows
                box = (LEFT, TOP + high * i, LEFT + value * (RIGHT - LEFT) / highest,
                       TOP + high * (i + 1) - 2)  # fmt: skip
            elif kind == "scatter":
                box = (x - 2, y - 2, x + 2, y + 2)
            if kind not in {"line", "multi line", "area"}:
                of = {"pie": "wedge", "donut": "wedge", "scatter": "point"}.get(kind, "bar")
                marks.append(
                    Mark(of, series, (label,), (value,), "#000000", colour, box)  # type: ignore[arg-type]
                )
        if kind in {"line", "multi line", "area"}:
            box = (LEFT, min(y for _, y in points), RIGHT, max(y for _, y in points))
            values = tuple(row[k] for row in table.values)
            one = "area" if kind == "area" else "line"
            marks.append(
                Mark(one, series, table.rows, values, "#000000", colours[k], box, tuple(points))  # type: ignore[arg-type]
            )
    return marks


EXAMPLES: tuple[tuple[Table, Layout], ...] = (
    (RATES, layout_of(RATES, "line")),
    (RATES, layout_of(RATES, "vertical bar", labelled=False)),
    (LINES, layout_of(LINES, "multi line")),
    (LINES, layout_of(LINES, "stacked bar")),
    (GROUPS, layout_of(GROUPS, "grouped bar")),
    (SHARES, layout_of(SHARES, "pie")),
    (RANKING, layout_of(RANKING, "vertical bar")),
    (RANKING, layout_of(RANKING, "horizontal bar", by_row=True)),
    (RANKING, layout_of(RANKING, "vertical bar", colours=("red", *("grey",) * 4), by_row=True)),
    (TIED, layout_of(TIED, "vertical bar")),
    (POINTS, layout_of(POINTS, "scatter", labelled=False)),
)


def random_chart(rng: Random) -> tuple[Table, Layout]:
    """A chart of any kind, with ties, zeros and negative values now and then."""
    kind: ChartKind = rng.choice(
        ("vertical bar", "horizontal bar", "grouped bar", "stacked bar", "line", "multi line",
         "area", "pie", "donut", "scatter")
    )  # fmt: skip
    several = kind in {"grouped bar", "stacked bar", "multi line"}
    count, decimals = rng.randint(2, 9), rng.choice((0, 0, 1, 2))
    time = kind in {"line", "multi line", "area"} or (kind != "scatter" and rng.random() < 0.3)
    whole = kind in {"pie", "donut"}
    if kind == "scatter":
        rows = tuple(str(rng.randint(1, 60)) for _ in range(count))
    elif time and not whole:
        first = rng.randint(1950, 2010)
        rows = tuple(str(first + i) for i in range(count))
    else:
        rows = tuple(rng.sample(COUNTRIES, count))
    columns = tuple(rng.sample(("Men", "Women", "Adults", "Teenagers"), rng.randint(2, 4)))
    low, high = rng.choice(((0, 4), (1, 10), (5, 100), (100, 5000), (-8, 30)))
    if kind != "line":
        low = max(low, 0)
    width = len(columns) if several else 1
    values = tuple(
        tuple(round(rng.uniform(low, high), decimals) for _ in range(width)) for _ in range(count)
    )
    if whole:
        parts = [rng.randint(1, 9) for _ in range(count)]
        values = tuple((round(100 * part / sum(parts), decimals),) for part in parts)
    table = Table(
        title="A chart of something",
        row_name="Size" if kind == "scatter" else "Year" if time and not whole else "Country",
        columns=columns if several else (rng.choice(("Rate", "Visitors", "GDP per capita")),),
        rows=rows,
        values=values,
        row_kind="number" if kind == "scatter" else "time" if time and not whole else "category",
        unit="%" if whole else rng.choice(("%", "", "million", "$ billion", "°C", "hours")),
        decimals=decimals,
        whole=whole,
        source=rng.choice(("", "Statistics Office")),
    )
    return table, layout_of(table, kind, labelled=rng.random() < 0.5, by_row=rng.random() < 0.3)
