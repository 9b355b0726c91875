"""A training step of ours against the plain formulation of the same step, each in its own loop.

``python benchmarks/training.py METHOD [Hydra overrides] [--steps 6]`` trains the laptop run of
``balcony``, ``soft`` or ``unichart`` for some steps by Lightning and our module (``ours``), and by
the Trainer of ``transformers`` with the loss written down as it is defined (``plain``): the same
weights, batches, optimiser, schedule and clipping.

- ``balcony``: ``output_hidden_states`` of the frozen backbone, the exits on them, the logits of the
  full model and of every exit, and their KL.
- ``soft``: the norm on the hidden states of each sub-model, the logits of each, and the mean of
  their cross-entropies.
- ``unichart``: as Donut is fine-tuned: one picture and one text a row, the encoder run for every
  row, and rows padded to the longest of the batch, with ``--padded`` to all the decoder's positions
  as Donut's own data are. Losses on letters and guidance, which Donut has not, are off.

``plain`` does not measure the agreement (and KL) that ours logs at each step; pictures are read
once for both. For a large vocabulary: ``+backbone.shape={vocab_size:128256}
backbone.weights=random``. The time is that of a step after the first one, with the loop around it,
and on a CPU that of its processor too, which other work on the machine prolongs less; memory is the
peak above what stands before the training. The loss is that of the last step, to which the
gradients of all others lead; if the losses differ, there is no comparison.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import lightning
import torch
import torch.nn.functional as F
import transformers
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from lightning.pytorch import Callback, LightningDataModule, LightningModule
from omegaconf import DictConfig
from paired import compare, held_bytes
from torch import Tensor
from transformers import PrinterCallback, TrainerCallback, TrainingArguments
from transformers.masking_utils import create_causal_mask

from belvedere.balcony import BalconyModule
from belvedere.data.pictures import normalised
from belvedere.runs.charts import data_for
from belvedere.runs.entry import CONFIGS, register_resolvers
from belvedere.runs.precision import chosen_precision
from belvedere.runs.training import quiet
from belvedere.soft import SoFTModule
from belvedere.submodels.losses import IGNORED
from belvedere.submodels.speed import now, peak_bytes
from belvedere.unichart.module import UniChartModule

Batch = dict[str, Tensor]
WARM_UP = 1
"""Steps that are not timed: the optimiser's states are made in the first one."""
EXPERIMENTS = {
    "balcony": ["experiment=balcony_llama3"],
    "soft": ["experiment=soft_llama2_alpaca"],
    "unichart": [
        "experiment=unichart_pretrain",
        "model.letters_weight=0",
        "model.guidance_weight=0",
        "data.letters=false",
    ],
}
TOLERANCE = 1e-4
"""Of the last losses, relative: float32 adds up in another order, and each step starts from it."""


def distilled(module: BalconyModule, batch: Batch) -> Tensor:
    """The mean KL of the exits to the full model."""
    backbone: Any = module.backbone
    positions = batch["position_ids"]

    def read() -> tuple[tuple[Tensor, ...], Tensor]:
        full = backbone(
            input_ids=batch["input_ids"],
            position_ids=positions,
            output_hidden_states=True,
            use_cache=False,
        )
        return full.hidden_states, full.logits.float().log_softmax(-1)

    with torch.no_grad():
        states, aim = read()
        mask = create_causal_mask(backbone.config, states[0], None, None, position_ids=positions)
        angles = backbone.model.rotary_emb(states[0], position_ids=positions)
    kept = batch["labels"] != IGNORED
    losses = []
    for depth in module.exits.depths:
        exit: Any = module.exits.at(depth)
        hidden = exit.layer(states[depth], attention_mask=mask, position_embeddings=angles)
        logits = backbone.lm_head(exit.norm(hidden)).float()
        kl = F.kl_div(logits.log_softmax(-1), aim, reduction="none", log_target=True).sum(-1)
        losses.append(kl[kept].mean())
    return torch.stack(losses).mean()


def sorted_losses(module: SoFTModule, batch: Batch) -> Tensor:
    """The mean cross-entropy of the sub-models."""
    model: Any = module.backbone
    full = model(
        input_ids=batch["input_ids"],
        position_ids=batch["position_ids"],
        output_hidden_states=True,
        use_cache=False,
    )
    early = [model.lm_head(model.model.norm(full.hidden_states[depth])) for depth in module.early]
    labels = batch["labels"].flatten()
    return torch.stack(
        [F.cross_entropy(logits.flatten(0, 1).float(), labels) for logits in (*early, full.logits)]
    ).mean()


def read_aloud(module: UniChartModule, batch: Batch, positions: int = 0) -> Tensor:
    """The cross-entropy of the answers, of rows that are at least so long."""
    model = module.model
    more = (0, max(0, positions - batch["ids"].shape[1]))
    ids = F.pad(batch["ids"], more, value=model.config.pad_id)
    labels = F.pad(batch["labels"], more, value=IGNORED)
    mask = torch.arange(ids.shape[1], device=ids.device) < batch["tokens"][:, None]
    pixels = normalised(batch["pixels"][batch["picture"]])
    logits = model(pixels, ids, mask.long())
    return F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())


Formula = Callable[[Any, Batch], Tensor]
FORMULAS: dict[str, Formula] = {
    "balcony": distilled,
    "soft": sorted_losses,
    "unichart": read_aloud,
}


class Steps:
    """The losses of the steps, and when the first of those that are timed begins and the last one
    ends: by the clock, and by this process's own."""

    def __init__(self, count: int, device: torch.device) -> None:
        self.count, self.device = count, device
        self.losses: list[Tensor] = []
        self.times: list[tuple[float, float]] = []

    def note(self, loss: Tensor) -> None:
        """A step has ended."""
        self.losses.append(loss.detach())
        if len(self.losses) in (WARM_UP, self.count):
            self.times.append((now(self.device), time.process_time()))

    def measured(self) -> dict[str, float]:
        """Of one step, and the last loss."""
        by_clock, by_process = (
            (last - first) / (self.count - WARM_UP) for first, last in zip(*self.times, strict=True)
        )
        found = {"seconds": by_clock, "loss": float(self.losses[-1])}
        return found if self.device.type == "cuda" else found | {"processor": by_process}


class LightningSteps(Callback):
    """Tells of the steps of Lightning's trainer."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, *_: Any) -> None:
        """After the optimiser."""
        self.steps.note(outputs["loss"])


class PlainSteps(TrainerCallback):
    """Tells of the steps of `PlainTrainer`."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.loss = torch.tensor(0.0)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """After the optimiser."""
        self.steps.note(self.loss)


class PlainTrainer(transformers.Trainer):
    """Trains a module's weights on its data by a loss that is written down plainly.

    Args:
        formula: takes the module and a batch.
        data: the batches.
        steps: hears of each.
        options: of the trainer.
    """

    def __init__(
        self,
        formula: Formula,
        data: LightningDataModule,
        steps: Steps,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.formula, self.data = formula, data
        self.watch = PlainSteps(steps)
        self.add_callback(self.watch)
        self.remove_callback(PrinterCallback)  # what is printed here is the measurement

    def get_train_dataloader(self) -> Any:
        """Those of ours."""
        return self.data.train_dataloader()

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Only tensors; charts come with their texts."""
        return super()._prepare_inputs({k: v for k, v in inputs.items() if isinstance(v, Tensor)})

    def compute_loss(self, model: Any, inputs: Batch, *_: Any, **__: Any) -> Tensor:
        """By the formula."""
        with self.accelerator.autocast():
            loss = self.formula(model, inputs)
        self.watch.loss = loss.detach()
        return loss


def composed(args: argparse.Namespace) -> DictConfig:
    """The configuration of the run."""
    register_resolvers()
    overrides = [
        *EXPERIMENTS[args.method],
        "trainer.precision=32-true",
        f"name=training_{args.method}",
        *args.overrides,
        f"trainer.max_steps={args.steps}",
    ]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose("train", overrides=overrides)


def made(config: DictConfig, method: str) -> tuple[LightningModule, LightningDataModule]:
    """The module to train, and its data."""
    if method == "unichart":
        reader = instantiate(config.reader)
        tokenizer = reader.tokenizer()
        model = reader.load(len(tokenizer)).train()
        data: LightningDataModule = data_for(model.config, tokenizer, config.data)
        module = instantiate(config.model, model=model, tokenizer=tokenizer)
    else:
        backbone = instantiate(config.backbone)
        data = instantiate(config.data, tokenizer=backbone.tokenizer())
        module = instantiate(config.model, backbone=backbone.load())
    data.setup("fit")
    return module, data


def by_lightning(
    module: LightningModule, data: LightningDataModule, config: DictConfig, steps: Steps
) -> None:
    """Train as a run does, without its records."""
    trainer = instantiate(
        config.trainer, callbacks=[LightningSteps(steps)], logger=False, limit_val_batches=0,
        precision=chosen_precision(config.trainer.precision), enable_checkpointing=False,
        enable_progress_bar=False, val_check_interval=None,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)


def by_transformers(
    module: Any,
    data: LightningDataModule,
    config: DictConfig,
    steps: Steps,
    formula: Formula,
) -> None:
    """Train by the plain formula."""
    built = module.optimisation.build(module, steps.count)
    with tempfile.TemporaryDirectory() as folder:
        options = TrainingArguments(
            folder, max_steps=steps.count, max_grad_norm=config.trainer.gradient_clip_val,
            bf16=chosen_precision(config.trainer.precision) == "bf16-mixed", seed=config.seed,
            save_strategy="no", logging_strategy="no", report_to="none", disable_tqdm=True,
        )  # fmt: skip
        PlainTrainer(
            formula, data, steps, model=module, args=options,
            optimizers=(built["optimizer"], built["lr_scheduler"]["scheduler"]),
        ).train()  # fmt: skip


def measure(variant: str, args: argparse.Namespace) -> dict[str, float]:
    """Some steps in this process: seconds of one, bytes above the weights, and the last loss."""
    quiet()
    config = composed(args)
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    module, data = made(config, args.method)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module.to(device).train()
    steps = Steps(args.steps, device)
    before = held_bytes(device)
    if variant == "ours":
        by_lightning(module, data, config, steps)
    else:
        formula = FORMULAS[args.method]
        if args.padded:
            shape = cast(UniChartModule, module).model.config.decoder
            formula = partial(read_aloud, positions=shape.max_positions)
        by_transformers(module, data, config, steps, formula)
    return {**steps.measured(), "bytes": peak_bytes(device) - before}


def main() -> None:
    """Measure both in turn and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("method", choices=EXPERIMENTS)
    parser.add_argument("overrides", nargs="*", help="of the run's configuration")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--padded", action="store_true", help="rows of unichart, to all positions")
    known, _ = parser.parse_known_args()
    if known.padded and known.method != "unichart":
        parser.error("--padded is of unichart")
    if known.steps <= WARM_UP:
        parser.error(f"give more than {WARM_UP} --steps")
    variants, what = ["ours", "plain"], "memory above the weights"
    compare(parser, variants, measure, [("ours", "plain")], what, tolerance=TOLERANCE)


if __name__ == "__main__":
    main()
