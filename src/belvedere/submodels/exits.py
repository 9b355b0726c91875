"""Balcony exits: a decoder layer, a norm and a head that make a backbone's first layers a model.

Exit k reads the residual stream after exactly k backbone layers. It is a decoder layer of the
backbone's own class, a norm, and the backbone's head or one of its own (arXiv 2503.05005, section
3). So backbone layers 1..k and exit k are a standalone model of k + 1 layers of the same family
(ours).

(ours) The exit's layer takes the place of backbone layer k (counted from 0), the one that would
come next, and has that layer's type: its attention window, its rotary embedding. So it is called
with just the arguments that layer k is called with, whatever its weights were copied from, and the
standalone model's ``layer_types`` are the backbone's first k + 1.
"""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from belvedere.errors import BadInput
from belvedere.submodels.backbone import (
    decoder_of,
    head_of,
    head_weight_of,
    layers_of,
    norm_of,
    read_depths,
    validate_depths,
)

Kind = Literal["layer", "attention", "mlp", "norm"]
Init = Literal["last", "depth", "random"]
Norm = Literal["final", "depth", "frozen"]
Head = Literal["tied", "own"]


@dataclass(frozen=True)
class ExitConfig:
    """Where the exits are and what they are made of.

    Attributes:
        depths: the number of backbone layers before each exit; ascending.
        kind: "layer" is a whole decoder layer (published); "attention" or "mlp" only that half of
            it, with its norm and its residual connection; "norm" has no layer.
        init: the layer's first weights: "last" copies the last backbone layer (published), "depth"
            backbone layer k (counted from 0), the one that would come next; "random" are fresh ones
            by the model's own initialisation.
        norm: the norm's first weights: "final" copies the final norm, "depth" the input norm of
            backbone layer k (the published code); "frozen" is the final norm, not trained.
        head: "tied" is the backbone's, not trained and not saved (published); "own" is a copy.

    Raises:
        BadInput: an option that does not exist.
    """

    depths: tuple[int, ...]
    kind: Kind = "layer"
    init: Init = "last"
    norm: Norm = "final"
    head: Head = "tied"

    def __post_init__(self) -> None:
        object.__setattr__(self, "depths", tuple(self.depths))
        if (self.kind, self.norm, self.head) == ("norm", "frozen", "tied"):
            raise BadInput(
                "an exit of a frozen norm and a tied head has nothing to train",
                remedy="choose exits.head=own, another exits.kind, or exits.norm=final",
            )
        for name, options in (("kind", Kind), ("init", Init), ("norm", Norm), ("head", Head)):
            value, allowed = getattr(self, name), get_args(options)
            if value not in allowed:
                raise BadInput(
                    f"exits have no {name} {value!r}", remedy=f"choose one of {', '.join(allowed)}"
                )


class Exit(nn.Module):
    """One exit: a decoder layer (or half of one, or none), a norm and maybe a head.

    Its layer's attention has a cache slot of its own, number of backbone layers + position among
    the exits, so that exits and backbone can share a cache.

    Args:
        depth: how many backbone layers come before it.
        layer: a decoder layer of the backbone's class, or None.
        norm: the norm before the head.
        head: a head of its own, or None for the backbone's.
    """

    layer: nn.Module | None
    head: nn.Linear | None

    def __init__(
        self, depth: int, layer: nn.Module | None, norm: nn.Module, head: nn.Linear | None
    ) -> None:
        super().__init__()
        self.depth = depth
        self.layer = layer
        self.norm = norm
        self.head = head

    def forward(self, hidden: Tensor, **layer_kwargs: Any) -> Tensor:
        """The hidden states that the head takes.

        An exit may have another dtype than the backbone (float32 to train, beside bfloat16): it
        works in its own, and the result has the dtype of the head that comes next.

        Args:
            hidden: [batch, length, hidden], the residual stream after ``depth`` backbone layers.
            layer_kwargs: what backbone layer ``depth`` was called with (`Tap.layer_kwargs`).

        Returns:
            [batch, length, hidden], normed; the caller applies the head.
        """
        dtype = hidden.dtype if self.head is None else self.head.weight.dtype
        return self.norm(self.through_layer(hidden, **layer_kwargs)).to(dtype)

    def through_layer(self, hidden: Tensor, **layer_kwargs: Any) -> Tensor:
        """The states that the norm takes, of the same shape; as they are where there is no layer.

        Args:
            hidden: as in `forward`.
            layer_kwargs: likewise.
        """
        if self.layer is None:
            return hidden
        return called(self.layer, hidden.to(dtype_of(self.layer)), layer_kwargs)

    def head_weight(self, backbone: PreTrainedModel) -> Tensor:
        """The weight of the exit's head, [vocabulary, hidden]: its own, else the backbone's.

        Raises:
            BadInput: as `head_weight_of`, where the backbone's logits are not a plain product.
        """
        tied = head_weight_of(backbone)
        return tied if self.head is None else self.head.weight


class Exits(nn.ModuleDict):
    """The exits of a backbone, by depth.

    Parameters and state are the exits' own only, never the backbone's: ``state_dict`` has the keys
    ``<depth>.layer.*``, ``<depth>.norm.*`` and, for heads that are not tied, ``<depth>.head.*``.
    """

    def __init__(self, config: ExitConfig, exits: Iterable[Exit]) -> None:
        super().__init__({str(exit.depth): exit for exit in exits})
        self.config = config

    @property
    def depths(self) -> tuple[int, ...]:
        """The depths of the exits, ascending."""
        return self.config.depths

    def at(self, depth: int) -> Exit:
        """The exit at a depth.

        Raises:
            BadInput: there is none; says which there are.
        """
        if depth not in self.depths:
            there = ", ".join(map(str, self.depths))
            raise BadInput(f"there is no exit at depth {depth}", remedy=f"choose one of {there}")
        exit = self[str(depth)]
        assert isinstance(exit, Exit)
        return exit


def build_exits(
    backbone: PreTrainedModel, config: ExitConfig, dtype: torch.dtype | None = None
) -> Exits:
    """Exits for a backbone, ready to be trained; the backbone is left untouched.

    Works on the meta device too, where nothing is allocated.

    Args:
        backbone: a decoder-only model with a head.
        config: where the exits are and what they are made of.
        dtype: of the exits' parameters; None keeps the backbone's.

    Returns:
        The exits, in the backbone's train or eval mode; all parameters have ``requires_grad``, but
        for frozen norms.

    Raises:
        BadInput: wrong depths, or a backbone that lacks the parts that the options ask for.
    """
    num_layers = len(layers_of(backbone))
    depths = validate_depths(config.depths, num_layers)
    if any(hasattr(module, "base_layer") for module in layers_of(backbone).modules()):
        raise BadInput(
            "the backbone has adapters, which the exits would copy",
            remedy="build the exits first and add the adapters after that",
        )
    exits = Exits(
        config,
        [
            Exit(
                depth,
                layer=_make_layer(backbone, depth, num_layers + position, config),
                norm=_make_norm(backbone, depth, config),
                head=copy.deepcopy(head_of(backbone)) if config.head == "own" else None,
            )
            for position, depth in enumerate(depths)
        ],
    )
    exits.to(dtype).train(backbone.training).requires_grad_(True)
    if config.norm == "frozen":
        for depth in depths:
            exits.at(depth).norm.requires_grad_(False)
    return exits


def read_submodels(
    backbone: PreTrainedModel, depths: Sequence[int], exits: Exits | None, **inputs: Any
) -> list[tuple[Tensor, nn.Module]]:
    """Several sub-models and the full one, read off one pass through the backbone.

    Args:
        backbone: the full model.
        depths: of the sub-models, ascending.
        exits: that read there; without them the backbone's own norm and head do.
        inputs: of the decoder, as in `read_depths`.

    Returns:
        For each depth, and last for the full model, the hidden states [batch, length, hidden] that
        the head takes, and the head.

    Raises:
        BadInput: wrong depths, or an exit that is not there.
    """
    taps = read_depths(backbone, depths, **inputs)
    found: list[tuple[Tensor, nn.Module]] = []
    for depth, tap in taps.at.items():
        exit = None if exits is None else exits.at(depth)
        if exit is None:
            found.append((norm_of(backbone)(tap.hidden), head_of(backbone)))
        else:
            states = exit(tap.hidden, **tap.layer_kwargs)
            found.append((states, exit.head or head_of(backbone)))
    assert taps.final is not None
    return [*found, (taps.final, head_of(backbone))]


def called(layer: nn.Module, hidden: Tensor, arguments: dict[str, Any]) -> Tensor:
    """The states that a decoder layer returns, which in some families come with more."""
    output = layer(hidden, **arguments)
    found: Tensor = output[0] if isinstance(output, tuple) else output
    return found


def dtype_of(module: nn.Module) -> torch.dtype:
    """The dtype of a module's parameters (of the first, if they differ)."""
    return next(module.parameters()).dtype


def set_cache_slot(layer: nn.Module, slot: int) -> None:
    """Let a decoder layer and its attention write to this slot of the cache."""
    for module in layer.modules():
        if hasattr(module, "layer_idx"):
            vars(module)["layer_idx"] = slot


def _make_norm(backbone: PreTrainedModel, depth: int, config: ExitConfig) -> nn.Module:
    if config.norm != "depth":
        return copy.deepcopy(norm_of(backbone))
    layer = layers_of(backbone)[depth]
    if not hasattr(layer, "input_layernorm"):
        raise BadInput(
            f"{type(layer).__name__} has no input norm to copy", remedy="choose exits.norm=final"
        )
    return copy.deepcopy(layer.get_submodule("input_layernorm"))


def _make_layer(
    backbone: PreTrainedModel, depth: int, slot: int, config: ExitConfig
) -> nn.Module | None:
    """A layer of backbone layer ``depth``'s type with the weights that ``config.init`` asks for."""
    if config.kind == "norm":
        return None
    source = layers_of(backbone)[depth]
    # The configuration stays the backbone's own object: a change of the attention implementation
    # there changes the masks, and has to reach the exits with them.
    shared = {id(m.config): m.config for m in source.modules() if hasattr(m, "config")}
    layer = copy.deepcopy(source, shared)
    if config.init == "last":
        _copy_weights(layers_of(backbone)[-1], layer)
    elif config.init == "random":
        with torch.no_grad():
            layer.apply(decoder_of(backbone)._init_weights)
    if config.kind != "layer":
        _remove_half(layer, keep=config.kind)
    set_cache_slot(layer, slot)
    return layer


def _copy_weights(source: nn.Module, target: nn.Module) -> None:
    try:
        target.load_state_dict(source.state_dict())
    except RuntimeError as error:
        raise BadInput(
            "the last backbone layer has other parts than the layer that the exit stands for",
            remedy="choose exits.init=depth",
        ) from error


class _NoAttention(nn.Module):
    """Stands in for attention; adds nothing to the residual stream, writes to no cache."""

    def forward(self, hidden_states: Tensor, **_: Any) -> tuple[Tensor, None]:
        """Zeros, [1, 1, 1], and no attention weights."""
        return hidden_states.new_zeros(1, 1, 1), None


class _NoMlp(nn.Module):
    """Stands in for an MLP and adds nothing to the residual stream."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Zeros, [1, 1, 1]."""
        return hidden_states.new_zeros(1, 1, 1)


def _remove_half(layer: nn.Module, keep: Literal["attention", "mlp"] | str) -> None:
    """Take attention or MLP, with the norms of that branch, out of a decoder layer.

    The layer's own ``forward`` and its residual connections do the rest, so no modelling code is
    repeated. The norms go too: they would be trained parameters without a gradient.
    """
    names = {name for name, _ in layer.named_children()}
    if not {"self_attn", "mlp"} <= names:
        raise BadInput(
            f"{type(layer).__name__} has no `self_attn` and `mlp` to choose from",
            remedy="choose exits.kind=layer or exits.kind=norm",
        )
    attention, mlp = (
        {"input_layernorm"},
        {"pre_feedforward_layernorm", "post_feedforward_layernorm"},
    )
    # After attention in families with norms behind the branches (Gemma 3, OLMo 2), else before the
    # MLP.
    behind = "pre_feedforward_layernorm" in names or "input_layernorm" not in names
    (attention if behind else mlp).add("post_attention_layernorm")
    for name in names & (mlp if keep == "attention" else attention):
        setattr(layer, name, nn.Identity())
    if keep == "attention":
        layer.mlp = _NoMlp()
    else:
        layer.self_attn = _NoAttention()
