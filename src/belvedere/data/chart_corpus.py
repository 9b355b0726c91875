"""The charts of this project's own corpus, with all of its tasks."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from transformers import PreTrainedTokenizerBase

from belvedere.charts.build import read_shard
from belvedere.charts.not_charts import HELD_OUT, SEEN
from belvedere.charts.places import ends_of, steps_of
from belvedere.charts.tables import parse
from belvedere.charts.tasks import (
    TOKENS,
    TaskName,
    check_weights,
    draw_example,
    draw_tasks,
    examples_of,
    questions_of,
)
from belvedere.data.charts import Chart, ChartDataModule, Charts, without_chart
from belvedere.data.loading import Split, check_share, check_sizes
from belvedere.data.records import find_files, unreadable
from belvedere.errors import BadInput


class CorpusCharts(Charts):
    """Charts of Parquet files that `belvedere.charts.build` wrote.

    Args:
        files: in order.
        weights: of the tasks that are drawn in training.
        tasks_per_chart: how many.
        dark: share of training pictures that are `belvedere.data.pictures.turned_over`, so that a
            dark ground is nothing new. Where a colour is asked for, none is.
        limit: at most so many charts; None for all.

    Raises:
        BadInput: a file is no such corpus, or a chart of it lacks what is read or asked.
    """

    def __init__(
        self,
        files: list[Path],
        weights: Mapping[TaskName, float],
        tasks_per_chart: int,
        dark: float = 0.0,
        limit: int | None = None,
    ) -> None:
        self.weights = weights
        self.tasks_per_chart = tasks_per_chart
        self.dark = dark
        asked = bool(tasks_per_chart and "reasoning" in weights)
        self.table = pa.concat_tables(_read(file, asked) for file in files)
        if limit is not None:
            self.table = self.table.slice(0, limit)

    def __len__(self) -> int:
        return self.table.num_rows

    def __getitem__(self, index: Any) -> Any:
        record = self._record(index)
        wanted = [task for task in TOKENS if self.tasks_per_chart and task in self.weights]
        return self._chart(record, [one for task in wanted for one in examples_of(record, task)])

    def tasks(self) -> set[TaskName]:
        """Those with a weight."""
        return set(self.weights) if self.tasks_per_chart else set()

    def drawn(self, index: int, rng: Random) -> Chart:
        """A chart with as many tasks as wanted, drawn by their weights."""
        record = self._record(index)
        tasks = draw_tasks(self.weights, self.tasks_per_chart, rng)
        chart = self._chart(record, [draw_example(record, task, rng) for task in tasks])
        if self.dark and rng.random() < self.dark:
            coloured = {one["text"] for one in record["questions"] if one["family"] == "colour"}
            plain = not any(example.question in coloured for example in chart.examples)
            chart = replace(chart, dark=plain)
        return chart

    def _record(self, index: int) -> dict[str, Any]:
        return self.table.slice(index, 1).to_pylist()[0]

    def _chart(self, record: dict[str, Any], examples: list[Any]) -> Chart:
        return Chart(
            picture=record["image"]["bytes"],
            where=record["id"],
            examples=examples,
            kind=record["kind"],
            texts=record["texts"],
            ends=ends_of(record),
            steps=steps_of(record),
        )


class NotCharts(Charts):
    """Pictures without a chart for tests: as many of each kind, those of `HELD_OUT` too.

    Args:
        charts: whose questions are asked, of the first chart about the first picture of each kind,
            and one question of each task.
        each: pictures of each kind.
        size: (width, height) of the pictures.
        seed: of what they show.
    """

    def __init__(self, charts: Charts, each: int, size: tuple[int, int], seed: int = 0) -> None:
        self.asked = charts
        self.kinds = [kind for kind in (*SEEN, *HELD_OUT) for _ in range(each)]
        self.each, self.size, self.seed = each, size, seed

    def __len__(self) -> int:
        return len(self.kinds)

    def __getitem__(self, index: Any) -> Any:
        rng = Random(f"{self.seed}/test/{index}")
        asked: Chart = self.asked[index % self.each % len(self.asked)]
        first = {example.task: example for example in reversed(asked.examples)}
        asked = replace(asked, examples=list(first.values()))
        return without_chart(asked, self.kinds[index], self.size, rng)


def _read(file: Path, asked: bool) -> pa.Table:
    """The charts of a file.

    Args:
        file: of `belvedere.charts.build`.
        asked: whether each chart is to have questions, which is found out here in time.
    """
    try:
        found = read_shard(file)
    except OSError as error:
        raise unreadable(file, error) from error
    for number, line in enumerate(found["table"].to_pylist()):
        widths = set(map(len, parse(line)))
        if len(widths) != 1:
            raise BadInput(
                "the chart has no table"
                if not widths
                else "the rows of the table differ in length",
                where=f"{file}[{number}]",
                remedy="make the file anew: python -m belvedere.charts.build",
            )
    counts = pc.list_value_length(found["questions"]).to_pylist() if asked else []
    if 0 in counts:
        number = counts.index(0)
        questions_of(found.slice(number, 1).to_pylist()[0], f"{file}[{number}]")
    return found


class ChartCorpusDataModule(ChartDataModule):
    """A folder of this project's chart shards, ``SPLIT-00000.parquet`` and so on.

    In training, each picture comes with some tasks drawn by their weights, other ones each time.
    Held-out pictures come with every example there is of the tasks.

    Args:
        tokenizer: of charts.
        path: the folder.
        tasks: the weight of each task; 0 leaves it out.
        tasks_per_chart: drawn for a picture each time it is trained on, none twice before all have
            been; with 0 there are no tasks, of held-out pictures either: their letters alone are
            read.
        dark: share of training pictures that are shown with their lightness turned over.
        test_split: which of the shards are the test split.
        options: see `ChartDataModule`.

    Raises:
        BadInput: no such folder or split, or files of another kind.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        path: str,
        tasks: Mapping[str, float],
        tasks_per_chart: int = 3,
        dark: float = 0.0,
        test_split: str = "test",
        **options: Any,
    ) -> None:
        super().__init__(tokenizer, **options)
        check_sizes(0, tasks_per_chart=tasks_per_chart)
        self.path = path
        self.weights = check_weights(tasks, "data.tasks")
        self.tasks_per_chart = tasks_per_chart
        check_share(dark=dark)
        self.dark = dark
        self.test_split = test_split

    def charts(self, split: Split) -> Charts:
        """The charts of a split's shards."""
        limit = self.train_charts if split == "train" else self.eval_charts
        files = self._shards(self._name(split))
        return CorpusCharts(files, self.weights, self.tasks_per_chart, self.dark, limit)

    def parts(self, split: Split) -> list[str]:
        """The name of the split's shards, which have no parts."""
        self._shards(self._name(split))
        return [self._name(split)]

    def _name(self, split: Split) -> str:
        return self.test_split if split == "test" else split

    def _shards(self, name: str) -> list[Path]:
        files = [file for file in find_files(self.path) if file.name.rpartition("-")[0] == name]
        if not files:
            raise BadInput(
                f"there are no charts of the split {name!r}",
                where=self.path,
                remedy=f"python -m belvedere.charts.build {self.path} --charts {name}=COUNT",
            )
        return files
