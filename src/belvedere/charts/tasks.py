"""The tasks of pretraining and the downstream sets: a prompt, and its answer as a line of text.

A prompt is the task's token, the question if there is one, and ``<s_answer>``, after which the
answer begins (UniChart, section 3.2 and its released checkpoints). Low-level tasks read the texts
(as Donut was pretrained to) and extract the data table and the visual elements; high-level ones
reason, answer openly and summarise.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from random import Random
from typing import Any, Literal, NamedTuple

from belvedere.charts.places import (
    UNSEEN,
    Look,
    Spelled,
    end_of,
    label_looks,
    name_looks,
    table_read,
    texts_read,
    value_looks,
)
from belvedere.charts.tables import CELL, ROW, linearise, parse
from belvedere.errors import BadInput
from belvedere.metrics.marks import ReadMark
from belvedere.metrics.relaxed import number

TaskName = Literal["texts", "table", "elements", "reasoning", "open", "summary"]
TOKENS: dict[TaskName, str] = {
    "texts": "<read_texts>",
    "table": "<extract_data_table>",
    "elements": "<extract_elements>",
    "reasoning": "<chartqa>",
    "open": "<opencqa>",
    "summary": "<summarize_chart>",
}
"""The token that a task's prompt begins with."""
LOW_LEVEL: tuple[TaskName, ...] = ("texts", "table", "elements")
ANSWER = "<s_answer>"
NO_CHART = "no chart"
"""The answer to every task where there is no chart in the picture."""
QUESTIONED: tuple[TaskName, ...] = ("reasoning", "open")
"""The tasks that say nothing without a question."""
LENGTHS = {"short": "short", "medium": "", "long": "long"}
"""What the prompt of a summary says of its level of detail."""


class Example(NamedTuple):
    """One task about one picture.

    A tuple, as Lightning looks into batches, and refuses dataclasses that are frozen.

    Attributes:
        task: which.
        question: what is asked beside the task's token; empty for most tasks.
        answer: what is learned; for tests the first of the accepted ones.
        accepted: all answers that are right.
        looks: where in the picture each letter of the answer is read, in pixels; empty if unknown.
    """

    task: TaskName
    question: str
    answer: str
    accepted: tuple[str, ...] = ()
    looks: tuple[Look, ...] = ()

    @property
    def right(self) -> tuple[str, ...]:
        """What is accepted, at least the answer itself."""
        return self.accepted or (self.answer,)


def says_no_chart(answer: str) -> bool:
    """Whether an answer is `NO_CHART`, or begins so and goes on as if there were one after all."""
    return f"{answer.strip()} ".startswith(f"{NO_CHART} ")


def check_weights(weights: Mapping[str, float], where: str) -> dict[TaskName, float]:
    """The weights of tasks, those of weight 0 left out.

    Raises:
        BadInput: an unknown task, a negative weight, or none above 0.
    """
    allowed = f"tasks are {', '.join(TOKENS)}"
    found: dict[TaskName, float] = {}
    for name, weight in weights.items():
        if name not in TOKENS:
            raise BadInput(f"there is no task {name!r}", where=where, remedy=allowed)
        if not isinstance(weight, int | float) or weight < 0:
            raise BadInput(f"{weight!r} is no weight of {name!r}", where=where)
        if weight:
            found[name] = float(weight)
    if not found:
        raise BadInput("no task has a weight above 0", where=where, remedy=allowed)
    return found


def draw_tasks(weights: Mapping[TaskName, float], count: int, rng: Random) -> list[TaskName]:
    """Tasks by their weights; none comes again before each has come."""
    found: list[TaskName] = []
    left: dict[TaskName, float] = {}
    for _ in range(count):
        left = left or dict(weights)
        found += rng.choices(list(left), list(left.values()))
        del left[found[-1]]
    return found


def draw_example(record: Mapping[str, Any], task: TaskName, rng: Random) -> Example:
    """One example of a task about a chart of the corpus (see `belvedere.charts.build.FEATURES`).

    Raises:
        BadInput: a question is wanted of a chart that has none.
    """
    if task == "summary":
        level = rng.choice(sorted(LENGTHS))
        return Example(task, LENGTHS[level], record["summaries"][level])
    if task == "reasoning":
        asked = rng.choice(questions_of(record))
        return Example(task, asked["text"], asked["answer"])
    return next(examples_of(record, task))


def all_examples(record: Mapping[str, Any]) -> Iterator[Example]:
    """Every example about a chart of the corpus, in the order of `TOKENS`.

    Raises:
        BadInput: the chart has no questions.
    """
    return chain.from_iterable(examples_of(record, task) for task in TOKENS)


def examples_of(record: Mapping[str, Any], task: TaskName) -> Iterator[Example]:
    """Every example of a task about a chart of the corpus; of the summaries the medium one.

    Raises:
        BadInput: questions are wanted of a chart that has none.
    """
    if task in READ:
        found = READ[task](record)
        yield Example(task, "", found.text, looks=tuple(found.looks))
    elif task == "summary":
        yield Example(task, "", record["summaries"]["medium"])
    else:
        for asked in questions_of(record) if task == "reasoning" else [record["open_question"]]:
            yield Example(task, asked["text"], asked["answer"])


def questions_of(record: Mapping[str, Any], where: str = "") -> Sequence[Mapping[str, Any]]:
    """The questions about a chart of the corpus.

    Args:
        record: the chart.
        where: its file, for the message, if that is known.

    Raises:
        BadInput: there are none.
    """
    if not record["questions"]:
        raise BadInput(
            f"the chart {record['id']} has no questions",
            where=where or None,
            remedy="make its file anew, or leave out the task 'reasoning'",
        )
    found: Sequence[Mapping[str, Any]] = record["questions"]
    return found


def marks_of(record: Mapping[str, Any]) -> list[ReadMark]:
    """The visual elements of a chart, one for each value, with boxes as shares of the picture.

    A mark is called by its row and, where there are several series, its column: as the keys of the
    data table are. The points of lines and areas are elements of their own, without extent.
    """
    width, height = record["width"], record["height"]
    several = len({mark["series"] for mark in record["marks"]}) > 1
    found = []
    for mark in record["marks"]:
        for i, (label, value) in enumerate(zip(mark["labels"], mark["values"], strict=True)):
            x0, y0, x1, y1 = mark["box"]
            if mark["kind"] in {"line", "area"}:
                (x0, y0), (x1, y1) = mark["points"][i], mark["points"][i]
            box = (x0 / width, y0 / height, x1 / width, y1 / height)
            name = f"{label} {mark['series']}" if several else label
            found.append(ReadMark(mark["kind"], name, value, box))
    return found


def elements_read(record: Mapping[str, Any]) -> Spelled:
    """The visual elements as `write_marks` writes them: kind and box are read at the mark."""
    ends = [
        (end_of(mark, i, record["kind"]), label, mark["series"])
        for mark in record["marks"]
        for i, label in enumerate(mark["labels"])
    ]
    found = Spelled()
    for mark, (end, label, series) in zip(marks_of(record), ends, strict=True):
        kind, name, value, box = mark_cells(mark)
        looks = label_looks(record, label, end.place)
        if name != label:
            looks = [*looks, UNSEEN, *name_looks(record, series)]
        found.add(kind, [Look(end.place)] * len(kind), ROW)
        found.add(name, looks, CELL)
        found.add(value, value_looks(record, value, end), CELL)
        found.add(box, [Look(end.place)] * len(box), CELL)
    return found


READ: dict[TaskName, Callable[[Mapping[str, Any]], Spelled]] = {
    "texts": texts_read,
    "table": table_read,
    "elements": elements_read,
}
"""What is read off the picture for each low-level task."""


def number_text(value: float) -> str:
    """A number of a record as text, without the digits that float32 made up."""
    return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.0f}"


def mark_cells(mark: ReadMark) -> list[str]:
    """An element as cells: kind, label, value, and the box in hundredths of the picture."""
    box = " ".join(str(min(max(round(100 * edge), 0), 99)) for edge in mark.box)
    value = "" if mark.value is None else number_text(mark.value)
    return [mark.kind, mark.label, value, box]


def write_marks(marks: list[ReadMark]) -> str:
    """Elements as one line.

    Example:
        >>> write_marks([ReadMark("bar", "Spain", 12.5, (0.23, 0.4, 0.31, 0.9))])
        'bar | Spain | 12.5 | 23 40 31 90'
    """
    return linearise([mark_cells(mark) for mark in marks])


def read_marks(line: str) -> list[ReadMark]:
    """The elements of a line that `write_marks` or a model wrote; malformed ones are left out."""
    found = []
    for row in parse(line):
        edges = row[3].split() if len(row) == 4 else []
        if len(edges) == 4 and all(edge.isdecimal() for edge in edges):
            x0, y0, x1, y1 = (int(edge) / 100 for edge in edges)
            found.append(ReadMark(row[0], row[1], number(row[2]), (x0, y0, x1, y1)))
    return found
