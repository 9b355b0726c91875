"""What processes put together: real ones, that talk over gloo."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed

from belvedere.processes import gathered, losses_of_all, sums_of_all
from belvedere.submodels.losses import HeadLosses, head_losses

VOCABULARY, WIDTH, PROCESSES = 11, 4, 2


def batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """States of two students and of a teacher, a head, and labels: few in the second half."""
    torch.manual_seed(3)
    states, teacher = torch.randn(2, 6, 5, WIDTH), torch.randn(6, 5, WIDTH)
    labels = torch.randint(VOCABULARY, (6, 5))
    labels[3:, 1:] = -100
    return states, teacher, torch.randn(VOCABULARY, WIDTH), labels


def losses_of(rows: slice, head: Tensor) -> HeadLosses:
    states, teacher, _, labels = batch()
    return head_losses(
        list(states[:, rows]), head, labels[rows], teacher=teacher[rows], kl_weight=0.5,
        ce_weight=1.0, weights=[0.3, 0.7],
    )  # fmt: skip


def one_of_two(rank: int, folder: Path) -> None:
    """Write what a process finds with its half of the batch."""
    store = distributed.FileStore(str(folder / "store"), PROCESSES)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=PROCESSES)
    head = batch()[2].requires_grad_()
    losses = losses_of_all(losses_of(slice(3 * rank, 3 * rank + 3), head))
    losses.loss.backward()
    sums = {"all": torch.tensor([1.0, 2.0]), f"of {rank}": torch.tensor([float(rank)])}
    found = {
        "gradient": head.grad,
        "loss": losses.loss.detach(),
        "ce": losses.ce,
        "kl": losses.kl,
        "agreement": losses.agreement,
        "teacher_ce": losses.teacher_ce,
        "tokens": losses.tokens,
        "gathered": torch.tensor(gathered([rank, rank])),
        **{f"sum, {name}": value for name, value in sums_of_all(sums).items()},
    }
    torch.save(found, folder / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Tensor]]:
    folder = tmp_path_factory.mktemp("processes")
    torch.multiprocessing.spawn(one_of_two, args=(folder,), nprocs=PROCESSES)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(PROCESSES)]


def test_losses_are_means_over_the_tokens_of_all_processes(found: list[dict[str, Tensor]]) -> None:
    head = batch()[2].requires_grad_()
    alone = losses_of(slice(None), head)
    alone.loss.backward()
    for one in found:
        for name in ("loss", "ce", "kl", "agreement", "teacher_ce", "tokens"):
            torch.testing.assert_close(one[name], getattr(alone, name).detach())
    averaged = torch.stack([one["gradient"] for one in found]).mean(0)
    torch.testing.assert_close(averaged, head.grad)


def test_the_mean_of_means_would_be_another(found: list[dict[str, Tensor]]) -> None:
    halves = [losses_of(slice(start, start + 3), batch()[2]).loss for start in (0, 3)]
    assert abs(float(sum(halves) / 2 - found[0]["loss"])) > 0.01


def test_what_was_found_is_put_together(found: list[dict[str, Tensor]]) -> None:
    for one in found:
        assert one["gathered"].tolist() == [0, 0, 1, 1]
        assert one["sum, all"].tolist() == [2, 4]
        assert one["sum, of 1"].tolist() == [1]


def test_a_process_alone_has_nothing_to_put_together() -> None:
    losses = losses_of(slice(None), batch()[2])
    assert losses_of_all(losses) is losses
    assert gathered([1]) == [1]
    sums = {"table": torch.tensor([1.0, 2.0])}
    assert sums_of_all(sums) is sums
