"""Runs experiments on one process and on two, and compares them.

    python tests/parity.py

The two processes share each batch of the one, by DDP, FSDP and FSDP2 over gloo, as `torchrun`
starts them, and by DeepSpeed where that is installed. Losses, metrics and weights have to be those
of the single process but for the order in which float32 numbers are added up. From the middle, the
run of each goes on as the other's.
"""

import argparse
import contextlib
import multiprocessing
import os
import runpy
import shutil
import socket
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from kills import OPTIONS, PROJECT
from lightning.pytorch.strategies import FSDPStrategy
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.distributed.fsdp import FullyShardedDataParallel

from belvedere.unichart.config import ChartModelConfig, DecoderConfig, EncoderConfig
from belvedere.unichart.loading import Reader, save_reader
from belvedere.unichart.model import ChartModel

PROCESSES = 2
STRATEGIES = {
    "ddp": ["trainer.strategy=ddp"],
    "fsdp": ["+strategy@trainer.strategy=fsdp", "trainer.strategy._target_=parity.FSDPOnCPU"],
    "fsdp2": ["+strategy@trainer.strategy=fsdp2"],
    "deepspeed": ["+strategy@trainer.strategy=deepspeed"],
}
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["belvedere.runs.training", "belvedere.runs.charts", "parity"])
TOLERANCE = 1e-4
"""Of losses and metrics, relative; float32 has 6e-8, and each step multiplies what has gone on."""


class FSDPOnCPU(FSDPStrategy):
    """FSDP asks for GPUs where no device is named, and Lightning names none but theirs."""

    def _setup_model(self, model: torch.nn.Module) -> FullyShardedDataParallel:
        usual = FullyShardedDataParallel.__init__

        def on_cpu(self: FullyShardedDataParallel, *args: Any, **options: Any) -> None:
            usual(self, *args, **options | {"device_id": torch.device("cpu")})

        with mock.patch.object(FullyShardedDataParallel, "__init__", on_cpu):
            return super()._setup_model(model)

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
        """PyTorch gathers one state after the other in one place, and keeps what ``cpu`` gives: of
        what is on the CPU already that is no copy."""
        with mock.patch.object(torch.Tensor, "cpu", torch.Tensor.clone):
            return super().optimizer_state(optimizer)


@dataclass(frozen=True)
class Run:
    """What a run leaves behind.

    Attributes:
        folder: of the run.
        losses: by training step, the last time that it was made.
        scalars: all that TensorBoard shows at the end, by name.
    """

    folder: Path
    losses: dict[int, float]
    scalars: dict[str, float]

    def weights(self) -> dict[str, torch.Tensor]:
        """What was trained, as it ships."""
        (file,) = (self.folder / "checkpoints/model").glob("*.safetensors")
        return load_file(file)


def as_rank(rank: int, world: int, port: int, arguments: Sequence[str], log: Path) -> None:
    """``python train.py ARGUMENTS`` as one of several processes that `torchrun` has started."""
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world), "GROUP_RANK": "0", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "parity",
    }  # fmt: skip
    sys.argv = ["train.py", *arguments]
    with log.open("a") as opened:
        os.dup2(opened.fileno(), 1)
        os.dup2(opened.fileno(), 2)
    runpy.run_path(str(PROJECT / "train.py"), run_name="__main__")


def run(folder: Path, arguments: Sequence[str], world: int = 1) -> Run:
    """Train with so many processes, wait for them, and read what they left.

    Raises:
        RuntimeError: one of them failed.
    """
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log"
    arguments = [
        *arguments, f"run_dir={folder / 'run'}", f"runs={folder}", "trainer.accelerator=cpu",
        f"trainer.devices={world}", "trainer.log_every_n_steps=1", "trainer.precision=32-true",
    ]  # fmt: skip
    started = [
        CONTEXT.Process(target=as_rank, args=(rank, world, port, arguments, log))
        for rank in range(world)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join()
    if any(process.exitcode for process in started):
        raise RuntimeError(log.read_text())
    return read(folder / "run")


def read(folder: Path) -> Run:
    """What a run has left."""
    events = EventAccumulator(str(folder))
    events.Reload()
    scalars = {name: events.Scalars(name) for name in events.Tags()["scalars"]}
    return Run(
        folder,
        {event.step: event.value for event in scalars["train/loss"]},
        {name: found[-1].value for name, found in scalars.items()},
    )


def differences(one: Run, other: Run) -> dict[str, float]:
    """The largest relative differences of two runs: of losses, of metrics, and of weights."""
    metrics = {
        name: value for name, value in one.scalars.items()
        if name.startswith(("validation/", "test/"))
    }  # fmt: skip
    own, others = one.weights(), other.weights()
    assert own.keys() == others.keys()
    return {
        "losses": max(relative(loss, other.losses[step]) for step, loss in one.losses.items()),
        "metrics": max(relative(value, other.scalars[name]) for name, value in metrics.items()),
        "weights": float((flat(own) - flat(others)).norm() / flat(own).norm()),
    }


def flat(weights: dict[str, torch.Tensor]) -> torch.Tensor:
    """All in a row: a key's bias changes nothing, so that AdamW makes steps of its rounding."""
    return torch.cat([weights[name].float().flatten() for name in sorted(weights)])


def relative(one: float, other: float) -> float:
    """The difference beside the larger one of two numbers, or beside .01."""
    return abs(one - other) / max(abs(one), abs(other), 0.01)


def copy_halfway(run: Run, folder: Path) -> None:
    """Copy a run as it was in the middle, into the folder of another that goes on with it."""
    whole = folder / "run"
    shutil.copytree(run.folder, whole, symlinks=True)
    checkpoints = whole / "checkpoints"
    shutil.rmtree(checkpoints / "model")
    for last in (checkpoints / "last.ckpt", checkpoints / f"step={STEPS}.ckpt"):
        last.unlink()


STEPS = 8
SMALL = [
    f"trainer.max_steps={STEPS}", f"trainer.val_check_interval={STEPS // 2}",
    f"checkpoint_every={STEPS // 2}", "++model.optimisation.weight_decay=0.1",
]  # fmt: skip
EXPERIMENTS = {
    **OPTIONS,
    "unichart_pretrain": ["model.new_tokens=8", "data.eval_charts=4", "model.guidance_weight=0",
                          "model.letters_weight=0", "data.letters=false",
                          "model.optimisation.lr=1e-3"],
}  # fmt: skip


def donut_like(folder: Path) -> str:
    """A small reader as the published ones are, with random weights.

    The shipped one has batch normalisation, which is over each process's own pictures.
    """
    torch.manual_seed(0)
    tokenizer = Reader(str(PROJECT / "data/reader")).tokenizer()
    encoder = EncoderConfig(16, (1, 1), (2, 2), window=8, patch_size=8, drop_path=0.0)
    decoder = DecoderConfig(layers=2, d_model=32, heads=2, ffn=64, max_positions=640, dropout=0.0)
    shape = ChartModelConfig("small", (192, 256), len(tokenizer), encoder, decoder)
    folder.mkdir()
    save_reader(ChartModel(shape), folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def main() -> None:
    """Compare; exit code 1 if anything differs by more than the tolerance."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiments", nargs="+", choices=EXPERIMENTS, default=list(EXPERIMENTS))
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    parser.add_argument("--options", nargs="*", default=[], help="more of the configuration")
    args = parser.parse_args()
    if "deepspeed" in args.strategies and find_spec("deepspeed") is None:
        print("deepspeed: left out, as it is not installed", flush=True)
        args.strategies.remove("deepspeed")
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for experiment in args.experiments:
            command = [f"experiment={experiment}", *SMALL, *EXPERIMENTS[experiment], *args.options]
            if experiment == "unichart_pretrain":
                command.append(f"init={donut_like(Path(folder, 'reader'))}")
            batch = "data.batch_size=8"
            part = f"data.batch_size={8 // PROCESSES}"
            alone = run(Path(folder, experiment, "alone"), [*command, batch])
            for name in args.strategies:
                shared = Path(folder, experiment, name)
                runs = {name: run(shared, [*command, part, *STRATEGIES[name]], PROCESSES)}
                for title, before, options, world in (
                    (f"{name}, then alone", runs[name], [batch], 1),
                    (f"alone, then {name}", alone, [part, *STRATEGIES[name]], PROCESSES),
                ):
                    there = Path(folder, experiment, title.replace(", ", "_").replace(" ", "_"))
                    copy_halfway(before, there)
                    runs[title] = run(there, [*command, *options, "resume=true"], world)
                for title, found in runs.items():
                    differing = differences(alone, found)
                    worst = max(worst, *differing.values())
                    told = ", ".join(f"{what} {value:.1e}" for what, value in differing.items())
                    print(f"{experiment}, {title}: {told}", flush=True)
    sys.exit(worst > TOLERANCE)


if __name__ == "__main__":
    main()
