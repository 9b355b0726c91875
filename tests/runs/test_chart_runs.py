import json
import re
from functools import partial
from io import BytesIO

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from belvedere.charts.not_charts import HELD_OUT, SEEN
from belvedere.charts.tasks import TOKENS
from belvedere.runs.chart_figures import draw_pages
from belvedere.unichart.loading import load_reader


@pytest.fixture
def run(run_reader):
    return partial(run_reader, "unichart_pretrain")


def test_a_reader_is_trained_and_reported_beside_its_baselines(run):
    folder = run("init=tiny")
    report = json.loads((folder / "report.json").read_text())
    assert report["steps"] == 2
    assert report["images_seen"] == 4
    assert set(report["tasks"]) == set(TOKENS)
    assert {"rms_f1", "rnss", "n"} <= set(report["tasks"]["table"])
    assert report["tasks"]["table"]["n"] == 3
    for baseline in ("blank image", "typical answer"):
        assert set(report["baselines"][baseline]) == set(TOKENS)
    assert report["baselines"]["typical answer"]["table"]["rnss"] > 0
    assert list(report["abstention"]) == ["charts of the test", *SEEN, *HELD_OUT]
    assert all(0 <= found["no_chart"] <= 1 for found in report["abstention"].values())
    assert report["abstention"]["blank"]["n"] == 3 * len(TOKENS)
    text = (folder / "report.md").read_text()
    assert "| table     | RMS-F1" in text
    assert re.search(r"\| scribbles +\| +\d+% +\|", text)
    assert "figures/charts.png" in text
    assert report["packing"] is None
    assert f"- {report['waiting']:.1%} of the training time was waiting for data\n" in text
    assert (folder / "figures" / "charts.png").stat().st_size > 10_000
    answers = [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
    assert len(answers) == sum(scores["n"] for scores in report["tasks"].values())
    assert all(answer["picture"].startswith("test") for answer in answers)
    assert all(0 < answer["no_chart"] < 1 for answer in answers)
    kept = (folder / "answers_without_chart.jsonl").read_text().splitlines()
    assert len(kept) == sum(report["abstention"][kind]["n"] for kind in (*SEEN, *HELD_OUT))
    assert all(json.loads(line)["accepted"] == ["no chart"] for line in kept)
    assert all(("table" in answer) == (answer["task"] == "table") for answer in answers)
    events = EventAccumulator(str(folder))
    events.Reload()
    assert "charts" in events.Tags()["images"]
    shown = {
        "train/loss",
        "train/waiting",
        "train/letters_read",
        "validation/loss/table",
        "test/table/rms_f1",
    }
    assert shown <= set(events.Tags()["scalars"])
    assert set(report["validation_losses"]) == set(TOKENS)
    assert re.search(r"validation loss a token at the end: .*table \d\.\d+", text)
    assert report["unfinished"] == sum(not answer["finished"] for answer in answers)
    assert load_reader(folder / "checkpoints" / "model").config.name == "tiny"


def test_dollars_in_tables_are_dollars():
    picture = np.full((20, 30, 3), 255, np.uint8)
    table = "range | count & $5_$ | $30K-$50K"
    draw_pages([(picture, table, table, 0.5)]).savefig(BytesIO())


def test_a_trained_reader_is_gone_on_with(run, tmp_path):
    model = str((run() / "checkpoints" / "model").resolve())
    run(f"init={model}", f"run_dir={tmp_path / 'second'}")
    report = json.loads((tmp_path / "second" / "report.json").read_text())
    assert report["reader"]["name"] == model


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(run):
    # With both optimisers, and charts that are drawn with other tasks each time.
    options = (
        "trainer.max_steps=5", "trainer.val_check_interval=5", "checkpoint_every=3",
        "model.optimisation.muon_lr=1e-3", "data.no_chart=0.5",
    )  # fmt: skip
    folder = run(*options)
    file = folder / "checkpoints" / "model" / "model.safetensors"
    whole = load_file(file)
    (folder / "checkpoints" / "step=5.ckpt").unlink()  # as if the run had been stopped after 3
    file.unlink()
    again = load_file(run(*options, "resume=true") / "checkpoints" / "model" / "model.safetensors")
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[name], again[name]) for name in whole)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["data.path=nowhere"], "error: nowhere: there is no such file or folder"),
        (["data.tasks.table=-1"], "error: data.tasks: -1 is no weight of 'table'"),
        (["init=huge"], "error: "),
        (["reader.tokenizer_name=nowhere"], "error: reader.tokenizer_name: there is no tokenizer"),
        (["trainer.max_steps=0"], "error: trainer.max_steps: 0 is no number of steps"),
    ],
)
def test_bad_input_is_one_line(run, capsys, overrides, line):
    with pytest.raises(SystemExit) as ended:
        run(*overrides)
    assert ended.value.code == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith(line)
    assert "\n" not in error
