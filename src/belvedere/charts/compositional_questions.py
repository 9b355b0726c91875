"""Questions that need several steps."""

import statistics
from collections.abc import Sequence
from decimal import Decimal
from random import Random

from belvedere.charts.aggregate_questions import averaging
from belvedere.charts.difference_questions import gaps, in_points
from belvedere.charts.reading import Reading, Series, Words
from belvedere.charts.templates import (
    Asked,
    Collection,
    discrete,
    not_scattered,
    not_shares,
    scattered,
    several,
    timed,
)
from belvedere.charts.value_questions import round_limit
from belvedere.charts.wording import choice, named, rounded, to_places, yes_no

_collection = Collection()
add = _collection.add


@add("compositional", several, discrete)
def other_series_at_peak(r: Reading, rng: Random) -> Asked:
    """The value of one series where another one is highest or lowest."""
    a, b = rng.sample(list(r.all_series()), 2)
    place, words = choice(rng, ((0, "highest"), (-1, "lowest")))
    i = r.top_of(a, place)
    if i is None or not r.legible(b.values[i]):
        return None
    patterns = (
        "What {was} {b} in the {row} {in_which} {a} {was} {words}?",
        "In the {row} with the {words} {bare}, what {was} {b}?",
    )
    in_which = "in which" if r.time else "for which"
    words_of: Words = {"a": a.subject, "b": b.subject, "bare": a.bare, "in_which": in_which}
    return r.say(rng, *patterns, words=words, **words_of), r.number(b.values[i])


@add("compositional", several, discrete, not_shares)
def row_of_highest_total(r: Reading, rng: Random) -> Asked:
    """The row in which the series add up to most or least."""
    place, words = choice(rng, ((0, "highest"), (-1, "lowest")))
    totals = tuple(sum(row, Decimal(0)) for row in zip(*r.columns, strict=True))
    i = r.top_of(Series(r.labels, totals, "", ""), place)
    if i is None or not r.summable(totals):
        return None
    patterns = (
        "{which_at} {was} the sum of all series {words}?",
        "Adding up all series, which {row} {has} the {words} total?",
    )
    return r.say(rng, *patterns, words=words), r.labels[i]


@add("compositional", several, not_scattered)
def series_of_highest_mean(r: Reading, rng: Random) -> Asked:
    """The series with the highest or lowest mean."""
    place, words = choice(rng, ((0, "highest"), (-1, "lowest")))
    means = tuple(s.mean for s in r.all_series())
    if (k := r.top_of(Series(r.table.columns, means, "", ""), place)) is None:
        return None
    patterns = (
        "Which series has the {words} average over all {rows}?",
        "Averaged over the {rows} shown, which series {was} {words}?",
    )
    return r.say(rng, *patterns, words=words), r.table.columns[k]


@add("compositional", discrete)
def number_beyond_mean(r: Reading, rng: Random) -> Asked:
    """How many rows lie above or below the mean of all."""
    s = r.any_series(rng)
    words, sign = choice(rng, (("above", 1), ("below", -1)))
    if not r.summable(s.values) or not all(r.apart(v, s.mean) for v in s.values):
        return None
    patterns = (
        "How many {rows} {have} {having} of all {rows}?",
        "For how many {rows} {was} {subject} {words} its average over all {rows}?",
    )
    having = r.having(s, f"{words} the average")
    text = r.say(rng, *patterns, series=s, words=words, having=having)
    return text, str(sum(sign * (v - s.mean) > 0 for v in s.values))


@add("compositional", discrete)
def distance_from_mean(r: Reading, rng: Random) -> Asked:
    """How far the highest or the lowest value lies from the mean."""
    s = r.any_series(rng)
    place, words, side = choice(rng, ((0, "highest", "above"), (-1, "lowest", "below")))
    value = s.values[s.order[place]]
    if not r.summable(s.values) or not r.legible(value - s.mean):
        return None
    patterns = (
        "How far is the {words} {bare} {side} the average of all {rows}{points}, {places}?",
        "By how much does the {words} {bare} differ from the mean of all {rows}{points}, {places}?",
    )
    words_of: Words = {"words": words, "side": side, "places": to_places(r.mean_places)}
    text = r.say(rng, *patterns, series=s, points=in_points(r), **words_of)
    return text, r.number(abs(value - s.mean), r.mean_places)


@add("compositional", several, discrete)
def difference_of_means(r: Reading, rng: Random) -> Asked:
    """How far the means of two series are apart."""
    a, b, _ = gaps(r, rng)
    if a.mean < b.mean:
        a, b = b, a
    if not r.summable(a.values) or not r.summable(b.values) or not r.legible(a.mean - b.mean):
        return None
    patterns = (
        "By how much does the average of {a} exceed that of {b}{points}, {places}?",
        "What is the difference{points} between the averages of {a} and {b}, {places}?",
    )
    words: Words = {"a": named(a.name), "b": named(b.name), "places": to_places(r.mean_places)}
    text = r.say(rng, *patterns, points=in_points(r), **words)
    return text, r.number(a.mean - b.mean, r.mean_places)


@add("compositional", several, discrete)
def difference_of_sums(r: Reading, rng: Random) -> Asked:
    """How far the sums of two series over two rows are apart."""
    a, b = rng.sample(list(r.all_series()), 2)
    i, j = rng.sample(range(len(r.labels)), 2)
    totals = [s.values[i] + s.values[j] for s in (a, b)]
    if not r.legible(*a.values, *b.values, totals[0] - totals[1]) or totals[0] == totals[1]:
        return None
    patterns = (
        "Adding the values {at_i} and {at_j}, by how much do {a} and {b} differ{points}?",
        "What is the difference{points} between the sums of {a} and of {b} {at_i} and {at_j}?",
    )
    words: Words = {"a": named(a.name), "b": named(b.name), "points": in_points(r)}
    at: Words = {"at_i": r.at(r.labels[i]), "at_j": r.at(r.labels[j])}
    return r.say(rng, *patterns, **words, **at), r.number(abs(totals[0] - totals[1]))


@add("compositional", discrete)
def rank_of_row(r: Reading, rng: Random) -> Asked:
    """Which place a row takes among all of them."""
    s, place = r.any_series(rng), rng.randrange(min(6, len(r.labels)))
    if (i := r.top_of(s, place)) is None:
        return None
    patterns = (
        "Counted from the highest {bare}, which rank does {name} take? Answer with a number.",
        "When all {rows} are sorted from the highest to the lowest {bare}, at which place "
        "is {name}? Answer with a number.",
    )
    return r.say(rng, *patterns, series=s, name=r.name(i)), str(place + 1)


@add("compositional", discrete)
def highest_but_one(r: Reading, rng: Random) -> Asked:
    """The highest or lowest row once another one is left out."""
    s = r.any_series(rng)
    place, words = choice(rng, ((0, "highest"), (-1, "lowest")))
    left_out, second = (s.order[0], s.order[1]) if place == 0 else (s.order[-1], s.order[-2])
    if r.top_of(s, place) is None or r.top_of(s, 1 if place == 0 else -2) is None:
        return None
    patterns = (
        "Leaving out {name}, which {row} {has} the {words} {bare}?",
        "Apart from {name}, {which_at} {was} {subject} {words}?",
    )
    return r.say(rng, *patterns, series=s, words=words, name=r.name(left_out)), r.labels[second]


@add("compositional", discrete)
def smallest_two_against_largest(r: Reading, rng: Random) -> Asked:
    """Whether the two lowest rows together are more than the highest one."""
    s = r.any_series(rng)
    both = s.values[s.order[-1]] + s.values[s.order[-2]]
    high = s.values[s.top]
    if len(s.values) < 4 or s.values[s.bottom] < 0 or not r.apart(both, high):
        return None
    patterns = (
        "Is the sum of the two lowest values{of} greater than the highest one?",
        "Do the two lowest values{of} together exceed the highest value?",
    )
    of = "" if r.single else f" of {named(s.name)}"
    return r.say(rng, *patterns, of=of), yes_no(both > high)


@add("compositional", timed)
def time_from_low_to_high(r: Reading, rng: Random) -> Asked:
    """How many steps lie between the lowest and the highest value."""
    s = r.any_series(rng)
    low, high = r.top_of(s, -1), r.top_of(s)
    if low is None or high is None or len(s.values) > 30:
        return None
    numbers = [r.labels[i] for i in (low, high)]
    if r.row == "year" and all(n.isdigit() for n in numbers):
        between = abs(int(numbers[0]) - int(numbers[1]))
        patterns: Sequence[str] = (
            "How many years lie between the {rows} of the lowest and of the highest {bare}?",
            "By how many years are the highest and the lowest {bare} separated?",
        )
    else:
        between = abs(low - high)
        patterns = (
            "How many steps along the axis are there from the {row} of the lowest to the {row} of "
            "the highest {bare}?",
        )
    return r.say(rng, *patterns, series=s), str(between)


@add("compositional", discrete)
def highest_against_lowest_two(r: Reading, rng: Random) -> Asked:
    """How often the highest value would hold the sum of the two lowest ones."""
    s = r.any_series(rng)
    high, low = s.values[s.top], s.values[s.order[-1]] + s.values[s.order[-2]]
    if (
        s.values[s.bottom] <= 0
        or not r.legible(high, s.values[s.bottom])
        or high < low * Decimal("1.2")
    ):
        return None
    patterns = (
        "How many times as high is the highest {bare} as the sum of the two lowest ones, "
        "to one decimal?",
        "What is the ratio of the highest {bare} to the two lowest ones combined, to one decimal?",
    )
    return r.say(rng, *patterns, series=s), f"{rounded(high / low, 1):f}"


@add("compositional", timed)
def change_of_halves(r: Reading, rng: Random) -> Asked:
    """Whether the mean of the last three times is above that of the first three."""
    s = r.any_series(rng)
    first, last = sum(s.values[:3], Decimal(0)) / 3, sum(s.values[-3:], Decimal(0)) / 3
    if len(s.values) < 6 or not r.apart(first, last):
        return None
    patterns = (
        "Was {average} of the last three {rows} higher than that of the first three?",
        "Taking averages, was {subject} higher in the last three {rows} than in the first three?",
    )
    text = r.say(rng, *patterns, average=averaging(r, s), series=s)
    return text, yes_no(last > first)


@add("compositional", scattered)
def number_in_corner(r: Reading, rng: Random) -> Asked:
    """How many points lie above a limit and to the right of another one."""
    xs = [Decimal(label) for label in r.labels]
    limit = round_limit(r, rng, r.columns[0])
    middle = statistics.median(xs)
    spread = (max(xs) - min(xs)) / 50
    if limit is None or any(abs(x - middle) < spread for x in xs):
        return None
    patterns = (
        "For how many points is {the_row} above {middle} and {subject} above {limit}?",
        "Where {the_row} is above {middle}, how many points have {having}?",
    )
    count = sum(x > middle and y > limit for x, y in zip(xs, r.columns[0], strict=True))
    having = r.having(r.series(0), f"above {r.limit(limit)}")
    words: Words = {"middle": f"{middle:f}", "limit": r.limit(limit), "having": having}
    text = r.say(rng, *patterns, series=r.series(0), **words)
    return text, str(count)


TEMPLATES = _collection.templates
