"""The optimiser and learning-rate schedule that every method shares: AdamW, warm-up, cosine."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR


@dataclass(frozen=True)
class Optimisation:
    """AdamW with linear warm-up and cosine decay.

    Attributes:
        lr: peak learning rate.
        weight_decay: decoupled weight decay of matrices; vectors (norms, biases) are not decayed.
        betas: AdamW's coefficients.
        eps: AdamW's epsilon.
        warmup: share of all steps over which the rate rises linearly from 0.
        final: share of the peak that the cosine ends at.
    """

    lr: float = 5e-4
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    warmup: float = 0.01
    final: float = 0.0

    def multiplier(self, step: int, steps: int) -> float:
        """Share of the peak rate at ``step`` of ``steps``."""
        warmup = max(1, math.ceil(self.warmup * steps))
        if step < warmup:
            return (step + 1) / warmup
        progress = min(1.0, (step - warmup) / max(1, steps - warmup))
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * progress)) / 2

    def build(self, parameters: Iterable[nn.Parameter], steps: int) -> dict:
        """The optimiser and its schedule over ``steps``, in the form that Lightning expects."""
        trained = [p for p in parameters if p.requires_grad]
        groups = [
            {
                "name": "matrices",
                "params": [p for p in trained if p.ndim >= 2],
                "weight_decay": self.weight_decay,
            },
            {"name": "vectors", "params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
        ]
        optimizer = AdamW(
            [group for group in groups if group["params"]],
            lr=self.lr,
            betas=(self.betas[0], self.betas[1]),
            eps=self.eps,
        )
        schedule = LambdaLR(optimizer, lambda step: self.multiplier(step, steps))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }
