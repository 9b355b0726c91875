"""What the language data modules share: packed rows."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from belvedere.data.loading import Batch, RowsDataModule, Split, check_share, check_sizes
from belvedere.data.packing import Plan
from belvedere.submodels.losses import IGNORED


class PackedDataModule(RowsDataModule):
    """Loaders over packed rows; a subclass fills ``rows`` in its ``setup``.

    A batch has three tensors of int64, each [batch, sequence_length]: ``input_ids``;
    ``position_ids``, which begin at 0 with every document, from which ``transformers`` makes masks
    without attention across documents; and ``labels``, the token that follows each, -100 behind a
    document's end, on padding, and where the next token is not to be learned. ``tokens`` [batch]
    says how many places of a row are not padding.

    Args:
        tokenizer: of the backbone.
        name: what reports call the data.
        sequence_length: tokens in a row.
        batch_size: rows in a training batch, for each process.
        eval_batch_size: rows in an evaluation batch.
        held_out: share of the documents for validation and test together, half for each, where the
            data are not split.
        seed: of the order.
        num_workers: processes that make batches.
        prefetch_factor: batches that each of these keeps ready.

    Raises:
        BadInput: a size or a share that is none.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        name: str,
        *,
        sequence_length: int,
        batch_size: int,
        eval_batch_size: int,
        held_out: float,
        seed: int,
        num_workers: int,
        prefetch_factor: int = 2,
    ) -> None:
        super().__init__(
            name, batch_size=batch_size, eval_batch_size=eval_batch_size, seed=seed,
            num_workers=num_workers, prefetch_factor=prefetch_factor,
        )  # fmt: skip
        check_sizes(sequence_length=sequence_length)
        check_share(held_out=held_out)
        self.tokenizer = tokenizer
        self.sequence_length = sequence_length
        self.held_out = held_out
        self.rows: dict[Split, PackedRows] = {}

    @property
    def padding_id(self) -> int:
        """What stands where no token is; no loss and no other token sees it."""
        return self.tokenizer.pad_token_id or self.tokenizer.eos_token_id or 0


class PackedRows(Dataset[Batch]):
    """Rows put together from pieces of a token stream; see `PackedDataModule` for their form.

    Args:
        ids: the stream.
        plan: which pieces of it each row has.
        length: tokens in a row.
        padding_id: what stands where no token is.
        document_attention: let the positions count through the row.
        learned: [tokens], whether a token is predicted; None for all.
    """

    def __init__(
        self,
        ids: NDArray[np.integer],
        plan: Plan,
        length: int,
        padding_id: int,
        document_attention: bool = False,
        learned: NDArray[np.bool_] | None = None,
    ) -> None:
        self.ids = ids
        self.plan = plan
        self.length = length
        self.padding_id = padding_id
        self.document_attention = document_attention
        self.learned = learned
        self.documents = 0

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, row: int) -> Batch:
        """Row number ``row``: three tensors [length], and how many real tokens it has."""
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
            aim = slice(start + 1, start + count + follows)
            targets = self.ids[aim].astype(np.int64)
            if self.learned is not None:
                targets = np.where(self.learned[aim], targets, IGNORED)
            labels[place : place + len(targets)] = targets
            place += count
        positions[place:] = np.arange(self.length - place)  # padding is a document of its own
        if self.document_attention:
            positions = np.arange(self.length)
        found = {"input_ids": ids, "position_ids": positions, "labels": labels}
        tensors = {name: torch.from_numpy(array) for name, array in found.items()}
        return {**tensors, "tokens": torch.tensor(place)}
