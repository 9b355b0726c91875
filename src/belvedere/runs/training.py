"""Trains, evaluates and reports one experiment."""

import os
import time
import warnings
from pathlib import Path
from typing import Any

import lightning
import torch
from hydra.utils import instantiate
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from omegaconf import DictConfig, OmegaConf
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from belvedere.errors import BadInput
from belvedere.runs.callbacks import StepClock, TextSamples, progress
from belvedere.runs.report import Report, write_report
from belvedere.submodels.backbone import num_layers_of, sha256_of_weights
from belvedere.submodels.loading import Backbone
from belvedere.submodels.speed import measure_speed


def train(config: DictConfig) -> Report:
    """Train the experiment, evaluate it on its test split, and write its report."""
    quiet()
    check_machine(config)
    backbone: Backbone = instantiate(config.backbone)
    tokenizer = backbone.tokenizer()
    datamodule = instantiate(config.data, tokenizer=tokenizer)
    run_dir = open_run(config)
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    model = backbone.load()
    hash_before = sha256_of_weights(model)
    module = instantiate(config.model, backbone=model)
    clock, samples = StepClock(), TextSamples(tokenizer, list(config.samples))
    trainer = build_trainer(config, run_dir, [clock, samples])
    start = time.perf_counter()
    trainer.fit(
        module, datamodule=datamodule, ckpt_path=checkpoint_to_resume(config), weights_only=True
    )
    trainer.test(module, datamodule=datamodule, verbose=False)
    report = {
        "experiment": config.name,
        "scale": config.scale,
        "seed": config.seed,
        "seconds": time.perf_counter() - start,
        "training_seconds": clock.seconds,
        "steps": trainer.global_step,
        "tokens_seen": clock.tokens_seen,
        "data": datamodule.summary(),
        "backbone": {
            "name": backbone.name,
            "layers": num_layers_of(module.backbone),
            "parameters": sum(p.numel() for p in module.backbone.parameters()),
            "sha256_before": hash_before,
            "sha256_after": sha256_of_weights(module.backbone),
        },
        "submodels": submodel_rows(module, config),
    }
    if trainer.is_global_zero:
        save_model(module, tokenizer, run_dir)
        write_report(report, run_dir, trainer, samples.samples)
    return report


def quiet() -> None:
    """Keep the libraries' advice out of the way of the progress and the table."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    warnings.filterwarnings("ignore", module="lightning")
    for name in ("lightning.pytorch", "lightning.fabric"):
        lightning_logger(name)
    torch.set_float32_matmul_precision("high")
