"""Pieces of prose about values: changes, factors, names."""

from decimal import Decimal
from random import Random

from belvedere.charts.reading import Reading, Series
from belvedere.charts.wording import (
    capitalised,
    choice,
    listed,
    named,
    plain,
    rounded,
)

_STEADY = Decimal("0.02")  # relative change up to which something counts as hardly changed


def tell(r: Reading, rng: Random, *patterns: str, **words: object) -> str:
    """One of the wordings, filled in, as a sentence."""
    known = {"row": r.row, "rows": r.rows, "was": r.was, "span": r.span, "step": r.each}
    return capitalised(choice(rng, patterns).format(**(known | words)))


def size_of_change(r: Reading, before: Decimal, after: Decimal) -> str:
    """The size of a change: "3.1 percentage points", "20 million"."""
    size = abs(after - before)
    if r.table.unit == "%":
        return f"{r.number(size)} percentage point{'' if r.number(size) == '1' else 's'}"
    return r.amount(size)


def adverb_of_change(before: Decimal, after: Decimal) -> str:
    """An adverb for the size of a change, or nothing."""
    if before <= 0 or after <= 0:
        return ""
    factor = max(before, after) / min(before, after)
    return " slightly" if factor < Decimal("1.06") else " sharply" if factor >= 2 else ""


def hardly_changed(before: Decimal, after: Decimal) -> bool:
    """Whether a change is too small to be called one."""
    return abs(after - before) <= _STEADY * max(abs(before), abs(after))


def times_as_high(high: Decimal, low: Decimal) -> str | None:
    """How many times as high something is, in words, from about one and a half times on."""
    if low <= 0 or high < low * Decimal("1.45"):
        return None
    factor = high / low
    for words, exact in (("twice", 2), ("three times", 3), ("four times", 4), ("five times", 5)):
        if abs(factor - exact) <= Decimal("0.1"):
            exactly = "" if factor == exact else "about "
            return f"{exactly}{words} as high as"
    told = rounded(factor, 1 if factor < 10 else 0)
    return f"{'' if told == factor else 'about '}{plain(told)} times as high as"


def in_text(r: Reading, labels: list[str]) -> str:
    """Rows in running text."""
    return listed([label if r.time else named(label) for label in labels])


def labels_of_extreme(series: Series, sign: int) -> list[str]:
    """The labels of all highest or lowest values."""
    best = max(sign * v for v in series.values)
    return [
        label for label, v in zip(series.labels, series.values, strict=True) if sign * v == best
    ]
