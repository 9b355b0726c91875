"""Log-likelihood tasks for all sub-models at once, against the harness's own model for each.

``python benchmarks/harness.py RUN`` asks all sub-models of a checkpoint the tasks that ship, in
turn: ``shared``, where one pass through the backbone answers for all, and ``apart``, where each
sub-model is a model of its own in lm-evaluation-harness's ``HFLM``. The scores have to be the same.
"""

import argparse
import logging
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from omegaconf import DictConfig, OmegaConf

from belvedere.runs.entry import PROJECT
from belvedere.runs.harness import SharedScores, SubModelLM, asked, task_of
from belvedere.submodels.checkpoints import Checkpoint, load_checkpoint
from belvedere.submodels.loading import Backbone
from belvedere.submodels.speed import in_turn

Scores = dict[int, dict[str, float]]
TASKS = ("facts", "endings")


def measured(checkpoint: Checkpoint, args: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    """What is timed, by name; each returns seconds and the scores by depth and task."""
    depths = [*checkpoint.trained_depths, checkpoint.layers]
    manager = TaskManager(include_defaults=False)
    tasks = [
        task_of({"task": str(PROJECT / "data" / "harness" / f"{name}.yaml")}) for name in TASKS
    ]
    config: DictConfig = OmegaConf.create({"limit": args.limit, "seed": 0})

    def timed(model_of: Callable[[int], Any]) -> tuple[float, Scores]:
        start = time.perf_counter()
        found = {depth: dict(asked(model_of(depth), tasks, manager, config)) for depth in depths}
        return time.perf_counter() - start, found

    def shared() -> tuple[float, Scores]:
        scores = SharedScores(checkpoint, depths, args.batch)
        return timed(lambda depth: SubModelLM(scores, depth))

    def apart() -> tuple[float, Scores]:
        return timed(
            lambda depth: HFLM(
                pretrained=checkpoint.submodel(depth), tokenizer=checkpoint.tokenizer,
                batch_size=args.batch, device="cpu", add_bos_token=False,
            )
        )  # fmt: skip

    return {"shared": shared, "apart": apart}


def main() -> None:
    """Measure, compare the scores, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="a run or a model's folder")
    parser.add_argument("--limit", type=int, default=200, help="questions of each task")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    checkpoint = load_checkpoint(args.checkpoint, Backbone("", dtype="float32"))
    found = in_turn(measured(checkpoint, args), args.repeats)
    scores = {name: rows[0][1] for name, rows in found.items()}
    for depth, row in scores["shared"].items():
        each = "  ".join(f"{task} {value:.3f}" for task, value in row.items())
        print(f"{checkpoint.name_of(depth)}: {each}")
    print("the same scores" if scores["shared"] == scores["apart"] else f"apart: {scores['apart']}")
    for name, rows in found.items():
        seconds = [one for one, _ in rows]
        print(f"{name}: {median(seconds):.1f} s ({min(seconds):.1f} to {max(seconds):.1f})")
    ratios = [b[0] / a[0] for a, b in zip(found["shared"], found["apart"], strict=True)]
    print(f"apart / shared: {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
