"""Questions that are answered by yes or no."""

from decimal import Decimal
from random import Random

from belvedere.charts.aggregate_questions import averaging
from belvedere.charts.reading import Reading, Series, Words
from belvedere.charts.templates import (
    Asked,
    Collection,
    discrete,
    not_scattered,
    not_shares,
    positive,
    several,
    shares,
)
from belvedere.charts.value_questions import round_limit
from belvedere.charts.wording import choice, named, yes_no

_collection = Collection()
add = _collection.add


@add("yes/no", not_scattered)
def row_is_higher(r: Reading, rng: Random) -> Asked:
    """Whether one row is higher than another one."""
    s = r.any_series(rng)
    a, b = rng.sample(range(len(s.values)), 2)
    if not r.apart(s.values[a], s.values[b]):
        return None
    words, sign = choice(rng, (("higher", 1), ("lower", -1)))
    patterns: tuple[str, ...] = ("{was} {subject} {at_a} {words} than {at_b}?",)
    if not r.time:
        patterns = (*patterns, "Is it true that {subject} is {words} {at_a} than {at_b}?")
    text = r.say(
        rng,
        *patterns,
        time=(*patterns, "Was {subject} {words} {at_a} than it was {at_b}?"),
        series=s,
        words=words,
        at_a=r.at(r.labels[a]),
        at_b=r.at(r.labels[b]),
    )
    return text, yes_no(sign * (s.values[a] - s.values[b]) > 0)


@add("yes/no", several, not_scattered)
def series_is_higher(r: Reading, rng: Random) -> Asked:
    """Whether one series is higher than another one in a row."""
    i = rng.randrange(len(r.labels))
    s = r.across(i)
    a, b = rng.sample(range(len(s.values)), 2)
    if not r.apart(s.values[a], s.values[b]):
        return None
    patterns = (
        "{at}, {was} the value of {a} higher than that of {b}?",
        "Is the value for {a} {at} above the value for {b}?",
    )
    names: Words = {"a": named(s.labels[a]), "b": named(s.labels[b])}
    text = r.say(rng, *patterns, at=r.at(r.labels[i]), **names)
    return text, yes_no(s.values[a] > s.values[b])


@add("yes/no", several, discrete)
def series_always_higher(r: Reading, rng: Random) -> Asked:
    """Whether one series is higher than another one everywhere."""
    a, b = rng.sample(list(r.all_series()), 2)
    if not all(r.apart(x, y) for x, y in zip(a.values, b.values, strict=True)):
        return None
    if sum(a.values) < sum(b.values):  # else nearly all answers would be "No"
        a, b = b, a
    patterns = (
        "{was} {a} higher than {b} {every_at}?",
        "Is it true that {a} {was} above {b} for all {rows} shown?",
    )
    text = r.say(rng, *patterns, a=a.subject, b=r.that(b))
    return text, yes_no(all(x > y for x, y in zip(a.values, b.values, strict=True)))


def _quantified(r: Reading, rng: Random, inside: bool) -> tuple[Series, Decimal] | None:
    """A series and a limit: between its values, or a little below or above all of them."""
    s = r.any_series(rng)
    values = list(s.values)
    if not inside:
        span = max(values[s.top] - values[s.bottom], 3 * r.step)
        values = [values[s.bottom], values[s.bottom] - span / 2]
        if values[0] <= 3 * r.step < 3 * span and min(s.values) >= 0:
            return None  # the limit would be below zero, which nobody asks about
    limit = round_limit(r, rng, values)
    return None if limit is None else (s, limit)


@add("yes/no")
def all_above(r: Reading, rng: Random) -> Asked:
    """Whether all values lie above a limit."""
    if (found := _quantified(r, rng, rng.random() < 0.5)) is None:
        return None
    s, limit = found
    if limit <= 0 <= s.values[s.bottom]:
        return None
    patterns = (
        "{was} {subject} above {limit} {every_at}?",
        "Are all values{of} above {limit}?",
    )
    of = "" if r.single else f" of {named(s.name)}"
    text = r.say(rng, *patterns, series=s, limit=r.limit(limit), of=of)
    return text, yes_no(all(v > limit for v in s.values))


@add("yes/no")
def any_above(r: Reading, rng: Random) -> Asked:
    """Whether any value lies above a limit."""
    s = r.any_series(rng)
    high = s.values[s.top]
    limit = round_limit(r, rng, s.values)
    if rng.random() < 0.5:
        limit = round_limit(r, rng, (high, high + max(abs(high) / 4, 4 * r.step)))
    if limit is None:
        return None
    patterns = ("Does any {one} have {having}?", "Is there any {one} with {having}?")
    one = "point" if r.scatter else r.row
    having = r.having(s, f"above {r.limit(limit)}")
    from_time = (
        "Did {subject} ever exceed {limit} {span}?",
        "Was {subject} above {limit} at any time?",
    )
    text = r.say(
        rng,
        *patterns,
        time=from_time,
        series=s,
        one=one,
        having=having,
        limit=r.limit(limit),
    )
    return text, yes_no(high > limit)


@add("yes/no", discrete)
def row_is_extreme(r: Reading, rng: Random) -> Asked:
    """Whether a row is the highest or lowest one."""
    s = r.any_series(rng)
    place, words = choice(rng, ((0, "highest"), (-1, "lowest")))
    if (i := r.top_of(s, place)) is None:
        return None
    near = s.order[1] if place == 0 else s.order[-2]
    asked = i if rng.random() < 0.5 else near
    patterns = (
        "Is {name} the {row} with the {words} {bare}?",
        "Is the {words} {bare} found {at}?",
    )
    text = r.say(
        rng,
        *patterns,
        time=("Was {subject} {words} {at}?", "Was the {words} {bare} reached {at}?"),
        series=s,
        words=words,
        name=r.name(asked),
        at=r.at(r.labels[asked]),
    )
    return text, yes_no(asked == i)


@add("yes/no", discrete)
def sum_exceeds(r: Reading, rng: Random) -> Asked:
    """Whether two rows together are more than a third one."""
    s = r.any_series(rng)
    a, b, c = rng.sample(range(len(s.values)), 3)
    if rng.random() < 0.6:  # else nearly all answers would be "Yes"
        (a, b), c = rng.sample(s.order[-max(2, len(s.order) // 2) :], 2), s.top
    both = s.values[a] + s.values[b]
    if not r.apart(both, s.values[c]) or not r.legible(s.values[a], s.values[b], s.values[c]):
        return None
    patterns = (
        "Is the sum of {subject} {at_a} and {at_b} greater than the value {at_c}?",
        "Do the values{of} {at_a} and {at_b} together exceed the value {at_c}?",
    )
    of = "" if r.single else f" of {named(s.name)}"
    at: Words = {f"at_{k}": r.at(r.labels[i]) for k, i in zip("abc", (a, b, c), strict=True)}
    return r.say(rng, *patterns, series=s, of=of, **at), yes_no(both > s.values[c])


@add("yes/no", shares)
def more_than_half(r: Reading, rng: Random) -> Asked:
    """Whether one or two rows make up more than half of a whole."""
    s, count = r.series(0), rng.choice((1, 2, 2))
    chosen = s.order[:count] if rng.random() < 0.5 else rng.sample(range(len(s.values)), count)
    together = sum((s.values[i] for i in chosen), Decimal(0))
    if len(s.values) <= count or not r.apart(together, s.total / 2):
        return None
    names = " and ".join(r.name(i) for i in chosen)
    patterns = (
        "Is the share of {names} larger than one half?",
        "Is more than half due to {names}?",
    )
    if count == 2:
        patterns = (
            "Do {names} together make up more than half of the whole?",
            "Is the share of {names} combined larger than one half?",
        )
    text = r.say(rng, *patterns, names=names)
    return text, yes_no(together > s.total / 2)


@add("yes/no", not_scattered, positive)
def more_than_twice(r: Reading, rng: Random) -> Asked:
    """Whether one row is more than twice as high as another one."""
    s = r.any_series(rng)
    a, b = rng.sample(range(len(s.values)), 2)
    if s.values[a] < s.values[b]:
        a, b = b, a
    if not r.apart(s.values[a], 2 * s.values[b], s.values[b]):
        return None
    patterns = (
        "{was} {subject} {at_a} more than twice as high as {at_b}?",
        "{was} {subject} {at_a} more than double that {at_b}?",
    )
    at: Words = {"at_a": r.at(r.labels[a]), "at_b": r.at(r.labels[b])}
    return r.say(rng, *patterns, series=s, **at), yes_no(s.values[a] > 2 * s.values[b])


@add("yes/no", discrete, not_shares)
def mean_exceeds(r: Reading, rng: Random) -> Asked:
    """Whether the mean lies above a limit."""
    s = r.any_series(rng)
    margin = max((s.values[s.top] - s.values[s.bottom]) / 3, 3 * r.step)
    low, high = (s.mean - margin, s.mean) if rng.random() < 0.5 else (s.mean, s.mean + margin)
    limit = round_limit(r, rng, (low, high))
    if limit is None or not r.summable(s.values) or (limit <= 0 <= s.values[s.bottom]):
        return None
    patterns = (
        "{was} {average} over all {rows} above {limit}?",
        "Taken over all {rows}, {was} {average} higher than {limit}?",
    )
    return r.say(rng, *patterns, average=averaging(r, s), limit=r.limit(limit)), yes_no(
        s.mean > limit
    )


TEMPLATES = _collection.templates
