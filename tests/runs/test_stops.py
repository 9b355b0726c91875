"""Runs that end early: signals, kills, losses that are no numbers, workers that die."""

import errno
import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from belvedere.balcony import BalconyModule
from belvedere.data.packed import PackedRows
from belvedere.runs.entry import GO_ON

KILLS = Path(__file__).resolve().parents[1] / "kills.py"
EXITS = ["model.exits.depths=[1]"]


def at_step(monkeypatch, number, event):
    """Let something happen in the n-th training step."""
    usual, calls = BalconyModule.training_step, []

    def step(self, batch, batch_idx):
        calls.append(batch_idx)
        loss = usual(self, batch, batch_idx)
        return event(loss) if len(calls) == number else loss

    monkeypatch.setattr(BalconyModule, "training_step", step)


def sent(*numbers):
    def event(loss):
        for number in numbers:
            os.kill(os.getpid(), number)
        return loss

    return event


def exits_of(folder):
    return load_file(folder / "checkpoints/model/exits.safetensors")


def test_a_scheduler_stops_a_run_that_goes_on_as_if_nothing_had_been(
    run, monkeypatch, tmp_path, capfd
):
    whole = exits_of(run("balcony_llama3", *EXITS, f"run_dir={tmp_path / 'whole'}"))
    with monkeypatch.context() as patched:
        at_step(patched, 3, sent(signal.SIGTERM))
        with pytest.raises(SystemExit) as stopped:
            run("balcony_llama3", *EXITS)
    assert stopped.value.code == 75
    assert "stopped by a signal: continue with the same command" in capfd.readouterr().err
    folder = tmp_path / "runs/balcony_llama3/latest"
    assert torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 3
    assert not (folder / "report.json").exists()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    again = exits_of(run("balcony_llama3", *EXITS, "resume=true"))
    assert all(torch.equal(again[name], one) for name, one in whole.items())


def test_ctrl_c_ends_with_a_report_of_what_there_is(run, monkeypatch, tmp_path, capfd):
    at_step(monkeypatch, 3, sent(signal.SIGINT))
    with pytest.raises(SystemExit) as stopped:
        run("balcony_llama3", *EXITS)
    assert stopped.value.code == 130
    told = capfd.readouterr().err
    assert "ending after this step; Ctrl-C again ends at once" in told
    assert "interrupted: continue with the same command and resume=true" in told
    folder = tmp_path / "runs/balcony_llama3/latest"
    report = json.loads((folder / "report.json").read_text())
    assert (report["steps"], report["planned_steps"]) == (3, 6)
    assert report["submodels"][0]["metrics"]["loss"] > 0
    assert "3 steps of 6, ended by Ctrl-C" in (folder / "report.md").read_text()


@pytest.mark.parametrize(
    ("number", "code", "says"),
    [(signal.SIGINT, 130, "interrupted: continue"), (signal.SIGTERM, 75, "stopped by a signal")],
)
def test_signals_while_testing_end_at_once(run, monkeypatch, tmp_path, capfd, number, code, says):
    monkeypatch.setattr(BalconyModule, "test_step", lambda *_: os.kill(os.getpid(), number))
    with pytest.raises(SystemExit) as stopped:
        run("balcony_llama3", *EXITS)
    assert stopped.value.code == code
    assert says in capfd.readouterr().err
    folder = tmp_path / "runs/balcony_llama3/latest"
    assert torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 6
    assert not (folder / "report.json").exists()


def test_ctrl_c_twice_ends_at_once(run, monkeypatch, tmp_path, capfd):
    at_step(monkeypatch, 3, sent(signal.SIGINT, signal.SIGINT))
    with pytest.raises(SystemExit) as stopped:
        run("balcony_llama3", *EXITS)
    assert stopped.value.code == 130
    assert "interrupted: continue with" in capfd.readouterr().err
    assert not (tmp_path / "runs/balcony_llama3/latest/report.json").exists()


def test_a_loss_that_is_no_number_ends_the_run_before_it_does_harm(
    run, monkeypatch, tmp_path, capfd
):
    at_step(monkeypatch, 4, lambda loss: loss * math.inf)
    with pytest.raises(SystemExit) as stopped:
        run("balcony_llama3", *EXITS)
    assert stopped.value.code == 2
    (line,) = [one for one in capfd.readouterr().err.splitlines() if one.startswith("error")]
    assert "the loss is inf in step 4, whose batch has the rows" in line
    assert "nonfinite=skip" in line
    last = torch.load(
        tmp_path / "runs/balcony_llama3/latest/checkpoints/last.ckpt", weights_only=True
    )
    assert last["global_step"] == 2
    assert all(torch.isfinite(one).all() for one in last["state_dict"].values())


def test_such_a_step_is_left_out_on_request(run, monkeypatch):
    at_step(monkeypatch, 2, lambda loss: loss * math.nan)
    folder = run("balcony_llama3", *EXITS, "nonfinite=skip")
    report = json.loads((folder / "report.json").read_text())
    assert (report["steps"], report["skipped_steps"]) == (6, 1)
    assert math.isfinite(report["submodels"][0]["metrics"]["loss"])
    assert "6 steps (1 without effect" in (folder / "report.md").read_text()


def test_a_step_without_effect_changes_no_weight(run, monkeypatch, tmp_path):
    options = [*EXITS, "trainer.max_steps=1", "nonfinite=skip"]
    at_step(monkeypatch, 1, lambda loss: loss * math.nan)
    skipped = exits_of(run("balcony_llama3", *options))
    moved = exits_of(run("balcony_llama3", *options, f"run_dir={tmp_path / 'moved'}"))
    still = exits_of(
        run("balcony_llama3", *options, "model.optimisation.lr=0", f"run_dir={tmp_path / 'still'}")
    )
    assert all(torch.equal(skipped[name], one) for name, one in still.items())
    assert not all(torch.equal(skipped[name], one) for name, one in moved.items())


def test_another_way_with_such_losses_is_refused(run, capfd):
    with pytest.raises(SystemExit) as stopped:
        run("balcony_llama3", *EXITS, "nonfinite=ignore")
    assert stopped.value.code == 2
    assert "nonfinite: there is nothing like 'ignore' to do" in capfd.readouterr().err


def test_a_worker_that_dies_is_one_line(run, monkeypatch, capfd):
    usual, trainer = PackedRows.__getitem__, os.getpid()

    def item(self, row):
        if os.getpid() != trainer:
            os.kill(os.getpid(), signal.SIGKILL)  # as the system does where memory runs out
        return usual(self, row)

    monkeypatch.setattr(PackedRows, "__getitem__", item)
    with pytest.raises(SystemExit) as stopped:
        run("balcony_llama3", *EXITS, "data.num_workers=1")
    assert stopped.value.code == 2
    (line,) = [one for one in capfd.readouterr().err.splitlines() if one.startswith("error")]
    assert "data.num_workers: a process that makes batches has died" in line


def test_a_disk_that_fills_up_is_one_line(run, tmp_path, capfd):
    run("balcony_llama3", *EXITS, f"run_dir={tmp_path / 'first'}")  # and keeps the tokens
    # So many that the events, which another thread writes, are full before the steps end.
    steps = ["trainer.max_steps=400", "checkpoint_every=1000", "trainer.log_every_n_steps=1"]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, before[1]))
    try:
        with pytest.raises(SystemExit) as stopped:
            run("balcony_llama3", *EXITS, *steps)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert stopped.value.code == 2
    (line,) = capfd.readouterr().err.strip().splitlines()[-1:]
    assert line == f"error: File too large; free some space; {GO_ON}"
    (events,) = (tmp_path / "runs/balcony_llama3/latest").glob("events*")
    assert events.stat().st_size == 6000


def test_a_folder_that_is_read_only_is_one_line(run, tmp_path, monkeypatch, capfd):
    usual = os.makedirs

    def read_only(name, *args, **kwargs):
        if "elsewhere" in str(name):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(name))
        return usual(name, *args, **kwargs)

    monkeypatch.setattr(os, "makedirs", read_only)
    monkeypatch.setattr(os, "mkdir", read_only)
    with pytest.raises(SystemExit) as stopped:
        run("balcony_llama3", *EXITS, f"run_dir={tmp_path / 'elsewhere'}")
    assert stopped.value.code == 2
    assert "elsewhere: Read-only file system; choose another" in capfd.readouterr().err


@pytest.mark.parametrize("seconds", [-86_400, 86_400])
def test_a_clock_that_jumps_changes_nothing(run, monkeypatch, tmp_path, seconds):
    whole = run("balcony_llama3", *EXITS, f"run_dir={tmp_path / 'whole'}")
    usual = time.time

    def jump(loss):
        monkeypatch.setattr(time, "time", lambda: usual() + seconds)
        return loss

    at_step(monkeypatch, 3, jump)
    jumped = run("balcony_llama3", *EXITS)
    for name, tensor in exits_of(whole).items():
        assert torch.equal(exits_of(jumped)[name], tensor)
    report = json.loads((jumped / "report.json").read_text())
    assert report["steps"] == 6
    assert 0 < report["training_seconds"] <= report["seconds"] < 3600
    assert all(row["tokens_per_second"] > 0 for row in report["submodels"])


def test_killed_runs_go_on_bit_for_bit():
    """Few kills; ``python tests/kills.py --kills 25`` is the whole check."""
    command = [sys.executable, str(KILLS), "--kills", "3", "--experiments", "balcony_llama3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("killed at") == 3
    assert "tensors are equal" in done.stdout
