"""The LightningDataModule for language-model training: packed rows of text."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, Sampler
from torchdata.stateful_dataloader import StatefulDataLoader
from transformers import PreTrainedTokenizerBase

from belvedere.data.packing import WINDOW, Plan, pack
from belvedere.data.records import Record, find_files
from belvedere.data.token_cache import Tokens, encode, share_of, tokenised
from belvedere.errors import BadInput
from belvedere.submodels.losses import IGNORED

Split = Literal["train", "validation", "test"]
Batch = dict[str, Tensor]


class TextDataModule(LightningDataModule):
    """Packed rows from local files or from a set of the Hugging Face hub.

    A batch has three tensors of int64, each [batch, sequence_length]: ``input_ids``;
    ``position_ids``, which begin at 0 with every document, from which ``transformers`` makes masks
    without attention across documents; and ``labels``, the token that follows each, -100 behind a
    document's end and on padding.

    A folder with files named ``train*``, ``validation*`` and ``test*`` is split so; otherwise every
    document goes where the hash of its text sends it.

    Args:
        tokenizer: of the backbone; its begin and end tokens frame every document.
        name: what reports call the data.
        path: a file, a folder or several of them (.txt, .jsonl, .json, .parquet).
        hub: a set of the hub, or a folder in a form that ``datasets`` knows; streamed.
        hub_config: the set's configuration.
        hub_split: the hub's split to read.
        text_column: where a record has its text.
        held_out: share of the documents for validation and test together, half for each, where the
            files are not split.
        sequence_length: tokens in a row.
        batch_size: rows in a training batch, for each process.
        eval_batch_size: rows in an evaluation batch.
        train_tokens: of files only the first documents are read, until there are about so many
            tokens; None for all. A run of minutes then need not tokenise a corpus of hours first.
        eval_tokens: at most so many tokens of validation and test are used; None for all.
        document_attention: let tokens attend to earlier documents in their row.
        cache_dir: where tokenised files are kept.
        seed: of the order.
        num_workers: processes that make batches.

    Raises:
        BadInput: neither path nor hub; unreadable, empty or broken files; an unreachable hub.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        name: str,
        path: str | list[str] | None = None,
        hub: str | None = None,
        hub_config: str | None = None,
        hub_split: str = "train",
        text_column: str = "text",
        held_out: float = 0.1,
        sequence_length: int = 512,
        batch_size: int = 8,
        eval_batch_size: int = 8,
        train_tokens: int | None = None,
        eval_tokens: int | None = None,
        document_attention: bool = False,
        cache_dir: str = ".cache/tokens",
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        if (path is None) == (hub is None):
            raise BadInput(
                "give either data.path or data.hub", where="data", remedy="e.g. data.path=FILE"
            )
        sizes = {"sequence_length": sequence_length, "batch_size": batch_size,
                 "eval_batch_size": eval_batch_size}  # fmt: skip
        for key, size in sizes.items():
            if size < 1:
                raise BadInput(f"{size} is too small", where=f"data.{key}", remedy="give 1 or more")
        if not 0 <= held_out < 1:
            raise BadInput(
                f"{held_out} is no share", where="data.held_out", remedy="give 0 to less than 1"
            )
        self.tokenizer = tokenizer
        self.name = name
        self.paths = [path] if isinstance(path, str) else list(path or [])
        self.hub, self.hub_config, self.hub_split = hub, hub_config, hub_split
        self.text_column = text_column
        self.held_out = held_out
        self.sequence_length = sequence_length
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.train_tokens, self.eval_tokens = train_tokens, eval_tokens
        self.document_attention = document_attention
        self.cache_dir = Path(cache_dir)
        self.seed = seed
        self.num_workers = num_workers
        self.rows: dict[Split, PackedRows] = {}
        self.stream: StreamedRows | None = None
        self._empty = 0
        self._epoch = 0
        files = [file for place in self.paths for file in find_files(place)]
        self.files = _by_split(files)

    def setup(self, stage: str | None = None) -> None:
        """Tokenise, or open what was tokenised before, and pack."""
        if self.rows:
            return
        if self.hub is not None:
            self._open_hub()
            return
        for split, files in self.files.items():
            limit = self.train_tokens if split in ("train", "all") else None
            tokens = tokenised(files, self.tokenizer, self.text_column, self.cache_dir, limit)
            self._empty += tokens.empty
            if split != "all":
                self._pack(split, tokens, np.arange(len(tokens)))  # type: ignore[arg-type]
                continue
            test = tokens.shares < self.held_out / 2
            validation = ~test & (tokens.shares < self.held_out)
            chosen = {"train": ~test & ~validation, "validation": validation, "test": test}
            for part, where in chosen.items():
                self._pack(part, tokens, np.flatnonzero(where))  # type: ignore[arg-type]
        for wanted in ("train", "validation"):
            if wanted not in self.rows or not len(self.rows[wanted]):
                raise BadInput(
                    f"no documents for the {wanted} split",
                    where=", ".join(map(str, self.paths)),
                    remedy="give more documents, or change data.held_out",
                )
        if not self.rows.get("test"):
            self.rows["test"] = self.rows["validation"]

    def _pack(self, split: Split, tokens: Tokens, documents: NDArray[np.int64]) -> None:
        offsets = np.asarray(tokens.offsets)
        if split != "train" and self.eval_tokens is not None:
            lengths = (offsets[1:] - offsets[:-1])[documents]
            documents = documents[np.cumsum(lengths) - lengths < self.eval_tokens]
        starts, ends = offsets[documents], offsets[documents + 1]
        plan = pack(starts, ends - starts, self.sequence_length)
        self.rows[split] = PackedRows(
            tokens.ids, plan, self.sequence_length, self._padding_id(), self.document_attention
        )
        self.rows[split].documents = len(documents)

    def _padding_id(self) -> int:
        return self.tokenizer.pad_token_id or self.tokenizer.eos_token_id or 0

    def _open_hub(self) -> None:
        """Hold out the stream's first documents that their hash sends there; stream the others."""
        stream = self.open_stream()
        first = next(iter(stream), None)
        if first is None:
            raise BadInput("the set has no records", where=f"data.hub={self.hub}")
        Record(first, f"{self.hub}[0]").text(self.text_column)
        budget = self.eval_tokens or 2**18
        for split, low, high in (
            ("test", 0.0, self.held_out / 2),
            ("validation", self.held_out / 2, self.held_out),
        ):
            ids, lengths = [], []
            for record in stream:
                text = record[self.text_column]
                if low <= share_of(text) < high and text.strip():
                    encoded = encode(self.tokenizer, [text])[0]
                    ids += encoded
                    lengths.append(len(encoded))
                if len(ids) >= budget:
                    break
            offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
            tokens = Tokens(np.asarray(ids, np.uint32), offsets, np.zeros(len(lengths)), 0)
            if not len(tokens):
                raise BadInput(f"no documents for the {split} split", where=f"data.hub={self.hub}")
            self._pack(split, tokens, np.arange(len(tokens)))  # type: ignore[arg-type]
        self.stream = StreamedRows(self)

    def open_stream(self) -> Any:
        """The hub's set from its beginning, all of it."""
        return _load_stream(self.hub, self.hub_config, self.hub_split)

    def summary(self) -> dict[str, Any]:
        """What a report says of the data: its size, and what was cut, padded or left out."""
        train = self.rows.get("train")
        shown = self.rows["validation"] if train is None else train
        return {
            "name": self.name,
            "source": self.hub or [str(path) for path in self.paths],
            "sequence_length": self.sequence_length,
            "documents": None if train is None else train.documents,
            "size": None if train is None else int(train.plan.lengths.sum()),
            "rows": None if train is None else len(train),
            "truncated": shown.plan.cut if train is None else train.plan.cut,
            "padding": round(shown.plan.padding(self.sequence_length), 6),
            "empty": self._empty if self.stream is None else self.stream.empty,
            "validation_tokens": int(self.rows["validation"].plan.lengths.sum()),
            "test_tokens": int(self.rows["test"].plan.lengths.sum()),
        }

    def state_dict(self) -> dict[str, Any]:
        """The epoch, for the checkpoint.

        Lightning makes a resumed run's first iterator before it tells the sampler the epoch.
        """
        return {"epoch": self.trainer.current_epoch if self.trainer else 0}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on in the epoch of a checkpoint."""
        self._epoch = state_dict["epoch"]

    def train_dataloader(self) -> StatefulDataLoader:
        """Rows in a new order each epoch, or the stream's; resumes in mid-epoch."""
        if self.stream is not None:
            return StatefulDataLoader(
                self.stream, batch_size=self.batch_size, num_workers=self.num_workers
            )
        rank, world = self._place()
        order = Order(len(self.rows["train"]), self.seed, rank, world)
        order.set_epoch(self._epoch)
        return StatefulDataLoader(
            self.rows["train"],
            batch_size=self.batch_size,
            sampler=order,
            drop_last=len(order) >= self.batch_size,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
        )

    def val_dataloader(self) -> StatefulDataLoader:
        """The held-out rows, in order."""
        return self._evaluation("validation")

    def test_dataloader(self) -> StatefulDataLoader:
        """The rows that reports are measured on, in order."""
        return self._evaluation("test")

    def _evaluation(self, split: Split) -> StatefulDataLoader:
        rank, world = self._place()
        rows = self.rows[split]
        return StatefulDataLoader(
            rows, batch_size=self.eval_batch_size, sampler=range(rank, len(rows), world)
        )

    def _place(self) -> tuple[int, int]:
        """This process's rank and how many there are."""
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size


def _by_split(files: list[Path]) -> dict[str, list[Path]]:
    """Files by the split that their names begin with; all together if none is for training."""
    named: dict[str, list[Path]] = {}
    for split in ("train", "validation", "test"):
        if found := [file for file in files if file.name.startswith(split)]:
            named[split] = found
    if "train" in named and "validation" in named:
        return named
    return {"all": files} if files else {}


def _load_stream(hub: str | None, config: str | None, split: str) -> Any:
    """A streamed set of the hub. Raises `BadInput` if it cannot be had."""
    from datasets import load_dataset

    try:
        return load_dataset(hub, config, split=split, streaming=True)
    except Exception as error:  # of the hub, the network, or the set's own form
        raise BadInput(
            f"the set {hub!r} cannot be loaded ({str(error).strip().splitlines()[0][:120]})",
            where="data.hub",
            remedy="connect to the hub, or give local files as data=text data.path=FILE",
        ) from error


class PackedRows(Dataset[Batch]):
    """Rows put together from pieces of a token stream; see `TextDataModule` for their form."""

    def __init__(
        self,
        ids: NDArray[np.integer],
        plan: Plan,
        length: int,
        padding_id: int,
        document_attention: bool,
    ) -> None:
        self.ids = ids
        self.plan = plan
        self.length = length
        self.padding_id = padding_id
        self.document_attention = document_attention
        self.documents = 0

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, row: int) -> Batch:
        """Row number ``row``: three tensors [length]."""
        ids = np.full(self.length, self.padding_id, np.int64)
        positions = np.zeros(self.length, np.int64)
        labels = np.full(self.length, IGNORED, np.int64)
        place = 0
        for piece in range(self.plan.rows[row], self.plan.rows[row + 1]):
            start, count = int(self.plan.starts[piece]), int(self.plan.lengths[piece])
            follows = 0 if self.plan.ends[piece] else 1
            there = slice(place, place + count)
            ids[there] = self.ids[start : start + count]
            positions[there] = np.arange(count)
            targets = self.ids[start + 1 : start + count + follows]
            labels[place : place + len(targets)] = targets
            place += count
        positions[place:] = np.arange(self.length - place)  # padding is a document of its own
        if self.document_attention:
            positions = np.arange(self.length)
        found = {"input_ids": ids, "position_ids": positions, "labels": labels}
        return {name: torch.from_numpy(array) for name, array in found.items()}


class Order(Sampler[int]):
    """A permutation for each epoch, by seed and epoch alone, shared out over the processes.

    Every process gets equally many rows; the up to ``world - 1`` left over are in other epochs.
    """

    def __init__(self, rows: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self.rows, self.seed, self.rank, self.world = rows, seed, rank, world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning says which epoch comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.rows // self.world

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.rows)
        usable = len(self) * self.world
        return iter(order[self.rank : usable : self.world].tolist())


class StreamedRows(IterableDataset[Batch]):
    """Rows packed from a stream, a window of documents at a time; resumes at its window."""

    def __init__(self, module: TextDataModule) -> None:
        self.module = module
        self.empty = 0
        self._window_state: dict[str, Any] | None = None
        self._emitted = 0

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stood when the window was begun, and the rows used of it."""
        return {"stream": self._window_state, "emitted": self._emitted, "empty": self.empty}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._window_state, self._emitted = state["stream"], state["emitted"]
        self.empty = state["empty"]

    def __iter__(self) -> Iterator[Batch]:
        """Endless rows: the stream begins anew when it ends."""
        stream = self._open_share()
        skip = self._emitted
        if self._window_state is not None:
            stream.load_state_dict(self._window_state)
        while True:
            self._window_state = stream.state_dict()
            records = iter(stream)
            exhausted = False
            while not exhausted:
                texts, exhausted = self._window(records)
                for number, row in enumerate(self._packed(texts)):
                    if number >= skip:
                        self._emitted = number + 1
                        yield row
                skip = self._emitted = 0
                self._window_state = stream.state_dict()
            # Opened anew: a stream that was resumed would begin where it was resumed.
            stream = self._open_share()

    def _open_share(self) -> Any:
        """The part of the stream that this process trains on, from its beginning."""
        from datasets.distributed import split_dataset_by_node

        rank, world = self.module._place()
        stream = self.module.open_stream()
        return split_dataset_by_node(stream, rank, world) if world > 1 else stream

    def _window(self, records: Iterator[dict[str, Any]]) -> tuple[list[str], bool]:
        texts: list[str] = []
        for record in records:
            text = record[self.module.text_column]
            if not isinstance(text, str) or not text.strip():
                self.empty += 1
            elif share_of(text) >= self.module.held_out:
                texts.append(text)
            if len(texts) == WINDOW // 8:
                return texts, False
        return texts, True

    def _packed(self, texts: list[str]) -> Iterator[Batch]:
        if not texts:
            return
        encoded = encode(self.module.tokenizer, texts)
        lengths = np.asarray([len(ids) for ids in encoded], np.int64)
        starts = np.concatenate([[0], lengths.cumsum()[:-1]])
        length = self.module.sequence_length
        ids = np.concatenate([np.asarray(ids, np.int64) for ids in encoded])
        rows = PackedRows(
            ids,
            pack(starts, lengths, length),
            length,
            self.module._padding_id(),
            self.module.document_attention,
        )
        yield from (rows[i] for i in range(len(rows)))
