"""Checkpoints that outlive what happens to a run: whole or not there, and looked at before use."""

import logging
import os
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from omegaconf import DictConfig

from belvedere.errors import BadInput, first_line, unwritable

LOG = logging.getLogger(__name__)
KEPT = 2
"""Checkpoints of a run that are kept: of one that is damaged the one before it takes the place."""
_BESIDE = ".part"


class DurableCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it when all of it is on the disk.

    Lightning's own writes to the system's temporary folder and moves the file from there, which is
    a second copy wherever that is another disk. A run that is killed while it writes leaves the
    checkpoint before as it was.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: what Lightning wants to have kept.
            path: its file.
            storage_options: of no use for files.

        Raises:
            BadInput: it cannot be written; the checkpoints before are as they were.
        """
        file = Path(path)
        beside = file.with_name(file.name + _BESIDE)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("wb") as opened:
                torch.save(checkpoint, opened)
                opened.flush()
                os.fsync(opened.fileno())
            os.replace(beside, file)
            _flush(file.parent)
        except (OSError, RuntimeError) as error:
            # Torch, interrupted by a full disk, complains of its archive in place of the disk.
            cause = error if isinstance(error, OSError) else error.__context__
            if not isinstance(cause, OSError):
                raise
            beside.unlink(missing_ok=True)
            remedy = "free some space; resume=true goes on from the checkpoint before"
            raise unwritable(file, cause, remedy) from error


def _flush(folder: Path) -> None:
    """Let the disk know the folder's new names."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_of(folder: Path, step: int) -> Path:
    """The checkpoint of a step in a run's folder of checkpoints."""
    return folder / f"step={step}.ckpt"


def saved(folder: Path) -> list[Path]:
    """The checkpoints in a run's folder of them, the newest first."""
    return sorted(folder.glob("step=*.ckpt"), key=_step_of, reverse=True)


def _step_of(file: Path) -> int:
    step = file.stem.removeprefix("step=")
    return int(step) if step.isdecimal() else -1


def tidy(folder: Path) -> None:
    """Keep the newest checkpoints alone, and let ``last.ckpt`` be the newest one's other name."""
    newest, *others = saved(folder)
    for file in [*others[KEPT - 1 :], *folder.glob(f"*{_BESIDE}")]:
        file.unlink(missing_ok=True)
    point(folder / "last.ckpt", newest.name)


def point(link: Path, target: str | Path) -> None:
    """Let a link point to a target, at no moment to nothing."""
    beside = link.with_name(f"{link.name}.{os.getpid()}{_BESIDE}")
    beside.unlink(missing_ok=True)
    beside.symlink_to(target)
    os.replace(beside, link)


def link(latest: Path, folder: Path) -> None:
    """Let ``latest`` point to the folder of a run or sweep. Raises `BadInput` if it cannot."""
    try:
        latest.parent.mkdir(parents=True, exist_ok=True)
        point(latest, folder.resolve())
    except OSError as error:
        raise unwritable(latest, error, "free some space or choose another runs") from error


def damage(file: Path) -> str | None:
    """What is wrong with a checkpoint, by the checksums that torch writes with it.

    Args:
        file: an archive of `torch.save`; a folder, as of a sharded checkpoint, is not looked into.

    Returns:
        What is wrong; None if nothing is.
    """
    if file.is_dir():
        return None
    try:
        with zipfile.ZipFile(file) as archive:
            changed = archive.testzip()
    except Exception as error:  # a bit that has turned may mean anything
        return f"it is torn ({first_line(error)})"
    return None if changed is None else f"its part {changed} does not match its checksum"


def checkpoint_to_resume(config: DictConfig) -> str | None:
    """The checkpoint to go on with, if one was asked for and any was written yet.

    A job that Slurm has queued again goes on without being asked to.

    The newest one of the run that is whole: one that is damaged is named, and left aside.

    Raises:
        BadInput: the named checkpoint is not there or damaged, or all of the run's are damaged.
    """
    again = int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0
    if not config.resume and not again:
        return None
    if config.resume not in (True, False):
        file = Path(config.resume)
        if not file.exists():
            raise BadInput(
                "there is no checkpoint", where=str(file), remedy="start without resume=true"
            )
        if (wrong := damage(file)) is not None:
            raise BadInput(
                f"is damaged: {wrong}", where=str(file), remedy="name the checkpoint before it"
            )
        return str(file)
    folder = Path(config.run_dir) / "checkpoints"
    files = saved(folder)
    for file in files:
        if (wrong := damage(file)) is None:
            LOG.info("going on from %s", file.name)
            return str(file)
        LOG.warning("%s is damaged, and left aside: %s", file, wrong)
    if files:
        raise BadInput(
            "all checkpoints are damaged", where=str(folder), remedy="start without resume=true"
        )
    LOG.warning("the run has written no checkpoint yet, and starts from its beginning")
    return None
