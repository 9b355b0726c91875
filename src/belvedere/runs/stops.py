"""What ends a training before its last step: Ctrl-C, a scheduler, a loss that is no number."""

import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from torch.optim import Optimizer

from belvedere.errors import BadInput
from belvedere.runs.checkpoints import file_of, tidy
from belvedere.runs.entry import GO_ON, INTERRUPTED, SIGNALS

REQUEUE = 75
"""The exit code of a run that a scheduler has stopped and may start again (EX_TEMPFAIL)."""
NonFinite = Literal["stop", "skip"]
_SHOWN = 16


class Checkpoints(Checkpoint):
    """Writes checkpoints: each so many steps, after the last one, and when a signal comes.

    Ctrl-C ends the training: what there is is tested and reported. A second one, or one later on,
    ends everything at once. SIGTERM, with which schedulers announce the end, ends the program with
    code `REQUEUE`. Of training a step is finished first, on all processes the same one, so that a
    run that is resumed ends where an uninterrupted one does.

    Args:
        folder: where they are written; the newest ones are kept.
        every: steps between two of them.

    Attributes:
        interrupted: by Ctrl-C, in training.
    """

    def __init__(self, folder: Path, every: int) -> None:
        self.folder, self.every = folder, every
        self.interrupted = False
        self._signal = 0
        self._step = 0
        self._fitting = False

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Listen to the signals, of which each has to wait for the end of its step."""
        self._fitting = True
        self._listen()

    def on_test_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Listen to the signals, each of which ends the program."""
        self._listen()

    def _listen(self) -> None:
        """Take the place of Lightning's own handlers; only a program's main thread can.

        Lightning gives them back at the end of its loop, and the command at its own
        (`belvedere.runs.entry.one_line`).
        """
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._note)

    def on_fit_end(self, trainer: Trainer, module: LightningModule) -> None:
        """From now on there is no step that is to be finished first."""
        self._fitting = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        again, self._signal = self._signal == number, number
        if number == signal.SIGINT and (again or not self._fitting):
            _tell(f"interrupted: {GO_ON}")
            sys.exit(INTERRUPTED)
        if number == signal.SIGTERM and not self._fitting:
            self._end()
        if number == signal.SIGINT:
            _tell("\nending after this step; Ctrl-C again ends at once")

    def on_train_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note the step, which several batches may have together."""
        self._step = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        """Write a checkpoint if it is time, and end the training if a signal came."""
        step = trainer.global_step
        if step == self._step:  # gradients are being accumulated
            return
        number = self._agreed(trainer, module)
        if number or step % self.every == 0 or step >= trainer.max_steps:
            trainer.save_checkpoint(file_of(self.folder, step))
            if trainer.is_global_zero:
                tidy(self.folder)
        if number == signal.SIGTERM:
            self._end()
        if number:
            self.interrupted = trainer.should_stop = True

    def _agreed(self, trainer: Trainer, module: LightningModule) -> int:
        """The signal that came to any of the processes."""
        if trainer.world_size == 1:
            return self._signal
        own = torch.tensor(float(self._signal), device=module.device)
        return int(trainer.strategy.reduce(own, reduce_op="max"))

    @staticmethod
    def _end() -> None:
        _tell(f"stopped by a signal: {GO_ON}")
        sys.exit(REQUEUE)


def _tell(line: str) -> None:
    """Write a line to stderr by the system alone, as within a signal's handler one has to."""
    if not getattr(rank_zero_only, "rank", 0):
        os.write(2, f"{line}\n".encode())


class FiniteLoss(Callback):
    """Sees to it that no step is made by a loss that is no finite number.

    Args:
        action: "stop" ends the run, before any weight has changed; "skip" goes on without the step.

    Attributes:
        skipped: how many steps were left out.

    Raises:
        BadInput: there is no such action; in training, a loss that is not finite.
    """

    def __init__(self, action: NonFinite) -> None:
        if action not in ("stop", "skip"):
            raise BadInput(
                f"there is nothing like {action!r} to do", where="nonfinite",
                remedy="choose stop or skip",
            )  # fmt: skip
        self.action = action
        self.skipped = 0
        self._batch = 0
        self._finite = True

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run goes on from."""
        return {"skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from an earlier run's count."""
        self.skipped = state_dict["skipped"]

    def on_train_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note which batch it is, for the message."""
        self._batch = batch_idx

    def on_before_backward(self, trainer: Trainer, module: LightningModule, loss: Tensor) -> None:
        """Look at the loss, on all processes."""
        finite = bool(torch.isfinite(loss.detach()).all())
        if trainer.strategy.reduce_boolean_decision(finite, all=True):
            return
        self._finite = False
        if self.action == "stop":
            rows = trainer.datamodule.numbers_of(self._batch)  # type: ignore[attr-defined]
            told = ", ".join(map(str, rows[:_SHOWN])) + (", …" if len(rows) > _SHOWN else "")
            raise BadInput(
                f"the loss is {loss.item():g} in step {trainer.global_step + 1}, whose batch has "
                f"the rows {told}",
                where="training",
                remedy="go on from the last checkpoint by resume=true with a lower "
                "model.optimisation.lr, or with nonfinite=skip",
            )

    def on_before_optimizer_step(
        self, trainer: Trainer, module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Take the gradients away, so that the optimiser passes all weights over."""
        if not self._finite:
            optimizer.zero_grad(set_to_none=True)
            self.skipped += 1
            self._finite = True
