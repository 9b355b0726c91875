"""The optimiser and learning-rate schedule that every method shares: warm-up, then cosine."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from belvedere.errors import BadInput
from belvedere.strategies import is_cut


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

    def build(
        self, module: nn.Module, steps: int, dims: Mapping[str, int] | None = None
    ) -> dict[str, Any]:
        """The optimiser of what a module trains and its schedule over ``steps``, for Lightning.

        Args:
            module: with what is trained.
            steps: of the whole run.
            dims: by `dims_of`, where a strategy may have cut the parameters up in the meantime: of
                what FSDP leaves a process, nothing is a matrix any more.

        Raises:
            BadInput: Muon is to train matrices that are cut up.
        """
        known = dims_of(module) if dims is None else dims
        hidden = [] if self.muon_lr is None else list(matrices_of_layers(module))
        if any(is_cut(p, 2) for p in hidden):
            raise without_muon()
        others = {id(p) for p in hidden}
        trained = [
            (known[name_of(name)], p)
            for name, p in module.named_parameters()
            if p.requires_grad and id(p) not in others
        ]
        groups: list[dict[str, Any]] = [
            {
                "name": "matrices",
                "params": [p for ndim, p in trained if ndim >= 2],
                "weight_decay": self.weight_decay,
            },
            {
                "name": "vectors",
                "params": [p for ndim, p in trained if ndim < 2],
                "weight_decay": 0.0,
            },
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
        names = {id(p): name_of(name) for name, p in module.named_parameters()}
        cut = any(is_cut(p, known[name_of(name)]) for name, p in module.named_parameters())
        for part in optimizer.parts if isinstance(optimizer, Together) else [optimizer]:
            keep_names(part, names, cut)
        schedule = LambdaLR(optimizer, lambda step: self.multiplier(step, steps))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def without_muon() -> BadInput:
    """What to raise where a strategy cannot train by Muon."""
    return BadInput(
        "Muon needs whole matrices, which this strategy cuts up",
        where="model.optimisation.muon_lr",
        remedy="set it to null, or give trainer.strategy=ddp",
    )


def dims_of(module: nn.Module) -> dict[str, int]:
    """How many dimensions each parameter has, by name."""
    return {name_of(name): parameter.ndim for name, parameter in module.named_parameters()}


def name_of(name: str) -> str:
    """A parameter's own name, without what FSDP's wrappers add."""
    return name.replace("_fsdp_wrapped_module.", "")


def keep_names(optimizer: Optimizer, names: Mapping[int, str], cut: bool) -> None:
    """Let an optimiser's state be that of named parameters, so that any strategy can take it over.

    PyTorch numbers the parameters of an optimiser, FSDP all of a model's: the numbers of the one
    are not those of the other.

    Args:
        optimizer: of these parameters.
        names: of the parameters, by their ids.
        cut: whether a strategy has cut them up, which then asks for the numbers itself
            (`belvedere.method.OptimisedModule` gives the names back).
    """
    order = [names[id(p)] for group in optimizer.param_groups for p in group["params"]]

    def to_numbers(_: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        return renamed(state, {name: number for number, name in enumerate(order)})

    def to_names(_: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        return renamed(state, dict(enumerate(order)))

    optimizer.register_load_state_dict_pre_hook(to_numbers)
    if not cut:
        optimizer.register_state_dict_post_hook(to_names)


def renamed(state: dict[str, Any], names: Mapping[Any, Any]) -> dict[str, Any]:
    """An optimiser's state with its parameters called otherwise; other names stay as they are."""
    return {
        **state,
        "state": {names.get(key, key): value for key, value in state["state"].items()},
        "param_groups": [
            {**group, "params": [names.get(key, key) for key in group["params"]]}
            for group in state["param_groups"]
        ],
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
