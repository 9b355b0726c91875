"""The published pretraining set of UniChart (Masry et al. 2023, arXiv 2305.14761).

The hub's ``ahmed-masry/unichart-pretrain-data`` has one split, ``train``, of 6,898,333 rows
``imgname``, ``query`` and ``label`` (texts), in three Parquet files, and no pictures.
They are in ``ahmed-masry/UniChart-pretrain-images``: one file, ``UniChart Images.zip``, of 15.6 GB.
So say the cards, the lists of files and the README of github.com/vis-nlp/UniChart.

Not verified, as no row or picture could be had here: that the pictures are in ``content/images/``
of the archive (so in the code of others, who unpacked it), that none is missing, that every query
begins with a token of `belvedere.charts.tasks.TOKENS`, whether it ends with ``<s_answer>`` (both is
read), and that the separators of tables are those of `belvedere.charts.tables` (labels are learned
as they are, without escapes).
"""

import glob
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from belvedere.charts.tables import parse
from belvedere.charts.tasks import ANSWER, TOKENS, Example, TaskName, check_weights
from belvedere.data.charts import Chart, ChartDataModule, Charts
from belvedere.data.downstream import refuse_letters, spread
from belvedere.data.loading import Split, check_share, check_sizes
from belvedere.data.picture_files import PictureFiles, open_pictures
from belvedere.data.records import Record, find_files, read_records
from belvedere.data.sources import by_split, load_hub
from belvedere.data.token_cache import share_of
from belvedere.errors import BadInput, first_line
from belvedere.metrics.table_metrics import data_points

COLUMNS = ("imgname", "query", "label")
IMAGES = "ahmed-masry/UniChart-pretrain-images"
_TASKS: tuple[TaskName, ...] = tuple(TOKENS)
_SPLITS: tuple[Split, ...] = get_args(Split)
_TOKEN = r"^\s*(?P<token><\w+>)"
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class Part:
    """The rows of a file or of the hub, mapped into memory from the disk by ``datasets``.

    Attributes:
        split: that the file belongs to; "all" if its rows are to be split.
        where: what a message calls it.
        rows: a ``datasets.Dataset``.
    """

    split: str
    where: str
    rows: Any

    def column(self, name: str) -> pa.ChunkedArray:
        """A column, not copied."""
        return self.rows.with_format("arrow")[:][name]


class Rows:
    """The rows of all parts, numbered through.

    Nothing is held in Python for each of them: what has to be known of all is in arrays.

    Args:
        parts: with at least one row.

    Attributes:
        names: of the pictures, each once.
        picture: [rows], int32: which of them a row is about.
        task: [rows], int8: its place in `TOKENS`.
        answered: [rows], bool: whether the label is more than blanks.

    Raises:
        BadInput: a query without a task that is known.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts
        self.ends = np.cumsum([len(part.rows) for part in parts])
        names = [chunk.cast(pa.large_string()) for chunk in self._chunks("imgname")]
        encoded = pa.chunked_array(names).combine_chunks().dictionary_encode()
        self.names = encoded.dictionary
        self.picture: NDArray[np.int32] = encoded.indices.to_numpy()
        self.task = np.concatenate([_tasks_of(chunk) for chunk in self._chunks("query")])
        filled = [pc.match_substring_regex(chunk, r"\S") for chunk in self._chunks("label")]
        self.answered = np.concatenate([one.to_numpy(zero_copy_only=False) for one in filled])
        if (unknown := np.flatnonzero(self.task < 0)).size:
            first = int(unknown[0])
            raise BadInput(
                f"the query {self[first]['query'][:40]!r} begins with the token of no task",
                where=self.where(first),
                remedy=f"begin it with one of {' '.join(TOKENS.values())}",
            )

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, number: int) -> dict[str, str]:
        part, row = self._place(number)
        return part.rows[row]

    def example(self, number: int) -> Example:
        """What a row asks and answers."""
        row = self[number]
        question = row["query"].partition(">")[2].strip().removesuffix(ANSWER).strip()
        answer = row["label"].strip()
        return Example(_TASKS[self.task[number]], question, answer, (answer,))

    def where(self, number: int) -> str:
        """What a message calls a row."""
        part, row = self._place(number)
        return f"{part.where}[{row}]"

    def _chunks(self, column: str) -> list[pa.Array]:
        return [chunk for part in self.parts for chunk in part.column(column).chunks]

    def _place(self, number: int) -> tuple[Part, int]:
        which = int(np.searchsorted(self.ends, number, side="right"))
        part = self.parts[which]
        return part, number - int(self.ends[which]) + len(part.rows)

    def split(self, held_out: float) -> NDArray[np.int8]:
        """[rows]: the place of each row's split among the splits; see `UniChartRowsDataModule`."""
        shares = np.array([share_of(name) for name in self.names.to_pylist()])
        train, validation, test = range(len(_SPLITS))
        drawn = np.select([shares < held_out / 2, shares < held_out], [test, validation], train)
        of_rows = drawn[self.picture].astype(np.int8)
        whole = any(part.split == "validation" for part in self.parts)
        for part, end in zip(self.parts, self.ends, strict=True):
            here = of_rows[end - len(part.rows) : end]
            if part.split == "train" and not whole:
                here[here == test] = validation
            elif part.split != "all":
                here[:] = _SPLITS.index(part.split)
        return of_rows


class RowCharts(Charts):
    """Pictures, each with some of the rows about it; every row comes once.

    Args:
        rows: all there are.
        chosen: numbers of those that are used, in order.
        files: the pictures.
        most: rows about a picture that are asked together, so that it is encoded once for them. Of
            more, the picture comes several times.
    """

    def __init__(
        self, rows: Rows, chosen: NDArray[np.int64], files: PictureFiles, most: int
    ) -> None:
        self.rows, self.files = rows, files
        self.order = chosen[np.argsort(rows.picture[chosen], kind="stable")]
        pictures = rows.picture[self.order]
        first = np.flatnonzero(np.diff(pictures, prepend=-1))
        self.pictures = pictures[first]
        counts = np.diff(first, append=len(pictures))
        place = np.arange(len(pictures)) - np.repeat(first, counts)
        self.starts = np.append(np.flatnonzero(place % most == 0), len(pictures))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, index: Any) -> Any:
        index = range(len(self))[index]
        numbers = self.order[self.starts[index] : self.starts[index + 1]].tolist()
        picture = int(self.rows.picture[numbers[0]])
        return Chart(
            picture=self.files.picture(picture),
            where=self.files.where(picture),
            examples=[self.rows.example(number) for number in numbers],
        )

    def tasks(self) -> set[TaskName]:
        """Those of all its rows."""
        return {_TASKS[task] for task in np.unique(self.rows.task[self.order])}


class UniChartRowsDataModule(ChartDataModule):
    """The published pretraining set of UniChart, or rows of one's own in its form.

    Files that are named ``train*``, ``validation*`` and ``test*`` are split so; otherwise, and on
    the hub, every picture with all its rows goes where the hash of its name sends it. A validation
    split that is missing is taken from the training files in the same way; a missing test split is
    the validation split. ``train_charts`` and ``eval_charts`` are pictures, spread evenly.

    Rows without an answer are left out and counted in `summary`; so are those of the test whose
    table has no data point, by which no answer could be measured.

    Args:
        tokenizer: of charts.
        path: a file or folder of rows (.parquet, .jsonl, .json), or a name of the hub.
        images: the folder of the pictures, or their zip archive, which stays packed. A row's
            ``imgname`` is the file's name, or the end of its path, within.
        tasks: those that are used; None for all. The mix is that of the rows.
        texts_per_chart: rows about a picture that are trained on together, at most.
        held_out: share of the pictures for validation and test together, half for each.
        test_split: which split is tested on.
        options: see `ChartDataModule`.

    Raises:
        BadInput: no such rows, pictures, tasks or split, or letters are wanted; when a split is set
            up, a malformed row, one whose picture is not there, or a split without rows.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        path: str,
        images: str | None,
        tasks: Sequence[str] | None = None,
        texts_per_chart: int = 3,
        held_out: float = 0.01,
        test_split: str = "test",
        **options: Any,
    ) -> None:
        super().__init__(tokenizer, **options)
        if images is None:
            raise BadInput(
                "it is not said where the pictures are",
                where="data.images",
                remedy=f"fetch the archive of the hub's {IMAGES} and give data.images=FILE.zip",
            )
        if test_split not in _SPLITS:
            raise BadInput(
                f"there is no split {test_split!r}",
                where="data.test_split",
                remedy=f"choose one of {', '.join(_SPLITS)}",
            )
        refuse_letters(self.letters)
        check_share(held_out=held_out)
        check_sizes(texts_per_chart=texts_per_chart)
        self.path, self.images = path, images
        wanted = dict.fromkeys(TOKENS if tasks is None else tasks, 1.0)
        self.tasks = list(check_weights(wanted, "data.tasks"))
        self.texts_per_chart = texts_per_chart
        self.held_out = held_out
        self.test_split = test_split
        self.without_data: dict[Split, int] = {}

    @cached_property
    def found(self) -> tuple[Rows, NDArray[np.int8], PictureFiles]:
        """All rows, the split of each (-1 if it is left out), and the pictures."""
        rows = Rows(open_parts(self.path))
        wanted = np.array([task in self.tasks for task in _TASKS])
        used = rows.answered & wanted[rows.task]
        files = open_pictures(self.images, rows.names.to_pylist(), "data.images")
        lost = np.flatnonzero(used & files.missing()[rows.picture])
        if lost.size:
            first = int(lost[0])
            others = len(np.unique(rows.picture[lost])) - 1
            raise BadInput(
                f"there is no picture {rows[first]['imgname']} in {self.images}"
                + (f", nor {others:,} others" if others else ""),
                where=rows.where(first),
                remedy="give the place that has it as data.images, or remove the row",
            )
        return rows, np.where(used, rows.split(self.held_out), -1), files

    def charts(self, split: Split) -> Charts:
        """The charts of a split."""
        rows, split_of, files = self.found
        (name,) = self.parts(split)
        chosen = np.flatnonzero(split_of == _SPLITS.index(name))
        limit = self.train_charts if split == "train" else self.eval_charts
        if limit is not None:
            pictures = np.flatnonzero(np.bincount(rows.picture[chosen]))
            kept = np.zeros(len(rows.names), bool)
            kept[spread(pictures.tolist(), limit)] = True
            chosen = chosen[kept[rows.picture[chosen]]]
        if split == "test":
            tables = chosen[rows.task[chosen] == _TASKS.index("table")]
            empty = [one for one in tables.tolist() if not data_points(parse(rows[one]["label"]))]
            self.without_data[split] = len(empty)
            chosen = np.setdiff1d(chosen, empty)
        if not chosen.size:
            raise BadInput(
                f"there are no rows with an answer for the {name} split",
                where=self.path,
                remedy="give more, or change data.held_out or data.tasks",
            )
        return RowCharts(rows, chosen, files, self.texts_per_chart)

    def parts(self, split: Split) -> list[str]:
        """What a split is called: the test split may be another one."""
        name = self.test_split if split == "test" else split
        if name == "test" and not np.any(self.found[1] == _SPLITS.index("test")):
            name = "validation"
        return [name]

    def sizes(self) -> dict[Split, int]:
        """The pictures of each split that was opened, each once."""
        return {split: len(one.pictures) for split, one in self._charts().items()}

    def _charts(self) -> dict[Split, RowCharts]:
        return {split: cast(RowCharts, rows.charts) for split, rows in self.rows.items()}

    def summary(self) -> dict[str, Any]:
        """What a report says of the data: pictures, rows, tasks, and what was left out."""
        charts = self._charts()
        rows = self.found[0]
        counts = {
            split: np.bincount(rows.task[one.order], minlength=len(_TASKS)).tolist()
            for split, one in charts.items()
        }
        return super().summary() | {
            "source": self.path,
            "images": self.images,
            "rows": {
                split: {task: n for task, n in zip(_TASKS, found, strict=True) if n}
                for split, found in counts.items()
            },
            "without_answer": int(np.sum(~rows.answered)),
            "tables_without_data": self.without_data.get("test", 0),
        }


def open_parts(path: str) -> list[Part]:
    """The rows of a file, of those in a folder, or of the hub; each has the texts of `COLUMNS`.

    Raises:
        BadInput: there are none, or a row lacks a text.
    """
    if not Path(path).exists() and _HUB_NAME.fullmatch(path):
        rows = load_hub(path, None, "train", streaming=False, key="data.path")
        where = f"{path}/train"
        return [_checked(Part("all", where, rows), (Record(dict(r), where) for r in rows))]
    files = [file for file in find_files(path) if file.suffix != ".txt"]
    if not files:
        raise BadInput("no rows in this form", where=path, remedy="give .parquet, .jsonl or .json")
    return [
        _checked(Part(split, str(file), _loaded(file)), read_records(file))
        for split, some in by_split(files).items()
        for file in some
    ]


def _loaded(file: Path) -> Any:
    """The rows of a file, of which ``datasets`` keeps a copy that it can map into memory.

    Raises:
        BadInput: it cannot be read.
    """
    from datasets import load_dataset

    kind = "parquet" if file.suffix == ".parquet" else "json"
    try:
        return load_dataset(kind, data_files=glob.escape(str(file)), split="train")
    except Exception as error:  # of many kinds, none of which says which line is wrong
        _refuse(read_records(file))
        raise BadInput(
            f"cannot be read as rows ({first_line(error, 80)})",
            where=str(file),
            remedy=f"give rows with the texts {', '.join(COLUMNS)}",
        ) from error


def _checked(part: Part, records: Iterable[Record]) -> Part:
    """The part, if all its rows have their texts. Raises `BadInput`, by its records, if not."""
    columns = part.rows.column_names
    if not len(part.rows) or not set(COLUMNS) <= set(columns):
        _refuse(records)
        raise BadInput("there are no rows", where=part.where, remedy="give some")
    for column in map(part.column, COLUMNS):
        if column.null_count or column.type not in (pa.string(), pa.large_string()):
            _refuse(records)
    return part


def _refuse(records: Iterable[Record]) -> None:
    """Raise `BadInput` for the first record that lacks a text, if there is one."""
    for record in records:
        for column in COLUMNS:
            record.text(column)


def _tasks_of(queries: pa.Array) -> NDArray[np.int8]:
    """The place in `TOKENS` of the task that each query begins with, -1 if there is none."""
    tokens = pc.struct_field(pc.extract_regex(queries, _TOKEN), "token")
    found = pc.index_in(tokens.cast(pa.string()), value_set=pa.array(TOKENS.values()))
    return pc.fill_null(found, -1).to_numpy().astype(np.int8)
