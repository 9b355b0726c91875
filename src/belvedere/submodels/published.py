"""Reads exits as the authors of Balcony published them (GitHub benyaminjami/Balcony-LLaMA).

Their class ``NestedLlamaForCausalLM`` is Llama with a list of exits in its decoder, each a list of
layer, norm and head: ``model.exit_modules.<i>.0.*`` is a decoder layer, ``.1.*`` a norm, ``.2.*``
a head where heads are not tied; without layers the numbers are one less. Backbone and exits lie in
the same files.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedConfig, PreTrainedModel

from belvedere.errors import BadInput
from belvedere.submodels.exits import ExitConfig, Exits, build_exits
from belvedere.submodels.loading import Backbone, opened_safetensors

NESTED = "nested_llama"
PREFIX = "model.exit_modules."
OWN = (
    "exit_layer_indices",
    "exit_decoder_layer",
    "tie_exit_lm_head",
    "output_exit_layers",
    "output_full_model",
)
"""What their configuration has beside Llama's."""


def nested_config(name: str) -> dict[str, Any] | None:
    """The configuration of a folder or hub name, if it is a checkpoint of their class."""
    raw: dict[str, Any]
    try:
        raw, _ = PreTrainedConfig.get_config_dict(name)
    except Exception:  # what is wrong with it is told where it is loaded
        return None
    return raw if raw.get("model_type") == NESTED else None


def load_nested(load: Backbone, raw: Mapping[str, Any]) -> tuple[PreTrainedModel, Exits]:
    """The backbone and the exits of a checkpoint of their class.

    Args:
        load: its name, dtype and attention implementation.
        raw: its configuration, of `nested_config`.

    Raises:
        BadInput: exits that it names are not there, or of another shape.
    """
    tied = raw.get("tie_exit_lm_head")
    tied = raw.get("tie_word_embeddings", False) if tied is None else tied
    depths = tuple(raw.get("exit_layer_indices") or ())
    has_layer = bool(raw.get("exit_decoder_layer"))
    llama = {key: value for key, value in raw.items() if key not in OWN}
    config = LlamaConfig.from_dict(llama | {"model_type": "llama"})
    model = load.load_as(LlamaForCausalLM, config=config)
    dtype = model.dtype
    exits = build_exits(
        model,
        ExitConfig(depths, kind="layer" if has_layer else "norm", head="tied" if tied else "own"),
    )
    parts = ["layer", "norm", "head"] if has_layer else ["norm", "head"]
    try:
        state = {
            f"{depths[int(number)]}.{parts[int(part)]}.{rest}": tensor
            for key, tensor in tensors_of(load)
            for number, part, rest in [key.removeprefix(PREFIX).split(".", 2)]
        }
        exits.load_state_dict({key: tensor.to(dtype) for key, tensor in state.items()})
    except BadInput:  # a file that cannot be read, which says so itself
        raise
    except (RuntimeError, IndexError, ValueError) as error:
        raise BadInput(
            "the exits are not those that the configuration names",
            where=load.name,
            remedy="give a whole checkpoint of NestedLlamaForCausalLM",
        ) from error
    return model, exits.requires_grad_(False).eval()


def tensors_of(load: Backbone) -> Iterator[tuple[str, Tensor]]:
    """The tensors of the exits, by name, from all files of a checkpoint."""
    folder = Path(load.name)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        # It is there already, as the backbone came from the same files.
        folder = Path(snapshot_download(load.name, allow_patterns=["*.safetensors"]))
    for file in sorted(folder.glob("*.safetensors")):
        with opened_safetensors(file) as opened:
            for key in opened.keys():  # noqa: SIM118 - it is no dictionary
                if key.startswith(PREFIX):
                    yield key, opened.get_tensor(key)
