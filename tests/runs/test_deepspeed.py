"""DeepSpeed's ZeRO 2 on one process, and what is said where it cannot be used.

``python tests/parity.py --strategies deepspeed`` compares two processes with one.
"""

import importlib.util
import json
import math

import pytest
import torch
from safetensors.torch import load_file

from belvedere import strategies
from belvedere.balcony import BalconyModule

EXITS = ["model.exits.depths=[1,3]", "trainer.devices=1", "model.optimisation.lr=1e-2"]
OURS = "+strategy@trainer.strategy=deepspeed"


def told(run, capfd, *options):
    with pytest.raises(SystemExit) as stopped:
        run("balcony_llama3", *EXITS, *options)
    assert stopped.value.code == 2
    (line,) = [one for one in capfd.readouterr().err.splitlines() if one.startswith("error")]
    return line


@pytest.fixture
def zero():
    """DeepSpeed's strategy as an option; a test is left out where it is not installed."""
    pytest.importorskip("deepspeed", reason="deepspeed is not installed")
    return OURS


def test_without_deepspeed_one_line_says_so(run, capfd, monkeypatch):
    usual = importlib.util.find_spec
    monkeypatch.setattr(
        strategies, "find_spec", lambda name: None if name == "deepspeed" else usual(name)
    )
    line = told(run, capfd, OURS)
    assert "trainer.strategy: deepspeed is not installed" in line
    assert "pip install -e '.[deepspeed]'" in line


@pytest.mark.parametrize(
    "strategy",
    [
        "trainer.strategy=deepspeed",
        "trainer.strategy=deepspeed_stage_3_offload",
        "trainer.strategy={_target_: lightning.pytorch.strategies.DeepSpeedStrategy, stage: 3}",
    ],
)
def test_lightnings_own_would_be_unpickled(run, capfd, strategy):
    line = told(run, capfd, strategy)
    assert "would have to be unpickled" in line
    assert "+strategy@trainer.strategy=fsdp2" in line


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("+model.optimisation.muon_lr=0.01", "Muon needs whole matrices"),
        ("+trainer.gradient_clip_algorithm=value", "by their norm alone"),
        ("trainer.precision=bf16-true", "trains weights in float32"),
        ("trainer.precision=16-true", "trains weights in float32"),
    ],
)
def test_what_zero_would_do_otherwise_is_refused(run, capfd, zero, option, message):
    assert message in told(run, capfd, zero, option)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["trainer.gradient_clip_val=0.01"],
        ["trainer.accumulate_grad_batches=3"],
        ["activation_checkpointing=true"],
        ["trainer.precision=bf16-mixed"],
        ["backbone.dtype=bfloat16"],
    ],
)
def test_a_run_is_that_without_deepspeed(run, tmp_path, zero, options):
    usual = run("balcony_llama3", *EXITS, *options, f"run_dir={tmp_path / 'usual'}")
    files = states(tmp_path / "usual"), exits(usual)
    run("balcony_llama3", *EXITS, *options, zero, f"run_dir={tmp_path / 'zero'}")
    compare(files, (states(tmp_path / "zero"), exits(tmp_path / "zero")))
    report = json.loads((tmp_path / "zero" / "report.json").read_text())
    assert report["backbone"]["sha256_before"] == report["backbone"]["sha256_after"]


@pytest.mark.parametrize(("first", "second"), [([OURS], []), ([], [OURS])])
@pytest.mark.usefixtures("zero")
def test_a_run_goes_on_with_and_without_deepspeed(run, tmp_path, first, second):
    run("balcony_llama3", *EXITS, *first, f"run_dir={tmp_path / 'first'}")
    halfway = str(tmp_path / "first" / "checkpoints" / "step=4.ckpt").replace("=", "\\=")
    folder = tmp_path / "second"
    run("balcony_llama3", *EXITS, *second, f"resume={halfway}", f"run_dir={folder}")
    compare(
        (states(tmp_path / "first"), exits(tmp_path / "first")), (states(folder), exits(folder))
    )


def test_a_step_without_effect_changes_no_weight(run, monkeypatch, tmp_path, zero):
    usual = BalconyModule.training_step
    found = []
    for options in ([], [zero]):
        steps = []

        def step(self, batch, batch_idx, steps=steps):
            steps.append(batch_idx)
            return usual(self, batch, batch_idx) + (math.inf if len(steps) in (1, 3) else 0)

        monkeypatch.setattr(BalconyModule, "training_step", step)
        folder = tmp_path / str(len(options))
        run("balcony_llama3", *EXITS, *options, "nonfinite=skip", f"run_dir={folder}")
        assert json.loads((folder / "report.json").read_text())["skipped_steps"] == 2
        found.append((states(folder), exits(folder)))
    compare(*found)


def states(folder):
    """The optimiser's in the last checkpoint."""
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    (state,) = checkpoint["optimizer_states"]
    return state


def exits(folder):
    return load_file(folder / "checkpoints" / "model" / "exits.safetensors")


def compare(one, other):
    (state, weights), (others_state, others_weights) = one, other
    assert state["state"].keys() == others_state["state"].keys()
    assert [group["params"] for group in state["param_groups"]] == [
        group["params"] for group in others_state["param_groups"]
    ]
    assert [group.keys() for group in state["param_groups"]] == [
        group.keys() for group in others_state["param_groups"]
    ]
    for name, values in state["state"].items():
        assert values.keys() == others_state["state"][name].keys()
        for key, value in values.items():
            torch.testing.assert_close(others_state["state"][name][key], value)
    for name, weight in weights.items():
        torch.testing.assert_close(others_weights[name], weight)
