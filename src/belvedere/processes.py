"""What the processes of a run put together, each of which sees its own part of the data."""

from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

from belvedere.submodels.losses import HeadLosses

T = TypeVar("T")


def gathered(found: list[T]) -> list[T]:
    """What all processes of a run have found, in the order of the processes."""
    if not distributed.is_initialized():
        return found
    parts: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(parts, found)
    return [one for part in parts for one in part]


def sums_of_all(sums: dict[Any, Tensor]) -> dict[Any, Tensor]:
    """Sums of all processes of a run, which may have met with different tasks."""
    parts = gathered([sums])
    if len(parts) == 1:
        return parts[0]
    return {
        name: torch.stack([part[name] for part in parts if name in part]).sum(0)
        for name in {name: None for part in parts for name in part}
    }


def losses_of_all(losses: HeadLosses) -> HeadLosses:
    """Means over the tokens of all processes, in the place of those over each one's own.

    Processes have different numbers of tokens to learn, and strategies average their gradients:
    the mean of the processes' means would count a token more where there are few. With this the
    averaged gradient is that of one process with all of the batch.

    Args:
        losses: of this process's part of the batch.

    Returns:
        The same on all processes, but for the gradient of ``loss``, which is this process's part.
    """
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return losses
    teacher = losses.kl.new_zeros(()) if losses.teacher_ce is None else losses.teacher_ce
    own = [losses.loss.detach()[None], losses.kl, losses.ce, losses.agreement, teacher[None]]
    sums = torch.cat([torch.ones_like(own[0]), *own]).double() * losses.tokens
    distributed.all_reduce(sums)
    tokens = sums[0]
    means = (sums[1:] / tokens.clamp(min=1)).to(losses.kl.dtype)
    loss, kl, ce, agreement, teacher = means.split([len(one) for one in own])
    share = losses.tokens * distributed.get_world_size() / tokens.clamp(min=1)
    part = losses.loss * share.to(losses.loss.dtype)
    return replace(
        losses,
        loss=part + (loss[0] - part).detach(),
        kl=kl,
        ce=ce,
        agreement=agreement,
        teacher_ce=None if losses.teacher_ce is None else teacher[0],
        tokens=tokens.long(),
    )
