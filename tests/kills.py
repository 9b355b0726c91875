"""Kills runs with SIGKILL, resumes them, and compares them with runs that nothing happened to.

    python tests/kills.py --kills 25

Each run is killed over and over, at moments drawn by chance: in a training step, in a validation
step, with half a checkpoint written, with a checkpoint renamed but the older ones not yet removed,
and after a time. After each kill the same command goes on with ``resume=true``. In the end all
weights and optimiser states have to be those of an uninterrupted run, bit for bit.
"""

import argparse
import os
import random
import runpy
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from belvedere.balcony import BalconyModule
from belvedere.runs import checkpoints
from belvedere.soft import SoFTModule
from belvedere.unichart.module import UniChartModule

PROJECT = Path(__file__).resolve().parents[1]
STEPS = 10
MODULES = (BalconyModule, SoFTModule, UniChartModule)
SMALL = [
    f"trainer.max_steps={STEPS}", "trainer.val_check_interval=3", "checkpoint_every=2",
    "trainer.limit_val_batches=2", "+trainer.limit_test_batches=1", "trainer.precision=32-true",
    "trainer.accelerator=cpu", "trainer.accumulate_grad_batches=2", "data.batch_size=2",
]  # fmt: skip
OPTIONS: dict[str, list[str]] = {
    "balcony_llama3": ["data.sequence_length=64", "samples=[]",
                       "speed={prompt_tokens: 8, new_tokens: 2, repeats: 1}"],
    "unichart_pretrain": ["model.new_tokens=8", "data.eval_charts=2", "data.train_charts=40"],
}  # fmt: skip
OPTIONS["soft_llama2_alpaca"] = [*OPTIONS["balcony_llama3"], "data.new_tokens=4"]


def die(*_: Any, **__: Any) -> Any:
    """End this process as nothing can help it."""
    os.kill(os.getpid(), signal.SIGKILL)


def at_call(owner: Any, name: str, number: int, then: Callable[..., Any] = die) -> None:
    """Let a function do something else when it is called for the n-th time."""
    usual, calls = getattr(owner, name), 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        return (then if calls == number else usual)(*args, **kwargs)

    setattr(owner, name, counted)


def half_written(state: Any, opened: Any) -> None:
    """Write a part of a checkpoint, and die."""
    opened.write(b"PK\x03\x04" * 5000)
    opened.flush()
    die()


def in_time(seconds: float) -> None:
    """Die after some seconds, wherever the run is then."""
    threading.Thread(target=lambda: (time.sleep(seconds), die()), daemon=True).start()


def plan(rng: random.Random) -> tuple[str, Callable[[], None]]:
    """A moment to die at, and how it is brought about."""
    number = rng.randint(1, 2 * STEPS)
    seconds = rng.uniform(0.5, 8)
    return rng.choice(
        [
            (
                f"training step {number}",
                lambda: [at_call(one, "training_step", number) for one in MODULES],
            ),
            (
                f"validation step {number // 3 + 1}",
                lambda: [at_call(one, "validation_step", number // 3 + 1) for one in MODULES],
            ),
            (
                f"half of checkpoint {number // 4 + 1}",
                lambda: at_call(checkpoints.torch, "save", number // 4 + 1, half_written),
            ),
            (
                f"checkpoint {number // 4 + 1} just renamed",
                lambda: at_call(checkpoints, "_flush", number // 4 + 1),
            ),
            (f"{seconds:.1f} s", lambda: in_time(seconds)),
        ]
    )


def in_child(arguments: list[str], prepare: Callable[[], Any] = lambda: None) -> int:
    """``python train.py ARGUMENTS`` in a process of its own; how it ended, as of a shell."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            torch.set_num_threads(1)
            prepare()
            sys.argv = ["train.py", *arguments]
            runpy.run_path(str(PROJECT / "train.py"), run_name="__main__")
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def tensors(tree: Any, name: str = "") -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint by their place in it."""
    if isinstance(tree, torch.Tensor):
        return {name: tree}
    if not isinstance(tree, dict | list):
        return {}
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    return {k: v for key, one in items for k, v in tensors(one, f"{name}.{key}").items()}


def last_state(runs: Path, experiment: str) -> dict[str, torch.Tensor]:
    """Weights and optimiser states at the end of a run."""
    file = runs / experiment / "latest" / "checkpoints" / f"step={STEPS}.ckpt"
    state = torch.load(file, weights_only=True)
    return tensors({key: state[key] for key in ("state_dict", "optimizer_states")})


def main() -> None:
    """Kill, resume, compare; exit code 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--experiments", nargs="+", choices=OPTIONS, default=list(OPTIONS))
    parser.add_argument("--options", nargs="*", default=[], help="more of the configuration")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    killed = 0
    with tempfile.TemporaryDirectory() as folder:
        whole: dict[str, dict[str, torch.Tensor]] = {}
        commands = {}
        for experiment in args.experiments:
            command = [f"experiment={experiment}", *SMALL, *OPTIONS[experiment], *args.options]
            runs = Path(folder, "whole")
            if in_child([*command, f"runs={runs}"]) != 0:
                sys.exit(f"{experiment} does not run")
            whole[experiment] = last_state(runs, experiment)
            commands[experiment] = command
        while killed < args.kills:
            for experiment, command in commands.items():
                runs = Path(folder, f"killed_{killed}")
                resume: list[str] = []
                while True:
                    told, prepare = plan(rng) if killed < args.kills else ("nothing", lambda: None)
                    code = in_child([*command, f"runs={runs}", *resume], prepare)
                    if code == 0:
                        break
                    if code != -signal.SIGKILL:
                        sys.exit(f"{experiment}, {told}: ended with code {code}")
                    killed += 1
                    print(f"{experiment}: killed at {told}", flush=True)
                    if (runs / experiment / "latest").exists():
                        resume = ["resume=true"]
                found = last_state(runs, experiment)
                differ = [
                    name for name, one in whole[experiment].items()
                    if not torch.equal(one, found[name])
                ]  # fmt: skip
                if differ or found.keys() != whole[experiment].keys():
                    sys.exit(f"{experiment}: {len(differ)} tensors differ, {differ[:3]}")
                print(f"{experiment}: all {len(found)} tensors are equal", flush=True)


if __name__ == "__main__":
    main()
