import json
import sys

import pytest

from belvedere.runs import compare


def report(folder, loss, method="balcony"):
    folder.mkdir(parents=True)
    parts = (("exit_1", method, "exit", 2), ("full", "backbone", "full", 4))
    rows = [
        {"name": name, "method": m, "kind": kind, "layers": layers, "speedup": 2.0,
         "metrics": {"loss": loss, "kl_to_full": 0.1, "agreement": 0.9}}
        for name, m, kind, layers in parts
    ]  # fmt: skip
    (folder / "report.json").write_text(json.dumps({"submodels": rows}))


def test_runs_of_a_method_are_averaged(tmp_path, monkeypatch, capsys):
    report(tmp_path / "sweep/0", 1.0)
    report(tmp_path / "sweep/1", 2.0)
    report(tmp_path / "other", 3.0, method="layerskip")
    output = tmp_path / "out"
    arguments = [str(tmp_path / "sweep"), str(tmp_path / "other"), "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["compare", *arguments])
    compare.main()
    rows = [line.replace(" ", "") for line in capsys.readouterr().out.splitlines()]
    assert any(row.startswith("|exit_1|balcony|2|1.500±0.707|") for row in rows)
    assert any(row.startswith("|exit_1|layerskip|2|3.000±0.000|") for row in rows)
    assert (output / "quality_against_depth.png").exists()


def test_a_place_without_reports_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["compare", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        compare.main()
    assert stopped.value.code == 2
    assert "no report.json" in capsys.readouterr().err


def test_sorted_sub_models_are_held_against_the_baselines(tmp_path):
    for method, values in (("soft", (0.5, 0.52)), ("sft", (0.1, 0.12)), ("sft+ict", (0.51, 0.53))):
        for seed, value in enumerate(values):
            folder = tmp_path / method / str(seed)
            report(folder, 1.0, method)
            whole = json.loads((folder / "report.json").read_text())
            whole["submodels"][0]["metrics"]["exact_match"] = value
            (folder / "report.json").write_text(json.dumps(whole))
    merged = compare.merge(compare.read_runs([tmp_path]))
    assert compare.sorted_against(merged)[2:4] == [
        "- exit_1 against sft: exact match +40.0%, better",
        "- exit_1 against sft+ict: exact match -1.0%, within the spread",
    ]
    assert compare.sorted_against(compare.merge(compare.read_runs([tmp_path / "sft"]))) == []
