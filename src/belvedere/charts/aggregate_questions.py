"""Questions for one number out of many: sum, mean, median and range."""

from decimal import Decimal
from random import Random

from belvedere.charts.difference_questions import in_points
from belvedere.charts.reading import Reading, Series, Words
from belvedere.charts.templates import (
    Asked,
    Collection,
    discrete,
    not_scattered,
    not_shares,
    regular,
    scattered,
    several,
    shares,
)
from belvedere.charts.wording import (
    choice,
    in_words,
    named,
    to_places,
)

_collection = Collection()
add = _collection.add


@add("sum", not_scattered)
def sum_of_two_rows(r: Reading, rng: Random) -> Asked:
    """The sum of two rows."""
    s = r.any_series(rng)
    a, b = rng.sample(range(len(r.labels)), 2)
    if not r.summable((s.values[a], s.values[b])):
        return None
    patterns: tuple[str, ...] = (
        "What is the sum of {subject} {at_a} and {at_b}?",
        "What do the values{of} {at_a} and {at_b} add up to?",
    )
    if r.whole:
        patterns = (
            "What share do {a} and {b} have together{in_series}?",
            "How much do {a} and {b} make up together{in_series}?",
        )
    words: Words = {
        "a": r.name(a),
        "b": r.name(b),
        "at_a": r.at(r.labels[a]),
        "at_b": r.at(r.labels[b]),
    }
    of = "" if r.single else f" of {named(s.name)}"
    in_series = "" if r.single else f" in the column of {named(s.name)}"
    text = r.say(rng, *patterns, series=s, of=of, in_series=in_series, **words)
    return text, r.number(s.values[a] + s.values[b])


@add("sum", discrete, not_shares)
def sum_of_series(r: Reading, rng: Random) -> Asked:
    """The sum of a whole series."""
    s = r.any_series(rng)
    if not r.summable(s.values):
        return None
    patterns: tuple[str, ...] = (
        "What is the sum of all values{of}?",
        "What do the values{of} add up to over all {rows}?",
    )
    if r.additive:
        patterns = (*patterns, "What is the total {bare} over all {rows} shown?")
    of = "" if r.single else f" of {named(s.name)}"
    return r.say(rng, *patterns, series=s, of=of), r.number(s.total)


@add("sum", several, not_scattered)
def sum_of_row(r: Reading, rng: Random) -> Asked:
    """The sum of all series in a row."""
    i = rng.randrange(len(r.labels))
    s = r.across(i)
    if not r.summable(s.values):
        return None
    patterns = (
        "What {was} the sum of all series {at}?",
        "What {do} the values of all series add up to {at}?",
    )
    do = "did" if r.time else "do"
    return r.say(rng, *patterns, at=r.at(r.labels[i]), do=do), r.number(s.total)


@add("sum", several, not_scattered)
def sum_of_two_series(r: Reading, rng: Random) -> Asked:
    """The sum of two series in a row."""
    i = rng.randrange(len(r.labels))
    s = r.across(i)
    a, b = rng.sample(range(len(s.values)), 2)
    if len(s.values) < 3 or not r.summable((s.values[a], s.values[b])):
        return None
    patterns = (
        "What {was} the sum of the values of {a} and {b} {at}?",
        "{at}, what {do} the values of {a} and {b} add up to?",
    )
    do = "did" if r.time else "do"
    names: Words = {"a": named(s.labels[a]), "b": named(s.labels[b])}
    text = r.say(rng, *patterns, at=r.at(r.labels[i]), do=do, **names)
    return text, r.number(s.values[a] + s.values[b])


@add("sum", discrete)
def sum_of_extremes(r: Reading, rng: Random) -> Asked:
    """The sum of the highest and the lowest value."""
    s = r.any_series(rng)
    high, low = s.values[s.top], s.values[s.bottom]
    patterns = (
        "What is the sum of the highest and the lowest {bare}?",
        "What do the highest and the lowest {bare} add up to?",
    )
    return (r.say(rng, *patterns, series=s), r.number(high + low)) if r.legible(high, low) else None


@add("sum", discrete)
def sum_of_top(r: Reading, rng: Random) -> Asked:
    """The sum of the two or three highest values."""
    s, count = r.any_series(rng), rng.choice((2, 3))
    chosen = [s.values[i] for i in s.order[:count]]
    if len(s.values) < count + 2 or not r.summable(chosen):
        return None
    patterns: tuple[str, ...] = (
        "What is the sum of the {count} highest values{of}?",
        "What do the {count} highest values{of} add up to?",
    )
    if r.whole and r.single:
        patterns = (
            "What share do the {count} largest {rows} have together?",
            "How much do the {count} largest {rows} make up together?",
        )
    of = "" if r.single else f" of {named(s.name)}"
    text = r.say(rng, *patterns, count=in_words(count), of=of)
    return text, r.number(sum(chosen, Decimal(0)))


@add("sum", regular)
def sum_over_span(r: Reading, rng: Random) -> Asked:
    """The sum over three or four neighbouring times."""
    s, count = r.any_series(rng), rng.choice((3, 4))
    if len(s.values) <= count:
        return None
    start = rng.randrange(len(s.values) - count + 1)
    chosen = s.values[start : start + count]
    if not r.summable(chosen):
        return None
    patterns: tuple[str, ...] = (
        "What is the sum of the values{of} from {a} to {b}, both included?",
        "What do the {count} values{of} from {a} to {b} add up to?",
    )
    if r.additive:
        patterns = (*patterns, "What was the total {bare} from {a} to {b}, both included?")
    of = "" if r.single else f" of {named(s.name)}"
    ends: Words = {"a": r.labels[start], "b": r.labels[start + count - 1]}
    text = r.say(rng, *patterns, series=s, of=of, count=in_words(count), **ends)
    return text, r.number(sum(chosen, Decimal(0)))


@add("sum", shares)
def remaining_share(r: Reading, rng: Random) -> Asked:
    """What all rows but one have together."""
    s, i = r.series(0), rng.randrange(len(r.labels))
    rest = s.total - s.values[i]
    if not r.legible(rest) or len(r.labels) > 8:
        return None
    patterns = (
        "What share do all {rows} except {a} have together?",
        "Leaving out {a}, what do the other {rows} add up to?",
    )
    return r.say(rng, *patterns, a=r.name(i)), r.number(rest)


# Mean


def averaging(r: Reading, series: Series) -> str:
    """The average of a series as a noun phrase."""
    if series.bare.startswith(("average", "mean", "median")):
        return "the mean of the values shown"
    return f"the average {series.bare}"


@add("mean", discrete, not_shares)
def mean_of_series(r: Reading, rng: Random) -> Asked:
    """The mean of a whole series."""
    s = r.any_series(rng)
    if not r.summable(s.values):
        return None
    patterns = (
        "What {was} {average} over all {rows} shown, {places}?",
        "Over all {rows} in the chart, what {was} {average} ({places})?",
    )
    places = to_places(r.mean_places)
    text = r.say(rng, *patterns, average=averaging(r, s), places=places)
    return text, r.number(s.mean, r.mean_places)


@add("mean", not_scattered)
def mean_of_two_rows(r: Reading, rng: Random) -> Asked:
    """The mean of two rows."""
    s = r.any_series(rng)
    a, b = rng.sample(range(len(r.labels)), 2)
    if not r.summable((s.values[a], s.values[b])):
        return None
    patterns = (
        "What is the mean of {subject} {at_a} and {at_b}, {places}?",
        "What is the average of the values{of} {at_a} and {at_b}, {places}?",
    )
    of = "" if r.single else f" of {named(s.name)}"
    at: Words = {"at_a": r.at(r.labels[a]), "at_b": r.at(r.labels[b])}
    text = r.say(rng, *patterns, series=s, of=of, places=to_places(r.mean_places), **at)
    return text, r.number((s.values[a] + s.values[b]) / 2, r.mean_places)


@add("mean", several, not_scattered)
def mean_of_row(r: Reading, rng: Random) -> Asked:
    """The mean of all series in a row."""
    i = rng.randrange(len(r.labels))
    s = r.across(i)
    if not r.summable(s.values):
        return None
    patterns = (
        "What {was} the average of all series {at}, {places}?",
        "{at}, what {was} the mean value of the {count} series, {places}?",
    )
    words: Words = {"count": in_words(len(s.values)), "places": to_places(r.mean_places)}
    return r.say(rng, *patterns, at=r.at(r.labels[i]), **words), r.number(s.mean, r.mean_places)


@add("mean", regular)
def mean_over_span(r: Reading, rng: Random) -> Asked:
    """The mean over three or four neighbouring times."""
    s, count = r.any_series(rng), rng.choice((3, 4))
    if len(s.values) <= count:
        return None
    start = rng.randrange(len(s.values) - count + 1)
    chosen = s.values[start : start + count]
    if not r.summable(chosen):
        return None
    patterns = (
        "What was {average} from {a} to {b}, both included, {places}?",
        "Over the {count} {rows} from {a} to {b}, what was {average} ({places})?",
    )
    words: Words = {
        "a": r.labels[start],
        "b": r.labels[start + count - 1],
        "count": in_words(count),
    }
    text = r.say(rng, *patterns, average=averaging(r, s), places=to_places(r.mean_places), **words)
    return text, r.number(sum(chosen, Decimal(0)) / count, r.mean_places)


@add("mean", discrete)
def mean_of_extremes(r: Reading, rng: Random) -> Asked:
    """The mean of the highest or lowest three values."""
    s = r.any_series(rng)
    words, order = choice(rng, (("highest", s.order), ("lowest", s.order[::-1])))
    chosen = [s.values[i] for i in order[:3]]
    if len(s.values) < 5 or not r.summable(chosen):
        return None
    patterns = (
        "What is the average of the three {words} values{of}, {places}?",
        "What is the mean of the three {words} values{of}, {places}?",
    )
    of = "" if r.single else f" of {named(s.name)}"
    text = r.say(rng, *patterns, words=words, of=of, places=to_places(r.mean_places))
    return text, r.number(sum(chosen, Decimal(0)) / 3, r.mean_places)


@add("mean", discrete, not_shares)
def mean_without_one(r: Reading, rng: Random) -> Asked:
    """The mean of all rows but one."""
    s, i = r.any_series(rng), rng.randrange(len(r.labels))
    if len(s.values) > 8 or len(s.values) < 4 or not r.summable(s.values):
        return None
    patterns = (
        "Leaving out {a}, what {was} {average} of the other {rows}, {places}?",
        "What {was} {average} over all {rows} except {a}, {places}?",
    )
    words: Words = {"average": averaging(r, s), "places": to_places(r.mean_places), "a": r.name(i)}
    value = (s.total - s.values[i]) / (len(s.values) - 1)
    return r.say(rng, *patterns, **words), r.number(value, r.mean_places)


# Median and range


def _median(values: tuple[Decimal, ...]) -> Decimal:
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2


@add("median and range", discrete)
def median_of_series(r: Reading, rng: Random) -> Asked:
    """The median of a series."""
    s = r.any_series(rng)
    if not r.summable(s.values):
        return None
    even = len(s.values) % 2 == 0
    patterns = (
        "What is the median of the values{of}{places}?",
        "What is the median {bare} over the {rows} shown{places}?",
    )
    of = "" if r.single else f" of {named(s.name)}"
    decimals = r.table.decimals + even  # halfway between two values
    text = r.say(rng, *patterns, series=s, of=of, places=f", {to_places(decimals)}" if even else "")
    return text, r.number(_median(s.values), decimals)


@add("median and range", discrete)
def row_of_median(r: Reading, rng: Random) -> Asked:
    """The row that has as many rows above as below it."""
    s = r.any_series(rng)
    middle = len(s.values) // 2
    if len(s.values) % 2 == 0 or len(s.values) > 13 or (i := r.top_of(s, middle)) is None:
        return None
    patterns = (
        "Which {row} {has} the median {bare}?",
        "Which {row} stands exactly in the middle when all {rows} are sorted by {subject}?",
    )
    return r.say(rng, *patterns, series=s), r.labels[i]


@add("median and range", several, not_scattered)
def median_of_row(r: Reading, rng: Random) -> Asked:
    """The median of an odd number of series in a row."""
    i = rng.randrange(len(r.labels))
    s = r.across(i)
    if len(s.values) % 2 == 0 or not r.summable(s.values):
        return None
    patterns = (
        "What {was} the median of the {count} series {at}?",
        "{at}, which value {was} the median of the series?",
    )
    text = r.say(rng, *patterns, at=r.at(r.labels[i]), count=in_words(len(s.values)))
    return text, r.number(_median(s.values))


@add("median and range")
def range_of_series(r: Reading, rng: Random) -> Asked:
    """The distance between the highest and the lowest value."""
    s = r.any_series(rng)
    high, low = s.values[s.top], s.values[s.bottom]
    if not r.legible(high, low, high - low):
        return None
    patterns = (
        "What is the difference{points} between the highest and the lowest {bare}?",
        "What is the range of the values{of}{points}?",
        "How far apart are the highest and the lowest {bare}{points}?",
    )
    of = "" if r.single else f" of {named(s.name)}"
    return r.say(rng, *patterns, series=s, of=of, points=in_points(r)), r.number(high - low)


@add("median and range", several, not_scattered)
def range_of_row(r: Reading, rng: Random) -> Asked:
    """The distance between the highest and the lowest series in a row."""
    i = rng.randrange(len(r.labels))
    s = r.across(i)
    high, low = s.values[s.top], s.values[s.bottom]
    if len(s.values) < 3 or not r.legible(high, low, high - low):
        return None
    patterns = (
        "{at}, how far apart {were} the highest and the lowest series{points}?",
        "What {was} the range of the values of all series {at}{points}?",
    )
    were = "were" if r.time else "are"
    text = r.say(rng, *patterns, at=r.at(r.labels[i]), were=were, points=in_points(r))
    return text, r.number(high - low)


@add("median and range", several, discrete)
def widest_series(r: Reading, rng: Random) -> Asked:
    """The series whose values spread most or least."""
    place, words = choice(rng, ((0, "widest"), (-1, "narrowest")))
    ranges = tuple(s.values[s.top] - s.values[s.bottom] for s in r.all_series())
    if (k := r.top_of(Series(r.table.columns, ranges, "", ""), place)) is None:
        return None
    patterns = (
        "Which series has the {words} range of values?",
        "For which series is the distance between its highest and its lowest value {size}?",
    )
    size = "largest" if place == 0 else "smallest"
    return r.say(rng, *patterns, words=words, size=size), r.table.columns[k]


@add("median and range", scattered)
def range_of_x(r: Reading, rng: Random) -> Asked:
    """How far the points of a scatter chart reach sideways."""
    xs = sorted(Decimal(label) for label in r.labels)
    decimals = max(max(0, -int(x.as_tuple().exponent)) for x in xs)
    patterns = (
        "What is the difference between the highest and the lowest {row}?",
        "How wide is the range of {the_row} over all points?",
    )
    return r.say(rng, *patterns), r.number(xs[-1] - xs[0], decimals)


TEMPLATES = _collection.templates
