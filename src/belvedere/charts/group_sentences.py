"""Sentences about several series, and about the points of a scatter chart."""

from collections.abc import Callable
from decimal import Decimal
from random import Random

from belvedere.charts.prose import labels_of_extreme, size_of_change, tell
from belvedere.charts.reading import Reading, Series
from belvedere.charts.trend_questions import correlation
from belvedere.charts.wording import (
    definite,
    in_words,
    listed,
    named,
    rounded,
    with_unit,
)

_STRONG, _WEAK = 0.7, 0.3  # correlations


def _changes(r: Reading) -> list[tuple[Series, Decimal]]:
    return [(s, s.values[-1] - s.values[0]) for s in r.all_series()]


def lines_message(r: Reading, rng: Random) -> str:
    """Which series is ahead at the end, or throughout."""
    last = r.across(len(r.labels) - 1)
    tops, at = labels_of_extreme(last, 1), r.at(r.labels[-1])
    amount = r.amount(last.values[last.top])
    if len(tops) > 1:
        patterns: tuple[str, ...] = (
            "{at}, the highest value, {amount}, {was} shared by {names}.",
            "{names} shared the highest value {at}, {amount}.",
        )
        return tell(r, rng, *patterns, at=at, amount=amount, names=listed(list(map(named, tops))))
    patterns = (
        "{at}, {name} had the highest value, {amount}.",
        "{at}, {name} led {others} with {amount}.",
    )
    name = tops[0]
    rest = [named(s) for s in r.table.columns if s != name]
    if all(v == max(row) for row, v in zip(zip(*r.columns, strict=True),
                                           r.columns[last.top], strict=True)):  # fmt: skip
        patterns = (
            "{name} stayed at or above {others} for the whole period.",
            "{name} had the highest values throughout, with {amount} {at}.",
        )
        if any(sorted(row)[-1] == sorted(row)[-2] for row in zip(*r.columns, strict=True)):
            patterns = patterns[:1]
    others = rest[0] if len(rest) == 1 else f"the other {in_words(len(rest))} series"
    return tell(r, rng, *patterns, name=named(name), amount=amount, at=at, others=others)


def each_change(r: Reading, rng: Random) -> str | None:
    """The series that changed most."""
    moves = _changes(r)
    largest = max(moves, key=lambda move: abs(move[1]))
    if sum(abs(c) == abs(largest[1]) for _, c in moves) > 1 or not largest[1]:
        return None
    s, change = largest
    patterns = (
        "The largest change {span} was that of {name}, whose value {verb} by {shift}.",
        "The value for {name} changed most: it {verb} from {first} to {last}.",
    )
    verb = "rose" if change > 0 else "fell"
    ends = {"first": r.amount(s.values[0]), "last": r.amount(s.values[-1])}
    shift = size_of_change(r, s.values[0], s.values[-1])
    return tell(r, rng, *patterns, name=named(s.name), verb=verb, shift=shift, **ends)


def directions(r: Reading, rng: Random) -> str | None:
    """Which series rose and which fell."""
    up = [named(s.name) for s, change in _changes(r) if change > 0]
    down = [named(s.name) for s, change in _changes(r) if change < 0]
    if len(up) + len(down) < len(r.columns):
        return None
    ends = {"at_first": r.at(r.labels[0]), "at_last": r.at(r.labels[-1])}
    if not up or not down:
        side, count = ("above", len(up)) if up else ("below", len(down))
        both = "both" if count == 2 else f"all {in_words(count)}"
        patterns: tuple[str, ...] = (
            "{both} series ended {side} the value at which they had started.",
            "{at_last}, {both} series stood {side} their values {at_first}.",
        )
        return tell(r, rng, *patterns, both=both, side=side, **ends)
    patterns = (
        "While {up} ended higher than {at_first}, {down} ended lower.",
        "Between {a} and {b}, values went up for {up} and down for {down}.",
    )
    words = {"up": listed(up), "down": listed(down), "a": r.labels[0], "b": r.labels[-1]}
    return tell(r, rng, *patterns, **words, **ends)


def record(r: Reading, rng: Random) -> str | None:
    """The highest value of all series."""
    patterns = (
        "The highest value in the chart {was} reached by {name} {at}: {value}.",
        "No value {was} higher than that of {name} {at}, {value}.",
    )
    return _extreme_cell(r, rng, max, patterns)


def record_low(r: Reading, rng: Random) -> str | None:
    """The lowest value of all series."""
    patterns = (
        "The lowest value in the chart, {value}, {was} that of {name} {at}.",
        "The lowest value of all {was} {value}, for {name} {at}.",
    )
    return _extreme_cell(r, rng, min, patterns)


def _extreme_cell(
    r: Reading, rng: Random, extreme: Callable[..., Decimal], patterns: tuple[str, ...]
) -> str | None:
    """A sentence about the highest or lowest value of all; None where it is there twice."""
    value = extreme(v for column in r.columns for v in column)
    owners = [(k, i) for k, column in enumerate(r.columns) for i, v in enumerate(column)
              if v == value]  # fmt: skip
    if len(owners) > 1:
        return None
    k, i = owners[0]
    name, at = named(r.table.columns[k]), r.at(r.labels[i])
    return tell(r, rng, *patterns, name=name, at=at, value=r.amount(value))


def widest_gap(r: Reading, rng: Random) -> str | None:
    """Where the series are furthest apart."""
    rows = list(zip(*r.columns, strict=True))
    gaps = [max(row) - min(row) for row in rows]
    widest = max(gaps)
    if gaps.count(widest) > 1 or not widest or len(rows) < 2:
        return None
    at = r.at(r.labels[gaps.index(widest)])
    shift = size_of_change(r, Decimal(0), widest)
    patterns: tuple[str, ...] = (
        "The gap between the highest and the lowest series {was} widest {at}, at {shift}.",
        "The series {were} furthest apart {at}, by {shift}.",
    )
    if len(r.columns) == 2:
        patterns = (
            "The gap between the two {was} widest {at}, at {shift}.",
            "The two series {were} furthest apart {at}, by {shift}.",
        )
    were = "were" if r.time else "are"
    return tell(r, rng, *patterns, at=at, shift=shift, were=were)


# Several series over categories


def groups_message(r: Reading, rng: Random) -> str:
    """Which series is highest in how many rows."""
    rows = list(zip(*r.columns, strict=True))
    wins = [sum(row[k] == max(row) and row.count(max(row)) == 1 for row in rows)
            for k in range(len(r.columns))]  # fmt: skip
    best = wins.index(max(wins))
    name = named(r.table.columns[best])
    words = {"name": name, "count": in_words(wins[best]), "all": in_words(len(rows))}
    words["others"] = named(r.table.columns[1 - best]) if len(wins) == 2 else "any other series"
    words["row_s"] = r.row if wins[best] == 1 else r.rows
    if not max(wins):
        high = max(max(row) for row in rows)
        return tell(r, rng, "The highest value in the chart is {high}.", high=r.amount(high))
    if wins[best] == len(rows):
        patterns: tuple[str, ...] = (
            "For all {rows}, the value of {name} is higher than that of {others}.",
            "The values for {name} are higher than those for {others} for every {row}.",
        )
    elif wins.count(max(wins)) > 1:
        leaders = [named(r.table.columns[k]) for k, count in enumerate(wins) if count == max(wins)]
        words["leaders"] = listed(leaders)
        patterns = (
            "No series leads everywhere: {leaders} are each highest for {count} {row_s}.",
            "{leaders} are each ahead for {count} of the {all} {rows}.",
        )
    else:
        patterns = (
            "The value of {name} is highest for {count} of the {all} {rows}.",
            "For {count} of the {all} {rows}, the highest value is that of {name}.",
        )
    return tell(r, rng, *patterns, **words)


def peaks_of_series(r: Reading, rng: Random) -> str | None:
    """Where each of the first two series is highest."""
    tops = []
    for s in list(r.all_series())[:2]:
        places = labels_of_extreme(s, 1)
        if len(places) > 1:
            return None
        tops.append((s, places[0]))
    (a, first), (b, second) = tops
    words = {"a": named(a.name), "b": named(b.name), "at_a": r.at(first), "at_b": r.at(second)}
    words |= {"high_a": r.amount(a.values[a.top]), "high_b": r.amount(b.values[b.top])}
    if first == second:
        patterns: tuple[str, ...] = (
            "The values for {a} ({high_a}) and {b} ({high_b}) are both highest {at_a}.",
            "{a} and {b} both peak {at_a}, at {high_a} and {high_b}.",
        )
    else:
        patterns = (
            "The value for {a} is highest {at_a} ({high_a}), that for {b} {at_b} ({high_b}).",
            "The highest value for {a}, {high_a}, is found {at_a}, that for {b}, {high_b}, {at_b}.",
        )
    return tell(r, rng, *patterns, **words)


def averages(r: Reading, rng: Random) -> str | None:
    """The means of the series."""
    means = [rounded(s.mean, r.mean_places) for s in r.all_series()]
    if len(set(means)) < len(means) or len(means) > 4:
        return None
    told = [
        f"{with_unit(f'{mean:f}', r.table.unit)} for {named(name)}"
        for mean, name in zip(means, r.table.columns, strict=True)
    ]
    patterns = (
        "On average over all {rows}, the values {were} about {told}.",
        "The averages over the {rows} {were} about {told}.",
    )
    return tell(r, rng, *patterns, told=listed(told), were="were" if r.time else "are")


# Scatter charts


def relation_message(r: Reading, rng: Random) -> str:
    """How two quantities go together."""
    value = correlation(r)
    words = {"x": definite(r.row), "y": r.series(0).subject}
    if abs(value) < _WEAK:
        patterns: tuple[str, ...] = (
            "The chart shows no clear relation between {x} and {y}.",
            "{y} does not depend clearly on {x}.",
        )
    else:
        higher = "higher" if value > 0 else "lower"
        patterns = (
            "{y} tends to be {higher} where {x} is higher.",
            "As {x} rises, {y} tends to go {way}.",
            "There is a {strength} {sign} relation between {x} and {y}.",
        )
        words |= {"higher": higher, "way": "up" if value > 0 else "down"}
        words |= {"strength": "strong" if abs(value) >= _STRONG else "moderate"}
        words |= {"sign": "positive" if value > 0 else "negative"}
    return tell(r, rng, *patterns, **words)


def _scatter_extreme(r: Reading, rng: Random, sign: int) -> str | None:
    s = r.series(0)
    places = labels_of_extreme(s, sign)
    if len(places) > 1:
        return None
    amount = r.amount(max(s.values) if sign > 0 else min(s.values))
    patterns = (
        "The {end} {bare}, {amount}, is found {at}.",
        "{subject} is {end}, at {amount}, {at}.",
    )
    end = "highest" if sign > 0 else "lowest"
    words = {"bare": s.bare, "subject": s.subject, "at": r.at(places[0])}
    return tell(r, rng, *patterns, end=end, amount=amount, **words)


def scatter_high(r: Reading, rng: Random) -> str | None:
    """The highest point."""
    return _scatter_extreme(r, rng, 1)


def scatter_low(r: Reading, rng: Random) -> str | None:
    """The lowest point."""
    return _scatter_extreme(r, rng, -1)


def scatter_extent(r: Reading, rng: Random) -> str | None:
    """From where to where the points reach."""
    xs = sorted(r.labels, key=float)
    if xs[0] == xs[-1]:
        return None
    patterns = (
        "{the_row} ranges from {low} to {high}.",
        "The points cover values of {the_row} from {low} to {high}.",
    )
    return tell(r, rng, *patterns, low=xs[0], high=xs[-1], the_row=definite(r.row))


def ends_of_cloud(r: Reading, rng: Random) -> str | None:
    """The values at both ends of the horizontal axis."""
    order = sorted(range(len(r.labels)), key=lambda i: float(r.labels[i]))
    (a, b), values = (order[0], order[-1]), r.columns[0]
    xs = [float(label) for label in r.labels]
    if xs.count(xs[a]) > 1 or xs.count(xs[b]) > 1 or values[a] == values[b]:
        return None
    patterns = (
        "At the left end, {at_a}, the value is {left}, and at the right end, {at_b}, {right}.",
        "The point with the lowest {row} has a value of {left}, the one with the highest {row} "
        "a value of {right}.",
    )
    words = {"at_a": r.at(r.labels[a]), "at_b": r.at(r.labels[b])}
    return tell(r, rng, *patterns, left=r.amount(values[a]), right=r.amount(values[b]), **words)
