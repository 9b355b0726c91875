"""Fine-tuning of chart readers on the published sets, from the command line to the report."""

import json
import shutil

import pytest
import torch
from chart_sets import write_chart_to_text, write_chartqa, write_opencqa

from belvedere.unichart.loading import load_reader

WRITERS = {
    "chartqa": write_chartqa,
    "opencqa": write_opencqa,
    "chart_to_text": write_chart_to_text,
    "chart_to_table": write_chartqa,
}


@pytest.fixture
def tune(run_reader, reader_folder, tmp_path):
    """Runs a downstream experiment from the small reader on its set, which may be changed first."""

    def call(data, *overrides, change=None):
        folder = WRITERS[data](tmp_path / "set")
        if change:
            change(folder)
        return run_reader(
            f"unichart_{data}", f"data.path={folder}", f"init={reader_folder}", *overrides,
        )  # fmt: skip

    return call


def report_of(folder):
    return json.loads((folder / "report.json").read_text())


@pytest.mark.parametrize(
    ("data", "task", "asked", "kinds", "left_out"),
    [
        ("chartqa", "reasoning", 4, {"human", "augmented", "average"}, 0),
        ("opencqa", "open", 1, set(), 3),
        ("chart_to_text", "summary", 2, {"simple", "complex"}, 3),
        ("chart_to_table", "table", 1, set(), 3),
    ],
)
def test_each_set_is_learned_and_reported(tune, data, task, asked, kinds, left_out, reader_folder):
    folder = tune(data)
    report = report_of(folder)
    assert report["experiment"] == f"unichart_{data}"
    assert report["steps"] == 2
    assert list(report["tasks"]) == [task]
    assert report["tasks"][task]["n"] == asked
    for baseline in ("blank image", "typical answer"):
        assert report["baselines"][baseline][task]["n"] == asked
        assert set(report["baselines_by_kind"][baseline]) == kinds
    assert set(report["kinds"]) == kinds
    assert report["letters_read"] is None
    assert report["data"]["without_answer"] == left_out
    text = (folder / "report.md").read_text()
    assert ("records without an answer left out" in text) == bool(left_out)
    # Two of the sets have one folder of pictures for all splits.
    assert ("test pictures that were trained on" in text) == (data in ("opencqa", "chart_to_text"))
    before = load_reader(reader_folder).state_dict()
    after = load_reader(folder / "checkpoints" / "model").state_dict()
    assert any(not torch.equal(after[name], weight) for name, weight in before.items())


def test_people_and_program_count_alike_in_the_average(tune):
    folder = tune("chartqa")
    report = report_of(folder)
    # The typical answer is right to one question of each group: of one, and of three.
    groups = report["baselines_by_kind"]["typical answer"]
    shares = {name: group["reasoning"]["relaxed_accuracy"] for name, group in groups.items()}
    assert shares["average"] == pytest.approx((shares["human"] + shares["augmented"]) / 2)
    assert shares["augmented"] == 1
    assert shares["human"] == pytest.approx(1 / 3)
    assert groups["average"]["reasoning"]["n"] == 4
    assert "| average   |" in (folder / "report.md").read_text()


def test_answers_are_cut_at_the_limit_and_counted(tune):
    folder = tune("opencqa", "+data.positions=16")
    report = report_of(folder)
    assert report["data"]["truncated"] == report["images_seen"] == 2
    assert "2 texts cut in training at the decoder's limit" in (folder / "report.md").read_text()


def test_a_test_split_that_is_there_in_parts_is_answered_whole(tune):
    def divide(folder):
        (folder / "test").rename(folder / "test_simple")
        shutil.copytree(folder / "test_simple", folder / "test_complex")

    assert report_of(tune("chartqa", change=divide))["tasks"]["reasoning"]["n"] == 8


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["data.path=nowhere"], "error: nowhere: there is no such folder; check data.path"),
        (["data.path=null"], "error: data: neither data.path nor data.hub is given; give the"),
        (["data.test_split=hard"], "error: {set}: there is no hard.json; choose one of test, "),
        (
            ["reader.tokenizer_name=/nowhere"],
            "error: reader.tokenizer_name: there is no",
        ),
        (["data.letters=true"], "error: "),
    ],
)
def test_bad_input_is_one_line(tune, capsys, tmp_path, overrides, line):
    with pytest.raises(SystemExit) as ended:
        tune("opencqa", *overrides)
    assert ended.value.code == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith(line.format(set=tmp_path / "set"))
    assert "\n" not in error


def test_a_reader_that_has_not_learned_the_task_is_refused(tune, capsys, tmp_path, plain_words):
    plain_words.save_pretrained(tmp_path / "plain")
    with pytest.raises(SystemExit) as ended:
        tune("opencqa", f"reader.tokenizer_name={tmp_path / 'plain'}")
    assert ended.value.code == 2
    error = capsys.readouterr().err.strip()
    assert error == (
        "error: data: the reader's tokenizer has no <opencqa>, which the task 'open' needs; give a "
        "reader that has learned the task, or set reader.task_tokens=true to learn it"
    )
    assert not (tmp_path / "runs/unichart_opencqa/latest").exists()


def test_real_charts_are_learned_from(run_reader, shared_data, reader_folder):
    folder = run_reader(
        "unichart_chartqa", f"data.path={shared_data / 'charts/chartqa'}", "data.eval_charts=4",
        f"init={reader_folder}",
    )  # fmt: skip
    report = report_of(folder)
    assert report["data"]["charts"] == 300
    assert set(report["kinds"]) == {"human", "augmented", "average"}
