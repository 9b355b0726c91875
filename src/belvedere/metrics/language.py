"""How well sub-models predict text, alone and beside the full model."""

import torch
from torch import Tensor
from torchmetrics import Metric

from belvedere.submodels.losses import HeadLosses


class SubModelQuality(Metric):
    """Loss, perplexity, KL and agreement of several sub-models, averaged over tokens.

    It accumulates what ``head_losses`` returns for each batch, so that every token counts the
    same whatever batch it was in.

    Args:
        names: the sub-models, in the order in which they are given to ``head_losses``.

    Example:
        >>> import torch
        >>> from belvedere.submodels.losses import head_losses
        >>> head, hidden = torch.eye(4), torch.eye(4)[None]
        >>> quality = SubModelQuality(["exit_1"])
        >>> labels = torch.tensor([[0, 1, 2, -100]])
        >>> quality.update(head_losses([hidden], head, labels, teacher=hidden))
        >>> values = quality.compute()["exit_1"]
        >>> round(values["agreement"], 3), round(abs(values["kl_to_full"]), 3)
        (1.0, 0.0)
    """

    full_state_update = False
    kl: Tensor
    ce: Tensor
    agreement: Tensor
    teacher_ce: Tensor
    tokens: Tensor

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self.names = names
        for state in ("kl", "ce", "agreement"):
            zeros = torch.zeros(len(names), dtype=torch.float64)
            self.add_state(state, default=zeros, dist_reduce_fx="sum")
        for state in ("teacher_ce", "tokens"):
            zero = torch.zeros((), dtype=torch.float64)
            self.add_state(state, default=zero, dist_reduce_fx="sum")

    def update(self, losses: HeadLosses) -> None:
        """Add a batch: means over its tokens, and their number."""
        tokens = losses.tokens.to(torch.float64)
        self.kl += losses.kl * tokens
        self.ce += losses.ce * tokens
        self.agreement += losses.agreement * tokens
        if losses.teacher_ce is not None:
            self.teacher_ce += losses.teacher_ce * tokens
        self.tokens += tokens

    def compute(self) -> dict[str, dict[str, float]]:
        """For each sub-model ``loss`` (nats), ``perplexity``, ``kl_to_full`` (nats), ``agreement``.

        ``full`` is the teacher, with a KL of 0 and an agreement of 1 to itself.
        """
        one, zero = torch.ones(()), torch.zeros(())
        teacher = _values(self.teacher_ce / self.tokens, zero, one)
        return {**self.compute_students(), "full": teacher}

    def compute_students(self) -> dict[str, dict[str, float]]:
        """The same without the teacher."""
        kl, ce, agreement = (s / self.tokens for s in (self.kl, self.ce, self.agreement))
        return {name: _values(ce[i], kl[i], agreement[i]) for i, name in enumerate(self.names)}


def logged(split: str, quality: dict[str, dict[str, float]]) -> dict[str, float]:
    """What `SubModelQuality` computed, under the names that loggers get: ``split/metric/name``."""
    return {
        f"{split}/{metric}/{name}": value
        for name, metrics in quality.items()
        for metric, value in metrics.items()
    }


def _values(ce: Tensor, kl: Tensor, agreement: Tensor) -> dict[str, float]:
    return {
        "loss": float(ce),
        "perplexity": float(ce.exp()),
        "kl_to_full": float(kl),
        "agreement": float(agreement),
    }
