"""Trains a chart reader, lets it answer, and reports each task beside its baselines."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import lightning
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from belvedere.charts.tasks import Example
from belvedere.data.charts import ChartDataModule
from belvedere.metrics.chart_baselines import answered_blindly, typical_answers
from belvedere.metrics.chart_tasks import Answered, scores_by_kind, task_scores
from belvedere.runs.callbacks import StepClock
from belvedere.runs.chart_figures import ChartPages
from belvedere.runs.chart_report import write_report
from belvedere.runs.chart_submodels import submodel_rows
from belvedere.runs.training import (
    build_trainer,
    check_machine,
    check_steps,
    checkpoint_to_resume,
    open_run,
    quiet,
    run_facts,
)
from belvedere.unichart.loading import Reader, save_reader
from belvedere.unichart.module import UniChartModule

SEEN_FOR_TYPICAL = 300
"""Training charts in which the typical answers are looked for."""


def train(config: DictConfig) -> dict[str, Any]:
    """Train the experiment, answer its test split, and write its report."""
    quiet()
    check_steps(config)
    check_machine(config)
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    reader: Reader = instantiate(config.reader)
    tokenizer = reader.tokenizer()
    model = reader.load(len(tokenizer))
    shape = model.config
    datamodule: ChartDataModule = instantiate(
        config.data,
        tokenizer=tokenizer,
        image_size=shape.image_size,
        positions=shape.decoder.max_positions,
    )
    module: UniChartModule = instantiate(config.model, model=model.train(), tokenizer=tokenizer)
    datamodule.setup()  # every split: a missing test set is to be found before the training
    run_dir = open_run(config)
    clock, pages = StepClock(), ChartPages(run_dir)
    trainer = build_trainer(config, run_dir, [clock, pages])
    start = time.perf_counter()
    trainer.fit(
        module, datamodule=datamodule, ckpt_path=checkpoint_to_resume(config), weights_only=True
    )
    trainer.test(module, datamodule=datamodule, verbose=False)
    answered = module.answered
    blank = answer_blank(module, datamodule) if answered else []
    report = {
        **run_facts(config, trainer, clock, start),
        "images_seen": clock.images_seen,
        "data": datamodule.summary(),
        "reader": {
            "name": reader.name,
            "image_size": list(shape.image_size),
            "parameters": sum(p.numel() for p in model.parameters()),
        },
        "letters_read": module.share_of_letters(),
        "tasks": task_scores(answered),
        "baselines": {
            "blank image": task_scores(blank),
            "typical answer": task_scores(typical(datamodule, answered)),
        },
        "submodels": (
            submodel_rows(module, datamodule, config.speed.repeats)
            if module.early and answered
            else []
        ),
        "kinds": scores_by_kind(answered),
        "baselines_by_kind": {"blank image": scores_by_kind(blank)},
    }
    if trainer.is_global_zero:
        folder = run_dir / "checkpoints" / "model"
        save_reader(model, folder)
        tokenizer.save_pretrained(folder)
        write_answers(answered, run_dir / "answers.jsonl")
        write_report(report, run_dir, pages.files)
    return report


@torch.no_grad()
def answer_blank(module: UniChartModule, datamodule: ChartDataModule) -> list[Answered]:
    """The answers to the test questions about a white page: what is known without looking."""
    module.eval()
    found: list[Answered] = []
    for batch in datamodule.test_dataloader():
        moved = datamodule.transfer_batch_to_device(batch, module.device, 0)
        moved["pixels"] = torch.full_like(moved["pixels"], 255)
        found += module.answer(moved)
    return found


def typical(datamodule: ChartDataModule, answered: Sequence[Answered]) -> list[Answered]:
    """The test questions with the training answer to each task that fits most."""
    charts = datamodule.rows["train"].charts
    seen: list[Example] = [
        example for chart in islice(charts, SEEN_FOR_TYPICAL) for example in chart.examples
    ]
    return answered_blindly(answered, typical_answers(seen))


def write_answers(answered: Sequence[Answered], file: Path) -> None:
    """Every answer with its question, what would have been right, and the confidence."""
    with file.open("w", encoding="utf-8") as opened:
        for one in answered:
            opened.write(json.dumps(asdict(one), ensure_ascii=False) + "\n")
