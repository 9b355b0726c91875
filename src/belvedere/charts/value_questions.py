"""Questions for values as they stand in the chart, and for how many of them there are."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from random import Random

from belvedere.charts.reading import Reading, Series
from belvedere.charts.templates import (
    Asked,
    Collection,
    discrete,
    scattered,
    several,
    single,
    timed,
)
from belvedere.charts.wording import choice, named, roundest

_collection = Collection()
add = _collection.add


@add("retrieval", single)
def value_of_row(r: Reading, rng: Random) -> Asked:
    """The value of a row."""
    i = rng.randrange(len(r.labels))
    if not (r.nameable(i) and r.legible(r.columns[0][i])):
        return None
    patterns = (
        "What {was} {cell}?",
        "How high {was} {cell}?",
        "What value does the chart show for {name}?",
        "What {noun} does the chart give {at}?",
    )
    text = r.say(
        rng,
        *patterns,
        cell=r.cell(i),
        at=r.at(r.labels[i]),
        noun=r.noun,
        name=r.labels[i] if r.scatter else r.name(i),
    )
    return text, r.number(r.columns[0][i])


@add("retrieval", several)
def value_of_cell(r: Reading, rng: Random) -> Asked:
    """The value of a series in a row."""
    i, s = rng.randrange(len(r.labels)), r.any_series(rng)
    if not (r.nameable(i) and r.legible(s.values[i])):
        return None
    patterns = (
        "What {was} {cell}?",
        "How high {was} {cell}?",
        "What does the chart give as {cell}?",
    )
    return r.say(rng, *patterns, cell=r.cell(i, s.index)), r.number(s.values[i])


def _end(r: Reading, rng: Random, place: int, words: str) -> Asked:
    s = r.any_series(rng)
    if not r.legible(s.values[place]):
        return None
    patterns = (
        "What was {subject} in the {words} {row} shown?",
        "How high was {subject} in the {words} {row} of the chart?",
        "At what value does the chart {verb}{of}?",
    )
    of = "" if r.single else f" for {named(s.name)}"
    verb = "start" if place == 0 else "end"
    return r.say(rng, *patterns, series=s, words=words, of=of, verb=verb), r.number(s.values[place])


@add("retrieval", timed)
def first_value(r: Reading, rng: Random) -> Asked:
    """The value at the start of the period."""
    return _end(r, rng, 0, "first")


@add("retrieval", timed)
def last_value(r: Reading, rng: Random) -> Asked:
    """The value at the end of the period."""
    return _end(r, rng, -1, "last")


def _only(r: Reading, values: Sequence[Decimal], index: int) -> bool:
    """Whether a value can be read, and told from all of the others."""
    others = [v for i, v in enumerate(values) if i != index]
    return r.legible(values[index]) and all(r.apart(v, values[index]) for v in others)


@add("retrieval", discrete)
def row_of_value(r: Reading, rng: Random) -> Asked:
    """The row that has a given value."""
    s, i = r.any_series(rng), rng.randrange(len(r.labels))
    if not _only(r, s.values, i):
        return None
    patterns = (
        "Which {row} {has} {having}?",
        "{which_at} {was} {subject} {amount}?",
        "{which_at} does the chart show {having}?",
    )
    amount = r.amount(s.values[i])
    text = r.say(rng, *patterns, series=s, amount=amount, having=r.having(s, f"of {amount}"))
    return text, r.labels[i]


@add("retrieval", several, discrete)
def series_of_value(r: Reading, rng: Random) -> Asked:
    """The series that has a given value in a row."""
    i, k = rng.randrange(len(r.labels)), rng.randrange(len(r.columns))
    s = r.across(i)
    if not _only(r, s.values, k):
        return None
    patterns = (
        "Which series {has} a value of {amount} {at}?",
        "Which series {was} at {amount} {at}?",
    )
    text = r.say(rng, *patterns, amount=r.amount(s.values[k]), at=r.at(r.labels[i]))
    return text, s.labels[k]


@add("retrieval", timed)
def next_value(r: Reading, rng: Random) -> Asked:
    """The value right after a named time."""
    s, i = r.any_series(rng), rng.randrange(len(r.labels) - 1)
    if not r.legible(s.values[i + 1]):
        return None
    patterns = (
        "What was {subject} in the {row} shown right after {label}?",
        "What value did {subject} take in the {row} that follows {label} in the chart?",
    )
    return r.say(rng, *patterns, series=s, label=r.labels[i]), r.number(s.values[i + 1])


@add("retrieval", scattered)
def value_of_outermost_point(r: Reading, rng: Random) -> Asked:
    """The height of the point furthest to the left or to the right."""
    end, words = choice(rng, ((min, "lowest"), (max, "highest")))
    xs = [float(label) for label in r.labels]
    i = xs.index(end(xs))
    if not (r.readable_x(i) and r.legible(r.columns[0][i])):
        return None
    patterns = (
        "What is {subject} of the point with the {words} {row}?",
        "How high is {subject} where {the_row} is {words}?",
    )
    return r.say(rng, *patterns, series=r.series(0), words=words), r.number(r.columns[0][i])


# Counting


@add("counting", discrete)
def number_of_rows(r: Reading, rng: Random) -> Asked:
    """How many rows there are."""
    patterns = (
        "How many {rows} are shown in the chart?",
        "How many {rows} does the chart cover?",
        "For how many {rows} does the chart give values?",
    )
    return r.say(rng, *patterns), str(len(r.labels))


@add("counting", several)
def number_of_series(r: Reading, rng: Random) -> Asked:
    """How many series there are."""
    patterns = (
        "How many series are compared in the chart?",
        "How many different series does the chart show?",
        "How many values does the chart give for each {row}?",
    )
    return r.say(rng, *patterns), str(len(r.columns))


def round_limit(r: Reading, rng: Random, values: Sequence[Decimal]) -> Decimal | None:
    """A round number between two neighbouring values, close to neither of them."""
    gaps = [(a, b) for a, b in pairwise(sorted(values)) if b - a > 2 * r.step]
    if not gaps:
        return None
    low, high = choice(rng, gaps)
    return roundest(low + r.step / 2, high - r.step / 2)


_SATISFYING = (
    "How many {rows} {have} {having}?",
    "For how many {rows} {was} {subject} {words}?",
)
_SATISFYING_TIMES = ("In how many {rows} was {subject} {words}?", "How many {rows} saw {having}?")
_SATISFYING_POINTS = (
    "How many points have {having}?",
    "For how many points is {subject} {words}?",
)


def how_many(r: Reading, rng: Random, s: Series, words: str) -> str:
    """Asks for how many rows something holds."""
    return r.say(
        rng,
        *_SATISFYING,
        time=_SATISFYING_TIMES,
        number=_SATISFYING_POINTS,
        series=s,
        words=words,
        having=r.having(s, words),
    )


@add("counting")
def number_above(r: Reading, rng: Random) -> Asked:
    """How many values lie above a limit."""
    s = r.any_series(rng)
    if (limit := round_limit(r, rng, s.values)) is None:
        return None
    words = choice(rng, ("above", "higher than"))
    return how_many(r, rng, s, f"{words} {r.limit(limit)}"), str(sum(v > limit for v in s.values))


@add("counting")
def number_below(r: Reading, rng: Random) -> Asked:
    """How many values lie below a limit."""
    s = r.any_series(rng)
    if (limit := round_limit(r, rng, s.values)) is None:
        return None
    words = choice(rng, ("below", "lower than"))
    return how_many(r, rng, s, f"{words} {r.limit(limit)}"), str(sum(v < limit for v in s.values))


@add("counting")
def number_between(r: Reading, rng: Random) -> Asked:
    """How many values lie between two limits."""
    s = r.any_series(rng)
    drawn = [round_limit(r, rng, s.values) for _ in range(4)]
    limits = sorted({limit for limit in drawn if limit is not None})
    if len(limits) < 2:
        return None
    low, high = limits[0], limits[-1]
    words = f"between {r.limit(low)} and {r.limit(high)}"
    return how_many(r, rng, s, words), str(sum(low < v < high for v in s.values))


@add("counting", several, discrete)
def number_of_series_above(r: Reading, rng: Random) -> Asked:
    """How many series lie above a limit in a row."""
    i = rng.randrange(len(r.labels))
    s = r.across(i)
    if (limit := round_limit(r, rng, s.values)) is None:
        return None
    patterns = (
        "How many of the series {have} a value above {limit} {at}?",
        "{at}, how many series {were} above {limit}?",
    )
    were = "were" if r.time else "are"
    text = r.say(rng, *patterns, limit=r.limit(limit), at=r.at(r.labels[i]), were=were)
    return text, str(sum(v > limit for v in s.values))


@add("counting", several, discrete)
def number_of_wins(r: Reading, rng: Random) -> Asked:
    """In how many rows one series lies above another one."""
    a, b = rng.sample(list(r.all_series()), 2)
    if not all(r.apart(x, y) for x, y in zip(a.values, b.values, strict=True)):
        return None
    patterns = (
        "For how many {rows} is {a} higher than {b}?",
        "How many {rows} have a higher value for {a_name} than for {b_name}?",
    )
    text = r.say(
        rng,
        *patterns,
        time=("In how many {rows} was {a} higher than {b}?",),
        a=a.subject,
        b=r.that(b),
        a_name=named(a.name),
        b_name=named(b.name),
    )
    return text, str(sum(x > y for x, y in zip(a.values, b.values, strict=True)))


TEMPLATES = _collection.templates
