"""Questions that compare rows or series, and that ask for the highest and lowest of them."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import combinations
from random import Random

from belvedere.charts.reading import Reading, Series, Words
from belvedere.charts.templates import (
    Asked,
    Collection,
    discrete,
    not_scattered,
    several,
)
from belvedere.charts.value_questions import round_limit
from belvedere.charts.wording import choice, listed, named

_collection = Collection()
add = _collection.add


def _two(r: Reading, rng: Random, values: Sequence[Decimal]) -> tuple[int, int] | None:
    """Two places whose values can be told apart."""
    pairs = [p for p in combinations(range(len(values)), 2) if r.apart(*(values[i] for i in p))]
    if not pairs:
        return None
    a, b = choice(rng, pairs)
    return (a, b) if rng.random() < 0.5 else (b, a)


def _compared(r: Reading, rng: Random, words: str, sign: int) -> Asked:
    s = r.any_series(rng)
    if (pair := _two(r, rng, s.values)) is None:
        return None
    text = r.say(
        rng,
        "Which {row} has the {words} {bare}, {a} or {b}?",
        "Is {subject} {words} {at_a} or {at_b}?",
        "Of {a} and {b}, which has the {words} {bare}?",
        time=(
            "Was {subject} {words} {at_a} or {at_b}?",
            "{which_at} was {subject} {words}, {a} or {b}?",
        ),
        series=s,
        words=words,
        a=r.name(pair[0]),
        b=r.name(pair[1]),
        at_a=r.at(r.labels[pair[0]]),
        at_b=r.at(r.labels[pair[1]]),
    )
    return text, r.labels[max(pair, key=lambda i: sign * s.values[i])]


@add("comparison", not_scattered)
def higher_row(r: Reading, rng: Random) -> Asked:
    """Which of two rows has the higher value."""
    return _compared(r, rng, "higher", 1)


@add("comparison", not_scattered)
def lower_row(r: Reading, rng: Random) -> Asked:
    """Which of two rows has the lower value."""
    return _compared(r, rng, "lower", -1)


def _series_compared(r: Reading, rng: Random, words: str, sign: int) -> Asked:
    i = rng.randrange(len(r.labels))
    s = r.across(i)
    if (pair := _two(r, rng, s.values)) is None:
        return None
    a, b = pair
    patterns = (
        "Which {was} {words} {at}, {a} or {b}?",
        "{at}, which of {a} and {b} {has} the {words} value?",
        "Which series {has} the {words} value {at}: {a} or {b}?",
    )
    words_of_row: Words = {
        "at": r.at(r.labels[i]),
        "a": named(s.labels[a]),
        "b": named(s.labels[b]),
    }
    text = r.say(rng, *patterns, words=words, **words_of_row)
    return text, s.labels[max(pair, key=lambda k: sign * s.values[k])]


@add("comparison", several, not_scattered)
def higher_series(r: Reading, rng: Random) -> Asked:
    """Which of two series is higher in a row."""
    return _series_compared(r, rng, "higher", 1)


@add("comparison", several, not_scattered)
def lower_series(r: Reading, rng: Random) -> Asked:
    """Which of two series is lower in a row."""
    return _series_compared(r, rng, "lower", -1)


@add("comparison", discrete)
def highest_of_three(r: Reading, rng: Random) -> Asked:
    """Which of three rows has the highest value."""
    s = r.any_series(rng)
    chosen = rng.sample(range(len(r.labels)), 3)
    first, second, _ = sorted(chosen, key=lambda i: -s.values[i])
    if len(r.labels) < 4 or not r.apart(s.values[first], s.values[second]):
        return None
    patterns = (
        "Which of {names} {has} the highest {bare}?",
        "Among {names}, {which_at} {was} {subject} highest?",
    )
    return r.say(rng, *patterns, series=s, names=listed([r.name(i) for i in chosen])), r.labels[
        first
    ]


@add("comparison", discrete)
def closest_row(r: Reading, rng: Random) -> Asked:
    """Which row comes closest to a round number."""
    s = r.any_series(rng)
    if (limit := round_limit(r, rng, s.values)) is None:
        return None
    first, second, *_ = sorted(range(len(s.values)), key=lambda i: abs(s.values[i] - limit))
    if not r.apart(abs(s.values[first] - limit), abs(s.values[second] - limit)):
        return None
    patterns = (
        "Which {row} {has} the {bare} closest to {limit}?",
        "{which_at} {was} {subject} closest to {limit}?",
    )
    return r.say(rng, *patterns, series=s, limit=r.limit(limit)), r.labels[first]


@add("comparison", discrete)
def next_higher_row(r: Reading, rng: Random) -> Asked:
    """Which row comes right above or below another one by its value."""
    s = r.any_series(rng)
    place = rng.randrange(len(s.order) - 1)
    around = [s.values[i] for i in s.order[max(place - 1, 0) : place + 3]]
    if not r.apart(*around):
        return None
    higher, lower = s.order[place], s.order[place + 1]
    words, a, b = choice(rng, (("higher", higher, lower), ("lower", lower, higher)))
    patterns = (
        "Which {row} {has} the next {words} {bare} after {name}?",
        "Starting from {name}, which {row} {has} the next {words} {bare}?",
    )
    return r.say(rng, *patterns, series=s, words=words, name=r.name(b)), r.labels[a]


@add("comparison", discrete)
def equal_rows(r: Reading, rng: Random) -> Asked:
    """Which two rows have the same value."""
    s = r.any_series(rng)
    pairs = [p for p in combinations(range(len(s.values)), 2) if len({s.values[i] for i in p}) == 1]
    if len(pairs) != 1 or not r.exact:
        return None
    patterns = (
        "Which two {rows} {have} the same {bare}?",
        "For which two {rows} is {subject} equal?",
    )
    text = r.say(rng, *patterns, time=("In which two {rows} was {subject} the same?",), series=s)
    return text, listed([r.labels[i] for i in pairs[0]])


# Extremum


@add("extremum")
def highest_row(r: Reading, rng: Random) -> Asked:
    """The row with the highest value."""
    return _ranked(r, rng, 0, "highest")


@add("extremum")
def lowest_row(r: Reading, rng: Random) -> Asked:
    """The row with the lowest value."""
    return _ranked(r, rng, -1, "lowest")


@add("extremum", discrete)
def second_highest_row(r: Reading, rng: Random) -> Asked:
    """The row with the second highest value."""
    return _ranked(r, rng, 1, "second highest")


@add("extremum", discrete)
def second_lowest_row(r: Reading, rng: Random) -> Asked:
    """The row with the second lowest value."""
    return _ranked(r, rng, -2, "second lowest")


@add("extremum", discrete)
def third_highest_row(r: Reading, rng: Random) -> Asked:
    """The row with the third highest value."""
    return _ranked(r, rng, 2, "third highest") if len(r.labels) > 3 else None


def _ranked(r: Reading, rng: Random, place: int, words: str) -> Asked:
    s = r.any_series(rng)
    if (i := r.top_of(s, place)) is None:
        return None
    text = r.say(
        rng,
        "Which {row} {has} the {words} {bare}?",
        "{which_at} {was} {subject} {words}?",
        "Which {row} shows the {words} {bare}?",
        time=(
            "{which_at} was {subject} {words}?",
            "Which {row} had the {words} {bare}?",
            "{which_at} was the {words} {bare} recorded?",
        ),
        number=("At which {row} is {subject} {words}?", "What {row} goes with the {words} {bare}?"),
        series=s,
        words=words,
    )
    return text, r.labels[i]


@add("extremum")
def highest_value(r: Reading, rng: Random) -> Asked:
    """The highest value."""
    return _extreme(r, rng, 0, "highest")


@add("extremum")
def lowest_value(r: Reading, rng: Random) -> Asked:
    """The lowest value."""
    return _extreme(r, rng, -1, "lowest")


@add("extremum", discrete)
def second_highest_value(r: Reading, rng: Random) -> Asked:
    """The second highest value."""
    return _extreme(r, rng, 1, "second highest")


def _extreme(r: Reading, rng: Random, place: int, words: str) -> Asked:
    s = r.any_series(rng)
    # Equal values are no matter for the first and the last place.
    if not r.legible(s.values[s.order[place]]) or (place == 1 and r.top_of(s, place) is None):
        return None
    patterns = (
        "What is the {words} {bare} shown?",
        "What is the {words} {bare} in the chart?",
        "How high is the {words} {bare}?",
    )
    text = r.say(rng, *patterns, time=(*patterns, "What was the {words} {bare} {span}?"), series=s,
                 words=words)  # fmt: skip
    return text, r.number(s.values[s.order[place]])


@add("extremum", several, not_scattered)
def highest_series_in_row(r: Reading, rng: Random) -> Asked:
    """The series that is highest in a row."""
    return _series_ranked(r, rng, 0, "highest")


@add("extremum", several, not_scattered)
def lowest_series_in_row(r: Reading, rng: Random) -> Asked:
    """The series that is lowest in a row."""
    return _series_ranked(r, rng, -1, "lowest")


def _series_ranked(r: Reading, rng: Random, place: int, words: str) -> Asked:
    i = rng.randrange(len(r.labels))
    s = r.across(i)
    if (k := r.top_of(s, place)) is None:
        return None
    patterns = (
        "Which series {has} the {words} value {at}?",
        "{at}, which series {was} {words}?",
        "What {was} the series with the {words} value {at}?",
    )
    return r.say(rng, *patterns, words=words, at=r.at(r.labels[i])), s.labels[k]


@add("extremum", several, not_scattered)
def series_of_record(r: Reading, rng: Random) -> Asked:
    """The series that holds the highest or lowest value of all."""
    place, words = choice(rng, ((0, "highest"), (-1, "lowest")))
    marks = [s.values[s.order[place]] for s in r.all_series()]
    s = Series(r.table.columns, tuple(marks), "", "")
    if (k := r.top_of(s, place)) is None:
        return None
    patterns = (
        "Which series reaches the {words} value of the whole chart?",
        "To which series does the {words} value in the chart belong?",
    )
    return r.say(rng, *patterns, words=words), s.labels[k]


@add("extremum", several, not_scattered)
def value_of_record(r: Reading, rng: Random) -> Asked:
    """The highest or lowest value over all series."""
    end, words = choice(rng, ((max, "highest"), (min, "lowest")))
    value = end(v for column in r.columns for v in column)
    if not r.legible(value):
        return None
    patterns = (
        "What is the {words} value over all series?",
        "What is the {words} value anywhere in the chart?",
    )
    return r.say(rng, *patterns, words=words), r.number(value)


TEMPLATES = _collection.templates
