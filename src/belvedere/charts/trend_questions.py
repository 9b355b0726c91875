"""Questions for how values develop over time, or with another quantity."""

import statistics
from decimal import Decimal
from itertools import pairwise
from random import Random

from belvedere.charts.difference_questions import in_points
from belvedere.charts.reading import Reading, Series, Words
from belvedere.charts.templates import (
    Asked,
    Collection,
    scattered,
    several,
    timed,
)
from belvedere.charts.value_questions import round_limit
from belvedere.charts.wording import choice, yes_no

_collection = Collection()
add = _collection.add
_CLEAR, _NONE = 0.6, 0.15  # correlations from which on, and up to which, everybody agrees


def steps(r: Reading, s: Series) -> list[Decimal] | None:
    """The changes from each row to the next one, if each can be told from none."""
    if all(r.apart(a, b) or a == b for a, b in pairwise(s.values)):
        return [b - a for a, b in pairwise(s.values)]
    return None


@add("trend", timed)
def direction(r: Reading, rng: Random) -> Asked:
    """Whether something rose or fell between two times."""
    s = r.any_series(rng)
    a, b = sorted(rng.sample(range(len(s.values)), 2))
    if not r.apart(s.values[a], s.values[b]):
        return None
    patterns = (
        "Did {subject} increase or decrease from {a} to {b}?",
        "Between {a} and {b}, did {subject} increase or decrease?",
    )
    answer = "Increase" if s.values[b] > s.values[a] else "Decrease"
    return r.say(rng, *patterns, series=s, a=r.labels[a], b=r.labels[b]), answer


def _largest_step(r: Reading, rng: Random, sign: int, words: tuple[str, str]) -> Asked:
    s = r.any_series(rng)
    changes = tuple(sign * (b - a) for a, b in pairwise(s.values))
    moves = Series(r.labels[1:], changes, "", "")
    i = r.top_of(moves)
    if i is None or changes[i] < max(r.step, Decimal(0)) or changes[i] <= 0:
        return None
    patterns = (
        "{which_at} did {subject} {verb} most, compared with the {step} before?",
        "{which_at} was the {noun} in {subject} over the previous {step} largest?",
    )
    return r.say(rng, *patterns, series=s, verb=words[0], noun=words[1]), moves.labels[i]


@add("trend", timed)
def largest_rise(r: Reading, rng: Random) -> Asked:
    """The time of the largest rise."""
    return _largest_step(r, rng, 1, ("rise", "increase"))


@add("trend", timed)
def largest_fall(r: Reading, rng: Random) -> Asked:
    """The time of the largest fall."""
    return _largest_step(r, rng, -1, ("fall", "decrease"))


def _number_of_steps(r: Reading, rng: Random, sign: int, verb: str) -> Asked:
    s = r.any_series(rng)
    changes = steps(r, s)
    if changes is None or len(s.values) > 16:
        return None
    patterns = (
        "How many times did {subject} {verb} from one {step} to the next?",
        "In how many {rows} did {subject} {verb}, compared with the {step} before?",
    )
    return r.say(rng, *patterns, series=s, verb=verb), str(sum(sign * c > 0 for c in changes))


@add("trend", timed)
def number_of_rises(r: Reading, rng: Random) -> Asked:
    """How often something rose."""
    return _number_of_steps(r, rng, 1, "rise")


@add("trend", timed)
def number_of_falls(r: Reading, rng: Random) -> Asked:
    """How often something fell."""
    return _number_of_steps(r, rng, -1, "fall")


@add("trend", timed)
def always_rising(r: Reading, rng: Random) -> Asked:
    """Whether something rose or fell all the time."""
    s = r.any_series(rng)
    changes = steps(r, s)
    if changes is None:
        return None
    sign, verb = choice(rng, ((1, "rise"), (-1, "fall")))
    patterns = (
        "Did {subject} {verb} in every single {step} after {first}?",
        "Did {subject} {verb} steadily {span}, without ever {stopping}?",
    )
    stopping = "falling or standing still" if sign > 0 else "rising or standing still"
    text = r.say(rng, *patterns, series=s, verb=verb, first=r.labels[0], stopping=stopping)
    return text, yes_no(all(sign * change > 0 for change in changes))


@add("trend", timed)
def longest_run(r: Reading, rng: Random) -> Asked:
    """How many times in a row something rose at most."""
    s = r.any_series(rng)
    changes = steps(r, s)
    if changes is None or len(s.values) < 5:
        return None
    sign, verb = choice(rng, ((1, "rise"), (-1, "fall")))
    longest = run = 0
    for change in changes:
        run = run + 1 if sign * change > 0 else 0
        longest = max(longest, run)
    patterns = (
        "What is the largest number of times in a row that {subject} {past}?",
        "At most how many times in succession did {subject} {verb} from one {step} to the next?",
    )
    past = {"rise": "rose", "fall": "fell"}[verb]
    text = r.say(rng, *patterns, series=s, verb=verb, past=past)
    return (text, str(longest)) if longest else None


@add("trend", timed)
def first_beyond(r: Reading, rng: Random) -> Asked:
    """When a limit was passed for the first time."""
    s = r.any_series(rng)
    limit = round_limit(r, rng, s.values)
    if limit is None:
        return None
    above = s.values[0] < limit
    i = next(i for i, v in enumerate(s.values) if (v > limit) == above)
    patterns = (
        "{which_at} {was} {subject} {side} {limit} for the first time?",
        "What {was} the first {row} with {having}?",
    )
    side = "above" if above else "below"
    having = r.having(s, f"{side} {r.limit(limit)}")
    text = r.say(rng, *patterns, series=s, side=side, limit=r.limit(limit), having=having)
    return text, r.labels[i]


@add("trend", timed, several)
def crossing(r: Reading, rng: Random) -> Asked:
    """From when on one series lies above another one that it was below."""
    a, b = rng.sample(list(r.all_series()), 2)
    if not all(r.apart(x, y) for x, y in zip(a.values, b.values, strict=True)):
        return None
    ahead = [x > y for x, y in zip(a.values, b.values, strict=True)]
    changes = [i for i, (x, y) in enumerate(pairwise(ahead), 1) if x != y]
    if len(changes) != 1:
        return None
    upper, lower = (a, b) if ahead[-1] else (b, a)
    patterns = (
        "{which_at} was {upper} higher than {lower} for the first time?",
        "What was the first {row} in which {upper} lay above {lower}?",
    )
    text = r.say(rng, *patterns, upper=upper.subject, lower=r.that(lower))
    return text, r.labels[changes[0]]


@add("trend", timed, several)
def fastest_series(r: Reading, rng: Random) -> Asked:
    """The series that rose or fell most over the period."""
    place = rng.choice((0, -1))
    changes = tuple(s.values[-1] - s.values[0] for s in r.all_series())
    k = r.top_of(Series(r.table.columns, changes, "", ""), place)
    if k is None or (changes[k] if place == 0 else -changes[k]) < r.step:
        return None
    patterns = (
        "Which series {past} most from {a} to {b}{points}?",
        "Which series shows the largest {noun}{points} between {a} and {b}?",
    )
    past, noun = ("rose", "increase") if place == 0 else ("fell", "decrease")
    ends: Words = {"a": r.labels[0], "b": r.labels[-1], "points": in_points(r)}
    return r.say(rng, *patterns, past=past, noun=noun, **ends), r.table.columns[k]


@add("trend", timed, several)
def number_of_rising_series(r: Reading, rng: Random) -> Asked:
    """How many of the series rose over the period."""
    if not all(r.apart(s.values[0], s.values[-1]) for s in r.all_series()):
        return None
    sign, adjective = choice(rng, ((1, "higher"), (-1, "lower")))
    count = sum(sign * (s.values[-1] - s.values[0]) > 0 for s in r.all_series())
    patterns = (
        "How many of the series were {adjective} {at_b} than {at_a}?",
        "How many series ended {adjective} {at_b} than they had started {at_a}?",
    )
    ends: Words = {"at_a": r.at(r.labels[0]), "at_b": r.at(r.labels[-1])}
    return r.say(rng, *patterns, adjective=adjective, **ends), str(count)


def correlation(r: Reading) -> float:
    """Pearson's coefficient of the points of a scatter chart; 0 where there is none."""
    xs, ys = [float(x) for x in r.labels], [float(y) for y in r.columns[0]]
    if len(set(xs)) < 2 or len(set(ys)) < 2:
        return 0.0
    return statistics.correlation(xs, ys)


@add("trend", scattered)
def kind_of_correlation(r: Reading, rng: Random) -> Asked:
    """Whether two quantities go together or against each other."""
    value = correlation(r)
    if abs(value) < _CLEAR:
        return None
    patterns = (
        "Is the correlation between {the_row} and {subject} positive or negative?",
        "Do the points suggest a positive or a negative relation of {the_row} to {subject}?",
    )
    return r.say(rng, *patterns, series=r.series(0)), "Positive" if value > 0 else "Negative"


@add("trend", scattered)
def rising_with_x(r: Reading, rng: Random) -> Asked:
    """Whether one quantity tends to rise with another one."""
    value = correlation(r)
    if _NONE < abs(value) < _CLEAR:
        return None
    verb, sign = choice(rng, (("rise", 1), ("fall", -1)))
    patterns = (
        "Does {subject} tend to {verb} as {the_row} rises?",
        "Does the chart suggest that {subject} tends to {verb} with rising {row}?",
    )
    return r.say(rng, *patterns, series=r.series(0), verb=verb), yes_no(sign * value >= _CLEAR)


TEMPLATES = _collection.templates
