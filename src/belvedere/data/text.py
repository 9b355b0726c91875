"""The LightningDataModule for language-model training: packed rows of text."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info
from torchdata.stateful_dataloader import StatefulDataLoader
from transformers import PreTrainedTokenizerBase

from belvedere.data.loading import Batch, Split
from belvedere.data.packed import PackedDataModule, PackedRows
from belvedere.data.packing import WINDOW, pack
from belvedere.data.records import Record, find_files
from belvedere.data.sources import by_split, load_hub
from belvedere.data.token_cache import Tokens, encode, share_of, tokenised
from belvedere.errors import BadInput, first_line

PAUSES = (1, 4, 16, 64)
"""Seconds before a broken stream is opened again, each time that this fails."""


class TextDataModule(PackedDataModule):
    """Packed rows from local files or from a set of the Hugging Face hub.

    A folder with files named ``train*``, ``validation*`` and ``test*`` is split so; otherwise every
    document goes where the hash of its text sends it. A validation split that is missing is taken
    from the training files in the same way; a missing test split is the validation split.

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
        prefetch_factor: batches that each of these keeps ready.

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
        prefetch_factor: int = 2,
    ) -> None:
        super().__init__(
            tokenizer, name, sequence_length=sequence_length, batch_size=batch_size,
            eval_batch_size=eval_batch_size, held_out=held_out, seed=seed, num_workers=num_workers,
            prefetch_factor=prefetch_factor,
        )  # fmt: skip
        if (path is None) == (hub is None):
            raise BadInput(
                "give either data.path or data.hub", where="data", remedy="e.g. data.path=FILE"
            )
        self.paths = [path] if isinstance(path, str) else list(path or [])
        self.hub, self.hub_config, self.hub_split = hub, hub_config, hub_split
        self.text_column = text_column
        self.train_tokens, self.eval_tokens = train_tokens, eval_tokens
        self.document_attention = document_attention
        self.cache_dir = Path(cache_dir)
        self.stream: StreamedRows | None = None
        self._empty = 0
        files = [file for place in self.paths for file in find_files(place)]
        self.files = by_split(files)

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
            held_out = tokens.shares < self.held_out
            if split == "all":
                test = tokens.shares < self.held_out / 2
                chosen = {"train": ~held_out, "validation": held_out & ~test, "test": test}
            elif split == "train" and "validation" not in self.files:
                chosen = {"train": ~held_out, "validation": held_out}
            else:
                chosen = {split: np.ones(len(tokens), bool)}
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
            tokens.ids, plan, self.sequence_length, self.padding_id, self.document_attention
        )
        self.rows[split].documents = len(documents)

    def _open_hub(self) -> None:
        """Hold out the stream's first documents that their hash sends there; stream the others."""
        stream = self.open_stream()
        first = next(iter(stream), None)
        if first is None:
            raise BadInput("the set has no records", where=f"data.hub={self.hub}")
        Record(first, f"{self.hub}[0]").text(self.text_column, "data.text_column")
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
        assert self.hub is not None
        return load_hub(self.hub, self.hub_config, self.hub_split, streaming=True)

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

    def numbers_of(self, batch: int) -> list[int]:
        """The numbers of a training batch's rows; of a stream, in the order of this process."""
        if self.stream is None:
            return super().numbers_of(batch)
        return list(range(batch * self.batch_size, (batch + 1) * self.batch_size))

    def train_dataloader(self) -> StatefulDataLoader:
        """Rows in a new order each epoch, or the stream's; resumes in mid-epoch."""
        if self.stream is None:
            return super().train_dataloader()
        if self._before[0]:
            raise BadInput(
                "a stream goes on only in as many parts as it began with",
                where="resume",
                remedy="give the same devices, data.batch_size and data.num_workers as before",
            )
        return StatefulDataLoader(self.stream, batch_size=self.batch_size, **self.workers())


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
        """Endless rows: the stream begins anew when it ends.

        A worker has none where the stream has fewer files than there are workers.

        Raises:
            BadInput: the stream breaks off for good, or has nothing for this process.
        """
        begin, skip = self._window_state, self._emitted
        while True:
            rows = 0
            for state, texts in self._windows(begin):
                self._window_state = state
                for number, row in enumerate(self._packed(texts)):
                    rows += 1
                    if number >= skip:
                        self._emitted = number + 1
                        yield row
                skip = self._emitted = 0
            if not rows and begin is None:
                if get_worker_info() is not None:
                    return
                raise BadInput(
                    "the set has no documents for one of the processes",
                    where=f"data.hub={self.module.hub}",
                    remedy="train on fewer processes",
                )
            begin = None

    def _windows(self, state: Any) -> Iterator[tuple[Any, list[str]]]:
        """What the stream has from a state on, window by window, each with the state before it.

        ``datasets`` tries again where a connection is lost for a moment. Where that does not help,
        the window is read anew after a while, from its beginning.
        """
        pauses = iter(PAUSES)
        records: Iterator[dict[str, Any]] | None = None
        while True:
            try:
                if records is None:
                    stream = self._open_share()
                    if state is not None:
                        stream.load_state_dict(state)
                    records = iter(stream)
                texts, empty, exhausted = self._window(records)
            except Exception as error:  # of the hub, the network, or the set's own form
                pause = next(pauses, None)
                if pause is None:
                    raise BadInput(
                        f"the stream broke off ({first_line(error)})",
                        where=f"data.hub={self.module.hub}",
                        remedy="once it is there again, continue by the same command and "
                        "resume=true",
                    ) from error
                records = None
                time.sleep(pause)
                continue
            pauses = iter(PAUSES)
            self.empty += empty
            yield state, texts
            if exhausted:
                return
            state = stream.state_dict()

    def _open_share(self) -> Any:
        """The part of the stream that this process trains on, from its beginning."""
        from datasets.distributed import split_dataset_by_node

        rank, world = self.module._place()
        stream = self.module.open_stream()
        return split_dataset_by_node(stream, rank, world) if world > 1 else stream

    def _window(self, records: Iterator[dict[str, Any]]) -> tuple[list[str], int, bool]:
        """The next texts to train on, how many were empty, and whether there are no more."""
        texts: list[str] = []
        empty = 0
        for record in records:
            text = record[self.module.text_column]
            if not isinstance(text, str) or not text.strip():
                empty += 1
            elif share_of(text) >= self.module.held_out:
                texts.append(text)
            if len(texts) == WINDOW // 8:
                return texts, empty, False
        return texts, empty, True

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
            self.module.padding_id,
            self.module.document_attention,
        )
        yield from (rows[i] for i in range(len(rows)))
