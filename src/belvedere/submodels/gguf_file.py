"""Writes an exported sub-model as a GGUF file, which llama.cpp and its like run.

The names of tensors and fields are those of the ``gguf`` package. What it leaves to converters is
here: rotary halves are interleaved for llama.cpp's ``llama`` architecture, and tokens have types.
"""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from belvedere.errors import BadInput, check_new_file, unwritable

ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
"""Families of transformers and what llama.cpp calls them."""
OWN_CONVERTER = "use llama.cpp's convert_hf_to_gguf.py on the exported folder"


def write_gguf(folder: Path, file: Path) -> None:
    """Write the model in a folder that `belvedere.submodels.export` wrote as one GGUF file.

    Weights keep their dtype (float32, float16 or bfloat16); norms and biases are float32.

    Args:
        folder: with weights, configuration and tokenizer.
        file: that is not there yet.

    Raises:
        BadInput: the file is there, ``gguf`` is not installed, or a family, rotary scaling or
            tokenizer that only llama.cpp's own converter knows.
    """
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    config = model.config
    tokenizer = AutoTokenizer.from_pretrained(folder)
    check_gguf(config, tokenizer, file)
    import gguf

    rope: dict[str, Any] = getattr(config, "rope_parameters", None) or {}
    architecture = ARCHITECTURES[config.model_type]
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(file, error, "name another file") from error
    writer = gguf.GGUFWriter(file, architecture)
    add_shape(writer, model, rope)
    add_tokenizer(writer, folder, tokenizer, config)
    names = gguf.get_tensor_name_map(
        gguf.MODEL_ARCH[architecture.upper()], config.num_hidden_layers
    )
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        found = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert found is not None, name
        add_tensor(writer, found, interleaved(name, tensor, model, architecture))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def check_gguf(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase, file: Path) -> None:
    """Raise `BadInput` for what `write_gguf` cannot write of a model, its tokenizer or to a file.

    That is: the file is there, ``gguf`` is not installed, or a family, rotary scaling or tokenizer
    that only llama.cpp's own converter knows.
    """
    if find_spec("gguf") is None:
        raise BadInput(
            "the gguf package is not installed",
            where="gguf",
            remedy="pip install -e '.[gguf]'",
        )
    check_new_file(file)
    if config.model_type not in ARCHITECTURES:
        raise BadInput(f"{config.model_type} models are not written", remedy=OWN_CONVERTER)
    rope: dict[str, Any] = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type", "default") != "default":
        raise BadInput(f"{rope['rope_type']} rotary scaling is not written", remedy=OWN_CONVERTER)
    raw = raw_tokenizer(tokenizer)
    if raw.get("model", {}).get("type") != "BPE" or raw["model"].get("byte_fallback"):
        raise BadInput("only tokenizers of byte pairs are written", remedy=OWN_CONVERTER)
    split_of(raw["pre_tokenizer"])


def raw_tokenizer(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """What its tokenizer.json says; empty for one without."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    raw: dict[str, Any] = json.loads(backend.to_str()) if backend is not None else {}
    return raw


def add_shape(writer: Any, model: PreTrainedModel, rope: dict[str, Any]) -> None:
    """The numbers that describe the model."""
    config = model.config
    heads = config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(float(rope.get("rope_theta", 10000.0)))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)


def add_tokenizer(
    writer: Any, folder: Path, tokenizer: PreTrainedTokenizerBase, config: Any
) -> None:
    """A byte-level BPE tokenizer: tokens, their types, merges, and special tokens."""
    import gguf

    added = tokenizer.added_tokens_decoder
    tokens, types = [], []
    by_id = {number: token for token, number in tokenizer.get_vocab().items()}
    for number in range(config.vocab_size):
        if number not in by_id:  # rows of the embedding that no token has
            tokens.append(f"[PAD{number}]")
            types.append(gguf.TokenType.UNUSED)
        elif number in added:
            special = added[number].special
            tokens.append(by_id[number])
            types.append(gguf.TokenType.CONTROL if special else gguf.TokenType.USER_DEFINED)
        else:
            tokens.append(by_id[number])
            types.append(gguf.TokenType.NORMAL)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(split_of(raw_tokenizer(tokenizer)["pre_tokenizer"]))
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    vocabulary = gguf.SpecialVocab(folder, load_merges=True, n_vocab=len(tokens))
    # As in `belvedere.submodels.decoding.encoded_prompt`.
    vocabulary.add_special_token["bos"] = tokenizer.bos_token_id is not None
    vocabulary.add_to_gguf(writer, quiet=True)


def split_of(raw: dict[str, Any] | None) -> str:
    """llama.cpp's name for how a tokenizer splits text before it joins byte pairs.

    Args:
        raw: ``pre_tokenizer`` of a tokenizer.json.

    Raises:
        BadInput: it has no name there.
    """
    parts = (raw or {}).get("pretokenizers", [raw or {}])
    kinds = [part.get("type") for part in parts]
    pattern = (parts[0].get("pattern") or {}).get("Regex", "")
    if kinds == ["ByteLevel"] and parts[0].get("use_regex"):
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and parts[0].get("individual_digits"):
        return "smollm"
    if kinds == ["Split", "ByteLevel"] and r"\p{N}{1,3}" in pattern:
        return "llama-bpe"
    if kinds == ["Split", "ByteLevel"] and r"\p{N}|" in pattern:
        return "qwen2"
    raise BadInput("the tokenizer splits text in a way of its own", remedy=OWN_CONVERTER)


def interleaved(
    name: str, tensor: torch.Tensor, model: PreTrainedModel, architecture: str
) -> torch.Tensor:
    """Queries and keys in llama.cpp's order: pairs that turn together stand together.

    transformers turns the first half of a head with the second one.
    """
    kind = next((kind for kind in ("q_proj", "k_proj") if f".{kind}." in name), None)
    if architecture != "llama" or kind is None:
        return tensor
    config = model.config
    heads = config.num_attention_heads if kind == "q_proj" else config.num_key_value_heads
    return tensor.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)


def add_tensor(writer: Any, name: str, tensor: torch.Tensor) -> None:
    """A tensor in its own dtype; vectors in float32."""
    import gguf

    tensor = tensor.detach().cpu().contiguous()
    if tensor.ndim < 2:
        tensor = tensor.float()
    if tensor.dtype == torch.bfloat16:
        bits = tensor.view(torch.uint8).numpy()
        writer.add_tensor(name, bits, raw_dtype=gguf.GGMLQuantizationType.BF16)
        return
    writer.add_tensor(name, np.ascontiguousarray(tensor.numpy()))
