"""Trains, evaluates and reports one experiment."""

import json
import logging
import os
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import lightning
import torch
from hydra.utils import instantiate
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from transformers.utils import logging as transformers_logging

from belvedere.errors import BadInput, first_line, unwritable
from belvedere.method import MethodModule, OptimisedModule
from belvedere.runs.answers import Answers
from belvedere.runs.callbacks import StepClock, TextSamples, progress
from belvedere.runs.checkpoints import checkpoint_to_resume, link
from belvedere.runs.dashboard import (
    LANGUAGE,
    CurvePages,
    DepthFigures,
    LearningCurves,
    TokenDepths,
    show,
    show_settings,
)
from belvedere.runs.entry import GO_ON
from belvedere.runs.figures import draw_qualities
from belvedere.runs.memory import check_devices
from belvedere.runs.positions import KlByPosition
from belvedere.runs.precision import chosen_precision
from belvedere.runs.report import write_report
from belvedere.runs.sharding import whole
from belvedere.runs.stops import Checkpoints, FiniteLoss
from belvedere.strategies import check_deepspeed
from belvedere.submodels.backbone import num_layers_of, sha256_of_weights
from belvedere.submodels.loading import Backbone
from belvedere.submodels.speed import measure_speed

COMPARABLE = ("name", "source", "test_tokens", "answered", "prompts", "learned")
"""What two runs have to share of their data, so that their full models can be compared."""
UNTOLD = (
    "run", "resume", "label", "logger.", "samples", "speed.", "checkpoint_every", "compile",
    "activation_checkpointing", "nonfinite", "trainer.enable_", "trainer.num_", "trainer.log_",
    "trainer.plugins", "trainer.use_", "trainer.limit_", "trainer.max_epochs", "trainer.check_",
    "trainer.val_", "backbone.attention", "backbone.trust_", "reader.remedy", "data.cache_dir",
    "data.num_workers", "data.prefetch_factor", "data.eval_",
)  # fmt: skip
"""Beginnings of settings that are not in TensorBoard's table; `config.yaml` has all."""
Kind = TypeVar("Kind", bound=Callback)
OUTCOMES = ("loss", "agreement", "exact_match")


def train(config: DictConfig) -> dict[str, Any]:
    """Train the experiment, evaluate it on its test split, and write its report."""
    quiet()
    check_steps(config)
    check_machine(config)
    check_devices(config)
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    reference = reference_of(config)
    backbone: Backbone = instantiate(config.backbone)
    tokenizer = backbone.tokenizer()
    datamodule = instantiate(config.data, tokenizer=tokenizer)
    model = backbone.load()
    made = partial(instantiate, config.model)
    module = made(backbone=model)
    set_step(module, config)
    run_dir = open_run(config)
    link_latest(config)
    clock, samples = StepClock(), TextSamples(tokenizer, list(config.samples))
    answers, positions = Answers(run_dir), KlByPosition()
    # Compiled layers would be compiled for the measurement of speeds, too.
    shown = [CurvePages(LANGUAGE), DepthFigures(speed=not config.compile), TokenDepths(tokenizer)]
    learning = LearningCurves()
    trainer = build_trainer(config, run_dir, [clock, samples, *shown, learning, answers, positions])
    start = time.perf_counter()
    fit(trainer, module, datamodule, config)
    remaining = whole(trainer, module, lambda: made(backbone=backbone.load()), config)
    if remaining is None:
        return {}
    trainer, module = remaining
    trainer.test(module, datamodule=datamodule, verbose=False)
    rows = submodel_rows(module, config)
    for row in rows:
        row["metrics"] |= answers.metrics.get(row["name"], {})
    report = {
        **run_facts(config, trainer, clock, start),
        "data": datamodule.summary() | {"prompts_too_long": answers.too_long},
        "backbone": {
            "name": backbone.name,
            "layers": num_layers_of(module.backbone),
            "parameters": sum(p.numel() for p in module.backbone.parameters()),
            "sha256_before": module.backbone_hash,
            "sha256_after": sha256_of_weights(module.backbone),
        },
        "submodels": rows,
        "kl_by_position": positions.found,
        "reference": reference,
        "exact_match_by_group": answers.groups,
    }
    figures = draw_qualities(rows)
    for name, figure in figures.items():
        show(trainer, f"test/{name}", figure)
    show_settings(trainer, outcome_of(rows))
    if trainer.is_global_zero:
        save_model(module, tokenizer, run_dir)
        write_report(report, run_dir, samples.samples, {**figures, **learning.figures()})
    end(trainer)
    return report


def set_step(module: OptimisedModule, config: DictConfig) -> None:
    """Let a module take its training steps in the way that the configuration says.

    Raises:
        BadInput: no such way, or none of this method.
    """
    if not isinstance(config.activation_checkpointing, bool):
        raise BadInput(
            f"{config.activation_checkpointing!r} is neither true nor false",
            where="activation_checkpointing", remedy="give one of them",
        )  # fmt: skip
    if config.activation_checkpointing:
        module.checkpoint_activations()
    if config.compile:
        module.compile_layers("inductor" if config.compile is True else str(config.compile))


def fit(
    trainer: Trainer, module: LightningModule, datamodule: LightningDataModule, config: DictConfig
) -> None:
    """Train from the beginning, or go on, as the configuration says.

    Raises:
        BadInput: no such checkpoint, or what a person can do something about in the training.
    """
    try:
        checkpoint = checkpoint_to_resume(config)
        trainer.fit(module, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
    except torch.OutOfMemoryError as error:
        raise BadInput(
            "the accelerator has too little memory", where="training",
            remedy="give a smaller data.batch_size, and trainer.accumulate_grad_batches for it",
        ) from error  # fmt: skip
    except torch._dynamo.exc.TorchDynamoException as error:
        raise BadInput(
            f"the step cannot be compiled on this machine ({first_line(error)})",
            where="compile", remedy="set it to false",
        ) from error  # fmt: skip
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise BadInput(
            f"a process that makes batches has died ({first_line(error)})",
            where="data.num_workers",
            remedy=f"free some memory, or set it to 0; {GO_ON}",
        ) from error


def end(trainer: Trainer) -> None:
    """Let a run that Ctrl-C has ended before its last step end as interrupted ones do."""
    if callback_of(trainer, Checkpoints).interrupted:
        raise KeyboardInterrupt


def callback_of(trainer: Trainer, kind: type[Kind]) -> Kind:
    """The trainer's callback of a class."""
    (found,) = (one for one in cast(Any, trainer).callbacks if isinstance(one, kind))
    return found


def run_facts(
    config: DictConfig, trainer: Trainer, clock: StepClock, start: float
) -> dict[str, Any]:
    """What the report of every run says first; ``start`` is of ``time.perf_counter``."""
    return {
        "experiment": config.name,
        "scale": config.scale,
        "seed": config.seed,
        "seconds": round(time.perf_counter() - start, 1),
        "training_seconds": round(clock.seconds, 1),
        "precision": trainer.precision,
        "steps": trainer.global_step,
        "planned_steps": config.trainer.max_steps,
        "skipped_steps": callback_of(trainer, FiniteLoss).skipped,
        "tokens_seen": clock.tokens_seen,
        "waiting": round(clock.waiting, 4),
        "packing": clock.packing,
    }


def quiet() -> None:
    """Keep the libraries' advice out of the way of the progress and the table."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    warnings.filterwarnings("ignore", module="lightning|torch|torchdata")
    for name in ("lightning.pytorch", "lightning.fabric", "huggingface_hub"):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.set_float32_matmul_precision("high")


def check_steps(config: DictConfig) -> None:
    """Refuse at once a number of steps that is none. Raises `BadInput`."""
    for key, value in (
        ("trainer.max_steps", config.trainer.max_steps),
        ("checkpoint_every", config.checkpoint_every),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise BadInput(
                f"{value!r} is no number of steps", where=key, remedy="give a whole number from 1"
            )


def check_machine(config: DictConfig) -> None:
    """Refuse at once what this machine cannot do. Raises `BadInput`."""
    check_deepspeed(config.trainer.strategy)
    need = config.get("needs_gpus", 0)
    nodes = config.trainer.get("num_nodes", 1)
    there = torch.cuda.device_count()
    if there * nodes < need:
        raise BadInput(
            f"scale={config.scale} of {config.name} needs {need} GPU(s), this machine has {there}",
            where="scale",
            remedy="use a machine with GPUs, or scale=laptop",
        )


def open_run(config: DictConfig) -> Path:
    """Make the run's folder with its configuration.

    Of several processes only the first one does: the folders of the others are named after a later
    moment, and nothing is written to them.
    """
    run_dir = Path(config.run_dir)
    if getattr(rank_zero_only, "rank", 0):
        return run_dir
    try:
        (run_dir / "checkpoints").mkdir(parents=True, exist_ok=True)
        OmegaConf.save(config, run_dir / "config.yaml", resolve=True)
    except OSError as error:
        raise unwritable(run_dir, error, "free some space or choose another run_dir") from error
    return run_dir


def link_latest(config: DictConfig) -> None:
    """Let ``latest`` point to the run: where it begins if it trains, else once it has a report."""
    if getattr(rank_zero_only, "rank", 0):
        return
    link(Path(config.runs) / config.name / "latest", Path(config.run_dir))


def build_trainer(config: DictConfig, run_dir: Path, extra: list[Callback]) -> Trainer:
    """Lightning's Trainer with the run's logger, checkpoints and progress."""
    checkpoints = Checkpoints(run_dir / "checkpoints", config.checkpoint_every)
    finite = FiniteLoss(config.nonfinite)
    logger = instantiate(config.logger)
    logger.log_hyperparams(settings_of(config))
    callbacks = [checkpoints, finite, LearningRateMonitor("step"), progress(), *extra]
    precision = chosen_precision(config.trainer.precision)
    return instantiate(config.trainer, logger=logger, callbacks=callbacks, precision=precision)


def settings_of(config: DictConfig) -> dict[str, Any]:
    """What TensorBoard's table says of a run: the settings that what is learned depends on."""
    settings = flat(OmegaConf.to_container(config, resolve=True))
    settings["experiment"] = settings.pop("name")
    return {name: value for name, value in settings.items() if not name.startswith(UNTOLD)}


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level of dotted names, for TensorBoard's table."""
    if not isinstance(tree, dict):
        return {prefix: tree if isinstance(tree, int | float | bool | str) else str(tree)}
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if key == "_target_":  # the groups' names say it
            continue
        found |= flat(value, f"{prefix}.{key}" if prefix else str(key))
    return found


def outcome_of(rows: list[dict[str, Any]]) -> dict[str, float]:
    """What stands beside the settings in TensorBoard's table of runs."""
    return {
        f"{metric}/{row['name']}": row["metrics"][metric]
        for row in rows
        if row["kind"] != "baseline"
        for metric in OUTCOMES
        if metric in row["metrics"]
    }


def submodel_rows(module: MethodModule, config: DictConfig) -> list[dict[str, Any]]:
    """The report's row for each sub-model, with its speed beside its quality."""
    described = module.described()
    views = {d.name: d.view() for d in described}
    speeds = measure_speed(views, **config.speed)
    full = speeds["full"]
    rows = []
    for d in described:
        rows.append(
            {
                "name": d.name,
                "kind": d.kind,
                "method": d.method,
                "layers": d.layers,
                "parameters": d.parameters,
                "trained_parameters": d.trained_parameters,
                "metrics": dict(module.results[d.name]),
                **speeds[d.name].beside(full),
            }
        )
    return rows


def reference_of(config: DictConfig) -> dict[str, Any] | None:
    """The full model of the run that the configuration names as this one's reference.

    Returns:
        ``run``, ``seed``, ``data`` (name and source) and ``metrics``, which is None where there is
        no such run yet; None if no reference is named.

    Raises:
        BadInput: its report is damaged.
    """
    if config.get("reference") is None:
        return None
    run = Path(config.reference)
    found: dict[str, Any] = {"run": str(run), "experiment": run.parent.name, "metrics": None}
    file = run / "report.json"
    if not file.exists():
        return found
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
        (full,) = [row for row in report["submodels"] if row["name"] == "full"]
        data = {key: report["data"].get(key) for key in COMPARABLE}
        return found | {"seed": report["seed"], "data": data, "metrics": full["metrics"]}
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise BadInput(
            "no whole report", where=str(file), remedy="train it again, or set reference=null"
        ) from error


def save_model(module: MethodModule, tokenizer: Any, run_dir: Path) -> None:
    """Write what the run trained in a form that lasts: safetensors."""
    folder = run_dir / "checkpoints" / "model"
    module.save_model(str(folder))
    tokenizer.save_pretrained(folder)
