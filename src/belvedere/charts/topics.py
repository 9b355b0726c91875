"""Draws the tables of charts: what they are about is in ``topics.yaml``, true numbers in the facts.

A drawn table comes with the kinds of chart that publish such a table: shares of a whole as a pie,
measurements over time as lines, and so on.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from random import Random
from typing import Any

import yaml

from belvedere.charts.elements import ChartKind
from belvedere.charts.tables import RowKind, Table
from belvedere.charts.truth import draw_true_table

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
PLURALS = {
    "country": "selected countries", "region": "world regions", "city": "selected cities",
    "brand": "selected brands", "platform": "selected platforms", "device": "selected devices",
}  # fmt: skip
"""What a title says in the place of one item where the chart shows several."""

INSTANCES = ("country", "region", "city", "brand", "platform", "team", "airline")
"""Lists of things that each have the measure, unlike kinds of what is measured."""
WITH_ARTICLE = ("Netherlands", "United Kingdom", "United States")

LAST_YEAR = 2024


@dataclass(frozen=True)
class Limits:
    """How large tables may be: what a picture has room for.

    Attributes:
        rows: fewest and most rows.
        columns: most series.
        points: fewest and most rows of a scatter chart.
    """

    rows: tuple[int, int] = (2, 8)
    columns: int = 3
    points: tuple[int, int] = (5, 10)


@dataclass(frozen=True)
class Drawn:
    """A table, and what may be made of it.

    Attributes:
        table: drawn.
        kinds: of charts that suit it.
        ways: in which a table of true numbers could have been chosen; without bound for made-up
            ones, which hardly come again.
    """

    table: Table
    kinds: tuple[ChartKind, ...]
    ways: float = math.inf


@cache
def catalogue() -> dict[str, Any]:
    """The content of ``topics.yaml``."""
    text = files("belvedere.charts").joinpath("topics.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def draw(rng: Random, limits: Limits, true_share: float = 0.1, pair_share: float = 0.09) -> Drawn:
    """A table about anything: of true numbers, of two measures, or about one of the topics."""
    chance = rng.random()
    if chance < pair_share:
        return Drawn(_draw_pairs(rng, limits), ("scatter",))
    if chance < pair_share + true_share:
        table, ways = draw_true_table(rng, limits.rows)
        return Drawn(table, kinds_of(table, additive=False), ways)
    topic = rng.choice(catalogue()["topics"])
    table = _draw_topic(topic, rng, limits)
    return Drawn(table, kinds_of(table, additive=topic.get("additive", False)))


def kinds_of(table: Table, additive: bool) -> tuple[ChartKind, ...]:
    """The kinds of chart that suit a table; the likelier ones more than once."""
    single, few = len(table.columns) == 1, len(table.rows) <= 6
    if table.whole:
        return ("pie", "pie", "donut", "donut", "vertical bar", "horizontal bar") if few else (
            "horizontal bar",)  # fmt: skip
    if table.row_kind == "time":
        if single:
            return ("line", "line", "vertical bar", "vertical bar", "area")
        stacked: tuple[ChartKind, ...] = ("stacked bar", "stacked bar") if additive else ()
        grouped: tuple[ChartKind, ...] = ("grouped bar", "grouped bar") if few else ()
        return ("multi line", "multi line", "multi line", *grouped, *stacked)
    if single:
        return ("vertical bar", "horizontal bar")
    return ("grouped bar", "stacked bar") if additive else ("grouped bar",)


def _draw_topic(topic: dict[str, Any], rng: Random, limits: Limits) -> Table:
    count = rng.randint(*limits.rows)
    row_name, row_kind, rows = _draw_rows(topic["rows"], count, rng)
    columns = _draw_columns(topic, len(rows), rng, limits)
    decimals = rng.choice(topic["decimals"])
    shares = topic["process"] == "share"
    series = [_draw_values(topic, len(rows), decimals, rng) for _ in columns]
    if topic["process"] == "skewed" and rng.random() < 0.6:
        # Published rankings are sorted; where rows have an order of their own they keep it.
        series[0].sort(reverse=rng.random() < 0.8)
    return Table(
        title=_draw_title(topic, rows, columns, rng),
        row_name=row_name,
        columns=columns,
        rows=rows,
        values=tuple(zip(*series, strict=True)),
        row_kind=row_kind,
        unit=topic["unit"],
        decimals=decimals,
        whole=shares,
        topic=topic["topic"],
        source=_draw_source(topic["topic"], 0.5, rng),
        notes={"measure": topic["measure"]} if topic.get("series") in INSTANCES else {},
    )


def _draw_rows(name: str, count: int, rng: Random) -> tuple[str, RowKind, tuple[str, ...]]:
    """The name, kind and labels of rows."""
    if name == "years":
        step = rng.choice([1, 1, 1, 1, 2, 5])
        count = max(count, 3)
        first = LAST_YEAR - step * (count - 1) - rng.randint(0, 14)
        return "Year", "time", tuple(str(first + step * i) for i in range(count))
    if name == "quarters":
        first, year = rng.randint(1, 4), rng.randint(2012, LAST_YEAR - 2)
        at = [(first - 1 + i) for i in range(max(count, 3))]
        return "Quarter", "time", tuple(f"Q{i % 4 + 1} {year + i // 4}" for i in at)
    if name == "months":
        count = rng.choice([4, 6, 6, max(count, 3)])
        first = rng.choice([0, 0, rng.randint(0, 11)])
        return "Month", "time", tuple(MONTHS[(first + i) % 12] for i in range(count))
    listed = catalogue()["lists"][name]
    items = listed["items"]
    if listed.get("ordered"):  # a scale is shown as a whole, in its order
        return listed["name"], "category", tuple(items)
    return listed["name"], "category", tuple(rng.sample(items, min(count, len(items))))


def _draw_columns(topic: dict[str, Any], rows: int, rng: Random, limits: Limits) -> tuple[str, ...]:
    """The series: several where the topic has some and there is room for their marks."""
    series = topic.get("series")
    most = min(limits.columns, max(1, 16 // rows))
    if series is None or most == 1 or rng.random() < 0.4:
        return (topic["measure"],)
    named = isinstance(series, str)
    items = [str(one) for one in (catalogue()["lists"][series]["items"] if named else series)]
    count = rng.randint(2, min(most, len(items)))
    chosen = rng.sample(range(len(items)), count)
    return tuple(items[i] for i in (chosen if named else sorted(chosen)))


def _draw_values(topic: dict[str, Any], count: int, decimals: int, rng: Random) -> list[float]:
    """The numbers of one series, by the topic's process."""
    process = topic["process"]
    if process == "share":
        return _draw_shares(count, decimals, rng)
    low, high = topic["range"]
    if process == "trend":
        values = _walk(low, high, count, rng)
    elif process == "season":
        top, phase = rng.uniform(low, high), rng.uniform(-2, 2)
        waves = [0.5 - 0.5 * math.cos(2 * math.pi * (i - phase) / 12) for i in range(count)]
        values = [low + (top - low) * wave * rng.uniform(0.9, 1.1) for wave in waves]
    elif process == "skewed":
        values = [math.exp(rng.uniform(math.log(low), math.log(high))) for _ in range(count)]
    else:
        width = rng.uniform(0.2, 0.8) * (high - low)
        bottom = rng.uniform(low, high - width)
        values = [rng.uniform(bottom, bottom + width) for _ in range(count)]
    # A bar of height zero cannot be seen, and a share of zero is seldom published.
    return [max(round(value, decimals), 10.0**-decimals) for value in values]


def _walk(low: float, high: float, count: int, rng: Random) -> list[float]:
    """A random walk in the logarithm, with a drift, between two bounds."""
    value = math.exp(rng.uniform(math.log(low), math.log(high)))
    drift, noise = rng.gauss(0.03, 0.09), rng.uniform(0.01, 0.12)
    values = []
    for _ in range(count):
        values.append(value)
        value *= math.exp(rng.gauss(drift, noise))
        # Thrown back from the bounds: along them a series would look cut off.
        value = high**2 / value if value > high else max(value, low**2 / value)
    return values


def _draw_shares(count: int, decimals: int, rng: Random) -> list[float]:
    """Shares in percent that sum to exactly 100, none of them too small to be seen."""
    weights = [rng.gammavariate(rng.choice([1.0, 2.5]), 1) + 0.08 for _ in range(count)]
    total, steps = sum(weights), 100 * 10**decimals
    parts = [max(int(steps * weight / total), 2 * 10**decimals) for weight in weights]
    parts[parts.index(max(parts))] += steps - sum(parts)
    if rng.random() < 0.5:
        parts.sort(reverse=True)
    return [part / 10**decimals for part in parts]


def _draw_title(
    topic: dict[str, Any], rows: Sequence[str], columns: Sequence[str], rng: Random
) -> str:
    """One of the topic's titles, with its blanks filled."""
    lists = catalogue()["lists"]
    shown = [topic["rows"], topic.get("series") if len(columns) > 1 else None]
    filled = {
        name: PLURALS[name] if name in shown else rng.choice(lists[name]["items"])
        for name in PLURALS
    }
    spans = topic["rows"] == "years"
    title = rng.choice(topic["titles"]).format(
        place=("the " if filled["country"] in WITH_ARTICLE else "") + filled["country"],
        span=f"{rows[0]}-{rows[-1]}" if spans else f"in {rng.randint(2005, LAST_YEAR)}",
        year=rng.randint(2005, LAST_YEAR),
        **filled,
    )
    return title[0].upper() + title[1:]


def _draw_source(topic: str, share: float, rng: Random) -> str:
    """Who has published a table about a topic; with the probability ``share`` it is said."""
    sources = catalogue()["sources"]
    return rng.choice(sources["any"] + sources[topic]) if rng.random() < share else ""


def _draw_pairs(rng: Random, limits: Limits) -> Table:
    """Two measures of the same things; every x is another one, so that rows can be told apart."""
    pair = rng.choice(catalogue()["pairs"])
    (x_low, x_high), (y_low, y_high) = pair["x_range"], pair["y_range"]
    count, noise = rng.randint(*limits.points), rng.uniform(0.04, 0.25)
    rows: dict[str, float] = {}
    while len(rows) < count:
        share = rng.random()
        x = f"{x_low + share * (x_high - x_low):.{pair['x_decimals']}f}"
        along = share if pair.get("slope", 1) > 0 else 1 - share
        along = min(max(along + rng.gauss(0, noise), 0), 1)
        rows[x] = round(y_low + along * (y_high - y_low), pair["y_decimals"])
    ordered = sorted(rows.items(), key=lambda item: float(item[0]))
    return Table(
        title=pair["title"],
        row_name=pair["x"],
        columns=(pair["y"],),
        rows=tuple(x for x, _ in ordered),
        values=tuple((y,) for _, y in ordered),
        row_kind="number",
        decimals=pair["y_decimals"],
        topic=pair["topic"],
        source=_draw_source(pair["topic"], 0.3, rng),
    )
