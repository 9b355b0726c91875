"""What a run shows while it trains: a line of progress, tokens per second, text samples."""

import re
import sys
import time
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ProgressBar, RichProgressBar
from transformers import PreTrainedTokenizerBase

from belvedere.method import MethodModule
from belvedere.runs.dashboard import tensorboards
from belvedere.submodels.decoding import complete
from belvedere.submodels.losses import IGNORED
from belvedere.submodels.speed import peak_bytes


class StepClock(Callback):
    """Counts tokens and seconds of training, and logs how well both are used.

    ``train/tokens_per_second`` is of the last batches, ``train/memory_gib`` the peak until then, of
    this process's device or, on a CPU, of the process. Of the last logging interval are
    ``train/waiting``, the share of time in which the loop waits for data; ``train/packing``, the
    share of places in packed rows that hold a token; and ``train/learned``, the share of places
    that carry a loss.

    Attributes:
        tokens_seen: tokens of all training batches of all processes, padding not counted.
        images_seen: likewise the pictures, where there are any.
        truncated: likewise the texts about pictures that were cut at the decoder's limit.
        places: likewise the places in packed rows, where there are any.
        filled: likewise the places that hold a token.
        learned: likewise the places that carry a loss.
        seconds: wall-clock seconds within training steps and the time between them.
        waited: of these the seconds between them, in which this process fetches a batch and moves
            it to its device; not counted where a checkpoint was written.
    """

    COUNTS = ("tokens_seen", "images_seen", "truncated", "places", "filled", "learned")
    TIMES = ("seconds", "waited")

    def __init__(self) -> None:
        self.tokens_seen = self.images_seen = self.truncated = 0
        self.places = self.filled = self.learned = 0
        self.seconds = self.waited = 0.0
        self._since: float | None = None
        self._fetching = False
        self._recent: list[tuple[float, int]] = []
        self._interval: list[dict[str, float]] = []

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run goes on from."""
        return {name: getattr(self, name) for name in (*self.COUNTS, *self.TIMES)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from an earlier run's counts."""
        for name in (*self.COUNTS, *self.TIMES):
            setattr(self, name, state_dict.get(name, 0))

    @property
    def waiting(self) -> float:
        """Share of the training time in which the loop waited for data."""
        return self.waited / self.seconds if self.seconds else 0.0

    @property
    def packing(self) -> dict[str, float] | None:
        """Shares of the places in packed rows: ``tokens`` and ``learned``; None without rows."""
        if not self.places:
            return None
        shares = {"tokens": self.filled / self.places, "learned": self.learned / self.places}
        return {name: round(share, 4) for name, share in shares.items()}

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        """Start the clock, or note how long this batch was waited for."""
        now = time.perf_counter()
        if self._since is None:
            self._since = now
        elif self._fetching:
            self.waited += now - self._since

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count a batch, and log the speed over the last ones."""
        self._count(batch, trainer.world_size)
        # Only now: reading the counts has let an accelerator finish its step.
        now = time.perf_counter()
        self.seconds += now - (self._since or now)
        self._since, self._fetching = now, True
        self._recent = [*self._recent[-20:], (now, self.tokens_seen)]
        (first, before), (last, after) = self._recent[0], self._recent[-1]
        if last > first:
            speed = (after - before) / (last - first)
            module.log("train/tokens_per_second", speed, prog_bar=True, rank_zero_only=True)
        for name, share in self._shares(trainer).items():
            module.log(f"train/{name}", share, rank_zero_only=True)
        gib = peak_bytes(module.device) / 2**30
        module.log("train/memory_gib", gib, rank_zero_only=True)

    def _count(self, batch: Any, processes: int) -> None:
        """Add a batch to the counts."""
        sums = [batch["tokens"].sum(), (batch["labels"] != IGNORED).sum()]
        tokens, learned = torch.stack(sums).tolist()
        self.tokens_seen += tokens * processes
        if "pixels" in batch:  # texts about pictures are in no rows
            self.images_seen += len(batch["pixels"]) * processes
            self.truncated += int(batch["truncated"]) * processes
        else:
            self.places += batch["labels"].numel() * processes
            self.filled += tokens * processes
            self.learned += learned * processes

    def _shares(self, trainer: Trainer) -> dict[str, float]:
        """The shares that are logged, over the batches since the last time."""
        steps = max(cast(Any, trainer).log_every_n_steps, 1)
        batches = steps * trainer.accumulate_grad_batches
        self._interval = [*self._interval[-batches:], self.state_dict()]
        first, last = self._interval[0], self._interval[-1]
        grown = {name: last[name] - first[name] for name in last}
        found = {"waiting": grown["waited"] / grown["seconds"]} if grown["seconds"] else {}
        if grown["places"]:
            found["packing"] = grown["filled"] / grown["places"]
            found["learned"] = grown["learned"] / grown["places"]
        return found

    def on_validation_start(self, *_: Any) -> None:
        """Validation is not training time."""
        self._since = None
        self._recent = []

    def on_save_checkpoint(self, *_: Any) -> None:
        """Nor is writing a checkpoint waiting for data."""
        self._fetching = False


class LineProgress(ProgressBar):
    """Progress as lines of text, for logs and pipes; a terminal gets Rich's bar instead.

    Args:
        every: seconds between two lines.
    """

    def __init__(self, every: float = 10.0) -> None:
        super().__init__()
        self.every = every
        self._enabled = True
        self._last = float("-inf")
        self._start = 0.0
        self._first_step = 0

    def disable(self) -> None:
        """Lightning turns the progress off on all processes but the first."""
        self._enabled = False

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Start the clock for the estimate of the time left."""
        self._start, self._first_step = time.perf_counter(), trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *args: Any) -> None:
        """Print a line if the last one is old enough."""
        now, step = time.perf_counter(), trainer.global_step
        if not self._enabled or (now - self._last < self.every and step < trainer.max_steps):
            return
        self._last = now
        done = step - self._first_step
        left = (now - self._start) / done * (trainer.max_steps - step) if done else float("nan")
        metrics = self.get_metrics(trainer, module)
        shown = "  ".join(
            f"{name.removeprefix('train/')} {value:,.4g}" if isinstance(value, float) else ""
            for name, value in metrics.items()
            if name != "v_num"
        )
        print(f"step {step}/{trainer.max_steps}  {shown}  left {left:.0f} s", flush=True)


class BarProgress(RichProgressBar):
    """Rich's bar over the steps of the run, whatever epoch they are in."""

    def _get_train_description(self, current_epoch: int) -> str:
        # Lightning would write "Epoch 0/-2" of a run that is bounded by its steps.
        return "Training"


def progress() -> ProgressBar:
    """Rich's bar on a terminal, lines of text elsewhere."""
    if sys.stdout.isatty():
        return BarProgress()
    return LineProgress()


class TextSamples(Callback):
    """Shows in TensorBoard how each sub-model continues a few prompts.

    Args:
        tokenizer: the backbone's.
        prompts: the beginnings.
        new_tokens: how many tokens are decoded, greedily.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, prompts: list[str], new_tokens: int = 24
    ) -> None:
        self.tokenizer = tokenizer
        self.prompts = prompts
        self.new_tokens = new_tokens
        self.samples: dict[str, list[str]] = {}

    def on_test_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Let every sub-model write, once the run is over."""
        if not trainer.is_global_zero:
            return
        for described in cast(MethodModule, module).described():
            view = described.view().eval()
            self.samples[described.name] = [
                text
                for prompt in self.prompts
                for text in complete(view, self.tokenizer, [prompt], self.new_tokens)
            ]
        # No table: TensorBoard squeezes the columns of its tables.
        lines = []
        for number, prompt in enumerate(self.prompts):
            lines += [f"**{_line(prompt)}**", ""]
            lines += [f"- *{name}*: {_line(texts[number])}" for name, texts in self.samples.items()]
            lines.append("")
        for logger in tensorboards(trainer):
            logger.experiment.add_text("samples", "\n".join(lines), trainer.global_step)


def _line(text: str) -> str:
    """A text as one line of Markdown that is not marked up itself."""
    return re.sub(r"([\\`*_#<|])", r"\\\1", text.replace("\n", " ⏎ "))
