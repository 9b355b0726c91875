"""The parts of a decoder-only language model, a hash of its weights, and its residual stream.

A backbone is any causal language model of `transformers` whose decoder is ``embeddings -> layers
-> norm`` (Llama, Qwen, Mistral, SmolLM, ...). Its layers may look at an encoder's states as well
(mBART, the writing half of UniChart). It is used as it is, through its public surface: the parts
are looked up by name, and the residual stream at a depth is read by a forward pre-hook.
"""

import hashlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from belvedere.errors import BadInput

NORM_NAMES = ("norm", "final_layernorm", "final_layer_norm", "layer_norm")
"""What the families call the norm between the last layer and the head.

The plainest name, mBART's, comes last: a decoder that has another one too means that one.
"""

LOGIT_SCALES = ("final_logit_softcapping", "logit_scale", "logits_scaling")
"""Configuration keys of families whose logits are more than ``hidden @ head.weight.T``."""


def decoder_of(model: PreTrainedModel) -> PreTrainedModel:
    """The module that maps token ids to normed hidden states: embeddings, layers and final norm.

    Raises:
        BadInput: the model has no stack of decoder ``layers`` followed by a norm.
    """
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else None
    if not isinstance(getattr(decoder, "layers", None), nn.ModuleList) or not _norm_names(decoder):
        raise BadInput(
            f"{type(model).__name__} has no decoder with `layers` and a final norm",
            remedy="use a decoder-only language model such as Llama, Qwen, Mistral or SmolLM",
        )
    assert isinstance(decoder, PreTrainedModel)
    return decoder


def layers_of(model: PreTrainedModel) -> nn.ModuleList:
    """The decoder layers, first to last. Raises `BadInput` as `decoder_of` does."""
    layers = decoder_of(model).layers
    assert isinstance(layers, nn.ModuleList)
    return layers


def num_layers_of(model: PreTrainedModel) -> int:
    """How many decoder layers the model has. Raises `BadInput` as `decoder_of` does."""
    return len(layers_of(model))


def norm_of(model: PreTrainedModel) -> nn.Module:
    """The norm between the last layer and the head. Raises `BadInput` as `decoder_of` does."""
    return decoder_of(model).get_submodule(norm_name_of(model))


def norm_name_of(model: PreTrainedModel) -> str:
    """The final norm's name within the decoder. Raises `BadInput` as `decoder_of` does."""
    return _norm_names(decoder_of(model))[0]


def _norm_names(decoder: Any) -> list[str]:
    return [name for name in NORM_NAMES if isinstance(getattr(decoder, name, None), nn.Module)]


def head_of(model: PreTrainedModel) -> nn.Linear:
    """The language-model head.

    Raises:
        BadInput: the model has none (it is the decoder alone).
    """
    head = model.get_output_embeddings()
    if not hasattr(head, "weight"):
        raise BadInput(
            f"{type(model).__name__} has no language-model head",
            remedy="load it with AutoModelForCausalLM",
        )
    return head


def head_weight_of(model: PreTrainedModel) -> Tensor:
    """The head's weight, [vocabulary, hidden], for losses that compute the logits in chunks.

    Raises:
        BadInput: the logits are not ``hidden @ weight.T`` (a bias, a scale or a cap comes after it,
            as in Phi, Cohere, Granite or Gemma 2), or there is no head.
    """
    head = head_of(model)
    config = model.config.get_text_config()
    extra = [name for name in LOGIT_SCALES if getattr(config, name, None) not in (None, 1)]
    if getattr(head, "bias", None) is not None:
        extra.append("lm_head.bias")
    if extra:
        raise BadInput(
            f"the logits of {type(model).__name__} are more than hidden @ weight ({extra[0]})",
            remedy="use a family with a plain linear head, such as Llama, Qwen or Mistral",
        )
    return head.weight


def sha256_of_weights(module: nn.Module) -> str:
    """Hash of the names, dtypes, shapes and bytes of all parameters and buffers, in order of name.

    Equal hashes before and after a run prove that it left the module alone, bit for bit. A tensor
    that has two names (a tied head) is hashed once, under its first. Adapters (peft's LoRA) are
    left out, and the names are those without them. Sharded parameters (FSDP2) are gathered one by
    one, so then every rank has to call this.

    Returns:
        64 hexadecimal digits.

    Raises:
        BadInput: a tensor is on the meta device and has no bytes.
    """
    digest = hashlib.sha256()
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    own = {
        name.replace(".base_layer.", "."): tensor
        for name, tensor in tensors.items()
        if ".lora_" not in name
    }
    for name, tensor in sorted(own.items()):
        if tensor.is_meta:
            raise BadInput(f"`{name}` has no values to hash", remedy="load the weights first")
        whole = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
        digest.update(f"{name} {whole.dtype} {tuple(whole.shape)}\n".encode())
        # Bytes, since numpy has no bfloat16; flat, since a scalar cannot be viewed as another type.
        flat = whole.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(flat.numpy().data)
    return digest.hexdigest()


def validate_depths(depths: Sequence[int], num_layers: int) -> tuple[int, ...]:
    """Check the depths of exits: distinct whole numbers, ascending, from 1 to num_layers - 1.

    Depth num_layers is the full model and needs no exit.

    Returns:
        The depths as a tuple.

    Raises:
        BadInput: says which depth is wrong and what is allowed.
    """
    allowed = f"exits are distinct, ascending and from 1 to {num_layers - 1} of {num_layers} layers"
    if len(depths) == 0:
        raise BadInput("no exit depths are given", remedy=allowed)
    for depth in depths:
        if isinstance(depth, bool) or not isinstance(depth, int):
            raise BadInput(f"exit depth {depth!r} is not a whole number", remedy=allowed)
        if not 1 <= depth < num_layers:
            raise BadInput(f"exit depth {depth} is out of range", remedy=allowed)
    for before, after in pairwise(depths):
        if after == before:
            raise BadInput(f"exit depth {after} is given twice", remedy=allowed)
        if after < before:
            raise BadInput(f"exit depth {after} comes after {before}", remedy=allowed)
    return tuple(depths)


@dataclass(frozen=True)
class Tap:
    """What backbone layer k (counted from 0) was called with: all that an exit at depth k needs.

    Attributes:
        hidden: [batch, length, hidden], the residual stream after exactly k layers, not normed.
        layer_kwargs: the layer's keyword arguments: attention mask, position embeddings, cache, ...
    """

    hidden: Tensor
    layer_kwargs: dict[str, Any]


@dataclass(frozen=True)
class Taps:
    """One forward pass of the decoder, read at several depths.

    Attributes:
        at: for each wanted depth k, its `Tap`.
        final: [batch, length, hidden], the full model's hidden states after its final norm; None if
            the pass stopped early.
    """

    at: dict[int, Tap]
    final: Tensor | None


def decoder_inputs(batch: dict[str, Tensor]) -> dict[str, Any]:
    """What the decoder takes of a packed batch: tokens, and positions that part its documents."""
    return {name: batch[name] for name in ("input_ids", "position_ids")}


class _Stop(Exception):
    """Ends a forward pass at the deepest wanted depth; never leaves `read_depths`."""


def read_depths(
    backbone: PreTrainedModel, depths: Sequence[int], *, full: bool = True, **inputs: Any
) -> Taps:
    """Run the decoder once and read the residual stream at each depth.

    The same hidden states as ``output_hidden_states``, but only the wanted ones are kept, and with
    the arguments of the layer that comes next, so that an exit is called just as that layer is.
    Whether gradients flow is the caller's business: wrap the call in ``torch.no_grad()`` for a
    frozen backbone (not in inference mode, whose tensors an exit could not be trained on).

    Args:
        backbone: the model, with or without a head.
        depths: as `validate_depths` demands; may be empty when ``full``.
        full: False stops before backbone layer max(depths) (counted from 0) is run.
        inputs: what the decoder takes: ``input_ids`` [batch, length], ``attention_mask``,
            ``position_ids``, ``past_key_values``, ... There is no cache unless one is given. One
            that exits write to as well is best a ``DynamicCache()`` without a configuration: it
            grows to any number of slots, where one made from a configuration has as many as there
            are layers.

    Raises:
        BadInput: wrong depths, or a layer that runs without its hooks.
    """
    if depths or not full:
        depths = validate_depths(depths, num_layers_of(backbone))
    inputs.setdefault("use_cache", inputs.get("past_key_values") is not None)
    layers = layers_of(backbone)
    at: dict[int, Tap] = {}
    last = None if full else depths[-1]
    # First in line: a pass that stops here leaves hooks of other libraries (FSDP) untouched.
    handles = [
        layers[k].register_forward_pre_hook(_tap(at, k, k == last), prepend=True, with_kwargs=True)
        for k in depths
    ]
    try:
        final = decoder_of(backbone)(**inputs).last_hidden_state
    except _Stop:
        final = None
    finally:
        for handle in handles:
            handle.remove()
    if missing := set(depths) - set(at):
        raise BadInput(
            f"the hook on backbone layer {min(missing)} did not run",
            remedy="do not compile the backbone or its layers: torch.compile skips later hooks",
        )
    return Taps(at=at, final=final)


def read_prefixes(
    model: PreTrainedModel, depths: Sequence[int], batch: dict[str, Tensor]
) -> list[Tensor]:
    """Hidden states before the head of the model's prefixes, in one pass through its layers.

    Args:
        model: the model, with or without a head.
        depths: ascending; the last one may be the full depth. No layer beyond it is run.
        batch: a packed batch.

    Returns:
        For each depth [batch, length, hidden], after the final norm.

    Raises:
        BadInput: wrong depths.
    """
    return prefix_states(model, depths, **decoder_inputs(batch))


def prefix_states(model: PreTrainedModel, depths: Sequence[int], **inputs: Any) -> list[Tensor]:
    """`read_prefixes` of any inputs of the decoder, such as ``encoder_hidden_states``."""
    full = depths[-1] == num_layers_of(model)
    early = depths[:-1] if full else depths
    taps = read_depths(model, early, full=full, **inputs)
    norm = norm_of(model)
    states = [norm(tap.hidden) for tap in taps.at.values()]
    return states if taps.final is None else [*states, taps.final]


def _tap(at: dict[int, Tap], depth: int, stop: bool) -> Callable[..., None]:
    """A pre-hook that notes a layer's arguments in ``at[depth]`` and, if asked, ends the pass."""

    def note(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # Hidden states come first in every family; a few also pass further arguments by position.
        names = list(inspect.signature(layer.forward).parameters)
        arguments = {**dict(zip(names, args, strict=False)), **kwargs}
        at[depth] = Tap(hidden=arguments.pop(names[0]), layer_kwargs=arguments)
        if stop:
            raise _Stop

    return note
