"""Sentences about one series: over time, over categories, or shares of a whole."""

from itertools import pairwise
from random import Random

from belvedere.charts.prose import (
    adverb_of_change,
    hardly_changed,
    in_text,
    labels_of_extreme,
    size_of_change,
    tell,
    times_as_high,
)
from belvedere.charts.reading import Reading, Series, Words
from belvedere.charts.wording import (
    article,
    choice,
    counted,
    in_words,
    rounded,
    with_unit,
)


def _development(r: Reading, rng: Random, s: Series) -> str:
    """How a series went from its first to its last value."""
    first, last = s.values[0], s.values[-1]
    ends = {"first": r.amount(first), "last": r.amount(last), "subject": s.subject}
    at = {"at_first": r.at(s.labels[0]), "at_last": r.at(s.labels[-1])}
    if first == last:
        patterns: tuple[str, ...] = (
            "{subject} stood at {last} {at_last}, the same as {at_first}.",
            "{subject} was {first} both {at_first} and {at_last}.",
        )
    elif hardly_changed(first, last):
        patterns = (
            "{subject} hardly changed {span}, moving from {first} to {last}.",
            "{subject} was almost the same {at_last} ({last}) as {at_first} ({first}).",
        )
    else:
        verbs = ("rose", "increased", "grew") if last > first else ("fell", "declined", "decreased")
        patterns = (
            "{subject} {verb}{much} from {first} {at_first} to {last} {at_last}.",
            "{span_words}, {subject} {verb}{much} by {shift}, from {first} to {last}.",
            "{subject} {verb}{much} between {a} and {b}, from {first} to {last}.",
        )
        ends |= {"verb": choice(rng, verbs), "much": adverb_of_change(first, last)}
        ends |= {"shift": size_of_change(r, first, last), "span_words": r.span}
        ends |= {"a": s.labels[0], "b": s.labels[-1]}
    return tell(r, rng, *patterns, **ends, **at)


def time_message(r: Reading, rng: Random) -> str:
    """How a series developed."""
    return _development(r, rng, r.series(0))


def peak(r: Reading, rng: Random) -> str | None:
    """When the highest and the lowest values were reached."""
    s = r.series(0)
    tops, bottoms = labels_of_extreme(s, 1), labels_of_extreme(s, -1)
    if len(tops) > 2 or len(bottoms) > 2 or s.values[s.top] == s.values[s.bottom]:
        return None
    patterns = (
        "The highest value, {high}, was recorded {at_top}, the lowest, {low}, {at_bottom}.",
        "The peak of {high} came {at_top}, while the low of {low} came {at_bottom}.",
        "It was highest {at_top} ({high}) and lowest {at_bottom} ({low}).",
    )
    at_top = " and ".join(r.at(label) for label in tops)
    at_bottom = " and ".join(r.at(label) for label in bottoms)
    ends = {"high": r.amount(s.values[s.top]), "low": r.amount(s.values[s.bottom])}
    return tell(r, rng, *patterns, at_top=at_top, at_bottom=at_bottom, **ends)


def largest_step(r: Reading, rng: Random) -> str | None:
    """The largest change from one time to the next."""
    s = r.series(0)
    changes = [(b - a, i) for i, (a, b) in enumerate(pairwise(s.values), 1)]
    size = max(abs(change) for change, _ in changes)
    largest = [(change, i) for change, i in changes if abs(change) == size]
    if not size or len(largest) > 1 or len(changes) < 2:
        return None
    change, i = largest[0]
    noun = choice(rng, ("rise", "increase") if change > 0 else ("drop", "decrease"))
    patterns = (
        "The largest change from one {step} to the next was the {noun} by {shift} {at}.",
        "The biggest step was {a_noun} of {shift} between {before} and {label}.",
    )
    return tell(
        r,
        rng,
        *patterns,
        noun=noun,
        a_noun=article(noun),
        shift=size_of_change(r, s.values[i - 1], s.values[i]),
        at=r.at(s.labels[i]),
        before=s.labels[i - 1],
        label=s.labels[i],
    )


def ups_and_downs(r: Reading, rng: Random) -> str | None:
    """How often a series rose and fell."""
    s = r.series(0)
    rises = sum(b > a for a, b in pairwise(s.values))
    falls = sum(b < a for a, b in pairwise(s.values))
    if rises + falls < 2:
        return None
    if not falls and rises == len(s.values) - 1:
        return tell(
            r, rng, "It went up in every {step} after the first.", "It never fell or stood still."
        )
    if not rises and falls == len(s.values) - 1:
        return tell(
            r, rng, "It went down in every {step} after the first.", "No {step} brought a rise."
        )
    if not rises or not falls:
        return None
    patterns = (
        "From one {step} to the next it rose {rises} and fell {falls}.",
        "In between there were {ups} and {downs}.",
    )
    ups, downs = counted(rises, "increase"), counted(falls, "decrease")
    words = {"rises": _times(rises), "falls": _times(falls), "ups": ups, "downs": downs}
    return tell(r, rng, *patterns, **words)


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{in_words(count)} times")


def average(r: Reading, rng: Random) -> str | None:
    """The mean of a series."""
    s = r.series(0)
    if s.values[s.top] == s.values[s.bottom] or r.whole:
        return None
    patterns = (
        "The average over all {rows} {was} {mean}.",
        "On average over the {count} {rows}, the value {was} {mean}.",
    )
    mean = rounded(s.mean, r.mean_places)
    told = with_unit(f"{mean:f}", r.table.unit)
    if mean != s.mean:
        told = f"about {told}"
    return tell(r, rng, *patterns, mean=told, count=in_words(len(s.values)))


# One series over categories


def ranking_message(r: Reading, rng: Random) -> str:
    """Which row is highest, and perhaps which is lowest."""
    s = r.series(0)
    high, low, tops = s.values[s.top], s.values[s.bottom], labels_of_extreme(s, 1)
    words = {"bare": s.bare, "high": r.amount(high), "subject": s.subject, "tops": in_text(r, tops)}
    if high == low:
        return tell(r, rng, "{subject} is {high} for all {rows}.", **words)
    if len(tops) > 1:
        patterns: tuple[str, ...] = (
            "The highest {bare}, {high}, is shared by {tops}.",
            "The highest {bare} is that of {tops}, with {high} each.",
        )
        return tell(r, rng, *patterns, **words)
    patterns = (
        "The highest {bare} is that of {tops}, at {high}.",
        "At {high}, {subject} is highest {at}.",
        "Of all {rows}, the highest {bare} is found {at}, with {high}.",
    )
    bottoms = labels_of_extreme(s, -1)
    if len(bottoms) == 1:
        words |= {"low": r.amount(low), "bottom": in_text(r, bottoms)}
        patterns = (
            *patterns,
            "{subject} ranges from {low} for {bottom} to {high} for {tops}.",
            "First place goes to {tops} with {high}, last place to {bottom} with {low}.",
        )
    return tell(r, rng, *patterns, at=r.at(tops[0]), **words)


def last_place(r: Reading, rng: Random) -> str | None:
    """Who has the lowest value."""
    s = r.series(0)
    bottoms = labels_of_extreme(s, -1)
    if len(bottoms) > 2 or s.values[s.top] == s.values[s.bottom]:
        return None
    patterns = (
        "The lowest value, {low}, belongs to {bottom}.",
        "The lowest value is that of {bottom}, with {low}{each}.",
        "Last place goes to {bottom} with {low}{each}.",
    )
    words: Words = {"each": " each" if len(bottoms) > 1 else "", "bottom": in_text(r, bottoms)}
    return tell(r, rng, *patterns, low=r.amount(s.values[s.bottom]), **words)


def runner_up(r: Reading, rng: Random) -> str | None:
    """Who comes second, and how far behind."""
    s = r.series(0)
    if len(s.values) < 3 or r.top_of(s) is None or r.top_of(s, 1) is None:
        return None
    first, second = (s.values[i] for i in s.order[:2])
    patterns = (
        "Second place goes to {second} with {amount}.",
        "The second highest value is that of {second} with {amount}, which is {shift} less.",
        "The runner-up is {second} at {amount}.",
    )
    name = in_text(r, [s.labels[s.order[1]]])
    return tell(
        r,
        rng,
        *patterns,
        second=name,
        amount=r.amount(second),
        shift=size_of_change(r, first, second),
    )


def extremes_compared(r: Reading, rng: Random) -> str | None:
    """How many times as high the first is as the last."""
    s = r.series(0)
    if r.top_of(s) is None or r.top_of(s, -1) is None:
        return None
    high, low = s.values[s.top], s.values[s.bottom]
    factor = times_as_high(high, low)
    if factor is None:
        patterns: tuple[str, ...] = (
            "Between the highest and the lowest value there is a difference of {shift}.",
            "The values of {top} and {bottom} are {shift} apart.",
        )
    else:
        patterns = (
            "The value for {top} is {factor} that for {bottom}.",
            "The highest value is {factor} the lowest one, that for {bottom}.",
        )
    names = {"top": in_text(r, [s.labels[s.top]]), "bottom": in_text(r, [s.labels[s.bottom]])}
    return tell(r, rng, *patterns, factor=factor, shift=size_of_change(r, low, high), **names)


def above_average(r: Reading, rng: Random) -> str | None:
    """How many rows lie above the mean."""
    s = r.series(0)
    count = sum(v > s.mean for v in s.values)
    if not count or len(s.values) < 4 or r.whole:
        return None
    patterns = (
        "{count_rows} {lie} above the average of {mean}.",
        "The average is {mean}, and {count_rows} {lie} above it.",
    )
    mean = rounded(s.mean, r.mean_places)
    told = with_unit(f"{mean:f}", r.table.unit)
    told = told if mean == s.mean else f"about {told}"
    lie = "lies" if count == 1 else "lie"
    return tell(r, rng, *patterns, count_rows=counted(count, r.row), lie=lie, mean=told)


# Shares of a whole


def share_message(r: Reading, rng: Random) -> str:
    """Which share is the largest."""
    s = r.series(0)
    tops, high = labels_of_extreme(s, 1), r.amount(s.values[s.top])
    names = in_text(r, tops)
    if len(tops) == len(s.values):
        return tell(r, rng, "All {rows} have the same share of {high}.", high=high)
    if len(tops) > 1:
        patterns: tuple[str, ...] = (
            "The largest shares are those of {names}, with {high} each.",
            "First place is shared by {names} with {high} each.",
        )
        return tell(r, rng, *patterns, names=names, high=high)
    half = s.total / 2
    patterns = (
        "The largest share, {high}, is that of {names}.",
        "With {high}, the share of {names} is the largest.",
    )
    if s.values[s.top] > half:
        patterns = (*patterns, "More than half of the whole, {high}, falls to {names} alone.")
    return tell(r, rng, *patterns, names=names, high=high)


def top_two_shares(r: Reading, rng: Random) -> str | None:
    """What the two largest shares come to together."""
    s = r.series(0)
    if len(s.values) < 4 or r.top_of(s, 1) is None:
        return None
    first, second = s.order[:2]
    together = s.values[first] + s.values[second]
    patterns: tuple[str, ...] = (
        "Together with {second} ({amount}), this comes to {both}.",
        "The two largest {rows}, {first} and {second}, add up to {both}.",
    )
    if labels_of_extreme(s, 1) != [s.labels[first]]:
        patterns = patterns[1:]
    names = {"first": in_text(r, [s.labels[first]]), "second": in_text(r, [s.labels[second]])}
    amounts = {"amount": r.amount(s.values[second]), "both": r.amount(together)}
    return tell(r, rng, *patterns, **names, **amounts)


def smallest_share(r: Reading, rng: Random) -> str | None:
    """Who has the smallest share."""
    s = r.series(0)
    bottoms = labels_of_extreme(s, -1)
    if len(bottoms) > 2 or s.values[s.top] == s.values[s.bottom]:
        return None
    if len(bottoms) == 2:
        patterns: tuple[str, ...] = ("The smallest shares are those of {names}, with {low} each.",)
    else:
        patterns = (
            "The smallest share, {low}, is that of {names}.",
            "Least of all, {low}, falls to {names}.",
            "With only {low}, the share of {names} is the smallest.",
        )
    return tell(r, rng, *patterns, names=in_text(r, bottoms), low=r.amount(s.values[s.bottom]))
