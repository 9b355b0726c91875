"""From weights that are shared out over processes back to a whole model on one of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from hydra.utils import instantiate
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch import LightningModule, Trainer
from omegaconf import DictConfig

from belvedere.runs.checkpoints import saved
from belvedere.strategies import shares_weights

Module = TypeVar("Module", bound=LightningModule)


def whole(
    trainer: Trainer, module: Module, make: Callable[[], Module], config: DictConfig
) -> tuple[Trainer, Module] | None:
    """What a run is tested with after its training.

    Sub-models are cut out of whole models, and their speed is that of one device. So where the
    weights were shared out, the first process makes the model anew from the last checkpoint, and
    goes on alone.

    Args:
        trainer: has trained.
        module: has been trained.
        make: gives a module as the training began with.
        config: of the run.

    Returns:
        Both as they are, where each process has all weights. Otherwise those of the first process,
        and None on all others, for which there is nothing left to do.
    """
    strategy = trainer.strategy
    if not shares_weights(strategy):
        return trainer, module
    strategy.barrier()
    torch.distributed.destroy_process_group()
    if not strategy.is_global_zero:
        return None
    newest = saved(Path(config.run_dir) / "checkpoints")[0]
    checkpoint = torch.load(newest, map_location="cpu", weights_only=True)
    made = make()
    made.load_state_dict(checkpoint["state_dict"], strict=made.strict_loading)
    alone: Trainer = instantiate(
        config.trainer, devices=1, num_nodes=1, strategy="auto", logger=trainer.loggers,
        callbacks=list(cast(Any, trainer).callbacks), precision=trainer.precision,
        plugins=[LightningEnvironment()],
    )  # fmt: skip
    alone.fit_loop.load_state_dict(checkpoint["loops"]["fit_loop"])
    return alone, made
