"""What all data modules share: loaders over the rows of splits, and an order that resumes."""

import signal
from collections.abc import Iterator
from itertools import islice
from typing import Any, Literal

import numpy as np
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import Sampler, default_collate
from torchdata.stateful_dataloader import StatefulDataLoader

from belvedere.errors import BadInput

Split = Literal["train", "validation", "test"]
Batch = dict[str, Tensor]


def check_sizes(lowest: int = 1, under: str = "data", **sizes: int | None) -> None:
    """Refuse sizes below the lowest, by their names under a key; None is no size to refuse.

    Raises:
        BadInput: one is too small, or no whole number.
    """
    for key, size in sizes.items():
        where = f"{under}.{key}" if under else key
        if size is not None and (isinstance(size, bool) or not isinstance(size, int)):
            raise BadInput(f"{size!r} is no whole number", where=where)
        if size is not None and size < lowest:
            raise BadInput(f"{size} is too small", where=where, remedy=f"give {lowest} or more")


def check_share(**shares: float) -> None:
    """Refuse what is no share that leaves something, by its name under ``data``.

    Raises:
        BadInput: one is negative, or 1 or more.
    """
    for key, share in shares.items():
        if not 0 <= share < 1:
            raise BadInput(
                f"{share} is no share", where=f"data.{key}", remedy="give 0 to less than 1"
            )


class Order(Sampler[int]):
    """A permutation for each epoch, by seed and epoch alone, shared out over the processes.

    Every process gets equally many rows; the up to ``world - 1`` left over are in other epochs.

    Attributes:
        done: an epoch, and how many of its rows the processes have had together in an earlier run,
            whatever their number was.
    """

    def __init__(self, rows: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self.rows, self.seed, self.rank, self.world = rows, seed, rank, world
        self.epoch = 0
        self.done = (0, 0)

    def set_epoch(self, epoch: int) -> None:
        """Lightning says which epoch comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.rows // self.world

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.rows)
        usable = len(self) * self.world
        epoch, rows = self.done
        first = self.rank + (rows if epoch == self.epoch else 0)
        return iter(order[first : usable : self.world].tolist())


class NumberedOrder(Order):
    """The same, but numbers go on from epoch to epoch: epoch x rows + row.

    So what a row is made of by chance may differ each time it comes, and is still the same in a
    run that is resumed.
    """

    def __iter__(self) -> Iterator[int]:
        return (self.epoch * self.rows + row for row in super().__iter__())


def deaf(worker: int) -> None:
    """Leave Ctrl-C and SIGTERM, which come to all processes of a run, to the one that trains."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


class TrainingLoader(StatefulDataLoader):
    """A loader that resumes in mid-epoch, or begins an epoch.

    Args:
        resumes: whether it goes on where a state says; if not, it begins its epoch whatever the
            state. Right after the last batch of an epoch torchdata has noted that all batches were
            given, and would give none in the next epoch.
        options: of the loader.
    """

    def __init__(self, *args: Any, resumes: bool, **options: Any) -> None:
        super().__init__(*args, **options)
        self.resumes = resumes

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there, if this loader resumes."""
        if self.resumes:
            super().load_state_dict(state_dict)


class RowsDataModule(LightningDataModule):
    """Loaders over the rows of each split; a subclass fills ``rows`` in its ``setup``.

    Training rows come in a new order each epoch, shared out over the processes; a resumed run goes
    on in mid-epoch, on as many processes as there are now. Held-out rows come in order.

    Args:
        name: what reports call the data.
        batch_size: rows in a training batch, for each process.
        eval_batch_size: rows in an evaluation batch.
        seed: of the order.
        num_workers: processes that make batches.
        prefetch_factor: batches that each of these keeps ready.

    Raises:
        BadInput: a size that is none.
    """

    order_class: type[Order] = Order
    """How training rows are ordered."""

    def __init__(
        self,
        name: str,
        *,
        batch_size: int,
        eval_batch_size: int,
        seed: int,
        num_workers: int,
        prefetch_factor: int = 2,
    ) -> None:
        super().__init__()
        check_sizes(
            batch_size=batch_size, eval_batch_size=eval_batch_size, prefetch_factor=prefetch_factor
        )
        check_sizes(lowest=0, num_workers=num_workers)
        self.name = name
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.seed = seed
        self.num_workers = num_workers
        self.prefetch_factor = prefetch_factor
        self.rows: dict[Split, Any] = {}
        self._epoch, self._resumes = 0, True
        # Rows and batches of that epoch which other layouts have gone through.
        self._before = [0, 0]

    def collate(self, rows: list[Any]) -> Any:
        """A batch of rows; by default torch's own way."""
        return default_collate(rows)

    def numbers_of(self, batch: int) -> list[int]:
        """The numbers of the rows in a training batch of this process in the current epoch."""
        order = self._order(0 if self.trainer is None else self.trainer.current_epoch)
        return list(islice(order, batch * self.batch_size, (batch + 1) * self.batch_size))

    def _order(self, epoch: int) -> Order:
        """The order of this process's training rows."""
        order = self.order_class(len(self.rows["train"]), self.seed, *self._place())
        order.set_epoch(epoch)
        return order

    def state_dict(self) -> dict[str, Any]:
        """Where training goes on, for the checkpoint: the epoch, and its rows that are done.

        Lightning makes a resumed run's first iterator before it tells the sampler the epoch.
        """
        if self.trainer is None:
            return {"epoch": 0, "begun": True}
        epoch, ended = self.trainer.current_epoch, self.trainer.is_last_batch
        before = self._before if epoch == self._epoch else [0, 0]
        batches = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready
        rows = before[0] + (batches - before[1]) * self.batch_size * self._place()[1]
        return {
            "epoch": epoch + ended,
            "begun": not ended,
            "layout": self._own_layout(),
            "before": [0, 0] if ended else before,
            "done": [0, 0] if ended else [rows, batches],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on in the epoch of a checkpoint.

        A loader's own state counts its batches. It is of no use to other numbers of processes or
        workers, or other batches: these go on after the rows that are done.
        """
        self._epoch, self._resumes = state_dict["epoch"], state_dict.get("begun", True)
        if "layout" in state_dict:
            same = state_dict["layout"] == self._own_layout()
            self._resumes = self._resumes and same
            self._before = state_dict["before" if same else "done"]

    def _own_layout(self) -> list[int]:
        """What a loader's own state depends on."""
        return [self.batch_size, self._place()[1], self.num_workers]

    def train_dataloader(self) -> StatefulDataLoader:
        """Rows in a new order each epoch; resumes in mid-epoch."""
        order = self._order(self._epoch)
        order.done = (self._epoch, self._before[0])
        return TrainingLoader(
            self.rows["train"],
            resumes=self._resumes,
            batch_size=self.batch_size,
            sampler=order,
            drop_last=len(order) >= self.batch_size,
            collate_fn=self.collate,
            **self.workers(),
        )

    def workers(self) -> dict[str, Any]:
        """The options of a training loader that are about the processes beside this one."""
        if not self.num_workers:
            return {}
        return {
            "num_workers": self.num_workers,
            "prefetch_factor": self.prefetch_factor,
            "persistent_workers": True,
            "worker_init_fn": deaf,
        }

    def val_dataloader(self) -> StatefulDataLoader:
        """The held-out rows, in order."""
        return self.in_order(self.rows["validation"])

    def test_dataloader(self) -> StatefulDataLoader:
        """The rows that reports are measured on, in order."""
        return self.in_order(self.rows["test"])

    def in_order(self, rows: Any) -> StatefulDataLoader:
        """Rows to evaluate on, in order, shared out over the processes.

        All of them have equally many batches: where they share weights, they gather them together.
        """
        rank, world = self._place()
        size = self.eval_batch_size
        own = range(rank, len(rows), world)
        batches = [list(own[start : start + size]) for start in range(0, len(own), size)]
        wanted = min(-(-len(rows) // (world * size)), len(rows) // world)
        if wanted and len(batches) != wanted:
            batches = [part.tolist() for part in np.array_split(own, wanted)]
        return StatefulDataLoader(rows, batch_sampler=batches, collate_fn=self.collate)

    def _place(self) -> tuple[int, int]:
        """This process's rank and how many there are."""
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size
