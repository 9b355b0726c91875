"""Charts with tasks about them: what the data modules of the corpus and of published sets share.

A row is one picture with one or more texts about it, each a prompt and its answer; the picture is
encoded once for all of them.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from random import Random
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from belvedere.charts.letters import UNKNOWN, letter_map
from belvedere.charts.not_charts import SEEN, draw_not_chart
from belvedere.charts.places import UNSEEN, Look, Point, Step
from belvedere.charts.tasks import NO_CHART, Example, TaskName
from belvedere.charts.tokenizer import encode_looks, encode_prompt, shortened
from belvedere.data.loading import NumberedOrder, RowsDataModule, Split, check_share, check_sizes
from belvedere.data.pictures import PageKind, fit, open_picture, turned_over
from belvedere.submodels.losses import IGNORED

SIDES = (0.84, 1.0)
"""Of a page: the sides of training pictures without a chart."""
SHORTEST = 3
"""Tokens of the shortest text: a task's, the one that an answer follows, and its end."""
STAGES: dict[str | None, tuple[Split, ...]] = {
    "fit": ("train", "validation"),
    "validate": ("validation",),
    "test": ("test",),
}
"""Which splits each of Lightning's stages is about; any other, and none, is about all."""


@dataclass(frozen=True)
class Chart:
    """A picture and what is asked about it.

    Attributes:
        picture: bytes of a picture's file, or its path.
        where: what a message calls the picture.
        examples: what may be learned, or is to be answered, about it.
        kind: of chart, or the group of a set's questions that reports keep apart.
        texts: where its letters are, as in `belvedere.charts.build.FEATURES`; None if not known.
        ends: where its marks end, as of `belvedere.charts.places.ends_of`.
        steps: of its axes, as of `belvedere.charts.places.steps_of`.
        dark: whether the picture is shown `turned_over`.
    """

    picture: bytes | str
    where: str
    examples: Sequence[Example]
    kind: str = ""
    texts: Sequence[dict[str, Any]] | None = None
    ends: Sequence[tuple[str, Point]] = ()
    steps: tuple[Step | None, Step | None] = (None, None)
    dark: bool = False


@dataclass(frozen=True)
class ChartRow:
    """A picture on its page, and what messages call it; of each text about it the token ids of
    prompt and answer, and where on the page each token of the answer is read; and the steps of its
    axes on the page."""

    pixels: Tensor
    examples: Sequence[Example]
    ids: list[tuple[list[int], list[int]]]
    looks: list[list[Look]]
    steps: list[list[float]]
    kind: str
    where: str
    letters: Tensor | None
    truncated: int


class Charts(Sequence[Chart]):
    """The charts of a split, read as they are asked for."""

    def drawn(self, index: int, rng: Random) -> Chart:
        """A chart to train on: by default with all its examples."""
        return self[index]

    def tasks(self) -> set[TaskName]:
        """What is asked about the charts; by default that of the first one."""
        return {example.task for example in self[0].examples}


def without_chart(chart: Chart, kind: str, size: tuple[int, int], rng: Random) -> Chart:
    """A picture that shows no chart, asked what another one is; each answer is `NO_CHART`.

    Args:
        chart: the other one.
        kind: of picture, as in `belvedere.charts.not_charts`.
        size: (width, height) of the picture.
        rng: of what it shows.
    """
    examples = [
        example._replace(answer=NO_CHART, accepted=(), looks=()) for example in chart.examples
    ]
    return Chart(
        draw_not_chart(kind, size, rng), f"{kind} in place of {chart.where}", examples, kind
    )


class ChartRows(Dataset[ChartRow]):
    """Charts as rows of tensors.

    Args:
        charts: what is there.
        tokenizer: of `belvedere.charts.tokenizer`, or the hub model's.
        image_size: (height, width) of pages.
        positions: the longest prompt and answer together; a longer one is cut.
        seed: of what is drawn in training; None for evaluation, which draws nothing.
        letters: whether rows have the map of their letters.
        page: how pictures are laid on pages; see `belvedere.data.pictures.fit`.
        no_chart: in training, the share of pictures that are drawn `without_chart`.
    """

    def __init__(
        self,
        charts: Charts,
        tokenizer: PreTrainedTokenizerBase,
        image_size: tuple[int, int],
        positions: int,
        seed: int | None = None,
        letters: bool = False,
        page: PageKind = "plain",
        no_chart: float = 0.0,
    ) -> None:
        self.charts = charts
        self.tokenizer = tokenizer
        self.image_size = image_size
        self.positions = positions
        self.seed = seed
        self.letters = letters
        self.page: PageKind = page
        self.no_chart = no_chart

    def __len__(self) -> int:
        return len(self.charts)

    def __getitem__(self, number: int) -> ChartRow:
        """Row ``number`` modulo the rows; in training, other draws for each number."""
        index = number % len(self)
        rng = None if self.seed is None else Random(f"{self.seed}/{number}")
        chart = self.charts[index] if rng is None else self.charts.drawn(index, rng)
        if rng is not None and rng.random() < self.no_chart:
            height, width = (round(side * rng.uniform(*SIDES)) for side in self.image_size)
            chart = without_chart(chart, rng.choice(sorted(SEEN)), (width, height), rng)
        picture = open_picture(chart.picture, chart.where)
        picture = turned_over(picture) if chart.dark else picture
        page = fit(picture, self.image_size, rng, self.page)
        texts = [self._encoded(example) for example in chart.examples]
        letters = None
        if self.letters:
            found = letter_map(chart.texts or (), chart.ends, self.image_size, page.share, page.at)
            if chart.texts is None:
                found.fill(UNKNOWN)
            letters = torch.from_numpy(found)
        return ChartRow(
            pixels=page.pixels,
            # Their looks are among the tensors, and would travel between processes for nothing.
            examples=[example._replace(looks=()) for example in chart.examples],
            ids=[(prompt, answer) for prompt, answer, _, _ in texts],
            looks=[[look.moved(page.place) for look in looks] for _, _, looks, _ in texts],
            steps=[
                [page.along(axis, at) for at in step or (nan, nan)]
                for axis, step in enumerate(chart.steps)
            ],
            kind=chart.kind,
            where=chart.where,
            letters=letters,
            truncated=sum(cut for *_, cut in texts),
        )

    def _encoded(self, example: Example) -> tuple[list[int], list[int], list[Look], bool]:
        """The prompt, the answer and its looks, as far as they fit; and whether any is cut."""
        whole = encode_prompt(self.tokenizer, example.task, example.question)
        # Room is left for the end of an empty answer.
        prompt = shortened(whole, self.positions - 1)
        room = self.positions - len(prompt)
        ids, looks = encode_looks(self.tokenizer, example.answer, example.looks)
        answer = [*ids, self.tokenizer.eos_token_id]
        cut = len(prompt) < len(whole) or room < len(answer)
        return prompt, answer[:room], [*looks, UNSEEN][:room], cut


class ChartDataModule(RowsDataModule):
    """Loaders over charts; a subclass says which charts there are.

    A batch has ``pixels`` [pictures, 3, height, width] (uint8), ``picture`` [texts] (which picture
    a text is about), ``ids`` and ``labels`` [texts, longest] (the answer's tokens alone are
    learned; -100 elsewhere), ``looks`` [texts, longest, 3, 2] (where on the page each label is
    read, and at which ticks below and above: x and y in pixels, -1 where there is none), ``shares``
    [texts, longest] (where the mark is between its ticks; NaN where there are none), ``steps``
    [pictures, 2, 2] (where two neighbouring numbers of the x axis and of the y axis are, along it
    in pixels; NaN where there are none), ``tokens`` [texts], ``truncated`` (texts of which
    question or answer was cut),
    ``letters`` [pictures, height / 4, width / 4] where they are wanted; and, not as tensors,
    ``examples``, ``kinds`` and ``where`` (what messages call the picture) [texts].

    Args:
        tokenizer: of charts.
        name: what reports call the data.
        image_size: (height, width) of pages, in pixels.
        positions: of the decoder: the longest prompt and answer together, in tokens.
        batch_size: pictures in a training batch, for each process.
        eval_batch_size: pictures in an evaluation batch.
        letters: whether batches have maps of letters.
        page: how pictures are laid on pages; see `belvedere.data.pictures.fit`.
        train_charts, eval_charts: at most so many are trained on, and measured; None for all.
        seed: of the order, and of what is drawn.
        no_chart: share of training pictures that show no chart; the answer to all tasks is
            `belvedere.charts.tasks.NO_CHART` then.
        num_workers: processes that make batches.
        prefetch_factor: batches that each of these keeps ready.
    """

    order_class = NumberedOrder

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        name: str,
        *,
        image_size: Sequence[int],
        positions: int = 512,
        batch_size: int = 8,
        eval_batch_size: int = 16,
        letters: bool = False,
        page: PageKind = "plain",
        train_charts: int | None = None,
        eval_charts: int | None = None,
        seed: int = 0,
        no_chart: float = 0.0,
        num_workers: int = 0,
        prefetch_factor: int = 2,
    ) -> None:
        super().__init__(
            name, batch_size=batch_size, eval_batch_size=eval_batch_size, seed=seed,
            num_workers=num_workers, prefetch_factor=prefetch_factor,
        )  # fmt: skip
        height, width = image_size
        check_sizes(height=height, width=width, train_charts=train_charts, eval_charts=eval_charts)
        check_sizes(SHORTEST, positions=positions)
        self.tokenizer = tokenizer
        self.image_size = (height, width)
        self.positions = positions
        self.letters = letters
        self.page: PageKind = page
        self.train_charts, self.eval_charts = train_charts, eval_charts
        check_share(no_chart=no_chart)
        self.no_chart = no_chart
        self.rows: dict[Split, ChartRows] = {}

    @abstractmethod
    def charts(self, split: Split) -> Charts:
        """The charts of a split. Raises `BadInput` for unreadable data."""

    @abstractmethod
    def parts(self, split: Split) -> list[str]:
        """What the data call a split, or the parts of it that they keep apart.

        Raises:
            BadInput: there is no such split.
        """

    def setup(self, stage: str | None = None) -> None:
        """Find the charts of the splits that a stage is about; of every split without one.

        So what is only tested needs no training charts. Called without a stage before training, it
        finds out about a missing test split in time.
        """
        for split in STAGES.get(stage, get_args(Split)):
            if split not in self.rows:
                training = split == "train"
                self.rows[split] = ChartRows(
                    self.charts(split), self.tokenizer, self.image_size, self.positions,
                    seed=self.seed if training else None, letters=self.letters,
                    page=self.page, no_chart=self.no_chart,
                )  # fmt: skip

    def sizes(self) -> dict[Split, int]:
        """The pictures of each split that was opened."""
        return {split: len(rows) for split, rows in self.rows.items()}

    def summary(self) -> dict[str, Any]:
        """What a report says of the data; None for a split that was not opened."""
        sizes = self.sizes()
        return {
            "name": self.name,
            "charts": sizes.get("train"),
            "size": sizes.get("train"),
            "validation_charts": sizes.get("validation"),
            "test_charts": sizes.get("test"),
        }

    def transfer_batch_to_device(
        self, batch: dict[str, Any], device: torch.device, dataloader_idx: int
    ) -> dict[str, Any]:
        """Move the tensors; Lightning would also look into the examples, which it must not."""
        return {k: v.to(device) if isinstance(v, Tensor) else v for k, v in batch.items()}

    def collate(self, rows: list[ChartRow]) -> dict[str, Any]:
        """A batch of rows."""
        texts = [pair for row in rows for pair in row.ids]
        lengths = [len(prompt) + len(answer) for prompt, answer in texts]
        ids = np.full((len(texts), max(lengths, default=0)), self.tokenizer.pad_token_id, np.int64)
        labels = np.full_like(ids, IGNORED)
        looks = np.full((*ids.shape, 3, 2), -1.0, np.float32)
        shares = np.full(ids.shape, np.nan, np.float32)
        read = [known for row in rows for known in row.looks]
        for i, (prompt, answer) in enumerate(texts):
            ids[i, : lengths[i]] = [*prompt, *answer]
            # The label of a place is the token that follows.
            labels[i, len(prompt) - 1 : lengths[i] - 1] = answer
            for j, look in enumerate(read[i], start=len(prompt) - 1):
                for k, place in enumerate(look.places):
                    if place is not None:
                        looks[i, j, k] = place
                if look.share is not None:
                    shares[i, j] = look.share
        counts = [len(row.ids) for row in rows]
        batch = {
            "pixels": torch.stack([row.pixels for row in rows]),
            "picture": torch.arange(len(rows)).repeat_interleave(torch.tensor(counts)),
            "ids": torch.from_numpy(ids),
            "labels": torch.from_numpy(labels),
            "looks": torch.from_numpy(looks),
            "shares": torch.from_numpy(shares),
            "steps": torch.tensor([row.steps for row in rows]),
            "tokens": torch.tensor(lengths, dtype=torch.long),
            "truncated": torch.tensor(sum(row.truncated for row in rows)),
            "examples": [example for row in rows for example in row.examples],
            "kinds": [row.kind for row in rows for _ in row.ids],
            "where": [row.where for row in rows for _ in row.ids],
        }
        if all(row.letters is not None for row in rows):
            batch["letters"] = torch.stack([row.letters for row in rows if row.letters is not None])
        return batch
