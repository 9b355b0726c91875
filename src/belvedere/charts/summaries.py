"""What a chart tells in prose: summaries at three levels of detail, and open questions.

Every sentence states facts that are computed from the table. A sentence is only written where it
says something: no rise "from 5 to 5", no comparison of values that are the same.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal

from belvedere.charts.elements import Layout
from belvedere.charts.group_sentences import (
    averages,
    directions,
    each_change,
    ends_of_cloud,
    groups_message,
    lines_message,
    peaks_of_series,
    record,
    record_low,
    relation_message,
    scatter_extent,
    scatter_high,
    scatter_low,
    widest_gap,
)
from belvedere.charts.prose import (
    tell,
)
from belvedere.charts.reading import Reading, Words
from belvedere.charts.series_sentences import (
    above_average,
    average,
    extremes_compared,
    largest_step,
    last_place,
    peak,
    ranking_message,
    runner_up,
    share_message,
    smallest_share,
    time_message,
    top_two_shares,
    ups_and_downs,
)
from belvedere.charts.tables import Table
from belvedere.charts.templates import Question
from belvedere.charts.wording import (
    choice,
    counted,
    in_words,
    listed,
    named,
)

Level = Literal["short", "medium", "long"]
_SENTENCES: dict[Level, tuple[int, int]] = {"short": (1, 1), "medium": (2, 3), "long": (4, 6)}
_NUMBER = re.compile(r"\d+(?:\.\d+)?")

Sentence = Callable[[Reading, Random], str | None]


def summary(table: Table, layout: Layout, rng: Random, level: Level) -> str:
    """The main message of a chart, with more or less detail.

    Args:
        table: that the chart shows.
        layout: of its picture.
        rng: chooses wordings and details.
        level: "short" for one sentence, "medium" for two or three, "long" for four to six.
    """
    reading = Reading(table, layout)
    least, most = _SENTENCES[level]
    story = _story(reading)
    first = [_opening(reading, rng)] if level == "long" else []
    sentences = [*first, story.message(reading, rng)]
    wanted = rng.randint(least, most)
    closing = _closing(reading, rng) if level == "long" else None
    for detail in story.details:
        if len(sentences) + (closing is not None) >= wanted:
            break
        told = detail(reading, rng)
        if told is not None and _says_more(told, sentences):
            sentences.append(told)
    # Flat or tiny tables give fewer details than wanted; the number of rows is always true.
    fillers = iter((_extent, _unit_of_values, _bounds))
    while len(sentences) + (closing is not None) < least and (filler := next(fillers, None)):
        told = filler(reading, rng)
        if told is not None:
            sentences.insert(1, told)
    return " ".join([*sentences, closing] if closing else sentences)


def _says_more(sentence: str, told: list[str]) -> bool:
    """Whether a sentence has a number that has not been told, or none at all."""
    numbers = _NUMBER.findall(sentence)
    known = {number for one in told for number in _NUMBER.findall(one)}
    return sentence not in told and (not numbers or not known.issuperset(numbers))


def open_question(table: Table, layout: Layout, rng: Random) -> Question:
    """A question that asks for an explanation, with an answer of one to three sentences."""
    reading = Reading(table, layout)
    story = _story(reading)
    kind, patterns = choice(rng, story.questions)
    text = reading.say(rng, *patterns, **_open_words(reading))
    told = story.message(reading, rng)
    # What stands out is told by the details as well; how something developed, by the message.
    sentences, most = [told], 2 if kind == "main" else 3
    for detail in story.details:
        if len(sentences) == most:
            break
        more = detail(reading, rng)
        if more is not None and _says_more(more, sentences):
            sentences.append(more)
    return Question(text, " ".join(sentences), "open", f"{story.name}_{kind}")


def _open_words(r: Reading) -> Words:
    """What open questions are about."""
    title = f'"{r.table.title}"'
    what = r.series(0).subject if r.single else "the values"
    series = listed([named(s) for s in r.table.columns])
    return {"title": title, "what": what, "all_series": series}


@dataclass(frozen=True)
class Story:
    """How one kind of table is told.

    Attributes:
        name: of the kind.
        message: writes the main message.
        details: write further sentences, the more important ones first.
        questions: kinds of open questions with their wordings.
    """

    name: str
    message: Callable[[Reading, Random], str]
    details: tuple[Sentence, ...]
    questions: tuple[tuple[str, tuple[str, ...]], ...]


# Frames


def _chart(r: Reading) -> str:
    """The kind of chart in running text."""
    names = {
        "vertical bar": "bar chart",
        "horizontal bar": "horizontal bar chart",
        "multi line": "line chart",
        "scatter": "scatter plot",
    }
    return names.get(r.layout.kind, f"{r.layout.kind} chart")


def _opening(r: Reading, rng: Random) -> str:
    """A sentence on the kind of chart, its title and what it compares."""
    count = len(r.labels)
    content = f"{in_words(count)} points" if r.scatter else counted(count, r.row)
    if r.time:
        content = f"{counted(count, 'value')} {r.span}"
    if not r.single:
        content = listed([named(s) for s in r.table.columns])
        content += f" {r.span}" if r.time else f" for {counted(count, r.row)}"
    return tell(
        r,
        rng,
        'The {chart}, titled "{title}", shows {content}.',
        'This {chart} with the title "{title}" covers {content}.',
        'Under the title "{title}", the {chart} presents {content}.',
        chart=_chart(r),
        title=r.table.title,
        content=content,
    )


def _closing(r: Reading, rng: Random) -> str | None:
    """A sentence on the source, if the picture names one."""
    shown = any(text.role == "source" and r.table.source in " ".join(text.text.split())
                for text in r.layout.texts)  # fmt: skip
    if not r.table.source or not shown:
        return None
    return tell(
        r,
        rng,
        "The chart names {source} as its source.",
        "Source of the data: {source}.",
        source=r.table.source,
    )


def _extent(r: Reading, rng: Random) -> str | None:
    """How many values there are."""
    count = len(r.labels) * len(r.columns)
    patterns = ("In all, the chart gives {count}.", "The chart contains {count} in all.")
    return tell(r, rng, *patterns, count=counted(count, "value"))


def _unit_of_values(r: Reading, rng: Random) -> str | None:
    """What the values are counted in."""
    if not r.table.unit:
        return None
    patterns = ("The values are given in {unit}.", "All values are stated in {unit}.")
    unit = {"%": "percent", "°C": "degrees Celsius"}.get(r.table.unit, r.table.unit)
    return tell(r, rng, *patterns, unit=unit)


def _bounds(r: Reading, rng: Random) -> str | None:
    """Between which values all lie."""
    values = [v for column in r.columns for v in column]
    low, high = min(values), max(values)
    if low == high:
        return f"All values are {r.amount(low)}."
    patterns = (
        "All values lie between {low} and {high}.",
        "The values reach from {low} to {high}.",
    )
    return tell(r, rng, *patterns, low=r.amount(low), high=r.amount(high))


# Which story a table has

_TIME = Story(
    "development",
    time_message,
    (peak, largest_step, ups_and_downs, average, _bounds),
    (
        ("main", (
            "How did {what} develop {span}?",
            "What does the chart tell about the development of {what} {span}?",
            "How has {what} changed over the period shown?",
        )),
        ("detail", (
            "What stands out in the chart {title}?",
            "Describe the ups and downs of {what} {span}.",
            "What are the main findings of the chart {title}?",
        )),
    ),
)  # fmt: skip
_RANKING = Story(
    "ranking",
    ranking_message,
    (last_place, runner_up, extremes_compared, above_average, average, _bounds),
    (
        ("main", (
            "How do the {rows} compare in {what}?",
            "How does {what} differ between the {rows}?",
            "Which differences between the {rows} does the chart {title} show?",
        )),
        ("detail", (
            "What stands out in the chart {title}?",
            "What are the main findings on {what}?",
            "Which {rows} are at the top and at the bottom, and how far apart are they?",
        )),
    ),
)  # fmt: skip
_SHARES = Story(
    "composition",
    share_message,
    (top_two_shares, smallest_share, runner_up, extremes_compared, _bounds),
    (
        ("main", (
            "How is the whole divided among the {rows}?",
            "What does the chart {title} say about the shares of the {rows}?",
        )),
        ("detail", (
            "What stands out in the chart {title}?",
            "Which {rows} dominate, and which matter least?",
        )),
    ),
)  # fmt: skip
_LINES = Story(
    "comparison_over_time",
    lines_message,
    (each_change, directions, widest_gap, record, record_low, averages, _bounds),
    (
        ("main", (
            "How did {all_series} develop {span}?",
            "How do {all_series} compare over time?",
        )),
        ("detail", (
            "What stands out in the chart {title}?",
            "What are the main developments that the chart {title} shows?",
            "Which changes does the chart show for {all_series}?",
        )),
    ),
)  # fmt: skip
_GROUPS = Story(
    "comparison_of_groups",
    groups_message,
    (peaks_of_series, widest_gap, record, record_low, averages, _bounds),
    (
        ("main", (
            "How do {all_series} differ over the {rows}?",
            "How do {all_series} compare in the chart {title}?",
        )),
        ("detail", (
            "What stands out in the chart {title}?",
            "What are the main differences that the chart {title} shows?",
        )),
    ),
)  # fmt: skip
_RELATION = Story(
    "relation",
    relation_message,
    (scatter_high, scatter_low, ends_of_cloud, scatter_extent, _bounds),
    (
        ("main", (
            "How is {what} related to {the_row}?",
            "What does the chart suggest about {the_row} and {what}?",
        )),
        ("detail", (
            "What stands out in the chart {title}?",
            "Describe how {what} changes with {the_row}.",
        )),
    ),
)  # fmt: skip


def _story(r: Reading) -> Story:
    """How a table is told."""
    if r.scatter:
        return _RELATION
    if r.whole and r.single:
        return _SHARES
    if r.time:
        return _TIME if r.single else _LINES
    return _RANKING if r.single else _GROUPS
