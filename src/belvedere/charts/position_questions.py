"""Questions for where something is in the picture, for its texts and for its kind."""

from collections.abc import Sequence
from random import Random

from belvedere.charts.elements import Mark, TextRole
from belvedere.charts.picture import (
    bar_of_row,
    has_legend,
    has_ordered_bars,
    in_colours,
    legend,
    noun,
    ordered_bars,
    texts,
)
from belvedere.charts.reading import Reading
from belvedere.charts.templates import Asked, Collection, not_scattered, several, single
from belvedere.charts.wording import choice, named, ordinal, plural, yes_no

_collection = Collection()
add = _collection.add
_DISTINCT = 0.01  # of the picture's height: how far apart two lines have to be


def _end_of_bars(r: Reading, rng: Random, place: int) -> tuple[int, str]:
    found = ordered_bars(r)
    assert found is not None  # a condition of the templates
    order, ends = found
    return order[place], ends[place]


def _outer_bar(r: Reading, rng: Random, place: int) -> Asked:
    i, words = _end_of_bars(r, rng, place)
    patterns = (
        "Which {row} does the {words} {bar} show?",
        "What does the {words} {bar} stand for?",
        "Which {row} has the {words} {bar}?",
    )
    return r.say(rng, *patterns, words=words, bar=bar_of_row(r)), r.labels[i]


@add("position", has_ordered_bars)
def first_bar(r: Reading, rng: Random) -> Asked:
    """The row of the leftmost or topmost bar."""
    return _outer_bar(r, rng, 0)


@add("position", has_ordered_bars)
def last_bar(r: Reading, rng: Random) -> Asked:
    """The row of the rightmost or lowermost bar."""
    return _outer_bar(r, rng, -1)


@add("position", has_ordered_bars)
def nth_bar(r: Reading, rng: Random) -> Asked:
    """The row of a bar, counted from one end."""
    order, ends = ordered_bars(r) or ([], ("", ""))
    place = rng.randrange(1, min(len(order), 7))
    start = "the left" if ends[0] == "leftmost" else "the top"
    if rng.random() < 0.5:
        order, start = order[::-1], "the right" if ends[0] == "leftmost" else "the bottom"
    patterns = (
        "Which {row} does the {nth} {bar} from {start} show?",
        "Counted from {start}, which {row} has the {nth} {bar}?",
    )
    text = r.say(rng, *patterns, nth=ordinal(place + 1), start=start, bar=bar_of_row(r))
    return text, r.labels[order[place]]


@add("position", has_ordered_bars, single)
def value_of_outer_bar(r: Reading, rng: Random) -> Asked:
    """The value of the first or last bar."""
    i, words = _end_of_bars(r, rng, rng.choice((0, -1)))
    if not r.legible(r.columns[0][i]):
        return None
    patterns = ("What is the value of the {words} bar?", "Which value does the {words} bar have?")
    return r.say(rng, *patterns, words=words), r.number(r.columns[0][i])


@add("position", has_ordered_bars, single)
def difference_of_outer_bars(r: Reading, rng: Random) -> Asked:
    """How far the values of the first and the last bar are apart."""
    (a, first), (b, last) = (_end_of_bars(r, rng, place) for place in (0, -1))
    x, y = r.columns[0][a], r.columns[0][b]
    if x == y or not r.legible(x, y, abs(x - y)):
        return None
    patterns = (
        "What is the difference between the {first} and the {last} bar?",
        "By how much do the values of the {first} and the {last} bar differ?",
    )
    return r.say(rng, *patterns, first=first, last=last), r.number(abs(x - y))


@add("position", has_ordered_bars)
def neighbour_of_bar(r: Reading, rng: Random) -> Asked:
    """The row whose bar stands next to another one."""
    order, ends = ordered_bars(r) or ([], ("", ""))
    place = rng.randrange(len(order) - 1)
    sides = ("left of", "right of") if ends[0] == "leftmost" else ("above", "below")
    asked, answer, side = order[place + 1], order[place], sides[0]
    if rng.random() < 0.5:
        asked, answer, side = answer, asked, sides[1]
    patterns = (
        "Which {row} is shown directly {side} {name}?",
        "The {bar} directly {side} that of {name} belongs to which {row}?",
    )
    text = r.say(rng, *patterns, side=side, name=r.name(asked), bar=bar_of_row(r))
    return text, r.labels[answer]


@add("position", has_ordered_bars)
def bar_between(r: Reading, rng: Random) -> Asked:
    """The row whose bar stands between two others."""
    order, _ = ordered_bars(r) or ([], ("", ""))
    place = rng.randrange(1, len(order) - 1)
    a, middle, b = order[place - 1 : place + 2]
    patterns = (
        "Which {row} is shown between {a} and {b}?",
        "Which {row} has its {bar} between those of {a} and {b}?",
    )
    return r.say(rng, *patterns, a=r.name(a), b=r.name(b), bar=bar_of_row(r)), r.labels[middle]


@add("position", has_ordered_bars, single)
def bars_are_sorted(r: Reading, rng: Random) -> Asked:
    """Whether the bars are ordered by their values."""
    order, ends = ordered_bars(r) or ([], ("", ""))
    values = [r.columns[0][i] for i in order]
    if not r.apart(*values):
        return None
    start = "from left to right" if ends[0] == "leftmost" else "from top to bottom"
    falling, words = choice(rng, ((True, "highest to lowest"), (False, "lowest to highest")))
    patterns = (
        "{start}, are the bars arranged from {words}?",
        "Are the bars sorted by their values, {start} from {words}?",
    )
    text = r.say(rng, *patterns, words=words, start=start)
    return text, yes_no(values == sorted(values, reverse=falling))


def stacked(r: Reading) -> bool:
    """The bars of a row stand on each other."""
    return r.layout.kind == "stacked bar"


def _stack(r: Reading, i: int) -> list[Mark] | None:
    """The visible bars of a row from the axis outwards; ``None`` where there is nothing to ask."""
    marks = [m for m in r.layout.marks if m.labels == (r.labels[i],) and m.kind == "bar"]
    found = ordered_bars(r)
    if found is None or len(marks) < 2 or any(m.values[0] <= 0 for m in marks):
        return None
    if found[1][0] == "topmost":  # stacked towards the right
        return sorted(marks, key=lambda m: m.box[0])
    return sorted(marks, key=lambda m: -m.box[3])


@add("position", several, stacked)
def end_of_stack(r: Reading, rng: Random) -> Asked:
    """The series at the bottom or top of a stack."""
    i, place = rng.randrange(len(r.labels)), rng.choice((0, -1))
    stack, found = _stack(r, i), ordered_bars(r)
    if stack is None or found is None:
        return None
    words = ("lowest", "uppermost") if found[1][0] == "leftmost" else ("leftmost", "rightmost")
    patterns = (
        "Which series is the {words} part of the stacked bar {at}?",
        "What does the {words} segment of the bar {at} show?",
    )
    return r.say(rng, *patterns, words=words[place], at=r.at(r.labels[i])), stack[place].series


def lines(r: Reading) -> list[Mark]:
    """The lines of a chart with several ones."""
    return [m for m in r.layout.marks if m.kind == "line" and len(m.points) == len(r.labels) > 1]


def has_lines(r: Reading) -> bool:
    """There are several lines."""
    return len(lines(r)) > 1


@add("position", has_lines)
def outer_line(r: Reading, rng: Random) -> Asked:
    """The line that is on top or at the bottom at one end of the chart."""
    end, side = choice(rng, ((0, "left"), (-1, "right")))
    ordered = sorted(lines(r), key=lambda m: m.points[end][1])
    (a, b), words = choice(
        rng, (((ordered[0], ordered[1]), "on top"), ((ordered[-1], ordered[-2]), "at the bottom"))
    )
    if abs(a.points[end][1] - b.points[end][1]) < _DISTINCT * r.layout.height:
        return None
    patterns = (
        "Which line is {words} at the {side} end of the chart?",
        "At the {side} edge of the chart, which series runs {words}?",
    )
    return r.say(rng, *patterns, words=words, side=side), a.series


@add("position", has_legend)
def legend_entry(r: Reading, rng: Random) -> Asked:
    """The first, second, ... or last entry of the legend."""
    entries = legend(r)
    place = rng.choice((0, len(entries) - 1, rng.randrange(len(entries))))
    words = "last" if place == len(entries) - 1 else ordinal(place + 1)
    patterns = (
        "What is the {words} entry of the legend?",
        "Which name comes {words} in the legend?",
    )
    return r.say(rng, *patterns, words=words), entries[place]


@add("position", has_legend)
def next_legend_entry(r: Reading, rng: Random) -> Asked:
    """The entry of the legend after another one."""
    entries = legend(r)
    place = rng.randrange(len(entries) - 1)
    patterns = (
        "Which entry follows {name} in the legend?",
        "In the legend, what comes right after {name}?",
    )
    return r.say(rng, *patterns, name=named(entries[place])), entries[place + 1]


@add("position", in_colours)
def legend_or_not(r: Reading, rng: Random) -> Asked:
    """Whether there is a legend."""
    patterns = ("Does the chart have a legend?", "Is there a legend in the chart?")
    return r.say(rng, *patterns), yes_no(bool(texts(r, "legend")))


@add("position", not_scattered)
def orientation(r: Reading, rng: Random) -> Asked:
    """Whether bars stand or lie."""
    found = ordered_bars(r)
    if found is None:
        return None
    patterns = (
        "Are the bars vertical or horizontal?",
        "Do the bars of the chart run horizontally or vertically?",
    )
    pattern = choice(rng, (0, 1))
    answers = ("Vertical", "Horizontal") if pattern == 0 else ("Vertically", "Horizontally")
    return patterns[pattern], answers[found[1][0] == "topmost"]


# Counting and retrieval in the picture


@add("counting")
def number_of_marks(r: Reading, rng: Random) -> Asked:
    """How many bars, lines, segments or points there are."""
    count, kind = len(r.layout.marks), noun(r)
    if kind == "area" or count < 2 or any(m.values == (0.0,) for m in r.layout.marks):
        return None
    patterns = ("How many {marks} are there in the chart?", "How many {marks} does the chart have?")
    return r.say(rng, *patterns, marks=plural(kind)), str(count)


@add("counting", has_legend)
def number_of_legend_entries(r: Reading, rng: Random) -> Asked:
    """How many entries the legend has."""
    patterns = ("How many entries does the legend have?", "How many names does the legend list?")
    return r.say(rng, *patterns), str(len(legend(r)))


@add("retrieval")
def kind_of_chart(r: Reading, rng: Random) -> Asked:
    """The kind of the chart."""
    patterns = ("What kind of chart is this?", "What type of chart is shown?")
    plain_names = {
        "multi line": "line",
        "area": "area",
        "vertical bar": "bar",
        "horizontal bar": "bar",
    }
    kind = plain_names.get(r.layout.kind, r.layout.kind)
    return r.say(rng, *patterns), f"{kind} chart".capitalize()


def _text(r: Reading, rng: Random, role: TextRole, patterns: Sequence[str]) -> Asked:
    found = texts(r, role)
    return (r.say(rng, *patterns), found[0]) if len(found) == 1 else None


@add("retrieval")
def title(r: Reading, rng: Random) -> Asked:
    """The title."""
    patterns = ("What is the title of the chart?", "Which title does the chart have?")
    return _text(r, rng, "title", patterns)


@add("retrieval")
def label_of_axis(r: Reading, rng: Random) -> Asked:
    """What is written beside an axis."""
    role, axis = choice(rng, (("x label", "horizontal"), ("y label", "vertical")))
    patterns = (
        f"What is the label of the {axis} axis?",
        f"What is written along the {axis} axis as its label?",
    )
    return _text(r, rng, role, patterns)  # type: ignore[arg-type]


@add("retrieval")
def source(r: Reading, rng: Random) -> Asked:
    """Whom the chart names as its source."""
    if not r.table.source or not any(r.table.source in t for t in texts(r, "source")):
        return None
    patterns = ("What is the source of the data?", "Which source does the chart name?")
    return r.say(rng, *patterns), r.table.source


TEMPLATES = _collection.templates
