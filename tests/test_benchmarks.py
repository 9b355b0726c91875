"""Every benchmark of `benchmarks/README.md` in its smallest form: that it runs, never how fast."""

import json
import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
LOSSES = ["--vocabulary", "96", "--tokens", "32", "--hidden", "16"]
STEP = ["--hidden", "64", "--intermediate", "64", "--tokens", "16"]
SMALL_CORPUS = ["data.sequence_length=32", "data.batch_size=2"]
TRAINED = {
    "balcony": SMALL_CORPUS,
    "soft": ["data.batch_size=1"],
    "unichart": ["data.batch_size=1", "data.train_charts=4", "data.tasks_per_chart=1"],
}


@pytest.fixture
def benchmark(monkeypatch, tmp_path, capsys):
    """Runs one in this process, and returns what it printed."""
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def call(name, *arguments):
        monkeypatch.setattr(sys, "argv", [str(FOLDER / f"{name}.py"), *map(str, arguments)])
        runpy.run_path(sys.argv[0], run_name="__main__")
        return capsys.readouterr().out

    return call


def test_variants_take_turns_in_processes_of_their_own(benchmark):
    told = benchmark("losses", *LOSSES, "--repeats", "1")
    assert "fused / plain, time: " in told
    assert "fused / plain, memory above the weights: " in told


@pytest.mark.parametrize(
    ("name", "options", "variants"),
    [
        ("losses", [*LOSSES, "--objective", "ce", "--students", "2"], ["fused", "plain"]),
        ("sorted", STEP, ["soft", "plain"]),
        ("sorted", [*STEP, "--learned", "0.5"], ["sft"]),
        ("serving", ["--hidden", "64", "--new-tokens", "1"], ["full", "all"]),
        *(("training", [method, *options, "--steps", "2"], ["ours", "plain"])
          for method, options in TRAINED.items()),
        ("training", ["unichart", *TRAINED["unichart"], "--padded", "--steps", "2"], ["plain"]),
    ],
)  # fmt: skip
def test_variants_that_are_compared_do_the_same(benchmark, name, options, variants):
    found = [json.loads(benchmark(name, *options, "--only", variant)) for variant in variants]
    for one in found:
        assert one.keys() >= {"seconds", "bytes", "loss"}
        assert one["loss"] == pytest.approx(found[0]["loss"], rel=1e-4)


def test_a_step_beside_a_matrix_product(benchmark):
    told = benchmark("throughput", *SMALL_CORPUS, "--repeats", "1", "--side", "64")
    assert "share of the matrix product: " in told


def test_the_rate_of_charts(benchmark):
    assert "picture: " in benchmark("charts", "--charts", "1", "--repeats", "1")


def test_all_ways_to_decode(benchmark, backbone_folder, tmp_path):
    records = [{"instruction": "the capital", "input": "", "output": "paris"}]
    (tmp_path / "asked.json").write_text(json.dumps(records * 2))
    told = benchmark(
        "decoding", backbone_folder, "--prompts", tmp_path / "asked.json", "--format", "plain",
        "--count", "1", "--new", "3", "--repeats", "1", "--exit", "2",
    )  # fmt: skip
    assert "speculative" in told
    assert "confident" in told


def test_scores_of_all_sub_models_in_one_pass(benchmark, backbone_folder):
    pytest.importorskip("lm_eval")
    told = benchmark("harness", backbone_folder, "--limit", "2", "--repeats", "1")
    assert "the same scores" in told


def test_a_reader_of_the_smallest_pictures(benchmark, tmp_path):
    benchmark(
        "rungs", "number", "--steps", "10", "--pictures", "8", "--runs", tmp_path,
        "data.eval_charts=2", "data.batch_size=2", "model.new_tokens=2", "trainer.accelerator=cpu",
    )  # fmt: skip
    assert (tmp_path / "number" / "report.md").exists()


def test_no_benchmark_is_forgotten(request):
    tested = Path(request.fspath).read_text()
    names = {file.stem for file in FOLDER.glob("*.py")} - {"paired"}
    assert {name for name in names if f'"{name}"' not in tested} == set()
