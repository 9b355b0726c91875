"""How the layers of a model are run in training: compiled, or once more to save their memory.

Both are set on the layers themselves, in place, so parameters keep their names. Views of the model
(`belvedere.submodels.views`) are never compiled: decoding has other shapes at each token.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from belvedere.errors import BadInput

VARIANTS = 64
"""How often a forward may be compiled anew, for each kind of layer together: PyTorch's own 8 are
too few for stages of different widths, in training and in evaluation."""


def text_layers(model: nn.Module) -> list[GradientCheckpointingLayer]:
    """All decoder layers of `transformers` in a module, those of exits among them."""
    return [part for part in model.modules() if isinstance(part, GradientCheckpointingLayer)]


def checkpoint_activations(model: nn.Module) -> None:
    """Let trained decoder layers keep only their input, and run again when gradients need more.

    This is what ``gradient_checkpointing_enable`` of `transformers` does, but for layers that are
    in no model of it (exits) as well, and for none that is frozen. In eval mode nothing changes.

    Args:
        model: has no cache in training, or one that its layers only read.

    Raises:
        BadInput: no decoder layer is trained.
    """
    trained = [
        layer for layer in text_layers(model) if any(p.requires_grad for p in layer.parameters())
    ]
    if not trained:
        raise BadInput(
            "no decoder layer is trained, so there are no activations to make anew",
            where="activation_checkpointing",
            remedy="set it to false",
        )
    for layer in trained:
        ours = cast(Any, layer)
        ours.gradient_checkpointing = True
        ours._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
        ours._can_checkpoint_with_cache = True


def compile_layers(model: nn.Module, backend: str = "inductor") -> None:
    """Compile the attention, MLP and norms of all decoder layers, each when it is first run.

    The layers themselves stay as they are, since a compiled module passes over hooks that come
    later, and hooks on layers are what sub-models are read by.

    Args:
        model: any.
        backend: as of `compile_modules`.
    """
    parts = [part for layer in text_layers(model) for part in layer.children()]
    compile_modules([part for part in parts if any(True for _ in part.parameters())], backend)


def compile_modules(
    modules: Sequence[nn.Module], backend: str = "inductor", dynamic: bool | None = None
) -> None:
    """Compile modules in place, each when it is first run.

    Args:
        modules: on which no hook comes later.
        backend: of ``torch.compile``.
        dynamic: whether one variant serves all sizes; None lets PyTorch find out which sizes vary.

    Raises:
        BadInput: there is no such backend.
    """
    known = torch.compiler.list_backends(exclude_tags=())
    if backend not in known:
        raise BadInput(
            f"torch.compile has no backend {backend!r}",
            where="compile",
            remedy=f"give true, false or one of {', '.join(known)}",
        )
    # `torch.compile` knows no other place for it.
    cast(Any, torch)._dynamo.config.recompile_limit = VARIANTS
    for module in modules:
        module.compile(backend=backend, dynamic=dynamic)
