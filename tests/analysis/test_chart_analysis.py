"""What the notebook of chart readers shows, from answers to figures."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.stats import binomtest
from torchmetrics.classification import BinaryCalibrationError

from belvedere.analysis.charts import (
    ALL,
    ChartAnswers,
    asked,
    charts_of_kind,
    errors,
    form_of,
    interval,
    only_relaxed,
    question_table,
    ranked,
    read_answers,
    rules_by_form,
    table_scores,
)
from belvedere.analysis.charts_calibration import (
    Calibration,
    calibration_table,
    no_chart_by_kind,
    no_chart_calibration,
    question_calibrations,
    whole_probability,
)
from belvedere.analysis.charts_figures import (
    draw_errors,
    draw_no_chart,
    draw_reliability,
    draw_rules,
    draw_tables,
)
from belvedere.analysis.charts_pictures import SHIPPED, best_and_worst, draw_charts, wrong_cells
from belvedere.analysis.charts_record import record
from belvedere.analysis.charts_words import (
    said_of_calibration,
    said_of_errors,
    said_of_no_chart,
    said_of_rules,
    said_of_tables,
)
from belvedere.charts.tasks import NO_CHART
from belvedere.errors import BadInput
from belvedere.metrics.chart_tasks import Answered
from belvedere.runs.chart_answers import ANSWERS, WITHOUT, write_answers

TABLE = "Year | Sales & 1999 | 200 & 2000 | 250"


def question(answer: str, right: str, kind: str = "line", **options) -> Answered:
    return Answered("reasoning", kind, f"Is it {right}?", answer, (right,), **options)


@pytest.fixture
def answers() -> ChartAnswers:
    """Of a reader of the first four shipped test charts, which reads the first two tables right."""
    rows = pq.read_table(SHIPPED / "test-00000.parquet", columns=["id", "kind", "table"])
    charts = []
    for number, row in enumerate(rows.slice(0, 4).to_pylist()):
        place = {"kind": row["kind"], "picture": row["id"], "tokens": 20}
        read = row["table"] if number < 2 else f"{row['table']}0 & a | b"
        charts += [
            Answered("table", question="", answer=read, accepted=(row["table"],),
                     confidence=0.9 - 0.1 * number, no_chart=0.01 * number, **place),
            Answered("reasoning", question="How many?", answer="8", accepted=(str(8 + number % 2),),
                     confidence=0.6, no_chart=0.05, **(place | {"tokens": 2})),
            Answered("reasoning", question="Which year?", answer="2008", accepted=("2010",),
                     confidence=0.5, no_chart=0.02, **(place | {"tokens": 5})),
            Answered("summary", question="", answer="Sales rose a lot in May.",
                     accepted=("Sales rose a lot in June.",), confidence=0.8, **place),
        ]  # fmt: skip
    without = [
        replace(charts[0], kind=kind, answer=NO_CHART if sure > 0.5 else TABLE,
                accepted=(NO_CHART,), picture=f"{kind} {sure}", confidence=1 - sure, no_chart=sure)
        for kind in ("blank", "typed page") for sure in (0.95, 0.6, 0.2)
    ]  # fmt: skip
    return ChartAnswers(charts, without)


@pytest.fixture
def run(answers: ChartAnswers, tmp_path: Path) -> Path:
    """The folder of a run that gave these answers."""
    folder = tmp_path / "run"
    folder.mkdir()
    write_answers({"test": answers.charts}, folder / ANSWERS)
    write_answers({"test": answers.without}, folder / WITHOUT)
    (folder / "report.json").write_text("{}")
    (folder / "config.yaml").write_text(f"data:\n  path: {SHIPPED}\n")
    return folder


def test_answers_are_read_as_they_were_given_from_runs_and_records(run, answers, tmp_path):
    assert read_answers(run) == answers
    files = record(run, tmp_path / "kept")
    assert {file.name for file in files} == {
        "answers.parquet", "answers_without_chart.parquet", "report.json",
    }  # fmt: skip
    assert read_answers(tmp_path / "kept") == answers


def test_a_run_that_kept_fewer_answers_is_read(run, answers, tmp_path):
    (run / WITHOUT).unlink()
    lines = (run / ANSWERS).read_text().splitlines()
    refusal = lines[0].replace('"no_chart": 0.0', '"cut": false').replace('"answer": "', '"x": "')
    refusal = refusal.replace('"task"', f'"answer": "{NO_CHART}", "task"')
    (run / ANSWERS).write_text("\n".join([refusal, *lines]))
    found = read_answers(run)
    assert found.without == []
    assert found.charts[1:] == answers.charts
    assert found.charts[0].no_chart == pytest.approx(1 - found.charts[0].confidence)
    with pytest.raises(BadInput, match="no answers about pictures without a chart"):
        no_chart_calibration(found)
    record(run, tmp_path / "kept")
    assert read_answers(tmp_path / "kept") == found


def test_what_is_no_run_of_a_chart_reader_is_refused(run, tmp_path):
    with pytest.raises(BadInput, match=r"answers\.jsonl"):
        read_answers(tmp_path)
    with (run / ANSWERS).open("a") as opened:
        opened.write('{"task": "table"}\n')
    with pytest.raises(BadInput, match=r"answers\.jsonl:17: no answer of a chart reader"):
        read_answers(run)
    told = subprocess.run(
        [sys.executable, "-m", "belvedere.analysis.charts_record", run, tmp_path / "kept"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 2
    assert told.stderr.count("\n") == 1
    assert not (tmp_path / "kept").exists()


def test_errors_are_what_the_measures_lack():
    found = errors(
        [
            question("5", "5"), question("7", "5"), question("9", "5", "pie"),
            Answered("table", "pie", "", TABLE, (TABLE,)),
            Answered("table", "pie", "", "Year | Sales", (TABLE,)),
        ]
    )  # fmt: skip
    assert list(found.index) == ["line", "pie", ALL]
    assert list(found.columns) == ["table", "reasoning"]
    assert found["reasoning"].tolist() == pytest.approx([50, 100, 200 / 3])
    assert found.loc["pie", "table"] == pytest.approx(50)
    assert np.isnan(found.loc["line", "table"])


def test_the_rules_are_told_apart_by_the_form_of_the_right_answer():
    table = question_table(
        [question("yes", "Yes"), question("2008", "2010"), question("1,200", "1200"),
         question("Peru", "Peru"), question("102", "100")]
    )  # fmt: skip
    rules = rules_by_form(table)
    assert rules.loc["number"].tolist() == [0.5, 1, 0, 2]
    assert rules["n"].to_dict() == {"yes or no": 1, "number": 2, "year": 1, "text": 1, ALL: 5}
    assert only_relaxed(table)["answer"].tolist() == ["2008", "1,200"]
    told = said_of_rules(rules, table)
    assert "Of 5 answers 1 count by relaxed accuracy alone, and 1 by the strict rule alone" in told
    assert "Of answers that should be a year 100% count" in told
    forms = [form_of(one) for one in (" no", "-€5", "1999", "blue")]
    assert forms == ["yes or no", "number", "year", "text"]


def test_tables_are_scored_and_charts_put_in_order(answers):
    scores = table_scores(answers.charts)
    assert scores["f1"].iloc[:2].tolist() == [100, 100]
    assert (scores["f1"].iloc[2:] < 100).all()
    assert (scores["precision"].iloc[2:] < scores["recall"].iloc[2:]).all()
    assert "2 tables score above 99, 0 below 1" in said_of_tables(scores)
    order = ranked(answers.charts)
    # Both are whole; more questions about the first one are answered right.
    assert list(order.index[-2:]) == ["test-000001", "test-000000"]
    assert order.loc["test-000000", ["right", "questions"]].tolist() == [2, 2]


@pytest.mark.parametrize("data", [str(SHIPPED), "data/charts", None])
def test_the_best_and_worst_charts_are_shown_with_their_own_pictures(
    run, answers, data, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (run / "config.yaml").write_text(f"data:\n  path: {data}\n")
    if data is None:
        (run / "config.yaml").unlink()  # then the shipped charts are meant
    best, worst = best_and_worst(answers.charts, run, count=1)
    assert best[0].title.startswith(
        "test-000000, horizontal bar: RMS-F1 100, confidence 0.90, 2 of"
    )
    assert best[0].answer == best[0].right
    assert worst[0].answer != worst[0].right
    sizes = pq.read_table(SHIPPED / "test-00000.parquet", columns=["width", "height"]).to_pylist()
    assert best[0].picture.shape == (sizes[0]["height"], sizes[0]["width"], 3)
    assert len(best_and_worst(answers.charts, run, count=9)[0]) == 2


def test_pictures_that_are_gone_are_told(run, answers, tmp_path):
    charts = [replace(one, picture="test-999999") for one in answers.charts[:4]]
    with pytest.raises(BadInput, match="no picture 'test-999999'"):
        best_and_worst([*answers.charts, *charts], run, count=3)
    (run / "config.yaml").write_text(f"data:\n  path: {tmp_path / 'gone'}\n")
    with pytest.raises(BadInput, match="no such file or folder"):
        best_and_worst(answers.charts, run)


def test_a_value_is_wrong_where_its_names_are():
    right = [["Year", "A", "B"], ["1999", "200", "7"], ["2000", "0", "8"]]
    assert wrong_cells(right, right) == set()
    swapped = [["Year", "B", "A"], ["2000", "8", "0"], ["1999", "7", "204"]]
    assert wrong_cells(swapped, right) == set()
    odd = [["Year", "A"], ["1998", "200"], ["2000", "1", "9"], []]
    assert wrong_cells(odd, right) == {(1, 0), (1, 1), (2, 1), (2, 2), (3, 0)}
    assert wrong_cells([], right) == set()


def test_the_calibration_error_is_torchmetrics():
    rng = np.random.default_rng(0)
    probability = rng.uniform(size=500)
    true = rng.uniform(size=500) < probability**2
    peer = BinaryCalibrationError(n_bins=10, norm="l1")
    wanted = float(peer(torch.from_numpy(probability), torch.from_numpy(true).int()))
    found = Calibration(probability, true)
    assert found.error == pytest.approx(wanted, abs=1e-6)
    assert found.error > 0.1
    assert found.bins()["n"].sum() == 500
    assert "promises too much" in said_of_calibration("x", found)
    assert Calibration(np.array([1.0, 0.0]), np.array([True, False])).error == 0


def test_the_interval_is_scipys():
    for right, count in ((0, 7), (3, 7), (7, 7), (40, 1000)):
        wanted = binomtest(right, count).proportion_ci(method="wilson")
        assert interval(right, count) == pytest.approx((wanted.low, wanted.high), abs=1e-6)
    assert interval(0, 0) == (0, 1)


def test_a_whole_answer_is_as_probable_as_all_its_tokens(answers):
    assert whole_probability(question("8", "8", confidence=0.6, tokens=2)) == pytest.approx(0.36)
    refused = question(NO_CHART, "8", confidence=0.3, no_chart=0.7, tokens=7)
    assert whole_probability(refused) == 0.7
    by_answer, by_token = question_calibrations(answers.charts).values()
    assert sorted(set(by_answer.probability)) == pytest.approx([0.5**5, 0.36])
    assert sorted(set(by_token.probability)) == [0.5, 0.6]
    assert by_answer.true.mean() == 0.75  # 2008 counts for 2010
    table = calibration_table(answers.charts)
    assert table.loc["table", "right"] == 0.5
    assert table["n"].to_dict() == {"table": 4, "reasoning": 8, "summary": 4}
    with pytest.raises(BadInput, match="not asked for the task 'open'"):
        asked(answers.charts, "open")


def test_no_chart_is_probable_where_there_is_none(answers):
    found = no_chart_calibration(answers)
    assert len(found.true) == 16 + 6
    assert found.true.sum() == 6
    kinds = no_chart_by_kind(answers)
    assert list(kinds) == ["charts", "blank", "typed page*"]
    assert kinds["blank"].tolist() == [0.95, 0.6, 0.2]
    told = said_of_no_chart(answers)
    assert "0.0% of the questions about charts, to 66.7% about pictures" in told


def is_whole(figure: Figure) -> bool:
    """Whether all that a figure has, labels too, is within its edges."""
    FigureCanvasAgg(figure).draw()
    drawn, page = figure.get_tightbbox(), figure.bbox_inches.padded(0.01)
    return (
        page.x0 <= drawn.x0 and page.y0 <= drawn.y0 and drawn.x1 <= page.x1 and drawn.y1 <= page.y1
    )


def test_no_figure_reaches_beyond_its_edges(run, answers):
    charts = [
        replace(one, kind=f"{one.kind} of a long name {number % 3}")
        for number, one in enumerate(answers.charts)
    ]
    found = errors(charts)
    assert said_of_errors(found).startswith("Of the tasks, ")
    long = replace(charts[0], answer=" & ".join(["$a_name_that_is_long | 1 | 2"] * 30))
    best, worst = best_and_worst([long, *charts[1:]], run, count=2)
    for figure in (
        draw_errors(found, charts_of_kind(charts)),
        draw_rules(rules_by_form(question_table(charts))),
        draw_tables(table_scores(charts)),
        draw_charts(best),
        draw_charts(worst),
        draw_reliability(question_calibrations(charts), "right"),
        draw_no_chart(no_chart_by_kind(answers)),
    ):
        assert is_whole(figure)


def test_charts_of_one_kind_are_enough(answers):
    one = [replace(each, kind="") for each in answers.charts if each.task == "reasoning"]
    found = errors(one)
    assert isinstance(said_of_errors(found), str)
    draw_errors(found, charts_of_kind(one))
    assert pd.notna(found).all().all()
