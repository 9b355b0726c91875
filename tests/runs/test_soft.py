import json
import sys

import pytest
import torch
from transformers import AutoModelForCausalLM

from belvedere.runs import compare, judge
from belvedere.runs.answers import read_answers


@pytest.fixture
def instructions(tmp_path):
    rows = [
        {"instruction": f"say {word} {i}", "input": "", "output": f"{word} {i}", "task": "say"}
        for i in range(30)
        for word in ("paris", "euro")
    ]
    file = tmp_path / "instructions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["data=instructions", f"data.path={file}", "data.held_out=0.4", "data.new_tokens=4"]


@pytest.fixture
def questions(tmp_path):
    rows = [
        {"question": f"where is {i}?", "answer": {"value": f"paris {i}", "aliases": [f"p {i}"]}}
        for i in range(60)
    ]
    file = tmp_path / "questions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["data=questions", f"data.path={file}", "data.held_out=0.4", "data.new_tokens=4"]


DEPTHS = "depths=[1,2,3]"


def report_of(folder):
    return json.loads((folder / "report.json").read_text())


def test_soft_trains_and_reports_every_prefix(run, instructions):
    folder = run("soft_llama2_alpaca", DEPTHS, data=instructions)
    report = report_of(folder)
    rows = {row["name"]: row for row in report["submodels"]}
    assert list(rows) == ["exit_1", "exit_2", "exit_3", "full"]
    for row in rows.values():
        assert row["method"] == "soft"
        assert {"loss", "kl_to_full", "agreement", "exact_match", "exact_match_official", "f1",
                "rouge_l"} <= set(row["metrics"])  # fmt: skip
    assert set(report["exact_match_by_group"]["full"]) == {"say"}
    assert report["data"]["prompts_too_long"] == 0
    assert report["data"]["answered"] == len(read_answers(folder)["exit_1"]) > 5
    positions = report["kl_by_position"]
    assert set(positions["submodels"]) == {"exit_1", "exit_2", "exit_3"}
    assert positions["begins"][:2] == [1, 2]
    mean = sum(
        n * kl for n, kl in zip(positions["tokens"], positions["submodels"]["exit_1"], strict=True)
    ) / sum(positions["tokens"])
    assert mean == pytest.approx(rows["exit_1"]["metrics"]["kl_to_full"], rel=1e-3)
    assert (folder / "figures" / "kl_by_position.png").stat().st_size > 10_000
    text = (folder / "report.md").read_text()
    assert "exact match" in text
    assert "kl_by_position" in text
    assert "not trained yet, `python train.py experiment=sft_llama2_alpaca`" in text
    model = AutoModelForCausalLM.from_pretrained(folder / "checkpoints" / "model")
    assert len(model.model.layers) == 4


def test_ict_goes_on_from_sft_and_trains_heads_alone(run, questions, tmp_path):
    run("sft_llama2_triviaqa", DEPTHS, data=questions)
    folder = run("ict_llama2_triviaqa", DEPTHS, data=questions, backbone=None)
    report = report_of(folder)
    assert report["backbone"]["sha256_before"] == report["backbone"]["sha256_after"]
    sft = report_of(tmp_path / "runs" / "sft_llama2_triviaqa" / "latest")
    assert report["backbone"]["sha256_before"] == sft["backbone"]["sha256_after"]
    rows = {row["name"]: row for row in report["submodels"]}
    assert rows["exit_1"]["method"] == "sft+ict"
    assert rows["exit_1"]["trained_parameters"] == 320 * 32  # the head, and no norm
    before = {row["name"]: row["metrics"] for row in sft["submodels"]}
    # What is not trained is what SFT left: the full model, and the raw exits.
    assert rows["full"]["metrics"] == pytest.approx(before["full"], abs=1e-4)
    assert rows["raw_exit_2"]["metrics"] == pytest.approx(before["exit_2"], abs=1e-4)


def test_ict_without_sft_says_what_to_run_first(run, questions, capfd):
    with pytest.raises(SystemExit) as stopped:
        run("ict_llama2_triviaqa", DEPTHS, data=questions, backbone=None)
    assert stopped.value.code == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "train it first: python train.py experiment=sft_llama2_triviaqa" in line


def test_real_files_are_trained_on_and_answered(run, shared_data):
    data = ["data=instructions", f"data.path={shared_data / 'alpaca/alpaca_en.json'}",
            f"data.prompts={shared_data / 'alpaca/pandalm_170_prompts.json'}", "data.new_tokens=2",
            "data.eval_examples=20"]  # fmt: skip
    folder = run("soft_llama2_alpaca", DEPTHS, "data.sequence_length=512", data=data)
    answers = read_answers(folder)
    assert {name: len(rows) for name, rows in answers.items()} == dict.fromkeys(
        ["exit_1", "exit_2", "exit_3", "full"], 170
    )
    data = ["data=questions", f"data.path={shared_data / 'triviaqa/train.jsonl'}",
            "data.new_tokens=2", "data.answered=4", "data.eval_examples=20"]  # fmt: skip
    report = report_of(run("soft_llama2_triviaqa", DEPTHS, data=data))
    assert report["data"]["answered"] == 4
    assert "f1" in report["submodels"][0]["metrics"]


def test_answers_keep_their_lines_and_prompts_that_do_not_fit_are_counted(
    run, instructions, tmp_path
):
    prompts = tmp_path / "prompts.json"
    texts = ["one\u2028line", "euro " * 200]
    prompts.write_text(json.dumps([{"instruction": text} for text in texts]))
    folder = run(
        "sft_llama2_alpaca", DEPTHS, f"data.prompts={prompts}", "trainer.max_steps=2",
        data=instructions,
    )  # fmt: skip
    answers = read_answers(folder)["full"]
    assert [row["question"] for row in answers] == texts
    assert answers[1]["answer"] == ""
    report = report_of(folder)
    assert report["data"]["prompts_too_long"] == 1
    assert "exact_match" not in report["submodels"][0]["metrics"]


@pytest.mark.parametrize("sorting", ["schedule=sampled", "schedule=rotating", "weights=linear",
                                     "weights=mean_last", "distillation=1.0"])  # fmt: skip
def test_variants_run(run, instructions, sorting):
    folder = run(
        "soft_llama2_alpaca", DEPTHS, f"model.sorting.{sorting}", "data.answered=2",
        data=instructions,
    )  # fmt: skip
    assert report_of(folder)["steps"] == 6


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(run, instructions):
    options = [DEPTHS, "checkpoint_every=4", "data.answered=1", "model.sorting.schedule=sampled"]
    folder = run("soft_llama2_alpaca", *options, data=instructions)
    model = folder / "checkpoints" / "model"
    whole = AutoModelForCausalLM.from_pretrained(model).state_dict()
    (model / "model.safetensors").unlink()
    (folder / "checkpoints" / "step=6.ckpt").unlink()  # as if the run had been stopped before
    run("soft_llama2_alpaca", *options, "resume=true", data=instructions)
    again = AutoModelForCausalLM.from_pretrained(model).state_dict()
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_methods_are_compared_in_one_report(run, instructions, tmp_path, monkeypatch, capsys):
    runs = tmp_path / "runs"
    for method in ("sft", "soft", "ict"):
        options = [f"hydra.sweep.dir={runs / 'sweep'}", "run_dir=${runs}/${name}/seed_${seed}"]
        backbone = {}
        if method == "ict":
            sft = "${runs}/sft_llama2_alpaca/seed_${seed}/checkpoints/model"
            options.append(f"backbone.name={sft}")
            backbone = {"backbone": None}
        run(
            f"{method}_llama2_alpaca", "seed=1,2", DEPTHS, "data.answered=3", *options,
            "--multirun", data=instructions, **backbone,
        )  # fmt: skip
    run(
        "extracted_llama2_alpaca", "model.depth=1,2", "data.answered=3", DEPTHS,
        "seed=1", f"hydra.sweep.dir={runs / 'sweep'}", "--multirun", data=instructions,
    )  # fmt: skip
    text = (runs / "soft_llama2_alpaca" / "seed_2" / "report.md").read_text()
    assert "full model against" in text
    assert "exact match" in text.split("full model against")[1]
    output = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["compare", str(runs), "--output", str(output)])
    capsys.readouterr()
    compare.main()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]]
            for line in capsys.readouterr().out.splitlines()]  # fmt: skip
    found = {(row[0], row[1]): row[-1] for row in rows}
    for method in ("soft", "sft", "sft+ict"):
        assert found["exit_2", method] == "2"
    assert found["exit_1", "extracted"] == found["exit_2", "extracted"] == "1"
    text = (output / "comparison.md").read_text()
    assert "## The full model, and its change against SFT" in text
    for rival in ("sft", "sft+ict", "extracted"):
        assert f"## soft against {rival}, by the reference judge" in text
    assert (output / "judge_soft_against_sft_ict.png").stat().st_size > 10_000
    assert (output / "kl_by_position_soft.png").exists()

    monkeypatch.setattr(sys, "argv", [
        "judge", str(runs / "soft_llama2_alpaca" / "seed_1"),
        str(runs / "sft_llama2_alpaca" / "seed_1"), "--output", str(tmp_path / "judged"),
    ])  # fmt: skip
    judge.main()
    assert (tmp_path / "judged" / "heat_map.png").exists()
    assert "reference judge" in capsys.readouterr().out


def test_runs_without_answers_cannot_be_judged(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["judge", str(tmp_path), str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        judge.main()
    assert stopped.value.code == 2
    assert "no answers here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["depths=[1,9]"], "exit depth 9 is out of range"),
        (["model.sorting.schedule=some"], "there is no schedule 'some'"),
        (["data.prompts=/nowhere.json"], "/nowhere.json: there is no such file"),
        (["data.hub=some/set"], "give either data.path or data.hub"),
        (["data.learned=prompt"], "the loss cannot be on 'prompt'"),
    ],
)
def test_bad_input_is_one_line_and_code_2(run, instructions, capfd, options, message):
    with pytest.raises(SystemExit) as stopped:
        run("soft_llama2_alpaca", DEPTHS, *options, data=instructions)
    assert stopped.value.code == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert message in line
