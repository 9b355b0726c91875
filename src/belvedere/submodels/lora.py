"""LoRA on a backbone: the variant of Balcony that moves the backbone too (arXiv 2503.05005).

The adapters go into the model's own modules, so the backbone stays a model of its class and taps
and views work as without them. Here and not in `backbone`, since only this needs peft.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from peft import LoraConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers import PreTrainedModel

from belvedere.errors import BadInput

Model = TypeVar("Model", bound=nn.Module)


def add_lora(
    backbone: PreTrainedModel,
    rank: int = 8,
    alpha: int = 32,
    dropout: float = 0.1,
    targets: Sequence[str] = ("q_proj", "v_proj"),
) -> None:
    """Put low-rank adapters into a backbone, in place, and freeze all its other parameters.

    Fresh adapters add zero, so the model computes what it did before. Build exits first: they copy
    backbone layers, and would copy the adapters too.

    Args:
        backbone: the model.
        rank: of the update to each matrix.
        alpha: the update is scaled by alpha / rank.
        dropout: on the adapters' inputs.
        targets: the last parts of the names of the linear modules to adapt.

    Raises:
        BadInput: the backbone has no such modules, or has adapters already.
    """
    names = {name.rpartition(".")[2] for name, _ in backbone.named_modules()}
    if missing := set(targets) - names:
        raise BadInput(f"{type(backbone).__name__} has no {min(missing)}", where="lora.targets")
    if any(isinstance(module, BaseTunerLayer) for module in backbone.modules()):
        raise BadInput("the backbone has adapters already", remedy="load it anew")
    backbone.add_adapter(
        LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(targets))
    )


@contextmanager
def adapters_off(model: nn.Module) -> Iterator[None]:
    """Within this context the model computes exactly what it does without its adapters.

    Use it on whatever is called: a view and its parent switch independently.
    """
    tuned = _tuned(model)
    were_on = [not module.disable_adapters for module in tuned]
    without_adapters(model)
    try:
        yield
    finally:
        _switch(tuned, were_on)


def without_adapters(model: Model) -> Model:
    """Turn a model's adapters off for good; of a view, its parent's stay as they are."""
    tuned = _tuned(model)
    _switch(tuned, [False] * len(tuned))
    return model


def _tuned(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, BaseTunerLayer)]


def _switch(tuned: list[Any], on: list[bool]) -> None:
    """Turn adapters on or off; ``requires_grad`` stays as it is.

    peft couples the two, and views have the parameters in common.
    """
    trained = [(p, p.requires_grad) for module in tuned for p in module.parameters()]
    for module, enabled in zip(tuned, on, strict=True):
        module.enable_adapters(enabled)
    for parameter, requires_grad in trained:
        parameter.requires_grad_(requires_grad)
