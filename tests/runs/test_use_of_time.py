"""What runs say of waiting and of packed rows, and the options of a step as runs take them."""

import json

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import Dataset
from torchdata.stateful_dataloader import StatefulDataLoader

from belvedere.runs import callbacks
from belvedere.runs.callbacks import StepClock

FETCH, STEP, PAUSE = 3.0, 1.0, 20.0


class Watch:
    """Stands in for the module `time`, and goes on only where something is said to take time."""

    now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def watch(monkeypatch):
    made = Watch()
    monkeypatch.setattr(callbacks, "time", made)
    return made


class Rows(Dataset):
    """Packed rows of 8 places, 6 with tokens and 2 learned, each made in `FETCH` seconds."""

    def __init__(self, watch):
        self.watch = watch

    def __len__(self):
        return 12

    def __getitem__(self, row):
        self.watch.now += FETCH
        labels = torch.full((8,), -100)
        labels[3:5] = 1
        return {"input_ids": torch.zeros(8), "labels": labels, "tokens": torch.tensor(6)}


class Steps(LightningModule):
    """Each step takes `STEP` seconds, each validation `PAUSE`."""

    def __init__(self, watch):
        super().__init__()
        self.watch = watch
        self.weight = torch.nn.Parameter(torch.ones(()))

    def training_step(self, batch, batch_idx):
        self.watch.now += STEP
        return self.weight * 1.0

    def validation_step(self, batch, batch_idx):
        self.watch.now += PAUSE

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class Saves(Callback):
    """Writes a checkpoint after each batch, which takes `PAUSE` seconds."""

    def __init__(self, watch):
        self.watch = watch

    def on_train_batch_end(self, trainer, *_):
        trainer.save_checkpoint(trainer.default_root_dir + "/saved.ckpt")
        self.watch.now += PAUSE


def trained(folder, watch, clock, *others, resumed=None, **options):
    trainer = Trainer(
        accelerator="cpu", logger=TensorBoardLogger(folder, name="", version=""),
        default_root_dir=folder, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, max_epochs=-1,
        callbacks=[clock, *others], log_every_n_steps=2, **options,
    )  # fmt: skip
    loaders = [StatefulDataLoader(Rows(watch)) for _ in range(2)]
    trainer.fit(Steps(watch), *loaders, ckpt_path=resumed, weights_only=True)
    return trainer


def test_waiting_is_the_share_of_time_between_steps(tmp_path, watch):
    clock = StepClock()
    trained(tmp_path, watch, clock, max_steps=4, accumulate_grad_batches=2, limit_val_batches=0)
    # The first batch of all was fetched before the clock began.
    assert (clock.waited, clock.seconds) == (7 * FETCH, 7 * FETCH + 8 * STEP)
    assert clock.waiting == 21 / 29
    assert clock.packing == {"tokens": 0.75, "learned": 0.25}
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    waiting = events.Scalars("train/waiting")
    assert [event.step for event in waiting] == [1, 3]
    assert [event.value for event in waiting] == [FETCH / (FETCH + STEP)] * 2
    assert {event.value for event in events.Scalars("train/packing")} == {0.75}
    assert {event.value for event in events.Scalars("train/learned")} == {0.25}


def test_validations_and_checkpoints_are_not_waiting(tmp_path, watch):
    clock = StepClock()
    trained(tmp_path, watch, clock, max_steps=6, val_check_interval=2, limit_val_batches=1)
    assert (clock.waited, clock.seconds) == (3 * FETCH, 3 * FETCH + 6 * STEP)
    saving = StepClock()
    trained(tmp_path, watch, saving, Saves(watch), max_steps=3, limit_val_batches=0)
    assert saving.waited == 0


def test_a_resumed_run_goes_on_counting(tmp_path, watch):
    options = {"limit_val_batches": 0}
    trainer = trained(tmp_path, watch, StepClock(), max_steps=3, **options)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    clock = StepClock()
    trained(tmp_path, watch, clock, resumed=tmp_path / "last.ckpt", max_steps=5, **options)
    assert (clock.waited, clock.seconds) == (3 * FETCH, 3 * FETCH + 5 * STEP)
    assert (clock.places, clock.filled, clock.learned) == (40, 30, 10)
    clock.load_state_dict({"tokens_seen": 9, "seconds": 2.0})  # of an older run
    assert (clock.waiting, clock.packing) == (0, None)


def test_reports_say_how_time_and_rows_were_used(run):
    folder = run("balcony_llama3", "model.exits.depths=[1]", "data.num_workers=1",
                 "data.prefetch_factor=3", "trainer.log_every_n_steps=2")  # fmt: skip
    report = json.loads((folder / "report.json").read_text())
    assert 0 <= report["waiting"] < 1
    tokens, learned = report["packing"]["tokens"], report["packing"]["learned"]
    # Each of the few documents in a row has a last token, which nothing follows.
    assert 0.8 < learned < tokens <= 1
    assert f"; {tokens:.1%} of the places in packed rows held" in (folder / "report.md").read_text()
    events = EventAccumulator(str(folder))
    events.Reload()
    assert {"train/waiting", "train/packing", "train/learned"} <= set(events.Tags()["scalars"])


def test_a_run_that_is_compiled_and_makes_activations_anew_is_the_same_run(run):
    options = ["model.exits.depths=[1]", "trainer.max_steps=2", "trainer.val_check_interval=2"]
    options.append("data.eval_batch_size=4")  # as in training: fewer variants to compile
    plain = load_file(run("balcony_llama3", *options) / "checkpoints/model/exits.safetensors")
    folder = run("balcony_llama3", *options, "compile=eager", "activation_checkpointing=true")
    ours = load_file(folder / "checkpoints/model/exits.safetensors")
    assert ours.keys() == plain.keys()
    for name, weight in plain.items():
        torch.testing.assert_close(ours[name], weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("experiment", "option", "message"),
    [
        ("headonly_llama3", "activation_checkpointing=true", "no decoder layer is trained"),
        ("balcony_llama3", "activation_checkpointing=some", "'some' is neither true nor false"),
        ("balcony_llama3", "compile=fast", "compile: torch.compile has no backend 'fast'"),
        ("balcony_llama3", "data.prefetch_factor=0", "data.prefetch_factor: 0 is too small"),
        ("balcony_llama3", "data.num_workers=-1", "data.num_workers: -1 is too small"),
    ],
)
def test_wrong_options_are_one_line_and_code_2(run, capfd, experiment, option, message):
    with pytest.raises(SystemExit) as stopped:
        run(experiment, "model.exits.depths=[1]", option)
    assert stopped.value.code == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert message in line
