"""What TensorBoard shows of a run at a glance: few pages of curves, and pictures that go along."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from belvedere.charts.tasks import TOKENS
from belvedere.method import MethodModule
from belvedere.runs.figures import COURSES, draw_courses, draw_qualities
from belvedere.runs.token_figures import Token, draw_tokens
from belvedere.strategies import shares_weights
from belvedere.submodels.backbone import decoder_inputs
from belvedere.submodels.described import Described
from belvedere.submodels.losses import IGNORED
from belvedere.submodels.speed import measure_speed

QUICK = {"prompt_tokens": 16, "new_tokens": 8, "repeats": 2}
"""How speeds are measured for the figure that goes along; the report's are measured with care."""
Curves = Mapping[str, Sequence[str]]
MACHINE: Curves = {
    "tokens per second": ["train/tokens_per_second"],
    "share of time waiting for data": ["train/waiting"],
    "peak memory, GiB": ["train/memory_gib"],
    "learning rate": ["lr-.*"],
}
ROWS: Curves = {"share of places with a token, with a loss": ["train/packing", "train/learned"]}
SUBMODELS = r"(full|original_full|\w*exit_\d+)"
LANGUAGE: Mapping[str, Curves] = {
    "Sub-models on held-out text": {
        "loss": [f"validation/loss/{SUBMODELS}"],
        "agreement with the full model": [f"validation/agreement/{SUBMODELS}"],
        "KL to the full model": [f"validation/kl_to_full/{SUBMODELS}"],
    },
    "Sub-models in training": {"loss": [f"train/(loss|kl_to_full)/{SUBMODELS}"]},
    "The machine": {**MACHINE, **ROWS},
}
CHARTS: Mapping[str, Curves] = {
    "Chart readers on held-out charts": {"loss": [f"validation/loss/({'|'.join(TOKENS)})"]},
    "Chart readers in training": {"loss": ["train/loss"]},
    "The machine": MACHINE,
}
LETTERS: Curves = {"letters that the encoder reads": [".*/letters_read"]}
GUIDANCE: Curves = {
    "looks that are right": ["train/looks_right", "train/phases_right", "train/axis_right"]
}


class CurvePages(Callback):
    """Puts curves that belong together into one chart each, on the page of custom scalars.

    Args:
        pages: for each heading the charts, and for each of these what its curves are called, as
            regular expressions.
    """

    def __init__(self, pages: Mapping[str, Curves]) -> None:
        self.pages = pages

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Write the pages down."""
        layout = {
            heading: {title: ["Multiline", list(names)] for title, names in charts.items()}
            for heading, charts in self.pages.items()
        }
        for logger in tensorboards(trainer):
            logger.experiment.add_custom_scalars(layout)


class LearningCurves(Callback):
    """Draws the course of losses and agreement, with a line for each sub-model or task.

    TensorBoard's own charts have one colour for all curves of a run. The figure is drawn anew after
    each validation.

    Attributes:
        curves: values by step, for each name ``SPLIT/METRIC/SUBMODEL``.
    """

    def __init__(self) -> None:
        self.curves: dict[str, dict[int, float]] = {}

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run goes on from."""
        return {"curves": self.curves}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from an earlier run's curves."""
        self.curves = state_dict["curves"]

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Note what a logged step found."""
        if trainer.global_step % cast(Any, trainer).log_every_n_steps == 0:
            self._note(trainer, "train")

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Note what the validation found, and draw."""
        self._note(trainer, "validation")
        if trainer.is_global_zero:
            for name, figure in self.figures().items():
                show(trainer, f"validation/{name}", figure)

    def figures(self) -> dict[str, Figure]:
        """The figure by its name; none where there is nothing to draw."""
        figure = draw_courses(self.curves)
        return {"learning_curves": figure} if figure else {}

    def _note(self, trainer: Trainer, split: str) -> None:
        for tag, value in trainer.logged_metrics.items():
            course = tag.rpartition("/")[0]
            if course in COURSES and course.startswith(split):
                self.curves.setdefault(tag, {})[trainer.global_step] = float(value)


class DepthFigures(Callback):
    """Draws quality against depth and against speed after each validation.

    Args:
        speed: whether speeds may be measured, in a second or two, when the first validation ends.
    """

    def __init__(self, *, speed: bool = True) -> None:
        self.speed = speed
        self._speedups: dict[str, float] = {}

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Draw what the validation found for each sub-model."""
        if not trainer.is_global_zero:
            return
        logged, module = trainer.logged_metrics, cast(MethodModule, module)
        rows, found = [], []
        for described in module.described():
            keys = {m: f"validation/{m}/{described.name}" for m in ("agreement", "kl_to_full")}
            if all(key in logged for key in keys.values()):
                metrics = {metric: float(logged[key]) for metric, key in keys.items()}
                rows.append({"name": described.name, "method": described.method,
                             "kind": described.kind, "layers": described.layers,
                             "metrics": metrics})  # fmt: skip
                found.append(described)
        if not rows:
            return
        if self.speed and not self._speedups and not shares_weights(trainer.strategy):
            self._measure(found)
        for row in rows:
            row["speedup"] = self._speedups.get(str(row["name"]))
        for name, figure in draw_qualities(rows).items():
            show(trainer, f"validation/{name}", figure)

    def _measure(self, submodels: Sequence[Described]) -> None:
        """Speeds of the sub-models, beside the full model's."""
        speeds = measure_speed({one.name: one.view() for one in submodels}, **QUICK)
        full = speeds["full"].decode
        self._speedups = {name: speed.decode / full for name, speed in speeds.items()}


class TokenDepths(Callback):
    """Colours tokens of a held-out text by the exit where each of them could have left.

    That is the first exit whose most probable token is the full model's. The text is the beginning
    of the first validation row; what is not learned in it, prompts say, is grey.

    Args:
        tokenizer: the backbone's.
        tokens: how many are shown.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, tokens: int = 120) -> None:
        self.tokenizer = tokenizer
        self.tokens = tokens

    @torch.no_grad()
    def on_validation_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Draw the beginning of the first batch, where this process has all weights."""
        if batch_idx or not trainer.is_global_zero or shares_weights(trainer.strategy):
            return
        inputs = {name: ids[:1, : self.tokens] for name, ids in decoder_inputs(batch).items()}
        exits = {
            described.layers: described
            for described in cast(MethodModule, module).described()
            if described.kind != "baseline"
        }
        said = {
            layers: described.view()(**inputs, use_cache=False).logits.argmax(-1)[0]
            for layers, described in sorted(exits.items())
        }
        depths = leaving_depths(said)
        names = {layers: described.name.replace("_", " ") for layers, described in exits.items()}
        known = batch["labels"][0, : self.tokens] != IGNORED
        figure = draw_tokens(self._shown(inputs["input_ids"][0], known, depths), names)
        show(trainer, "validation/depth_of_each_token", figure)

    def _shown(self, ids: Tensor, known: Tensor, depths: Tensor) -> list[Token]:
        """The tokens behind the first one, with the depths that they are found at one before."""
        texts = [str(self.tokenizer.decode([token])) for token in ids[1:].tolist()]
        return [
            Token(text, depth if learned else None)
            for text, learned, depth in zip(texts, known.tolist(), depths.tolist(), strict=False)
        ]


def leaving_depths(said: Mapping[int, Tensor]) -> Tensor:
    """The first depths at which sub-models say what the deepest one says.

    Args:
        said: [length], the most probable tokens, by depth.

    Returns:
        [length], the depths.

    Example:
        >>> said = {2: torch.tensor([5, 6, 7]), 4: torch.tensor([5, 8, 7])}
        >>> leaving_depths(said | {6: torch.tensor([5, 8, 9])}).tolist()
        [2, 4, 6]
    """
    deepest = max(said)
    depths = torch.full_like(said[deepest], deepest)
    for depth in sorted(said, reverse=True):
        depths[said[depth] == said[deepest]] = depth
    return depths


def show(trainer: Trainer, name: str, figure: Figure) -> None:
    """Show a figure in TensorBoard."""
    for logger in tensorboards(trainer):
        logger.experiment.add_figure(name, figure, trainer.global_step)


def show_settings(trainer: Trainer, outcome: Mapping[str, float]) -> None:
    """Fill TensorBoard's table of runs: every setting, beside the quality that came of it.

    TensorBoard shows no settings without an outcome, so those of the start are logged once more.
    """
    for logger in tensorboards(trainer):
        metrics = {f"outcome/{name}": value for name, value in outcome.items()}
        logger.log_hyperparams(logger.hparams, metrics, step=trainer.global_step)
        logger.finalize("success")


def tensorboards(trainer: Trainer) -> list[TensorBoardLogger]:
    """The run's loggers that write for TensorBoard."""
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
