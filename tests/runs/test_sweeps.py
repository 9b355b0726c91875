"""Many runs by one command, and one run by many processes."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from belvedere.runs import compare
from belvedere.runs.sweeps import settings_of, told, varying

PROJECT = Path(__file__).resolve().parents[2]
SHORT = ["trainer.max_steps=2", "trainer.val_check_interval=2", "model.exits.depths=[1]"]
LINE = "exit depth 9 is out of range"


def folders(runs):
    """The folder that the newest sweep's link points to, and its runs."""
    sweep = (runs / "sweeps" / "latest").resolve()
    return sweep, [sweep / str(number) for number in range(len(list(sweep.glob("[0-9]"))))]


@pytest.fixture
def sweep(run):
    """Runs a sweep of Balcony on the tiny backbone."""
    return lambda *overrides: run("balcony_llama3", *overrides, "--multirun")


def weights(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_every_run_has_a_folder_and_all_have_one_comparison(sweep, tmp_path, capsys):
    runs = tmp_path / "runs"
    latest = sweep("seed=1,2", "model.optimisation.lr=1e-3,1e-2", *SHORT)
    place, (first, *_, last) = folders(runs)
    assert latest.resolve() == last
    assert not list((runs / "balcony_llama3").glob("2*"))
    assert json.loads((first / "report.json").read_text())["seed"] == 1
    assert json.loads((last / "report.json").read_text())["seed"] == 2
    table = (place / "comparison.md").read_text().replace(" ", "")
    for lr in ("0.001", "0.01"):
        (row,) = [row for row in table.splitlines() if f"|balcony,lr={lr}|" in row]
        assert row.endswith("|2|")
    # What was not trained is the same for all learning rates.
    (row,) = [row for row in table.splitlines() if "|rawearlyexit|" in row]
    assert row.endswith("|4|")
    assert "balcony, lr=0.001" in capsys.readouterr().out


def test_bad_input_ends_one_run_and_not_the_others(sweep, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        sweep(*SHORT[:2], "model.exits.depths=[1],[9],[2]")
    assert stopped.value.code == 2
    place, (first, wrong, last) = folders(tmp_path / "runs")
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 2
    assert lines[0].startswith(f"error: run 1: {LINE}")
    assert "1 of the sweep's runs failed (1)" in lines[1]
    assert (first / "report.json").exists()
    assert (last / "report.json").exists()
    assert not (wrong / "report.json").exists()
    text = (place / "comparison.md").read_text()
    assert f"- 1 (depths=[9]): {LINE}" in text
    assert "| exit_2" in text


def test_a_sweep_of_nothing_but_failures_says_so(sweep, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        sweep("model.exits.depths=[8],[9]")
    assert stopped.value.code == 2
    place, _ = folders(tmp_path / "runs")
    assert LINE in (place / "comparison.md").read_text()


def test_a_sweep_goes_on_where_it_was_stopped(sweep, tmp_path, capsys):
    options = ["seed=1,2", *SHORT[2:], "trainer.max_steps=4"]
    sweep(*options)
    place, both = folders(tmp_path / "runs")
    whole = [weights(folder) for folder in both]
    for folder in both:  # as if both had been stopped after two steps
        (folder / "checkpoints" / "step=4.ckpt").unlink()
    sweep(*options, "resume=true")
    assert folders(tmp_path / "runs") == (place, both)
    for before, folder in zip(whole, both, strict=True):
        after = weights(folder)
        assert all(torch.equal(before[name], after[name]) for name in before)
    with pytest.raises(SystemExit) as stopped:
        sweep(*options, f"hydra.sweep.dir={place}")
    assert stopped.value.code == 2
    assert "runs are there already" in capsys.readouterr().err


def test_a_job_that_is_queued_again_goes_on(run, tmp_path, monkeypatch):
    options = ["balcony_llama3", *SHORT[2:], f"run_dir={tmp_path / 'mine'}"]
    run(*options, "trainer.max_steps=2")
    (tmp_path / "mine" / "report.json").unlink()
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    run(*options, "trainer.max_steps=4", "checkpoint_every=4")
    kept = sorted(file.name for file in (tmp_path / "mine" / "checkpoints").glob("step=*"))
    assert kept == ["step=2.ckpt", "step=4.ckpt"]
    assert json.loads((tmp_path / "mine" / "report.json").read_text())["tokens_seen"] > 0


def test_runs_in_processes_of_their_own_are_the_same(sweep, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="no extra 'sweeps'")
    sweep("seed=1", *SHORT)
    _, (here,) = folders(tmp_path / "runs")
    sweep("seed=1,2", *SHORT, "launcher=joblib")
    place, (there, other) = folders(tmp_path / "runs")
    assert place != here.parent
    assert (other / "report.json").exists()
    ours, theirs = weights(here), weights(there)
    assert all(torch.allclose(ours[name], theirs[name]) for name in ours)


SLURM = {
    # What submitit asks of Slurm: jobs of an array, here one after the other.
    "sbatch": """\
tasks=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$1")
cp "$1" "$SUBMITTED"
(for task in $(seq 0 "$tasks"); do
  SLURM_JOB_ID=7 SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=$task SLURM_NTASKS=1 SLURM_PROCID=0 \\
  SLURM_LOCALID=0 SLURM_NODEID=0 SLURM_JOB_NUM_NODES=1 SLURM_NTASKS_PER_NODE=1 \\
  SLURM_JOB_NODELIST=localhost bash "$1"
done) > "$SUBMITTED.log" 2>&1 &
echo Submitted batch job 7
""",
    "srun": """\
while [ "$1" != "${1#--}" ]; do
  case "$1" in --output|--error) shift 2;; *) shift;; esac
done
exec "$@"
""",
    "sacct": """\
echo 'JobID|State|NodeList'
echo '7_0|RUNNING|localhost'
echo '7_1|RUNNING|localhost'
""",
}


def test_slurm_is_asked_for_a_job_for_each_run(sweep, tmp_path, monkeypatch, capsys):
    pytest.importorskip("submitit", reason="no extra 'sweeps'")
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, text in SLURM.items():
        file = commands / name
        file.write_text(f"#!/bin/bash\n{text}")
        file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SUBMITTED", str(tmp_path / "submitted.sh"))
    with pytest.raises(SystemExit) as stopped:
        sweep(
            "launcher=slurm", *SHORT[:2], "model.exits.depths=[1],[9]",
            "hydra.launcher.partition=gpus",
        )  # fmt: skip
    assert stopped.value.code == 2
    assert "1 of the sweep's runs failed (1)" in capsys.readouterr().err
    place, (right, wrong) = folders(tmp_path / "runs")
    assert (right / "report.json").exists()
    assert LINE in (wrong / "error.txt").read_text()
    assert LINE in (place / "comparison.md").read_text()
    asked = (tmp_path / "submitted.sh").read_text()
    for option in ("partition=gpus", "gpus-per-node=1", "ntasks-per-node=1", "time=1440"):
        assert f"#SBATCH --{option}" in asked


def test_slurm_that_is_not_there_is_one_line(sweep, monkeypatch, capsys):
    pytest.importorskip("submitit", reason="no extra 'sweeps'")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit) as stopped:
        sweep("launcher=slurm", "seed=1,2")
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: launcher: there is no Slurm on this machine")


def test_torchrun_starts_one_run_with_one_folder(tmp_path, backbone_folder, corpus):
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
        "train.py", "launcher=torchrun", "experiment=balcony_llama3", f"runs={tmp_path / 'runs'}",
        f"backbone.name={backbone_folder}", "data=text", f"data.path={corpus}",
        f"data.cache_dir={tmp_path / 'cache'}", "data.sequence_length=64", "data.batch_size=2",
        "trainer.precision=32-true", "trainer.accelerator=cpu", "checkpoint_every=2", "samples=[]",
        "speed={prompt_tokens: 8, new_tokens: 2, repeats: 1}", *SHORT,
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"
    runs = tmp_path / "runs" / "balcony_llama3"
    (folder,) = (found for found in runs.iterdir() if found.name != "latest")
    assert (runs / "latest").resolve() == folder
    assert json.loads((folder / "report.json").read_text())["steps"] == 2


def test_torchrun_without_an_id_is_one_line(run, monkeypatch, capsys):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with pytest.raises(SystemExit) as stopped:
        run("balcony_llama3")
    assert stopped.value.code == 2
    assert "--rdzv_id" in capsys.readouterr().err


def test_settings_are_told_by_what_differs(tmp_path):
    kept = tmp_path / ".hydra" / "overrides.yaml"
    kept.parent.mkdir()
    kept.write_text("- seed=1\n- +model.optimisation.lr=1e-3\n- data.path=a=b\n")
    settings = settings_of(tmp_path)
    assert settings == {"seed": "1", "model.optimisation.lr": "1e-3", "data.path": "a=b"}
    assert settings_of(tmp_path / "nowhere") == {}
    other = {**settings, "model.optimisation.lr": "1e-2", "seed": "2"}
    keys = varying([settings, other], ("seed",))
    assert keys == ["model.optimisation.lr"]
    assert told(other, keys) == ["lr=1e-2"]
    assert told({}, varying([settings, {}], ("seed", "data."))) == []


def test_readers_are_told_apart_by_their_settings(tmp_path):
    for number in range(2):
        folder = tmp_path / str(number)
        (folder / ".hydra").mkdir(parents=True)
        (folder / ".hydra" / "overrides.yaml").write_text(f"- beams={number}\n")
        report = {"tasks": {}, "experiment": "unichart_chartqa", "label": None}
        (folder / "report.json").write_text(json.dumps(report))
    named = compare.told_apart(compare.read_runs([tmp_path]))
    labels = [run.report["label"] for run in named]
    assert labels == ["unichart_chartqa, beams=0", "unichart_chartqa, beams=1"]
