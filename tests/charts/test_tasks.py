from random import Random
from typing import Any

import pytest

from belvedere.charts.tasks import (
    NO_CHART,
    TOKENS,
    TaskName,
    check_weights,
    draw_example,
    draw_tasks,
    examples_of,
    read_marks,
    write_marks,
)
from belvedere.errors import BadInput
from belvedere.metrics.marks import ReadMark

MARKS = [
    ReadMark("bar", "Spain", 12.5, (0.23, 0.4, 0.31, 0.9)),
    ReadMark("line", "2019 A | B", 1200.0, (0.5, 0.25, 0.5, 0.25)),
]


def test_marks_come_back_from_their_line() -> None:
    line = write_marks(MARKS)
    assert line == r"bar | Spain | 12.5 | 23 40 31 90 & line | 2019 A \| B | 1200 | 50 25 50 25"
    assert read_marks(line) == MARKS


def test_malformed_marks_are_left_out() -> None:
    line = "bar | Spain | 12.5 | 23 40 31 & bar | Spain | 12.5 & x & pie | A | ? | 1 2 3 4"
    assert read_marks(line) == [ReadMark("pie", "A", None, (0.01, 0.02, 0.03, 0.04))]
    assert read_marks(NO_CHART) == []


def test_weights_are_checked() -> None:
    assert check_weights({"table": 2, "open": 0}, "data.tasks") == {"table": 2.0}
    for bad in ({"tabel": 1}, {"table": -1}, {"table": "x"}, {"table": 0}, {}):
        with pytest.raises(BadInput, match=r"data\.tasks"):
            check_weights(bad, "data.tasks")  # type: ignore[arg-type]


def test_tasks_are_drawn_by_weight_and_none_twice_before_all_have_been() -> None:
    weights: dict[TaskName, float] = {"table": 8, "texts": 1, "open": 1}
    firsts = [draw_tasks(weights, 1, Random(seed))[0] for seed in range(300)]
    assert 200 < firsts.count("table") < 275
    for seed in range(20):
        drawn = draw_tasks(weights, 7, Random(seed))
        assert set(drawn[:3]) == set(drawn[3:6]) == set(weights)
    assert draw_tasks(weights, 0, Random(0)) == []


@pytest.mark.parametrize("questions", [[], None])
def test_a_chart_without_questions_is_named_where_they_are_wanted(questions: Any) -> None:
    record = {"id": "train-000007", "questions": questions, "summaries": {}}
    record["open_question"] = {"text": "How is it?", "answer": "Well."}
    for wanted in (
        lambda: draw_example(record, "reasoning", Random(0)),
        lambda: list(examples_of(record, "reasoning")),
    ):
        with pytest.raises(BadInput, match="the chart train-000007 has no questions"):
            wanted()
    assert draw_example(record, "open", Random(0)).answer == "Well."


def test_every_task_has_a_token_of_its_own() -> None:
    assert len(set(TOKENS.values())) == len(TOKENS)
