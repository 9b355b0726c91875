"""What the language data modules share: packed rows, their order, and loaders that resume."""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from torchdata.stateful_dataloader import StatefulDataLoader
from transformers import PreTrainedTokenizerBase

from belvedere.data.packing import Plan
from belvedere.errors import BadInput
from belvedere.submodels.losses import IGNORED

Split = Literal["train", "validation", "test"]
Batch = dict[str, Tensor]


class PackedDataModule(LightningDataModule):
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
    ) -> None:
        super().__init__()
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
        self.sequence_length = sequence_length
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.held_out = held_out
        self.seed = seed
        self.num_workers = num_workers
        self.rows: dict[Split, PackedRows] = {}
        self._epoch = 0

    @property
    def padding_id(self) -> int:
        """What stands where no token is; no loss and no other token sees it."""
        return self.tokenizer.pad_token_id or self.tokenizer.eos_token_id or 0

    def state_dict(self) -> dict[str, Any]:
        """The epoch, for the checkpoint.

        Lightning makes a resumed run's first iterator before it tells the sampler the epoch.
        """
        return {"epoch": self.trainer.current_epoch if self.trainer else 0}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on in the epoch of a checkpoint."""
        self._epoch = state_dict["epoch"]

    def train_dataloader(self) -> StatefulDataLoader:
        """Rows in a new order each epoch; resumes in mid-epoch."""
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
