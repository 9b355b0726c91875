import json
import sys

from belvedere.runs import compare
from belvedere.runs.chart_comparison import compared


def report(seed, f1, label="all_tasks"):
    tasks = {"table": {"rms_f1": f1, "rnss": 50.0, "n": 4}, "reasoning": {"relaxed_accuracy": 0.5}}
    return {
        "experiment": "unichart_pretrain", "label": label, "seed": seed, "tasks": tasks,
        "kinds": {"pie": tasks, "line": {"reasoning": {"relaxed_accuracy": 0.25}}},
        "baselines": {"blank image": {"table": {"rms_f1": 1.0, "rnss": 2.0}}},
    }  # fmt: skip


def rows(lines):
    return [line.replace(" ", "") for line in lines]


def test_runs_of_a_label_are_averaged_and_baselines_of_all_runs():
    reports = [report(1, 30.0), report(2, 40.0), report(1, 10.0, label=None)]
    lines = rows(compared(reports))
    assert lines[0] == "|task|measure|all_tasks|unichart_pretrain|blankimage|"
    assert "|table|RMS-F1|35.0±7.1|10.0±0.0|1.0±0.0|" in lines
    assert "|reasoning|relaxedaccuracy|50.0%±0.0%|50.0%±0.0%|-|" in lines
    assert "|runs||2|1|3|" in lines
    assert "|line|reasoning,relaxedaccuracy|25.0%±0.0%|25.0%±0.0%|" in lines
    assert not any(line.startswith("|line|table") for line in lines)


def test_a_measure_that_a_run_lacks_is_no_mean():
    short = report(2, 40.0)
    del short["tasks"]["table"]["rnss"]
    assert "|table|RNSS|-|50.0±0.0|" in "\n".join(
        rows(compared([report(1, 30.0), short, report(1, 10.0, "low_level_tasks")]))
    )


def test_chart_readers_and_language_models_are_compared_by_one_command(
    tmp_path, monkeypatch, capsys
):
    models = [
        {"name": name, "method": "balcony", "kind": kind, "layers": layers, "speedup": 1.0,
         "metrics": {"loss": 1.0, "kl_to_full": 0.1, "agreement": 0.9}}
        for name, kind, layers in (("exit_1", "exit", 2), ("full", "full", 4))
    ]  # fmt: skip
    for name, found in (("charts", report(1, 30.0)), ("language", {"submodels": models})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json.dumps(found))
    output = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["compare", str(tmp_path), "--output", str(output)])
    compare.main()
    shown = capsys.readouterr().out
    assert "| RMS-F1" in shown
    assert "| balcony" in shown
    assert shown.strip() in (output / "comparison.md").read_text()


def test_a_task_needs_no_baseline_in_all_runs():
    bare = report(2, 1.0) | {"baselines": {}}
    assert "blank" not in "\n".join(compared([report(1, 1.0), bare]))
