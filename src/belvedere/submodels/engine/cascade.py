"""A model as stages: what lies between one exit and the next, and how each exit reads its stage.

The stages are stretches of the backbone's own layers, called one by one with the arguments that
the backbone's decoder gives them. A stage ends where an exit reads, the last one with the model.
"""

import inspect
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import pairwise
from typing import Any, Protocol

import torch
import torch._inductor.config as inductor
from torch import Tensor, nn
from torch._dynamo.exc import TorchDynamoException
from transformers import Cache, DynamicCache, EncoderDecoderCache, PreTrainedModel

from belvedere.errors import BadInput, first_line
from belvedere.submodels.backbone import (
    decoder_of,
    head_of,
    head_weight_of,
    layers_of,
    norm_of,
    validate_depths,
)
from belvedere.submodels.exits import Exit, Exits, called

UNLIMITED = 2**31
FEW = 13
"""Columns that compiled passes take at most: the longest drafts and the token before them."""
SMALL = 2**20
"""Bytes of a matrix that stays in the cache of a core, and may be read once for each column."""
ANY_WIDTH = 2**20
PROGRAMS = 1024
"""Most that may be made: one for each stage, number of sequences and room, and for one column or
several. Rooms are powers of two, so they are few."""
MASKS = ("sdpa", "eager")
"""Attention implementations that take a mask of any form, which holes between columns need."""


@dataclass
class Passing:
    """What columns that pass through layers come with, beside their states.

    Attributes:
        positions: [batch, length], in their sequences.
        masks: what they may attend to, by the attention window of a layer.
        cache: of the layers; it knows which columns they are.
    """

    positions: Tensor
    masks: Mapping[int | None, Tensor | None]
    cache: Cache


class Passes(Protocol):
    """The ways through a cascade, as `Cascade` has them itself or compiled."""

    @property
    def run(self) -> Callable[[int, Tensor, Passing], Tensor]:
        """States through the layers of a stage."""

    @property
    def through_exit(self) -> Callable[[int, Tensor, Passing], Tensor]:
        """States through the layer of the exit at the end of a stage."""

    @property
    def logits(self) -> Callable[[int, Tensor], Tensor]:
        """States at the end of a stage to logits."""


class Compiled:
    """The ways through a cascade, compiled the first time that each is gone.

    Args:
        cascade: whose ways they are.

    Attributes:
        small: whether the matrices are so small that products of a few rows are loops, too.

    Raises:
        BadInput: there is nothing to compile with.
    """

    def __init__(self, cascade: "Cascade") -> None:
        compile: Any = torch.compile
        if "isolate_recompiles" not in inspect.signature(compile).parameters:
            raise BadInput(
                f"PyTorch {torch.__version__} cannot compile stages apart from each other",
                where="compile",
                remedy="install a newer one or leave compile=false",
            )
        weights = [w for stage in cascade.stages for layer in stage for w in layer.parameters()]
        self.small = max(w.numel() * w.element_size() for w in weights) <= SMALL
        # The weights are not going to be others, so nothing has to look whether they are.
        options: dict[str, Any] = {
            "guard_filter_fn": torch.compiler.skip_guard_on_inbuilt_nn_modules_unsafe
        }
        if cascade.model.device.type == "cpu":
            check_compiler()
            options |= {"cpp_wrapper": True, **products_as_loops(FEW if self.small else 1)}
        compile = partial(
            compile, fullgraph=True, dynamic=False, options=options, isolate_recompiles=True,
            recompile_limit=PROGRAMS,
        )  # fmt: skip
        self.run: Callable[[int, Tensor, Passing], Tensor] = told(compile(cascade.run))
        self.through_exit: Callable[[int, Tensor, Passing], Tensor] = told(
            compile(cascade.through_exit)
        )
        self.logits: Callable[[int, Tensor], Tensor] = told(compile(cascade.logits))

    def varied(self, states: Tensor, dimension: int) -> Tensor:
        """Have one program made for all sizes of a dimension above 1, which has its own."""
        if states.shape[dimension] > 1:
            if self.small:
                torch._dynamo.mark_dynamic(states, dimension, min=2, max=FEW)
            else:
                torch._dynamo.maybe_mark_dynamic(states, dimension)
        return states


def told(compiled: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A compiled function that says in one line what cannot be compiled."""

    def called_or_told(*args: Any) -> Tensor:
        try:
            return compiled(*args)
        except TorchDynamoException as error:
            raise BadInput(
                f"this model or machine cannot be compiled for ({first_line(error)})",
                where="compile",
                remedy="leave compile=false",
            ) from error

    return called_or_told


def products_as_loops(rows: int) -> dict[str, Any]:
    """Inductor's options for products of few rows on a processor.

    The libraries that it calls otherwise take several times as long as reading the matrix does.

    Args:
        rows: up to which it makes loops of its own.
    """
    options = {
        "post_grad_fusion_options": {
            "decompose_mm_pass": {
                "cpu_max_first_dimension_decomposition": rows,
                "cpu_max_other_dimension_decomposition": ANY_WIDTH,
            }
        }
    }
    with inductor.patch(options):
        import_module("torch._inductor.compile_fx")  # it reads the limits once for all
    return options


class Frame(Protocol):
    """What a family's decoder does around its layers."""

    def embed(self, ids: Tensor, positions: Tensor) -> Tensor:
        """Tokens and their positions [batch, length] to states [batch, length, hidden]."""

    def arguments(self, hidden: Tensor, positions: Tensor, cache: Cache) -> dict[str, Any]:
        """What layers are called with beside the states and the mask."""


class RotaryFrame:
    """Llama and its like: positions are turns of queries and keys.

    Args:
        model: whose decoder has an embedding and rotary positions.

    Raises:
        BadInput: the decoder has no ``embed_tokens`` or ``rotary_emb`` of the usual form.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        decoder: Any = decoder_of(model)
        rotary = getattr(decoder, "rotary_emb", None)
        if rotary is None or "layer_type" in inspect.signature(rotary.forward).parameters:
            raise unsupported(model)
        self.embed_tokens, self.rotary = decoder.embed_tokens, rotary

    def embed(self, ids: Tensor, positions: Tensor) -> Tensor:
        """Tokens [batch, length] to states; positions come with the layers."""
        embedded: Tensor = self.embed_tokens(ids)
        return embedded

    def arguments(self, hidden: Tensor, positions: Tensor, cache: Cache) -> dict[str, Any]:
        """Positions, their rotations, and the cache."""
        return {
            "position_ids": positions,
            "position_embeddings": self.rotary(hidden, position_ids=positions),
            "past_key_values": cache,
            "use_cache": True,
        }


class EncodedFrame:
    """mBART's decoder: learned positions, and cross-attention to the states of an encoder.

    Args:
        model: the decoder with its head.
        states: [batch, tokens, hidden], of the encoder.
        attended: keys and values of the cross-attention, for every layer.
    """

    def __init__(self, model: PreTrainedModel, states: Tensor, attended: DynamicCache) -> None:
        self.decoder: Any = decoder_of(model)
        self.states, self.attended = states, attended

    def embed(self, ids: Tensor, positions: Tensor) -> Tensor:
        """Tokens and positions [batch, length] to normed states."""
        decoder = self.decoder
        places = decoder.embed_positions(ids, position_ids=positions)[0]  # it adds a dimension
        embedded: Tensor = decoder.layernorm_embedding(decoder.embed_tokens(ids) + places)
        return embedded

    def arguments(self, hidden: Tensor, positions: Tensor, cache: Cache) -> dict[str, Any]:
        """The encoder's states, and the cache beside the keys and values of these."""
        return {
            "encoder_hidden_states": self.states,
            "past_key_values": EncoderDecoderCache(cache, self.attended),
            "use_cache": True,
        }


def unsupported(model: PreTrainedModel) -> BadInput:
    """What to raise for a family whose decoder does more than embed and call its layers."""
    return BadInput(
        f"the decoding engine cannot run {type(model).__name__}",
        remedy="use Llama, Qwen, Mistral or SmolLM, or generate with an exported sub-model",
    )


class Cascade:
    """A model, cut at the depths of the exits that are in use.

    Args:
        model: the full model, in eval mode.
        depths: where it is cut, ascending; none for the full model alone.
        exits: read at these depths; without them the model's own norm and head do, as in SoFT and
            LayerSkip.
        frame: what is around the layers; by default rotary positions.

    Attributes:
        stops: the depths at which stages end; the last is the full one.
        compiled: the ways of few columns, where these are to be compiled.

    Raises:
        BadInput: wrong depths, exits that are not there, an attention implementation without
            masks, or a family that the engine cannot run.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        depths: Sequence[int] = (),
        exits: Exits | None = None,
        frame: Frame | None = None,
    ) -> None:
        layers = list(layers_of(model))
        cuts = validate_depths(depths, len(layers)) if depths else ()
        head_weight_of(model)  # refuses families whose logits are more than a product
        self.implementation = str(model.config._attn_implementation)
        if self.implementation not in MASKS:
            raise BadInput(
                f"attention by {self.implementation} takes no masks with holes",
                where="backbone.attention",
                remedy=f"use {' or '.join(MASKS)}",
            )
        self.model = model
        self.stops = (*cuts, len(layers))
        self.stages = [layers[start:stop] for start, stop in pairwise((0, *self.stops))]
        # None where the model's own norm and head read, as at the full depth.
        self.exits: list[Exit | None] = [*(exits.at(d) if exits else None for d in cuts), None]
        self.windows = [window_of(model, layer) for layer in range(len(layers))]
        self.frame = frame or RotaryFrame(model)
        self.norm, self.head = norm_of(model), head_of(model)
        self.compiled: Compiled | None = None

    def compile(self) -> "Cascade":
        """Compile the passes of few columns, which new tokens take; returns the cascade.

        It happens with the first tokens and takes up to a minute.

        Raises:
            BadInput: there is no compiler.
        """
        self.compiled = Compiled(self)
        return self

    @property
    def slots(self) -> int:
        """Of a cache that layers and exits write to."""
        exits = [exit.layer for exit in self.exits if exit is not None and exit.layer is not None]
        layers = [layer for stage in self.stages for layer in stage] + exits
        found = [getattr(part, "layer_idx", 0) for layer in layers for part in layer.modules()]
        return 1 + max(found)

    @property
    def context(self) -> int:
        """The most tokens that the model was made for."""
        config = decoder_of(self.model).config
        return int(getattr(config, "max_position_embeddings", None) or UNLIMITED)

    def stage_of(self, depth: int) -> int:
        """The number of the stage that ends at a depth.

        Raises:
            BadInput: none does; says which depths there are.
        """
        if depth not in self.stops:
            there = ", ".join(map(str, self.stops))
            raise BadInput(f"no stage ends at depth {depth}", remedy=f"choose one of {there}")
        return self.stops.index(depth)

    def run(self, stage: int, hidden: Tensor, passing: Passing) -> Tensor:
        """States through the layers of a stage.

        Args:
            stage: its number.
            hidden: [batch, length, hidden].
            passing: what they come with.
        """
        common = self.frame.arguments(hidden, passing.positions, passing.cache)
        first = 0 if stage == 0 else self.stops[stage - 1]
        for number, layer in enumerate(self.stages[stage], start=first):
            mask = passing.masks[self.windows[number]]
            hidden = called(layer, hidden, {"attention_mask": mask, **common})
        return hidden

    def layer_of_exit(self, stage: int) -> nn.Module | None:
        """The exit's own layer at the end of a stage, if it has one."""
        exit = self.exits[stage]
        return None if exit is None else exit.layer

    def through_exit(self, stage: int, hidden: Tensor, passing: Passing) -> Tensor:
        """States through the layer of the exit at the end of a stage.

        Args:
            stage: its number; it has an exit.
            hidden: [batch, length, hidden], of the backbone at that depth.
            passing: what they come with.
        """
        exit = self.exits[stage]
        assert exit is not None
        common = self.frame.arguments(hidden, passing.positions, passing.cache)
        mask = passing.masks[self.windows[self.stops[stage]]]  # it stands for the next layer
        return exit.through_layer(hidden, attention_mask=mask, **common)

    def logits(self, stage: int, hidden: Tensor) -> Tensor:
        """Logits [batch, length, vocabulary] at the end of a stage.

        Args:
            stage: its number.
            hidden: [batch, length, hidden], behind the exit's layer where it has one.
        """
        norm, head = self.readers(stage)
        found: Tensor = head(norm(hidden).to(head.weight.dtype))
        return found

    def readers(self, stage: int) -> tuple[nn.Module, Any]:
        """The norm and the head that read at the end of a stage."""
        exit = self.exits[stage]
        if exit is None:
            return self.norm, self.head
        return exit.norm, self.head if exit.head is None else exit.head


def check_compiler() -> None:
    """Raise `BadInput` if there is no C++ compiler, by the name that PyTorch looks for."""
    name = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(name) is None:
        raise BadInput(
            f"compiling needs a C++ compiler, and there is no {name}",
            where="compile",
            remedy="install it or leave compile=false",
        )


def window_of(model: PreTrainedModel, layer: int) -> int | None:
    """How many tokens a layer's attention reaches back, itself included; None for all.

    Raises:
        BadInput: the layer is of a kind that has neither.
    """
    config = decoder_of(model).config
    kinds = getattr(config, "layer_types", None)
    kind = kinds[layer] if kinds else None
    if kind not in (None, "full_attention", "sliding_attention"):
        raise unsupported(model)
    if kind == "full_attention":
        return None
    window: int | None = getattr(config, "sliding_window", None)
    return window
