"""Finds how sure exits have to be: ``python -m belvedere.runs.calibrate checkpoint=RUN``."""

import os
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from torch import Tensor

from belvedere.errors import BadInput
from belvedere.runs.entry import run_verb
from belvedere.runs.training import quiet
from belvedere.runs.writing import device_of, loaded
from belvedere.submodels.backbone import validate_depths
from belvedere.submodels.engine.calibration import (
    Calibration,
    Weights,
    applied,
    calibrated,
    check_wanted,
    compared,
)
from belvedere.submodels.engine.cascade import Cascade


def calibrate(config: DictConfig) -> Calibration:
    """Find the thresholds, store them with the checkpoint, and try them on the test split."""
    quiet()
    check_wanted(config.agreement)
    device = device_of(config.device)
    checkpoint = loaded(config, device)
    if not os.access(checkpoint.folder, os.W_OK):
        raise BadInput(
            "thresholds are stored in the checkpoint's folder, which is not here or read-only",
            where="checkpoint",
            remedy="write it to a folder first: python export.py checkpoint=… exit=full output=…",
        )
    depths = checkpoint.trained_depths
    if config.depths is not None:
        depths = validate_depths(list(config.depths), checkpoint.layers)
    datamodule = instantiate(config.data, tokenizer=checkpoint.tokenizer)
    datamodule.setup(None)
    splits = {
        "validation": moved(datamodule.val_dataloader(), device),
        "test": moved(datamodule.test_dataloader(), device),
    }
    seen = {
        split: compared(checkpoint.model, depths, checkpoint.exits, batches)
        for split, batches in splits.items()
    }
    weights = Weights.of(Cascade(checkpoint.model, depths, checkpoint.exits))
    found = calibrated(depths, *seen["validation"], config.agreement, weights, config.data.name)
    found.save(checkpoint.folder)
    show(found, *applied(found.thresholds, *seen["test"]))
    return found


def moved(batches: Iterable[dict[str, Any]], device: torch.device) -> Iterator[dict[str, Tensor]]:
    """Batches with their tensors on a device."""
    for batch in batches:
        yield {name: one.to(device) for name, one in batch.items() if isinstance(one, Tensor)}


def show(found: Calibration, agreement: float, leaves: dict[int, float]) -> None:
    """Print the thresholds, and what they give on text that they were not found on."""
    table = Table("depth", "threshold", "leave (validation)", "leave (test)")
    for depth, threshold in found.thresholds.items():
        told = f"{threshold:.4f}" if threshold <= 1 else "is not asked"
        table.add_row(str(depth), told, f"{found.leaves[depth]:.1%}", f"{leaves[depth]:.1%}")
    console = Console()
    console.print(table)
    console.print(
        f"tokens as the full model's: {found.agreement:.2%} of {found.tokens:,} (validation), "
        f"{agreement:.2%} (test); wanted {found.wanted:.2%}; weights read for a token: "
        f"{found.read:.0%} of the full model's",
        soft_wrap=True,
    )


if __name__ == "__main__":
    run_verb(calibrate, "calibrate", interrupted="no thresholds were stored")
