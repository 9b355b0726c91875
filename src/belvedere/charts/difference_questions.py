"""Questions for the difference or the ratio of two values."""

from decimal import Decimal
from itertools import combinations
from random import Random

from belvedere.charts.reading import Reading, Series, Words
from belvedere.charts.templates import (
    Asked,
    Collection,
    additive,
    discrete,
    not_scattered,
    not_shares,
    positive,
    several,
    timed,
)
from belvedere.charts.wording import (
    choice,
    named,
    plain,
    rounded,
)

_collection = Collection()
add = _collection.add


def two_rows(r: Reading, rng: Random, s: Series) -> tuple[int, int] | None:
    """Two rows whose values can be read and told apart, the higher one first."""
    pairs = [
        (a, b) if s.values[a] > s.values[b] else (b, a)
        for a, b in combinations(range(len(s.values)), 2)
        if r.legible(s.values[a], s.values[b], s.values[a] - s.values[b])
        and s.values[a] != s.values[b]
    ]
    return choice(rng, pairs) if pairs else None


def in_points(r: Reading) -> str:
    """How a question about a difference says what to count: " in percentage points"."""
    return f" in {r.points}" if r.points == "percentage points" else ""


# Difference


@add("difference", not_scattered)
def difference_of_rows(r: Reading, rng: Random) -> Asked:
    """How much higher one row is than another one."""
    s = r.any_series(rng)
    if (pair := two_rows(r, rng, s)) is None:
        return None
    high, low = pair
    patterns = (
        "How much higher {was} {subject} {at_a} than {at_b}{points}?",
        "What {was} the difference in {subject} between {a} and {b}{comma_points}?",
        "By how much did {subject} {at_a} exceed that {at_b}{points}?"
        if r.time
        else "By how much does {subject} {at_a} exceed that {at_b}{points}?",
    )
    text = r.say(
        rng,
        *patterns,
        series=s,
        points=in_points(r),
        comma_points=f",{in_points(r)}" if in_points(r) else "",
        a=r.name(high),
        b=r.name(low),
        at_a=r.at(r.labels[high]),
        at_b=r.at(r.labels[low]),
    )
    return text, r.number(s.values[high] - s.values[low])


@add("difference", timed)
def change_over_time(r: Reading, rng: Random) -> Asked:
    """By how much something rose or fell between two times."""
    s = r.any_series(rng)
    if (pair := two_rows(r, rng, s)) is None:
        return None
    first, last = sorted(pair)
    verb = choice(
        rng, ("rise", "increase") if s.values[last] > s.values[first] else ("fall", "drop")
    )
    patterns = (
        "By how much did {subject} {verb} from {a} to {b}{points}?",
        "How much did {subject} {verb} between {a} and {b}{points}?",
    )
    text = r.say(
        rng,
        *patterns,
        series=s,
        verb=verb,
        points=f",{in_points(r)}" if in_points(r) else "",
        a=r.labels[first],
        b=r.labels[last],
    )
    return text, r.number(abs(s.values[last] - s.values[first]))


@add("difference", discrete)
def lead(r: Reading, rng: Random) -> Asked:
    """How far the highest value is ahead of the second one."""
    s = r.any_series(rng)
    a, b = s.values[s.order[0]], s.values[s.order[1]]
    if r.top_of(s) is None or not r.legible(a, b, a - b):
        return None
    patterns = (
        "What is the difference{points} between the highest and the second highest {bare}?",
        "By how much does the highest {bare} exceed the second highest one{points}?",
    )
    return r.say(rng, *patterns, series=s, points=in_points(r)), r.number(a - b)


@add("difference", several, not_scattered)
def difference_of_series(r: Reading, rng: Random) -> Asked:
    """How much higher one series is than another one in a row."""
    i = rng.randrange(len(r.labels))
    s = r.across(i)
    if (pair := two_rows(r, rng, s)) is None:
        return None
    a, b = pair
    patterns = (
        "{at}, how much higher {was} the value of {a} than that of {b}{points}?",
        "What {was} the gap{points} between {a} and {b} {at}?",
        "What {was} the difference{points} between {a} and {b} {at}?",
    )
    text = r.say(
        rng,
        *patterns,
        at=r.at(r.labels[i]),
        a=named(s.labels[a]),
        b=named(s.labels[b]),
        points=in_points(r),
    )
    return text, r.number(s.values[a] - s.values[b])


def gaps(r: Reading, rng: Random) -> tuple[Series, Series, Series]:
    """Two of the series, and the distance between them in each row."""
    a, b = rng.sample(list(r.all_series()), 2)
    distance = tuple(abs(x - y) for x, y in zip(a.values, b.values, strict=True))
    return a, b, Series(r.labels, distance, "the gap", "gap")


def _gap_row(r: Reading, rng: Random, place: int, words: str) -> Asked:
    a, b, gap = gaps(r, rng)
    if (i := r.top_of(gap, place)) is None:
        return None
    patterns = (
        "{which_at} {was} the gap between {a} and {b} {words}?",
        "Which {row} {has} the {words} difference between {a} and {b}?",
    )
    return r.say(rng, *patterns, words=words, a=named(a.name), b=named(b.name)), r.labels[i]


@add("difference", several, discrete)
def row_of_widest_gap(r: Reading, rng: Random) -> Asked:
    """Where two series are furthest apart."""
    return _gap_row(r, rng, 0, "largest")


@add("difference", several, discrete)
def row_of_narrowest_gap(r: Reading, rng: Random) -> Asked:
    """Where two series are closest to each other."""
    return _gap_row(r, rng, -1, "smallest")


@add("difference", several, discrete)
def widest_gap(r: Reading, rng: Random) -> Asked:
    """How far two series are apart at most."""
    a, b, gap = gaps(r, rng)
    i = gap.top
    if not r.legible(gap.values[i], a.values[i], b.values[i]):
        return None
    patterns = (
        "How large is the widest gap between {a} and {b}{points}?",
        "What is the largest difference{points} between {a} and {b} {rows_at}?",
    )
    text = r.say(
        rng,
        *patterns,
        a=named(a.name),
        b=named(b.name),
        points=in_points(r),
        rows_at=f"in any {r.row}" if r.time else f"over all {r.rows}",
    )
    return text, r.number(gap.values[i])


# Ratio


def _quotient(a: Decimal, b: Decimal) -> str | None:
    """a / b to one decimal, if that is worth asking for."""
    value = rounded(a / b, 1)
    return f"{value:f}" if Decimal("1.1") <= value <= 50 else None


def _times(r: Reading, s: Series, rng: Random) -> tuple[int, int, str] | None:
    """Two places of a series and how many times as high one is as the other."""
    found = two_rows(r, rng, s)
    if found is None:
        return None
    quotient = _quotient(s.values[found[0]], s.values[found[1]])
    return (*found, quotient) if quotient else None


@add("ratio", not_scattered, positive)
def ratio_of_rows(r: Reading, rng: Random) -> Asked:
    """How many times as high one row is as another one."""
    s = r.any_series(rng)
    if (found := _times(r, s, rng)) is None:
        return None
    a, b, quotient = found
    patterns = (
        "How many times as high {was} {subject} {at_a} as {at_b}, to one decimal?",
        "What {was} the ratio of {subject} {at_a} to that {at_b}, to one decimal?",
        "By what factor {was} {subject} {at_a} higher than {at_b} (to one decimal)?",
    )
    at: Words = {"at_a": r.at(r.labels[a]), "at_b": r.at(r.labels[b])}
    return r.say(rng, *patterns, series=s, **at), quotient


@add("ratio", several, not_scattered, positive)
def ratio_of_series(r: Reading, rng: Random) -> Asked:
    """How many times as high one series is as another one in a row."""
    i = rng.randrange(len(r.labels))
    s = r.across(i)
    if (found := _times(r, s, rng)) is None:
        return None
    patterns = (
        "{at}, how many times as high {was} the value of {a} as that of {b}, to one decimal?",
        "What {was} the ratio of the values of {a} and {b} {at}, to one decimal?",
    )
    a, b, quotient = found
    names: Words = {"a": named(s.labels[a]), "b": named(s.labels[b])}
    return r.say(rng, *patterns, at=r.at(r.labels[i]), **names), quotient


@add("ratio", discrete, positive)
def ratio_of_extremes(r: Reading, rng: Random) -> Asked:
    """How many times as high the highest value is as the lowest one."""
    s = r.any_series(rng)
    high, low = s.values[s.top], s.values[s.bottom]
    quotient = _quotient(high, low) if r.legible(high, low) else None
    patterns = (
        "How many times as high is the highest {bare} as the lowest one, to one decimal?",
        "What is the ratio of the highest to the lowest {bare}, to one decimal?",
    )
    return (r.say(rng, *patterns, series=s), quotient) if quotient else None


@add("ratio", timed, positive)
def relative_change(r: Reading, rng: Random) -> Asked:
    """By how many percent something rose or fell."""
    s = r.any_series(rng)
    if (pair := two_rows(r, rng, s)) is None:
        return None
    first, last = sorted(pair)
    percent = rounded((s.values[last] / s.values[first] - 1) * 100, 0)
    if not 2 <= abs(percent) <= 500:
        return None
    verb, past = choice(
        rng,
        (("rise", "risen"), ("grow", "grown"))
        if percent > 0
        else (("fall", "fallen"), ("decline", "declined")),
    )
    patterns: tuple[str, ...] = (
        "Relative to {a}, by how many percent had {subject} {past} by {b}? Give a whole number.",
        "Taking {a} as 100 %, by how many percent had {subject} {past} by {b}? "
        "Give a whole number.",
        "By how many percent did {subject} {verb} from {a} to {b}, to the nearest percent?",
    )
    if r.table.unit == "%":  # the last wording would be taken for percentage points
        patterns = patterns[:2]
    words: Words = {"verb": verb, "past": past, "a": r.labels[first], "b": r.labels[last]}
    return r.say(rng, *patterns, series=s, **words), plain(abs(percent))


@add("ratio", discrete, not_shares, additive, positive)
def share_of_total(r: Reading, rng: Random) -> Asked:
    """Which part of the sum over all rows one row makes up, in percent."""
    s, i = r.any_series(rng), rng.randrange(len(r.labels))
    if not r.summable(s.values):
        return None
    percent = rounded(s.values[i] / s.total * 100, 0)
    patterns = (
        "What percentage of the total {bare} over all {rows} falls on {a}, to the nearest percent?",
        "Of the total {bare} over all {rows}, how many percent fall on {a}? Give a whole number.",
    )
    text = r.say(rng, *patterns, series=s, a=r.name(i))
    return (text, plain(percent)) if percent >= 2 else None


@add("ratio", several, not_scattered, not_shares, additive, positive)
def share_of_stack(r: Reading, rng: Random) -> Asked:
    """Which part of a row's sum one series makes up, in percent."""
    i, k = rng.randrange(len(r.labels)), rng.randrange(len(r.columns))
    s = r.across(i)
    if not r.summable(s.values):
        return None
    patterns = (
        "What percentage of the total {at} {falls} on {a}, to the nearest percent?",
        "{at}, how many percent of the sum of all series {fall} on {a}? Give a whole number.",
    )
    percent = rounded(s.values[k] / s.total * 100, 0)
    falls, fall = ("fell", "fell") if r.time else ("falls", "fall")
    text = r.say(rng, *patterns, at=r.at(r.labels[i]), a=named(s.labels[k]), falls=falls, fall=fall)
    return (text, plain(percent)) if percent >= 2 else None


TEMPLATES = _collection.templates
