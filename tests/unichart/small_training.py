"""Lightning's loops for the tests that train readers for a few steps, writing nothing."""

from pathlib import Path

from lightning.pytorch import Trainer


def trainer(folder: Path, steps: int) -> Trainer:
    return Trainer(
        max_steps=steps, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
