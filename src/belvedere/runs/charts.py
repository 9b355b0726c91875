"""Trains a chart reader, lets it answer, and reports each task beside its baselines."""

import time
from functools import partial
from typing import Any

import lightning
from hydra.utils import instantiate
from omegaconf import DictConfig
from transformers import PreTrainedTokenizerBase

from belvedere.data.charts import ChartDataModule
from belvedere.errors import BadInput
from belvedere.metrics.chart_baselines import answered_blindly
from belvedere.metrics.chart_tasks import HEADLINE
from belvedere.processes import gathered
from belvedere.runs.callbacks import StepClock
from belvedere.runs.chart_answers import (
    ANSWERS,
    WITHOUT,
    Outcome,
    answer_blank,
    answer_without_chart,
    at_work,
    check_tasks,
    typical,
    write_answers,
)
from belvedere.runs.chart_figures import ChartPages
from belvedere.runs.chart_report import write_report
from belvedere.runs.chart_submodels import row_of, speed_in_test, submodel_rows
from belvedere.runs.dashboard import (
    CHARTS,
    GUIDANCE,
    LETTERS,
    CurvePages,
    Curves,
    LearningCurves,
    show_settings,
)
from belvedere.runs.figures import write_figures
from belvedere.runs.memory import check_devices
from belvedere.runs.sharding import whole
from belvedere.runs.training import (
    build_trainer,
    check_machine,
    check_steps,
    end,
    fit,
    link_latest,
    open_run,
    quiet,
    run_facts,
    set_step,
)
from belvedere.submodels.backbone import sha256_of_weights
from belvedere.unichart.config import ChartModelConfig
from belvedere.unichart.loading import Reader, save_reader
from belvedere.unichart.model import ChartModel
from belvedere.unichart.module import UniChartModule


def train(config: DictConfig) -> dict[str, Any]:
    """Train the experiment, answer its test split, and write its report."""
    quiet()
    check_steps(config)
    check_machine(config)
    check_devices(config)
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    reader: Reader = instantiate(config.reader)
    tokenizer = reader.tokenizer()
    model = reader.load(len(tokenizer))
    datamodule = data_for(model.config, tokenizer, config.data)
    made = partial(instantiate, config.model, tokenizer=tokenizer)
    module: UniChartModule = made(model=model.train())
    for head, weight in (
        (model.letters, module.letters_weight),
        (model.axis, module.guidance_weight),
        (model.phases, module.guidance_weight),
    ):
        if head is not None and not weight:
            head.requires_grad_(False)  # several processes wait for all gradients there are
    set_step(module, config)
    datamodule.setup()  # every split: a missing test set is to be found before the training
    remedy = "give a reader that has learned the task, or set reader.task_tokens=true to learn it"
    for split in ("train", "test"):
        check_tasks(tokenizer, datamodule.rows[split].charts, remedy)
    if module.letters_weight and not datamodule.letters:
        raise BadInput(
            "letters are to be learned, but the data do not say where they are",
            where="model.letters_weight",
            remedy="set it to 0, or data.letters=true",
        )
    run_dir = open_run(config)
    link_latest(config)
    before = sha256_of_weights(model)
    clock, pages = StepClock(), ChartPages(run_dir)
    learning = LearningCurves()
    shown = [CurvePages(curves_of(module)), learning]
    trainer = build_trainer(config, run_dir, [clock, pages, *shown])
    start = time.perf_counter()
    fit(trainer, module, datamodule, config)
    losses = {
        name.removeprefix("validation/loss/"): round(float(loss), 4)
        for name, loss in trainer.callback_metrics.items()
        if name.startswith("validation/loss/")
    }
    remaining = whole(trainer, module, lambda: made(model=reader.load(len(tokenizer))), config)
    if remaining is None:
        return {}
    trainer, module = remaining
    model = module.model
    trainer.test(module, datamodule=datamodule, verbose=False)
    speed = speed_in_test(module) if module.answered else (0.0, 0.0)
    for depth, found in module.answered_by_depth.items():
        module.answered_by_depth[depth] = gathered(found)
    outcome, submodels = Outcome(), []
    if module.answered:
        with at_work(trainer, module):
            blank = gathered(answer_blank(module, datamodule))
            without = gathered(answer_without_chart(module, datamodule))
            if module.early:
                submodels = submodel_rows(module, datamodule, config.speed.repeats)
            else:
                submodels = [row_of(module, module.layers, [speed], speed[0])]
        guesses = typical(datamodule.rows["train"].charts)
        guessed = answered_blindly(module.answered, guesses)
        outcome = Outcome(module.answered, blank, typical=guessed, without_chart=without)
    facts = reader_facts(reader.name, model)
    report = {
        **run_facts(config, trainer, clock, start),
        "label": config.label,
        "images_seen": clock.images_seen,
        "data": datamodule.summary() | {"truncated": clock.truncated},
        "reader": facts,
        "backbone": {
            "name": reader.name,
            "layers": module.layers,
            "parameters": facts["parameters"],
            "sha256_before": before,
            "sha256_after": sha256_of_weights(model),
        },
        "validation_losses": losses,
        "letters_read": module.share_of_letters(),
        "submodels": submodels,
        **outcome.scores(),
    }
    if trainer.is_global_zero:
        scores = {
            f"{task}/{measure}": value
            for task, measures in report["tasks"].items()
            for measure, value in measures.items()
        }
        for logger in trainer.loggers:
            logger.log_metrics(
                {f"test/{name}": value for name, value in scores.items()}, trainer.global_step
            )
        headlines = [f"{task}/{HEADLINE[task]}" for task in report["tasks"]]
        show_settings(trainer, {name: scores[name] for name in headlines})
        folder = run_dir / "checkpoints" / "model"
        save_reader(model, folder)
        tokenizer.save_pretrained(folder)
        write_answers({"test": outcome.answered}, run_dir / ANSWERS)
        write_answers({"test": outcome.without_chart}, run_dir / WITHOUT)
        drawn = write_figures(learning.figures(), run_dir / "figures")
        write_report(report, run_dir, [*pages.files, *drawn])
    end(trainer)
    return report


def curves_of(module: UniChartModule) -> dict[str, Curves]:
    """The curves that TensorBoard shows together, of the losses that this training has."""
    letters = LETTERS if module.letters_weight else {}
    guidance = GUIDANCE if module.guidance_weight else {}
    shown = {"Where chart readers look": {**letters, **guidance}}
    return {**CHARTS, **(shown if letters or guidance else {})}


def reader_facts(name: str, model: ChartModel) -> dict[str, Any]:
    """What a report says of the reader."""
    return {
        "name": name,
        "image_size": list(model.config.image_size),
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def data_for(
    shape: ChartModelConfig, tokenizer: PreTrainedTokenizerBase, config: DictConfig, **changes: Any
) -> ChartDataModule:
    """The data that a configuration names, on pages and in texts such as a reader takes.

    Args:
        shape: of the reader.
        tokenizer: of the reader.
        config: of the data; its ``positions`` may make texts shorter than the reader could take.
        changes: of the configuration.
    """
    longest = shape.decoder.max_positions
    datamodule: ChartDataModule = instantiate(
        config,
        tokenizer=tokenizer,
        image_size=shape.image_size,
        page=shape.page,
        positions=min(config.get("positions") or longest, longest),
        **changes,
    )
    return datamodule
