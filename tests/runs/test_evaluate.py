"""Evaluation of chart readers, from the command line to the report."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from chart_sets import write, write_chart_to_text, write_chartqa, write_opencqa

from belvedere.runs.chart_answers import answer_elsewhere
from belvedere.unichart.hub import to_hub
from belvedere.unichart.loading import SHAPE, WEIGHTS, load_reader, save_reader


def report_of(folder):
    return json.loads((folder / "report.json").read_text())


def answers_of(folder):
    return [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]


@pytest.fixture
def divided(tmp_path):
    """ChartQA whose test split is there in two parts, of which only one has tables."""
    folder = write_chartqa(tmp_path / "set")
    (folder / "test").rename(folder / "test_simple")
    shutil.copytree(folder / "test_simple", folder / "test_complex")
    shutil.rmtree(folder / "test_complex/tables")
    return folder


def test_all_parts_groups_and_tables_of_chartqa_are_in_one_report(
    evaluate, reader_folder, divided, capsys
):
    folder = evaluate(reader_folder, "chartqa", f"data.path={divided}")
    report = report_of(folder)
    assert list(report["splits"]) == ["test_complex", "test_simple"]
    simple, difficult = report["splits"]["test_simple"], report["splits"]["test_complex"]
    assert set(simple["tasks"]) == {"reasoning", "table"}
    assert set(difficult["tasks"]) == {"reasoning"}
    assert [data["name"] for data in simple["data"]] == ["chartqa", "chart_to_table"]
    assert report["tasks"]["reasoning"]["n"] == 8
    assert report["tasks"]["table"]["n"] == 1
    # Nothing but "2019" was answered often in training, and it is right here too.
    typical = report["baselines_by_kind"]["typical answer"]
    assert typical["augmented"]["reasoning"]["relaxed_accuracy"] == 1
    assert typical["average"]["reasoning"]["relaxed_accuracy"] == pytest.approx(2 / 3)
    assert set(report["kinds"]) == {"human", "augmented", "average"}
    assert report["baselines"]["typical answer"]["table"]["rms_f1"] == pytest.approx(100)
    assert report["notes"] == []
    answers = answers_of(folder)
    assert [one["split"] for one in answers].count("test_simple") == 5
    assert len(answers) == 9
    text = (folder / "report.md").read_text()
    assert text.startswith("# evaluate_chartqa\n")
    assert "| all          | reasoning | relaxed accuracy |" in text
    assert "| test_simple  | average   |" in text
    assert "figures/charts.png" in text
    assert "- data: chart_to_table, test_simple, 1 test charts, 1 records without an" in text
    assert "| test_complex | reasoning | relaxed accuracy |" in capsys.readouterr().out


def test_what_was_answered_before_a_damaged_picture_is_kept(
    evaluate, reader_folder, divided, tmp_path, capsys
):
    picture = divided / "test_simple/png/1.png"
    picture.write_bytes(picture.read_bytes()[:60])
    with pytest.raises(SystemExit) as stopped:
        evaluate(reader_folder, "chartqa", f"data.path={divided}", "data.eval_batch_size=1")
    assert stopped.value.code == 2
    assert "test_simple/png/1.png: the picture is damaged" in capsys.readouterr().err
    (folder,) = (tmp_path / "runs/evaluate_chartqa").iterdir()
    splits = [one["split"] for one in answers_of(folder)]
    assert splits == ["test_complex"] * 4 + ["test_simple"] * 2


def test_a_run_is_evaluated_as_it_was_tested(evaluate, run_reader, reader_folder, tmp_path):
    data = write_chartqa(tmp_path / "set")
    run = run_reader(
        "unichart_chartqa", f"data.path={data}", f"init={reader_folder}",
        f"reader.tokenizer_name={reader_folder}",
    )  # fmt: skip
    trained = report_of(run)
    folder = evaluate(run, "chartqa", f"data.path={data}")
    report = report_of(folder)
    assert list(report["splits"]) == ["test"]
    for part in ("kinds", "baselines_by_kind"):
        assert report[part] == trained[part]
    assert report["tasks"]["reasoning"] == trained["tasks"]["reasoning"]
    assert report["reader"]["parameters"] == trained["reader"]["parameters"]
    assert answers_of(folder)[:4] == answers_of(run)


def test_only_the_test_split_is_needed(evaluate, reader_folder, tmp_path):
    data = write_opencqa(tmp_path / "set")
    for split in ("train", "val"):
        (data / f"{split}.json").unlink()
    folder = evaluate(reader_folder, "opencqa", f"data.path={data}")
    report = report_of(folder)
    assert report["tasks"]["open"]["n"] == 1
    assert list(report["baselines"]) == ["blank image"]
    (note,) = report["notes"]
    assert note.startswith("no typical answer for opencqa: ")
    text = (folder / "report.md").read_text()
    assert "no typical answer for opencqa: " in text
    assert "- data: opencqa, test, 1 test charts, 1 records without an answer left out" in text


def test_weights_in_the_hubs_layout_answer_by_beam_search(evaluate, chart_model, words, tmp_path):
    to_hub(chart_model, tmp_path / "hub")
    words.save_pretrained(tmp_path / "hub")
    options = [f"data.path={write_chart_to_text(tmp_path / 'set')}", "data.source=pew", "beams=2"]
    report = report_of(evaluate(tmp_path / "hub", "chart_to_text", *options))
    assert set(report["kinds"]) == {"simple", "complex"}
    assert {"bleu", "rouge_l", "n"} <= set(report["tasks"]["summary"])
    assert report["beams"] == 2


def test_tables_alone_and_splits_that_are_named(evaluate, reader_folder, tmp_path):
    data = write_chartqa(tmp_path / "set")
    report = report_of(
        evaluate(
            reader_folder, "chart_to_table", f"data.path={data}", "data.test_split=[val,train]"
        )
    )
    assert list(report["splits"]) == ["val", "train"]
    assert set(report["tasks"]) == {"table"}
    assert report["tasks"]["table"]["n"] == 2


def test_charts_of_this_project_are_told_apart_by_kind(evaluate, reader_folder, charts):
    options = [f"data.path={charts}", "data.tasks.texts=0", "another_chart=true"]
    folder = evaluate(reader_folder, "charts", *options)
    report = report_of(folder)
    assert set(report["tasks"]) == {"table", "elements", "reasoning", "open", "summary"}
    assert report["tasks"]["table"]["n"] == 3
    assert list(report["baselines"]) == ["blank image", "another chart", "typical answer"]
    assert report["baselines"]["another chart"]["table"]["n"] == 3
    assert "table, RNSS" in (folder / "report.md").read_text()
    assert report["kinds"]
    assert "average" not in report["kinds"]


@pytest.mark.parametrize(
    ("sizes", "shown"), [((3, 2), [4, 0, 1, 2, 3]), ((1, 1), [1, 0]), ((1,), [])]
)
def test_another_chart_is_the_one_before(sizes, shown):
    pixels = torch.arange(sum(sizes))[:, None]
    data = SimpleNamespace(
        rows={"test": [SimpleNamespace(pixels=one) for one in pixels]},
        test_dataloader=lambda: [{"pixels": part} for part in pixels.split(sizes)],
        transfer_batch_to_device=lambda batch, device, index: batch,
    )
    module = SimpleNamespace(device="cpu", answer=lambda batch: batch["pixels"].flatten().tolist())
    assert answer_elsewhere(module, data) == shown


def test_other_readers_answer_the_same_questions(evaluate, reader_folder, charts, tmp_path):
    other = shutil.copytree(reader_folder, tmp_path / "other")
    model = load_reader(other)
    torch.nn.init.normal_(model.head_weight)
    save_reader(model, other)
    options = [f"data.path={charts}", "data.tasks.texts=0", f"+rivals.same={reader_folder}"]
    folder = evaluate(reader_folder, "charts", *options, f"+rivals.other={other}")
    report = report_of(folder)
    assert list(report["baselines"])[:2] == ["same", "other"]
    assert report["baselines"]["same"] == report["tasks"]
    assert set(report["baselines"]["other"]) == set(report["tasks"])
    assert report["baselines_by_kind"]["same"] == report["kinds"]
    assert report["rivals"]["other"]["name"] == str(other)
    assert "- other: " in (folder / "report.md").read_text()


@pytest.fixture
def bad(tmp_path, reader_folder, chart_model, plain_words):
    """Checkpoints and sets that something is wrong with, by name."""
    damaged = shutil.copytree(reader_folder, tmp_path / "damaged")
    weights = (damaged / WEIGHTS).read_bytes()
    (damaged / WEIGHTS).write_bytes(weights[: len(weights) // 2])
    wordless = shutil.copytree(reader_folder, tmp_path / "wordless")
    (wordless / "tokenizer.json").write_text("{}")
    shapeless = shutil.copytree(reader_folder, tmp_path / "shapeless")
    (shapeless / SHAPE).unlink()
    untaught = shutil.copytree(reader_folder, tmp_path / "untaught")
    plain_words.save_pretrained(untaught)
    llama = shutil.copytree(reader_folder, tmp_path / "llama")
    (llama / SHAPE).rename(llama / "config.json")
    write(llama / "config.json", {"model_type": "llama"})
    write(tmp_path / "run/checkpoints/last.ckpt", "")
    write_chartqa(tmp_path / "chartqa")
    broken = write_opencqa(tmp_path / "broken")
    write(broken / "test.json", '[{"imgname": ')
    shutil.copytree(tmp_path / "chartqa/train", tmp_path / "untested/train")
    return tmp_path


@pytest.mark.parametrize(
    ("checkpoint", "data", "overrides", "line"),
    [
        ("nowhere", "chartqa", [], "{bad}/nowhere: there is no chart reader; give the folder"),
        ("run", "chartqa", [], "{bad}/run: there is no chart reader; give the folder of a run"),
        ("shapeless", "chartqa", [], "{bad}/shapeless: there is no chart reader; give the"),
        ("run/checkpoints/last.ckpt", "chartqa", [], "{bad}/run/checkpoints/last.ckpt: there is"),
        ("damaged", "chartqa", [], "{bad}/damaged: no whole chart reader ("),
        ("wordless", "chartqa", [], "checkpoint: there is no tokenizer in {bad}/wordless; name"),
        ("llama", "chartqa", [], "{bad}/llama: is a llama, which reads no pictures; give a"),
        ("untaught", "chartqa", [], "data: the reader's tokenizer has no <chartqa>, which the"),
        ("good", "nonsense", [], "In 'evaluate': Could not find 'data/nonsense'; Available"),
        ("good", "alpaca", [], "data: alpaca are no charts; choose charts, chartqa, "),
        ("good", "chartqa", ["data.path={bad}/x"], "{bad}/x: there is no such folder; check data"),
        ("good", "charts", ["data.path={bad}/x"], "{bad}/x: there is no such file or folder; che"),
        ("good", "opencqa", [], "data: neither data.path nor data.hub is given; give the set's "),
        ("good", "opencqa", ["data.path={bad}/broken"], "{bad}/broken/test.json: broken JSON ("),
        ("good", "chartqa", ["data.path={bad}/untested"], "{bad}/untested: there is no test/png; "),
        ("good", "chartqa", ["data.eval_charts=0"], "data.eval_charts: 0 is too small; give 1"),
        ("good", "chartqa", ["+rivals.a={bad}/run"], "{bad}/run: there is no chart reader; "),
        ("good", "chartqa", ["nonsense=1"], "Could not override 'nonsense'."),
        ("good", None, [], "You must specify 'data', e.g, data=<OPTION>; Available options:"),
        (None, "chartqa", [], "Missing mandatory value: checkpoint"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    evaluate, reader_folder, bad, capsys, checkpoint, data, overrides, line
):
    folder = {"good": reader_folder, None: None}.get(checkpoint, bad / str(checkpoint))
    if data == "chartqa":
        overrides = [f"data.path={bad / 'chartqa'}", *overrides]
    with pytest.raises(SystemExit) as ended:
        evaluate(folder, data, *(one.format(bad=bad) for one in overrides))
    assert ended.value.code == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: " + line.format(bad=bad))
    assert "\n" not in error


def test_real_charts(evaluate, reader_folder, shared_data):
    real = shared_data / "charts"
    folder = evaluate(
        reader_folder, "chartqa", f"data.path={real / 'chartqa'}", "data.eval_charts=4"
    )
    report = report_of(folder)
    assert list(report["splits"]) == ["test_complex", "test_simple"]
    assert report["tasks"]["table"]["n"] == 4
    assert set(report["kinds"]) == {"human", "augmented", "average"}
    (note,) = report["notes"]
    assert note.startswith("no typical answer for chart_to_table: ")
    folder = evaluate(
        reader_folder, "opencqa", f"data.path={real / 'opencqa'}",
        "data.test_split=val", "data.eval_charts=4",
    )  # fmt: skip
    assert report_of(folder)["tasks"]["open"]["n"] == 4
