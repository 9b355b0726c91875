"""The optimiser and learning-rate schedule that every method shares: warm-up, then cosine."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer
from torch.optim.lr_scheduler import LambdaLR


@dataclass(frozen=True)
class Optimisation:
    """AdamW, and Muon where that is wanted, with linear warm-up and cosine decay.

    Attributes:
        lr: peak learning rate.
        weight_decay: decoupled weight decay of matrices; vectors (norms, biases) are not decayed.
        betas: AdamW's coefficients.
        eps: AdamW's epsilon.
        warmup: share of all steps over which the rate rises linearly from 0.
        final: share of the peak that the cosine ends at.
        muon_lr: peak rate of Muon (arXiv 2502.16982, with its updates of AdamW's size) for the
            matrices within the layers. Embeddings, heads, convolutions and vectors stay with AdamW;
            by default everything does.
    """

    lr: float = 5e-4
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    warmup: float = 0.01
    final: float = 0.0
    muon_lr: float | None = None

    def multiplier(self, step: int, steps: int) -> float:
        """Share of the peak rate at ``step`` of ``steps``."""
        warmup = max(1, math.ceil(self.warmup * steps))
        if step < warmup:
            return (step + 1) / warmup
        progress = min(1.0, (step - warmup) / max(1, steps - warmup))
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * progress)) / 2

    def build(self, module: nn.Module, steps: int) -> dict[str, Any]:
        """The optimiser of what a module trains and its schedule over ``steps``, for Lightning."""
        hidden = [] if self.muon_lr is None else list(matrices_of_layers(module))
        others = {id(p) for p in hidden}
        trained = [p for p in module.parameters() if p.requires_grad and id(p) not in others]
        groups: list[dict[str, Any]] = [
            {
                "name": "matrices",
                "params": [p for p in trained if p.ndim >= 2],
                "weight_decay": self.weight_decay,
            },
            {"name": "vectors", "params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
        ]
        optimizer: Optimizer = AdamW(
            [group for group in groups if group["params"]],
            lr=self.lr,
            betas=(self.betas[0], self.betas[1]),
            eps=self.eps,
        )
        if hidden and self.muon_lr is not None:
            muon = Muon(
                [{"name": "hidden", "params": hidden}],
                lr=self.muon_lr,
                weight_decay=self.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
            optimizer = Together([optimizer, muon])
        schedule = LambdaLR(optimizer, lambda step: self.multiplier(step, steps))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def matrices_of_layers(module: nn.Module) -> Iterator[Tensor]:
    """The trained weights of the linear maps within a module's stacks of layers."""
    for name, part in module.named_modules():
        in_a_stack = any(piece.isdigit() for piece in name.split("."))
        if isinstance(part, nn.Linear) and in_a_stack and part.weight.requires_grad:
            yield part.weight


class Together(Optimizer):
    """Several optimisers as one; each has its own parameters.

    Args:
        parts: whose groups become the groups of the whole.
    """

    def __init__(self, parts: list[Optimizer]) -> None:
        self.parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Step with each, after the closure has made the gradients."""
        loss = None if closure is None else closure()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The states of the parts, in their order."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Give each part its own state."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        # Loading makes new groups, which the schedule has to see.
        self.param_groups = [group for part in self.parts for group in part.param_groups]
