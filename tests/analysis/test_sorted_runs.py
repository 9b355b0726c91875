import json

import pytest

from belvedere.analysis import sorted_runs
from belvedere.analysis.record import record
from belvedere.errors import BadInput
from belvedere.runs.compare import UNTUNED, read_runs
from belvedere.runs.entry import PROJECT

ANSWERS = {
    "sft": {"exit_2": "xxxx", "full": "aabb"},
    "soft": {"exit_2": "axxx", "full": "abab"},
}
"""Of each sub-model the answers to four prompts, whose right answers are a, a, b and c."""
RIGHT = "aabc"


def a_run(place, method, seed=1, answers=None, full="full"):
    answers = answers or ANSWERS[method]
    folder = place / f"{method}_{seed}"
    folder.mkdir(parents=True)
    rows, kl = [], {}
    for name, given in answers.items():
        exact = sum(a == b for a, b in zip(given, RIGHT, strict=True)) / len(RIGHT)
        kind = "full" if name == "full" else "exit"
        rows.append(
            {"name": name, "kind": kind, "method": full if kind == "full" else method,
             "layers": 4 if kind == "full" else 2, "speedup": 1.0,
             "metrics": {"exact_match": exact, "kl_to_full": 0.1, "agreement": 0.5}}
        )  # fmt: skip
        kl[name] = [4.0 if method == "sft" else 2.0, 1.0]
    kl.pop("full")
    report = {
        "submodels": rows, "seed": seed, "experiment": method, "data": {"name": "questions"},
        "backbone": {"name": str(PROJECT / "data" / "backbone")},
        "kl_by_position": {"submodels": kl}, "exact_match_by_group": {
            "exit_2": {"hard": 0.0, "easy": 0.5}, "full": {"hard": 0.5, "easy": 1.0}
        },
    }  # fmt: skip
    (folder / "report.json").write_text(json.dumps(report))
    for name, given in answers.items():
        file = folder / "answers" / f"{name}.jsonl"
        file.parent.mkdir(exist_ok=True)
        lines = [
            {"question": str(i), "input": "", "accepted": [right], "answer": answer}
            for i, (right, answer) in enumerate(zip(RIGHT, given, strict=True))
        ]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture
def runs(tmp_path):
    for method in ANSWERS:
        a_run(tmp_path, method, full=method)
    return read_runs([tmp_path])


def test_sub_models_stand_in_rows_and_methods_in_columns(runs):
    found = sorted_runs.grid(runs, "exact_match")
    assert found.to_dict() == {"sft": {2: 0.0, 4: 0.75}, "soft": {2: 0.25, 4: 0.25}}
    assert sorted_runs.said_of_grid(found, "exact_match") == (
        "SoFT has the higher exact match than SFT at 1 of 1 depths below the full model.\n"
        "At full depth SoFT has 25.0%, SFT 75.0%."
    )


def test_heads_on_a_frozen_model_have_its_full_model(tmp_path):
    a_run(tmp_path, "sft", full="sft")
    a_run(tmp_path, "sft+ict", answers=ANSWERS["sft"], full="backbone")
    found = sorted_runs.grid(read_runs([tmp_path]), "exact_match")
    assert list(found) == ["sft", "sft+ict"]
    assert found["sft"].to_dict() == found["sft+ict"].to_dict()


def test_the_model_before_fine_tuning_stands_for_no_method(tmp_path):
    a_run(tmp_path, "sft", full="sft")
    a_run(tmp_path, "extracted", answers=ANSWERS["soft"], full=UNTUNED)
    runs = read_runs([tmp_path])
    found = sorted_runs.grid(runs, "exact_match")
    assert found["extracted"].dropna().to_dict() == {2: 0.25}
    assert sorted_runs.changed_answers(runs) == {}


def test_whose_answers_are_right_is_told_prompt_by_prompt(runs):
    answers = sorted_runs.answers_of(runs[0].folder.parent, runs)
    assert answers.changed == {
        "soft": {"both right": 0.25, "only this one right": 0.0, "only SFT right": 0.5,
                 "neither right": 0.25}
    }  # fmt: skip
    assert "50.0% of the prompts lost, 0.0% won" in sorted_runs.said_of_changes(answers.changed)
    assert answers.scores["soft", "sft"]["exit_2"]["exit_2"] == 0.25


def test_groups_are_listed_the_hardest_first(runs):
    found = sorted_runs.groups(runs, "soft")
    assert list(found.index) == ["hard", "easy"]
    assert found.loc["easy", "exit_2"] == 0.5
    assert sorted_runs.groups(runs, "never trained").empty


def test_kl_by_position_is_a_table_of_methods_for_each_sub_model(runs):
    found = sorted_runs.positions_by_submodel(runs)
    assert list(found) == ["exit_2"]
    assert found["exit_2"].to_dict() == {"sft": {1: 4.0, 2: 1.0}, "soft": {1: 2.0, 2: 1.0}}
    assert sorted_runs.said_of_positions(found).startswith("Exit 2: the KL of SFT is 1.5 times")


def test_what_is_recorded_says_the_same_and_names_no_folder_of_this_machine(runs, tmp_path):
    output = tmp_path / "recorded"
    files = record(runs, output)
    assert {file.name for file in files} == {"report.json", "answers.json"}
    assert not any(str(PROJECT) in file.read_text() for file in files)
    again = read_runs([output])
    assert sorted_runs.answers_of(output, again) == sorted_runs.answers_of(tmp_path / "no", runs)
    assert sorted_runs.grid(again, "exact_match").equals(sorted_runs.grid(runs, "exact_match"))


def test_two_runs_of_one_name_are_not_recorded(runs, tmp_path):
    with pytest.raises(BadInput, match="one method and seed"):
        record([runs[0], runs[0]], tmp_path / "recorded")
    assert not (tmp_path / "recorded").exists()
