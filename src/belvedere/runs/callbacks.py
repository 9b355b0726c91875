"""What a run shows while it trains: a line of progress, tokens per second, text samples."""

import sys
import time
from typing import Any, cast

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ProgressBar, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from transformers import PreTrainedTokenizerBase

from belvedere.method import MethodModule
from belvedere.runs.figures import draw
from belvedere.submodels.decoding import complete


class StepClock(Callback):
    """Counts tokens and seconds of training, and logs tokens per second.

    Attributes:
        tokens_seen: tokens of all training batches of all processes, padding not counted.
        images_seen: likewise the pictures, where there are any.
        truncated: likewise the texts about pictures that were cut at the decoder's limit.
        seconds: wall-clock seconds within training steps and the time between them.
    """

    def __init__(self) -> None:
        self.tokens_seen = 0
        self.images_seen = 0
        self.truncated = 0
        self.seconds = 0.0
        self._since: float | None = None
        self._recent: list[tuple[float, int]] = []

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run goes on from."""
        return {
            "tokens_seen": self.tokens_seen,
            "images_seen": self.images_seen,
            "truncated": self.truncated,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from an earlier run's counts."""
        self.tokens_seen = state_dict["tokens_seen"]
        self.images_seen = state_dict.get("images_seen", 0)
        self.truncated = state_dict.get("truncated", 0)
        self.seconds = state_dict["seconds"]

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        """Start the clock, unless it runs already."""
        if self._since is None:
            self._since = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count a batch, and log the speed over the last ones."""
        now = time.perf_counter()
        tokens = int(batch["tokens"].sum()) * trainer.world_size
        self.tokens_seen += tokens
        if "pixels" in batch:
            self.images_seen += len(batch["pixels"]) * trainer.world_size
            self.truncated += int(batch["truncated"]) * trainer.world_size
        self.seconds += now - (self._since or now)
        self._since = now
        self._recent = [*self._recent[-20:], (now, self.tokens_seen)]
        (first, before), (last, after) = self._recent[0], self._recent[-1]
        if last > first:
            speed = (after - before) / (last - first)
            module.log("train/tokens_per_second", speed, prog_bar=True, rank_zero_only=True)

    def on_validation_start(self, *_: Any) -> None:
        """Validation is not training time."""
        self._since = None
        self._recent = []


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
        rows = ["| sub-model | " + " | ".join(_cell(p) for p in self.prompts) + " |"]
        rows.append("|---" * (len(self.prompts) + 1) + "|")
        for name, texts in self.samples.items():
            rows.append(f"| {name} | " + " | ".join(_cell(text) for text in texts) + " |")
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_text("samples", "\n".join(rows), trainer.global_step)


def _cell(text: str) -> str:
    """A text that fits into a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", "⏎")


class DepthFigure(Callback):
    """Draws quality against depth in TensorBoard after each validation."""

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Draw what the validation found for each sub-model."""
        logged = trainer.logged_metrics
        rows = []
        for described in cast(MethodModule, module).described():
            keys = {m: f"validation/{m}/{described.name}" for m in ("agreement", "kl_to_full")}
            if all(key in logged for key in keys.values()):
                metrics = {metric: float(logged[key]) for metric, key in keys.items()}
                rows.append({"method": described.method, "kind": described.kind,
                             "layers": described.layers, "metrics": metrics})  # fmt: skip
        for logger in trainer.loggers:
            if rows and isinstance(logger, TensorBoardLogger):
                figure = draw(rows, "layers", "decoder layers that a token goes through")
                logger.experiment.add_figure("quality_against_depth", figure, trainer.global_step)
