"""Questions for the colours of a chart."""

from collections import Counter
from random import Random

from belvedere.charts.picture import (
    coloured,
    distinct,
    noun,
    row_colours,
    rows_coloured,
    series_colours,
)
from belvedere.charts.reading import Reading, Series, Words
from belvedere.charts.templates import Asked, Collection, discrete, not_scattered, single
from belvedere.charts.wording import choice, named, plural, yes_no

_collection = Collection()
add = _collection.add


@add("colour", coloured)
def colour_of_series(r: Reading, rng: Random) -> Asked:
    """The colour of a series."""
    name, colour = choice(rng, list(series_colours(r).items()))
    patterns = (
        "Which colour stands for {name}?",
        "What is the colour of the {marks} for {name}?",
        "Which colour is used for {name}?",
    )
    marks = noun(r) if len(r.layout.marks) == len(r.columns) else plural(noun(r))
    return r.say(rng, *patterns, name=named(name), marks=marks), colour


@add("colour", coloured)
def series_of_colour(r: Reading, rng: Random) -> Asked:
    """The series that has a colour."""
    name, colour = choice(rng, list(series_colours(r).items()))
    one_each = len(r.layout.marks) == len(r.columns)
    patterns = (
        "What does the {colour} {marks} show?"
        if one_each
        else "What do the {colour} {marks} show?",
        "Which series is drawn in {colour}?",
        "Which series does the colour {colour} stand for?",
    )
    marks = noun(r) if one_each else plural(noun(r))
    return r.say(rng, *patterns, colour=colour, marks=marks), name


@add("colour", rows_coloured)
def colour_of_row(r: Reading, rng: Random) -> Asked:
    """The colour of a row."""
    name, colour = choice(rng, list(row_colours(r).items()))
    patterns = (
        "What is the colour of the {mark} for {name}?",
        "In which colour is the {mark} for {name} drawn?",
    )
    return r.say(rng, *patterns, mark=noun(r), name=named(name)), colour


@add("colour", rows_coloured)
def row_of_colour(r: Reading, rng: Random) -> Asked:
    """The row that has a colour."""
    name, colour = choice(rng, list(row_colours(r).items()))
    patterns = (
        "Which {row} is shown by the {colour} {mark}?",
        "What does the {colour} {mark} stand for?",
        "Which {row} is drawn in {colour}?",
    )
    return r.say(rng, *patterns, mark=noun(r), colour=colour), name


@add("colour", rows_coloured)
def value_of_coloured_row(r: Reading, rng: Random) -> Asked:
    """The value of the row that has a colour."""
    name, colour = choice(rng, list(row_colours(r).items()))
    value = r.columns[0][r.labels.index(name)]
    if not r.legible(value):
        return None
    patterns = (
        "What is the value of the {colour} {mark}?",
        "Which value does the {colour} {mark} have?",
    )
    return r.say(rng, *patterns, mark=noun(r), colour=colour), r.number(value)


@add("colour", rows_coloured)
def colour_of_extreme_row(r: Reading, rng: Random) -> Asked:
    """The colour of the largest or smallest mark."""
    place, words = choice(rng, ((0, "largest"), (-1, "smallest")))
    if (i := r.top_of(r.series(0), place)) is None:
        return None
    patterns = (
        "Which colour does the {words} {mark} have?",
        "What is the colour of the {mark} with the {words} value?",
    )
    return r.say(rng, *patterns, mark=noun(r), words=words), row_colours(r)[r.labels[i]]


@add("colour", rows_coloured)
def sum_of_coloured_rows(r: Reading, rng: Random) -> Asked:
    """The sum of the values of two colours."""
    (a, first), (b, second) = rng.sample(list(row_colours(r).items()), 2)
    x, y = (r.columns[0][r.labels.index(name)] for name in (a, b))
    if not r.legible(x, y):
        return None
    patterns = (
        "What is the sum of the {first} and the {second} {mark}?",
        "What do the {first} {mark} and the {second} {mark} add up to?",
    )
    return r.say(rng, *patterns, mark=noun(r), first=first, second=second), r.number(x + y)


@add("colour", single)
def colour_of_all(r: Reading, rng: Random) -> Asked:
    """The one colour of all marks."""
    found = {mark.colour_name for mark in r.layout.marks}
    if len(found) != 1:
        return None
    one = len(r.layout.marks) == 1
    patterns = (
        "Which colour {does} the {marks} in the chart have?",
        "What is the colour of the {marks}?",
        "In which colour {are} the {marks} drawn?",
    )
    words: Words = {"does": "does", "are": "is"} if one else {"does": "do", "are": "are"}
    marks = noun(r) if one else plural(noun(r))
    return r.say(rng, *patterns, marks=marks, **words), found.pop()


@add("colour", single, discrete)
def odd_colour(r: Reading, rng: Random) -> Asked:
    """The row whose mark is the only one of another colour."""
    counts = Counter(mark.colour_name for mark in r.layout.marks)
    if len(counts) != 2 or len(r.layout.marks) < 4 or min(counts.values()) != 1:
        return None
    odd = min(counts, key=lambda colour: counts[colour])
    if max(counts.values()) == 1 or not distinct(list(counts)):
        return None
    marks = [m for m in r.layout.marks if m.colour_name == odd and len(m.labels) == 1]
    patterns = (
        "Which {row} is highlighted by a {mark} of another colour?",
        "The {mark} of which {row} differs in colour from all others?",
    )
    return (r.say(rng, *patterns, mark=noun(r)), marks[0].labels[0]) if marks else None


@add("colour")
def number_of_colours(r: Reading, rng: Random) -> Asked:
    """How many colours the marks have."""
    found = {mark.colour_name for mark in r.layout.marks}
    if len(found) < 2 or not distinct(sorted(found)):
        return None
    patterns = (
        "How many different colours do the {marks} have?",
        "In how many colours are the {marks} drawn?",
    )
    return r.say(rng, *patterns, marks=plural(noun(r))), str(len(found))


def _cell_of_colour(r: Reading, rng: Random) -> tuple[str, int, int, Series]:
    """A colour, the series that it stands for, a row, and that series."""
    name, colour = choice(rng, list(series_colours(r).items()))
    k = r.table.columns.index(name)
    return colour, k, rng.randrange(len(r.labels)), r.series(k)


@add("colour", coloured, not_scattered)
def value_of_coloured_cell(r: Reading, rng: Random) -> Asked:
    """The value of a colour in a row."""
    colour, _, i, s = _cell_of_colour(r, rng)
    if not r.legible(s.values[i]):
        return None
    patterns = (
        "What {was} the value of the {colour} {mark} {at}?",
        "Which value {does} the {colour} {mark} have {at}?",
    )
    does = "did" if r.time else "does"
    text = r.say(rng, *patterns, colour=colour, mark=noun(r), at=r.at(r.labels[i]), does=does)
    return text, r.number(s.values[i])


@add("colour", coloured, discrete)
def row_of_coloured_extreme(r: Reading, rng: Random) -> Asked:
    """The row in which a colour is highest or lowest."""
    colour, _, _, s = _cell_of_colour(r, rng)
    place, words = choice(rng, ((0, "highest"), (-1, "lowest")))
    if (i := r.top_of(s, place)) is None:
        return None
    patterns = (
        "{which_at} {was} the {colour} {mark} {words}?",
        "{which_at} {does} the {colour} {mark} reach its {words} value?",
    )
    if r.layout.kind in {"grouped bar", "stacked bar"}:
        patterns = (
            "Which {row} {has} the {words} value among the {colour} bars?",
            "{which_at} {was} the value shown in {colour} {words}?",
        )
    does = "did" if r.time else "does"
    words_of: Words = {
        "colour": colour,
        "mark": noun(r),
        "words": words,
        "does": does,
    }
    return r.say(rng, *patterns, **words_of), r.labels[i]


@add("colour", coloured, not_scattered)
def difference_of_colours(r: Reading, rng: Random) -> Asked:
    """How far two colours are apart in a row."""
    (a, first), (b, second) = rng.sample(list(series_colours(r).items()), 2)
    i = rng.randrange(len(r.labels))
    x, y = (r.columns[r.table.columns.index(name)][i] for name in (a, b))
    if x == y or not r.legible(x, y, abs(x - y)):
        return None
    patterns = (
        "What {was} the difference between the {first} and the {second} {mark} {at}?",
        "How far apart {were} the values of the {first} and the {second} {mark} {at}?",
    )
    words: Words = {"first": first, "second": second, "mark": noun(r), "at": r.at(r.labels[i])}
    were = "were" if r.time else "are"
    return r.say(rng, *patterns, were=were, **words), r.number(abs(x - y))


@add("colour", coloured)
def colour_is(r: Reading, rng: Random) -> Asked:
    """Whether a series has a colour."""
    (name, own), (_, other) = rng.sample(list(series_colours(r).items()), 2)
    asked = own if rng.random() < 0.5 else other
    patterns = (
        "Is {colour} the colour of {name}?",
        "Does the colour {colour} stand for {name}?",
    )
    return r.say(rng, *patterns, name=named(name), colour=asked), yes_no(asked == own)


TEMPLATES = _collection.templates
