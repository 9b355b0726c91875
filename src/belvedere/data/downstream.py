"""What the published sets of charts share: records of a folder or of the hub, by their picture."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, cast

from transformers import PreTrainedTokenizerBase

from belvedere.charts.tasks import Example
from belvedere.data.charts import Chart, ChartDataModule, Charts
from belvedere.data.loading import Split
from belvedere.data.records import Record
from belvedere.data.sources import load_hub
from belvedere.errors import BadInput


@dataclass(frozen=True)
class Found:
    """A record about a picture.

    Attributes:
        picture: what the picture is known by: its path, or a digest of a hub's picture.
        record: what is asked about it and answered.
        kind: the group of questions that reports keep apart.
        row: of the hub's set, where the picture is.
    """

    picture: str
    record: Record
    kind: str = ""
    row: int = 0


class PublishedCharts(Charts):
    """Pictures of a split, each with all that is asked about it in one group of questions.

    Args:
        asked: the group of records and their examples for each picture and kind, in order.
        images: the hub's rows, as `open_hub` has them; None if pictures are files.
        column: of the pictures in these rows.
    """

    def __init__(
        self, asked: list[list[tuple[Found, Example]]], images: Any = None, column: str = ""
    ) -> None:
        self.asked = asked
        self.images = images
        self.column = column

    def __len__(self) -> int:
        return len(self.asked)

    def __getitem__(self, index: Any) -> Any:
        asked = self.asked[index]
        first = asked[0][0]
        local = self.images is None
        return Chart(
            # The hub's pictures stay on the disk until they are wanted: a set has gigabytes.
            picture=first.picture if local else picture_of(self.images[first.row][self.column]),
            where=first.picture if local else first.record.where,
            examples=[example for _, example in asked],
            kind=first.kind,
        )

    def pictures(self) -> set[str]:
        """What its pictures are known by."""
        return {asked[0][0].picture for asked in self.asked}


class DownstreamDataModule(ChartDataModule):
    """A published set of charts: from its folder, or from the hub.

    A split that the folder does not have may be there in parts: ``test`` is then all of
    ``test_simple`` and ``test_complex``. All questions of one group about a picture are asked
    together, so that it is encoded once.

    Records without an answer are left out and counted in `summary`, as are the test pictures that
    were also trained on.

    Args:
        tokenizer: of charts.
        path: the set's folder; where it is given, the hub is not asked.
        hub: a set of the hub, or a folder in a form that ``datasets`` knows.
        hub_config: the set's configuration.
        image_column: of the hub's set: the pictures.
        train_split, validation_split, test_split: what the set calls the splits. Without a
            ``test_split`` it is ``test``, or the validation split where a folder has no other.
        options: see `ChartDataModule`. ``train_charts`` and ``eval_charts`` are spread evenly over
            a split, whose groups of questions may come one after the other.

    Raises:
        BadInput: neither path nor hub; no such folder; letters are wanted; when a split is set up,
            a split or picture that is not there, or a malformed record.
    """

    layout: str
    """Where a split is in the set's folder, ``{}`` being what it is called."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        path: str | None = None,
        hub: str | None = None,
        hub_config: str | None = None,
        image_column: str = "image",
        train_split: str = "train",
        validation_split: str = "val",
        test_split: str | None = "test",
        **options: Any,
    ) -> None:
        super().__init__(tokenizer, **options)
        if path is None and hub is None:
            raise BadInput(
                "neither data.path nor data.hub is given",
                where="data",
                remedy="give the set's folder as data.path=FOLDER",
            )
        if path is not None and not Path(path).is_dir():
            raise BadInput("there is no such folder", where=path, remedy="check data.path")
        refuse_letters(self.letters)
        self.path = None if path is None else Path(path)
        self.hub, self.hub_config = hub, hub_config
        self.image_column = image_column
        if test_split is None:
            there = self.path is None or self._parts_of("test")
            test_split = "test" if there else validation_split
        self.splits: dict[Split, str] = {
            "train": train_split, "validation": validation_split, "test": test_split,
        }  # fmt: skip
        self.without_answer: dict[Split, int] = {}

    def root(self, folder: Path) -> Path:
        """Where in the set's folder its splits are."""
        return folder

    @abstractmethod
    def local(self, place: Path) -> Iterator[Found]:
        """The records of a split, ``place`` being its `layout` in the set's folder.

        Raises:
            BadInput: unreadable data.
        """

    @abstractmethod
    def example(self, record: Record) -> Example:
        """What a record asks and answers. Raises `BadInput` if it is malformed."""

    def kind(self, record: Record) -> str:
        """The group of a hub's record; by default there is only one."""
        return ""

    def charts(self, split: Split) -> Charts:
        """The charts of a split, all of whose pictures are there."""
        images = None
        if self.path is not None:
            root = self.root(self.path)
            places = [root / self.layout.format(part) for part in self.parts(split)]
            found = self._there(one for place in places for one in self.local(place))
        else:
            images = self._open_hub(split)
            found = self._of_hub(images, split)
        groups: dict[tuple[str, str], list[tuple[Found, Example]]] = {}
        empty = 0
        for one in found:
            example = self.example(one.record)
            if example.answer.strip():
                groups.setdefault((one.picture, one.kind), []).append((one, example))
            else:
                empty += 1
        self.without_answer[split] = empty
        if not groups:
            raise BadInput(
                f"there are no charts with an answer in the split {self.splits[split]!r}",
                where=str(self.path or self.hub),
                remedy=f"choose another as data.{split}_split",
            )
        limit = self.train_charts if split == "train" else self.eval_charts
        return PublishedCharts(spread(list(groups.values()), limit), images, self.image_column)

    def parts(self, split: Split) -> list[str]:
        """What the set calls a split, or its parts in the folder."""
        name = self.splits[split]
        if self.path is None:
            return [name]
        parts = self._parts_of(name)
        if not parts:
            there = self._splits()
            others = f"choose one of {', '.join(there)}" if there else "choose another"
            raise BadInput(
                f"there is no {self.layout.format(name)}",
                where=str(self.root(self.path)),
                remedy=f"{others} as data.{split}_split",
            )
        return parts

    def _splits(self) -> list[str]:
        """The names of all splits and parts of splits in the folder."""
        assert self.path is not None
        root = self.root(self.path)
        before, after = self.layout.split("{}")
        places = [one.relative_to(root).as_posix() for one in root.glob(self.layout.format("*"))]
        return sorted(place.removeprefix(before).removesuffix(after) for place in places)

    def _parts_of(self, name: str) -> list[str]:
        """A split of the folder, or its parts; empty where there is neither."""
        there = self._splits()
        return [name] if name in there else [one for one in there if one.startswith(f"{name}_")]

    def summary(self) -> dict[str, Any]:
        """What a report says of the data: its size, what was left out, and what was seen before."""
        pictures = {
            split: cast(PublishedCharts, rows.charts).pictures()
            for split, rows in self.rows.items()
        }
        seen = pictures.get("train", set()) & pictures.get("test", set())
        return {
            **super().summary(),
            "source": str(self.path or self.hub),
            "splits": dict(self.splits),
            "without_answer": sum(self.without_answer.values()),
            "test_pictures_in_train": len(seen),
        }

    @staticmethod
    def _there(found: Iterator[Found]) -> Iterator[Found]:
        """The records, if their pictures are there."""
        for one in found:
            if not Path(one.picture).is_file():
                raise BadInput(
                    f"there is no picture {one.picture}",
                    where=one.record.where,
                    remedy="add it, or remove the record",
                )
            yield one

    def _open_hub(self, split: Split) -> Any:
        """The rows of a hub's split, their pictures not decoded."""
        from datasets import Image

        assert self.hub is not None
        rows = load_hub(self.hub, self.hub_config, self.splits[split], streaming=False)
        if self.image_column not in rows.column_names:
            raise BadInput(
                f"there is no column {self.image_column!r}",
                where=f"{self.hub}/{self.splits[split]}",
                remedy=f"choose one of {', '.join(rows.column_names)} as data.image_column",
            )
        try:
            return rows.cast_column(self.image_column, Image(decode=False))
        except (TypeError, ValueError, NotImplementedError) as error:  # as pyarrow's are
            raise BadInput(
                f"the column {self.image_column!r} has no pictures",
                where=f"{self.hub}/{self.splits[split]}",
                remedy="choose another as data.image_column",
            ) from error

    def _of_hub(self, rows: Any, split: Split) -> Iterator[Found]:
        """The records of a hub's split, each with a digest of its picture.

        These sets repeat a picture in every row that asks about it.
        """
        for number, fields in enumerate(rows):
            record = Record(fields, f"{self.hub}/{self.splits[split]}[{number}]")
            picture = picture_of(fields.pop(self.image_column))
            if not picture or (isinstance(picture, str) and not Path(picture).is_file()):
                raise BadInput(
                    f"there is no picture {picture}".strip(),
                    where=record.where,
                    remedy="choose another set as data.hub",
                )
            key = picture if isinstance(picture, str) else blake2b(picture).hexdigest()
            yield Found(key, record, self.kind(record), number)


def refuse_letters(wanted: bool) -> None:
    """Refuse to give maps of letters, if they are wanted of a published set. Raises `BadInput`."""
    if wanted:
        raise BadInput(
            "published charts do not say where their letters are",
            where="data.letters",
            remedy="set data.letters=false and model.letters_weight=0",
        )


def picture_of(image: dict[str, Any] | None) -> bytes | str:
    """The bytes of a picture as ``datasets`` holds it, or its path; "" if there is none."""
    return (image or {}).get("bytes") or (image or {}).get("path") or ""


def spread(groups: list[Any], limit: int | None) -> list[Any]:
    """At most ``limit`` of the groups, evenly spaced, in their order.

    Example:
        >>> spread([0, 1, 2, 3, 4, 5], 3)
        [0, 2, 4]
    """
    if limit is None or limit >= len(groups):
        return groups
    return [groups[i * len(groups) // limit] for i in range(limit)]
