"""Sub-models as views: models of the backbone's own class that share all their parameters with it.

A view is made of shallow copies of the parent's modules around the parent's own tensors. So it has
the parent's weights for as long as both live, whoever trains them, while what is not a weight is
the view's own: train or eval mode, configuration, attention implementation, hooks, whether
adapters are enabled. Making one allocates no tensor and takes milliseconds: make one when it is
needed. (ours; the sub-models are those of arXiv 2503.05005 and 2309.08968)
"""

import copy
from typing import Any, TypeVar, cast

from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from belvedere.errors import BadInput
from belvedere.submodels.backbone import (
    decoder_of,
    head_of,
    layers_of,
    norm_name_of,
    norm_of,
    num_layers_of,
)
from belvedere.submodels.exits import Exit, dtype_of, set_cache_slot

Model = TypeVar("Model", bound=PreTrainedModel)
Module = TypeVar("Module", bound=nn.Module)


def submodel(backbone: Model, depth: int, exit: Exit | None = None) -> Model:
    """The backbone's first layers, and maybe an exit, as a model of their own.

    Without an exit: layers 1..depth + final norm + head; at full depth the backbone again. With
    one: layers 1..depth + the exit's layer, norm and head, a model of ``depth + 1`` layers
    (``depth`` for an exit that is only a norm). ``generate``, caches and ``state_dict`` work as
    for any model of the family, and the configuration describes just what is there.

    The parameters, buffers and tied weights *are* the backbone's and the exit's. So
    ``view.to(...)`` or an in-place change of a weight changes the parent as well, while a module
    that is swapped in the parent later (adapters, FSDP) does not reach a view made before.

    Args:
        backbone: the parent; its own modules are left untouched.
        depth: how many backbone layers; 1 to all of them, or one less with an exit.
        exit: an exit built for this backbone and depth.

    Raises:
        BadInput: wrong depth, an exit of another depth or backbone, or a backbone that cannot be
            shared (spread over devices by accelerate, or layers of different shapes).
    """
    _check(backbone, depth, exit)
    twins: dict[int, nn.Module] = {}
    configs: dict[int, Any] = {}
    view = _twin(backbone, twins, configs)
    if hasattr(backbone, "generation_config"):
        view.generation_config = copy.deepcopy(backbone.generation_config)
    del layers_of(view)[depth:]
    if exit is not None:
        _attach(view, exit, twins, configs)
    _cut(decoder_of(view).config, num_layers_of(view))
    return view


def shared(module: Module) -> Module:
    """The whole of a module as a view: another module around the same parameters and buffers.

    For models that have a backbone as one of their parts: of the rest nothing is cut.

    Raises:
        BadInput: a part of it cannot be shared (spread over devices by accelerate).
    """
    return _twin(module, {}, {})


def _check(backbone: PreTrainedModel, depth: int, exit: Exit | None) -> None:
    """Raise `BadInput` where `submodel` says."""
    deepest = num_layers_of(backbone) - (exit is not None)
    if isinstance(depth, bool) or not isinstance(depth, int) or not 1 <= depth <= deepest:
        raise BadInput(
            f"there is no sub-model of {depth!r} backbone layers",
            remedy=f"choose a whole number from 1 to {deepest}",
        )
    if getattr(decoder_of(backbone).config, "is_heterogeneous", False):
        raise BadInput(
            "the backbone's layers differ in shape, which its configuration cannot say once cut",
            remedy="use a backbone of equal layers",
        )
    if exit is None:
        return
    if exit.depth != depth:
        raise BadInput(
            f"the exit is for depth {exit.depth}, not {depth}", remedy="use its own depth"
        )
    norms = [
        {name: weight.shape for name, weight in norm.named_parameters()}
        for norm in (exit.norm, norm_of(backbone))
    ]
    layer_fits = exit.layer is None or type(exit.layer) is type(layers_of(backbone)[depth])
    if not layer_fits or norms[0] != norms[1]:
        raise BadInput(
            "the exit was built for another backbone", remedy="build or load the exits of this one"
        )


def _twin(module: Module, twins: dict[int, nn.Module], configs: dict[int, Any]) -> Module:
    """A shallow copy of a module tree around the same parameters and buffers.

    Args:
        module: the root.
        twins: the copies so far, by the id of what they copy.
        configs: likewise the copies of configurations, in the form of a ``deepcopy`` memo, so that
            modules that shared a configuration share its copy.
    """
    if id(module) in twins:
        return cast(Module, twins[id(module)])
    if "forward" in vars(module) and module._modules:
        # The replaced forward is bound to the parent's module and would run the parent's children.
        raise BadInput(
            f"the forward of {type(module).__name__} was replaced, as device maps do",
            remedy="load the backbone without device_map",
        )
    # As `copy.copy` does, which of a module that FSDP2 has cut up would make a new one instead.
    twin = object.__new__(type(module))
    twin.__setstate__(module.__getstate__())
    twins[id(module)] = twin
    _separate_hooks(twin)
    # The dictionaries of parameters and buffers stay shared: what moves the parent moves the twin.
    vars(twin)["_modules"] = {
        name: child if child is None else _twin(child, twins, configs)
        for name, child in module._modules.items()
    }
    if isinstance(vars(module).get("config"), PreTrainedConfig):
        vars(twin)["config"] = copy.deepcopy(module.config, configs)
    return twin


def _separate_hooks(twin: nn.Module) -> None:
    """Give a shallow copy hook tables of its own, and let transformers install its hooks anew.

    transformers records hidden states by hooks that it installs once in each model. With the
    parent's hooks and without its mark, or the other way round, a view would record twice or not
    at all.
    """
    for name, value in vars(twin).items():
        if "hook" in name and isinstance(value, dict):
            vars(twin)[name] = value.copy()
    for key, hook in list(twin._forward_hooks.items()):
        if getattr(hook, "__module__", "") == "transformers.utils.output_capturing":
            del twin._forward_hooks[key]
    vars(twin).pop("_output_capturing_hooks_installed", None)


def _attach(
    view: PreTrainedModel, exit: Exit, twins: dict[int, nn.Module], configs: dict[int, Any]
) -> None:
    """Put twins of an exit's layer, norm and head behind the view's layers."""
    decoder, dtype = decoder_of(view), head_of(view).weight.dtype
    # Masks are made by the view's configuration, so the exit's attention has to read the same one.
    configs |= {id(m.config): decoder.config for m in exit.modules() if hasattr(m, "config")}
    if exit.layer is not None:
        layer = _twin(exit.layer, twins, configs).train(view.training)
        set_cache_slot(layer, exit.depth)
        if (own := dtype_of(layer)) != dtype:  # the casts of `Exit.forward`
            layer.register_forward_pre_hook(lambda _, args: (args[0].to(own), *args[1:]))
        layers_of(view).append(layer)
    if exit.head is not None:
        _untie(view, _twin(exit.head, twins, configs))
        dtype = exit.head.weight.dtype
    norm = _twin(exit.norm, twins, configs).train(view.training)
    if any(weight.dtype != dtype for weight in norm.parameters()):
        norm.register_forward_hook(lambda _, __, normed: normed.to(dtype))
    setattr(decoder, norm_name_of(view), norm)


def _untie(view: PreTrainedModel, head: nn.Module) -> None:
    """Give the view a head that is not its embedding."""
    view.set_output_embeddings(head)
    for config in (view.config, view.config.get_text_config()):
        config.tie_word_embeddings = False
    view.all_tied_weights_keys = view.get_expanded_tied_weights_keys(all_submodels=True)


def _cut(config: PreTrainedConfig, num_layers: int) -> None:
    """Let a configuration describe only the first layers: their number and all lists by layer.

    Lists by layer are the lists with an entry for each layer and "layer" in their name, such as
    ``layer_types`` (Qwen, Gemma) or ``no_rope_layers`` (SmolLM3). mBART and its like count the
    layers of encoder and decoder apart, and with the plain name mean the encoder's: it is the
    decoder's too where there is no encoder.
    """
    for name, value in list(vars(config).items()):
        if "layer" in name and isinstance(value, list) and len(value) == config.num_hidden_layers:
            setattr(config, name, value[:num_layers])
    if hasattr(config, "decoder_layers"):
        config.decoder_layers = num_layers
    if not config.is_encoder_decoder:
        config.num_hidden_layers = num_layers
