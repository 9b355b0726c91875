"""Lets a chart reader answer the test splits of a set, and reports it beside its baselines."""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning
from hydra.utils import get_class, instantiate
from lightning.pytorch import Trainer
from omegaconf import DictConfig, ListConfig
from transformers import PreTrainedTokenizerBase

from belvedere.charts.tasks import TaskName
from belvedere.data.charts import ChartDataModule
from belvedere.errors import BadInput
from belvedere.metrics.chart_baselines import answered_blindly
from belvedere.metrics.chart_tasks import Answered
from belvedere.runs.callbacks import progress
from belvedere.runs.chart_answers import (
    ANSWERS,
    WITHOUT,
    Outcome,
    answer_blank,
    answer_elsewhere,
    answer_without_chart,
    at_work,
    check_tasks,
    typical,
    write_answers,
)
from belvedere.runs.chart_figures import ChartPages
from belvedere.runs.chart_report import write_evaluation
from belvedere.runs.charts import data_for, reader_facts
from belvedere.runs.precision import chosen_precision
from belvedere.runs.training import link_latest, open_run, quiet
from belvedere.unichart.config import ChartModelConfig
from belvedere.unichart.loading import SHAPE, Reader, reader_folder
from belvedere.unichart.model import ChartModel
from belvedere.unichart.module import UniChartModule


@dataclass(frozen=True)
class Asked:
    """A test split that is to be answered.

    Attributes:
        split: what the set calls it.
        datamodule: has opened it, and nothing else.
        rivals: the same for each other reader, on pages as it takes them.
    """

    split: str
    datamodule: ChartDataModule
    rivals: Mapping[str, ChartDataModule]


def evaluate(config: DictConfig) -> dict[str, Any]:
    """Answer the test splits of the set that ``config`` names, and write the report."""
    quiet()
    lightning.seed_everything(config.seed, verbose=False)
    check_data(config.data)
    tokenizer, model = load(config, config.checkpoint)
    rivals = {name: load(config, checkpoint) for name, checkpoint in config.rivals.items()}
    check_pages({"checkpoint": model} | {name: rival for name, (_, rival) in rivals.items()})
    notes: list[str] = []
    shapes = {name: rival.config for name, (_, rival) in rivals.items()}
    asked = list(opened(config, model, tokenizer, notes, shapes))
    data: dict[str, list[dict[str, Any]]] = {}
    for one in asked:
        data.setdefault(one.split, []).append(one.datamodule.summary())
    run_dir = open_run(config)
    pages = ChartPages(run_dir)
    trainer: Trainer = instantiate(
        config.trainer,
        callbacks=[pages, progress()],
        precision=chosen_precision(config.trainer.precision),
        logger=False,
        enable_checkpointing=False,
    )
    start = time.perf_counter()
    make = partial(instantiate, config.model)
    outcomes = answered(
        trainer,
        partial(make, model=model, tokenizer=tokenizer),
        asked,
        notes,
        {name: partial(make, model=rival, tokenizer=own) for name, (own, rival) in rivals.items()},
        config.another_chart,
        lambda answers: write_answers(answers, run_dir / ANSWERS),
    )
    without = {split: outcome.without_chart for split, outcome in outcomes.items()}
    write_answers(without, run_dir / WITHOUT)
    report = {
        "experiment": config.name,
        "seed": config.seed,
        "seconds": round(time.perf_counter() - start, 1),
        "precision": trainer.precision,
        "beams": config.model.beams,
        "reader": reader_facts(config.checkpoint, model),
        "rivals": {
            name: reader_facts(config.rivals[name], rival) for name, (_, rival) in rivals.items()
        },
        **sum(outcomes.values(), Outcome()).scores(),
        "splits": {
            split: {"data": data[split], **outcome.scores()} for split, outcome in outcomes.items()
        },
        "notes": notes,
    }
    write_evaluation(report, run_dir, pages.files)
    link_latest(config)
    return report


def check_data(config: DictConfig) -> None:
    """Refuse data that are no charts. Raises `BadInput`."""
    if not issubclass(get_class(config._target_), ChartDataModule):
        raise BadInput(
            f"{config.name} are no charts",
            where="data",
            remedy="choose charts, chartqa, opencqa, chart_to_text, chart_to_table, unichart_rows",
        )


def check_pages(readers: Mapping[str, ChartModel]) -> None:
    """Refuse readers of pages of several sizes. Raises `BadInput`."""
    sizes = {name: model.config.image_size for name, model in readers.items()}
    for name, size in sizes.items():
        if size != sizes["checkpoint"]:
            raise BadInput(
                f"{name} reads pages of {size[1]} x {size[0]} pixels, the checkpoint others",
                where="rivals",
                remedy="set image_size=[HEIGHT,WIDTH] for all of them",
            )


def load(config: DictConfig, checkpoint: str) -> tuple[PreTrainedTokenizerBase, ChartModel]:
    """The tokenizer and the model of a checkpoint.

    Args:
        config: its ``tokenizer`` and ``image_size`` may be other ones than the checkpoint's.
        checkpoint: see `reader_name`.

    Raises:
        BadInput: there is no such checkpoint, or it is damaged or no chart reader.
    """
    reader = Reader(reader_name(checkpoint), config.tokenizer, image_size=config.image_size)
    try:
        tokenizer = reader.tokenizer()
    except BadInput as error:
        if config.tokenizer is not None:
            raise
        if Path(reader.name).is_dir():
            what, remedy = f"there is no tokenizer in {reader.name}", "name one as tokenizer=FOLDER"
        else:
            what = f"{reader.name} is neither on this machine nor given by the Hugging Face hub"
            remedy = "give a local folder or connect to the hub"
        raise BadInput(what, where="checkpoint", remedy=remedy) from error
    return tokenizer, reader.load(len(tokenizer))


def reader_name(checkpoint: str) -> str:
    """The folder of the reader in a run, or the hub's name as it is.

    Raises:
        BadInput: a file or folder without a reader, or nothing that the hub could have.
    """
    folder = reader_folder(checkpoint)
    if any((Path(folder) / file).is_file() for file in (SHAPE, "config.json")):
        return folder
    if Path(checkpoint).exists() or not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", checkpoint):
        raise BadInput(
            "there is no chart reader",
            where=checkpoint,
            remedy="give the folder of a run of unichart that has ended, or its checkpoints/model",
        )
    return checkpoint


def opened(
    config: DictConfig,
    model: ChartModel,
    tokenizer: PreTrainedTokenizerBase,
    notes: list[str],
    rivals: Mapping[str, ChartModelConfig],
) -> Iterator[Asked]:
    """The test splits to answer: all of ``data.test_split``, and what the set has beside them.

    Args:
        config: its ``data`` is the set, ``beside`` another one in the same folder, if any.
        model: answers.
        tokenizer: of the model.
        notes: says at the end what the set does not have beside its splits.
        rivals: shapes of other readers, whose pages have the same size.

    Raises:
        BadInput: a split that is not there, is broken, or asks for what the reader never learned.
    """
    make = partial(data_for, model.config, tokenizer)
    names = config.data.test_split
    for name in names if isinstance(names, ListConfig) else [names]:
        found = [(config.data, part) for part in make(config.data, test_split=name).parts("test")]
        beside = config.get("beside")
        if beside is not None and beside.path is not None:
            try:
                parts = make(beside, test_split=name).parts("test")
                found += [(beside, part) for part in parts]
            except BadInput as error:
                notes.append(f"no {beside.name}: {error}")
        for data, part in found:
            datamodule = make(data, test_split=part)
            datamodule.setup("test")
            charts = datamodule.rows["test"].charts
            check_tasks(tokenizer, charts, "give a reader that has learned the task")
            on = {model.config.page: datamodule}
            for page in {rival.page for rival in rivals.values()} - on.keys():
                shape = replace(model.config, page=page)
                on[page] = data_for(shape, tokenizer, data, test_split=part)
            yield Asked(part, datamodule, {name: on[shape.page] for name, shape in rivals.items()})


def answered(
    trainer: Trainer,
    make: Callable[[], UniChartModule],
    asked: Sequence[Asked],
    notes: list[str],
    rivals: Mapping[str, Callable[[], UniChartModule]],
    another_chart: bool,
    keep: Callable[[Mapping[str, Sequence[Answered]]], None],
) -> dict[str, Outcome]:
    """The answers of the reader and of its baselines, by split.

    Args:
        trainer: of one process.
        make: a module that has answered nothing.
        asked: the splits to answer.
        notes: says at the end which sets have no training charts to take typical answers from.
        rivals: other readers, likewise.
        another_chart: whether everything is also asked about another chart's picture.
        keep: gets all of the reader's answers so far, by split, after each split and before an
            error, as of a damaged picture, goes on.
    """
    guesses: dict[str, dict[TaskName, str]] = {}
    outcomes: dict[str, Outcome] = {}
    for one in asked:
        name, rows = str(one.datamodule.name), one.datamodule.rows["test"]
        print(f"{name}, {one.split}: {len(rows)} charts", flush=True)
        if name not in guesses:
            guesses[name] = guesses_for(one.datamodule, notes)
        others = {}
        for rival, make_rival in rivals.items():  # first: pictures are drawn of the last answers
            other = make_rival()
            trainer.test(other, datamodule=one.rivals[rival], verbose=False)
            others[rival] = other.answered
        module = make()
        try:
            trainer.test(module, datamodule=one.datamodule, verbose=False)
        finally:
            before = {split: outcome.answered for split, outcome in outcomes.items()}
            keep(before | {one.split: before.get(one.split, []) + module.answered})
        with at_work(trainer, module):
            blank = answer_blank(module, one.datamodule)
            elsewhere = answer_elsewhere(module, one.datamodule) if another_chart else []
            # The pictures are the same for all splits, so they are asked about once.
            without = [] if outcomes else answer_without_chart(module, one.datamodule)
        guessed = answered_blindly(module.answered, guesses[name]) if guesses[name] else []
        outcome = Outcome(module.answered, blank, elsewhere, guessed, without, others)
        outcomes[one.split] = outcomes.get(one.split, Outcome()) + outcome
    return outcomes


def guesses_for(datamodule: ChartDataModule, notes: list[str]) -> dict[TaskName, str]:
    """The typical answer to each task; none where the set has no training charts, as notes say."""
    try:
        datamodule.parts("train")
    except BadInput as error:
        notes.append(f"no typical answer for {datamodule.name}: {error}")
        return {}
    return typical(datamodule.charts("train"))
