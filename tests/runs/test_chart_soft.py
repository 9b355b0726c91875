"""Sorted fine-tuning of a chart reader, from the command line to its report."""

import json
from functools import partial
from itertools import pairwise

import pytest
import torch

from belvedere.charts.tasks import TOKENS
from belvedere.unichart.loading import load_reader


@pytest.fixture
def run(run_reader):
    return partial(run_reader, "unichart_soft")


def test_the_report_has_quality_and_speed_of_every_depth(run):
    folder = run()
    report = json.loads((folder / "report.json").read_text())
    rows = {row["name"]: row for row in report["submodels"]}
    assert list(rows) == ["exit_1", "exit_2", "exit_3", "full"]
    assert [row["layers"] for row in rows.values()] == [1, 2, 3, 4]
    assert [row["kind"] for row in rows.values()] == ["exit", "exit", "exit", "full"]
    model = load_reader(folder / "checkpoints" / "model")
    layer = sum(p.numel() for p in model.decoder.get_decoder().layers[0].parameters())
    sizes = [row["parameters"] for row in rows.values()]
    assert sizes[-1] == sum(p.numel() for p in model.decoder.parameters())
    assert [deeper - size for size, deeper in pairwise(sizes)] == [layer] * 3
    for row in rows.values():
        assert set(row["tasks"]) == set(TOKENS)
        low, high = row["answers_range"]
        assert 0 < low <= row["answers_per_second"] <= high
        assert row["tokens_per_second"] > 0
        assert row["test_seconds"] > 0
        share = row["answers_per_second"] / rows["full"]["answers_per_second"]
        assert row["speedup"] == pytest.approx(share, rel=0.01)
    assert rows["full"]["tasks"] == report["tasks"]

    text = (folder / "report.md").read_text()
    assert "| sub-model | layers | decoder" in text
    assert "| exit_1    | 1      |" in text
    for name in ("quality_against_depth", "quality_against_speed"):
        assert f"](figures/{name}.png)" in text
        assert (folder / "figures" / f"{name}.png").stat().st_size > 10_000
    assert "![charts that were read](figures/charts.png)" in text

    cut = model.cut(1)
    pixels, ids = torch.zeros(1, 3, 64, 64), torch.tensor([[0, 5]])
    assert cut.config.decoder.layers == 1
    with torch.no_grad():
        assert not torch.allclose(cut(pixels, ids), model(pixels, ids))


def test_without_depths_a_report_has_the_full_reader_alone(run):
    folder = run("model.depths=[]")
    report = json.loads((folder / "report.json").read_text())
    (full,) = report["submodels"]
    assert (full["name"], full["kind"], full["method"]) == ("full", "full", "unichart")
    assert (full["layers"], full["speedup"]) == (4, 1.0)
    assert full["tasks"] == report["tasks"]
    assert full["tokens_per_second"] > full["answers_per_second"] > 0
    backbone = report["backbone"]
    assert backbone["layers"] == 4
    assert len(backbone["sha256_before"]) == len(backbone["sha256_after"]) == 64
    assert backbone["sha256_before"] != backbone["sha256_after"]
    assert "sub-model" not in (folder / "report.md").read_text()


def test_a_depth_that_is_not_there_is_one_line(run, capsys):
    with pytest.raises(SystemExit) as ended:
        run("model.depths=[1,7]")
    assert ended.value.code == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: exit depth 7 is out of range; exits are distinct, ascending")
    assert "\n" not in error
