"""Chart models from and to the hub's layout: Donut's and UniChart's released checkpoints.

There a model is transformers' ``VisionEncoderDecoderModel`` of a ``donut-swin`` encoder and an
``mbart`` decoder. Files are read directly, so that a released checkpoint does not depend on how a
transformers release builds that class. The decoder's names are the same on both sides; the
encoder's differ, its query, key and value are one matrix here, and timm has the merging of patches
at the start of a stage where Donut has it at the end of the stage before. The order of the merged
2 x 2 neighbours is the same.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, StrictDataclassError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    DonutSwinConfig,
    MBartConfig,
    PreTrainedConfig,
    VisionEncoderDecoderConfig,
)

from belvedere.errors import BadInput, first_line
from belvedere.unichart.config import ChartModelConfig, DecoderConfig, EncoderConfig
from belvedere.unichart.model import ChartModel

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
EMBEDDING = "decoder.model.decoder.embed_tokens.weight"
HEAD = "decoder.lm_head.weight"
DERIVED = "relative_position_index"
"""A buffer that follows from the window; checkpoints hold it, nothing reads it."""

ENCODER_IS: dict[str, Any] = {
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "mlp_ratio": 4.0,
    "num_channels": 3,
    "qkv_bias": True,
    "use_absolute_embeddings": False,
}
DECODER_IS: dict[str, Any] = {"activation_function": "gelu", "scale_embedding": True}
"""What Donut and UniChart have and our shape does not vary."""

ENCODER_READ = (
    "image_size",
    "patch_size",
    "embed_dim",
    "depths",
    "num_heads",
    "window_size",
    "drop_path_rate",
)
DECODER_READ = (
    "vocab_size",
    "d_model",
    "decoder_layers",
    "decoder_attention_heads",
    "decoder_ffn_dim",
    "dropout",
    "max_position_embeddings",
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
)
"""What our shape takes from a configuration. The many other keys differ from one transformers
release to the next and are not looked at."""

BLOCK_NAMES = {
    "norm1": ("layernorm_before",),
    "attn.relative_position_bias_table": ("attention.self.relative_position_bias_table",),
    "attn.relative_position_index": ("attention.self.relative_position_index",),
    "attn.qkv": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "attn.proj": ("attention.output.dense",),
    "norm2": ("layernorm_after",),
    "mlp.fc1": ("intermediate.dense",),
    "mlp.fc2": ("output.dense",),
}


def from_hub(name: str | Path) -> ChartModel:
    """Load a Donut or UniChart checkpoint, in eval mode and float32.

    Args:
        name: a local folder or a name on the Hugging Face hub, such as
            ``ahmed-masry/unichart-base-960``. It holds ``config.json`` and ``model.safetensors`` or
            ``pytorch_model.bin`` (of which nothing but tensors is read).

    Raises:
        BadInput: it cannot be found or read, or is of another architecture.
    """
    config = _file(name, "config.json")
    if config is None:
        raise BadInput(_absent(name), remedy="give a local folder or connect to the hub")
    weights = next((path for file in WEIGHTS if (path := _file(name, file))), None)
    if weights is None:
        raise BadInput(
            f"{name} has neither {' nor '.join(WEIGHTS)}",
            remedy="save the checkpoint in one file of one of these names",
        )
    try:
        raw = json.loads(config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadInput(f"is no JSON ({error})", where=str(config)) from error
    if not isinstance(raw, dict):
        raise BadInput(
            f"is a {type(raw).__name__}, not a table of keys",
            where=str(config),
            remedy="give the config.json of a Donut or UniChart checkpoint",
        )
    return from_state(raw, _tensors(weights), where=str(name))


def from_state(
    config: Mapping[str, Any], state: Mapping[str, Tensor], *, where: str = "checkpoint"
) -> ChartModel:
    """Build a chart model, in eval mode, from a configuration and tensors in the hub's layout.

    Args:
        config: what the checkpoint's ``config.json`` says.
        state: its tensors by name. Without a head, or with one that equals the embedding, the
            model's head is tied to the embedding.
        where: names the checkpoint in errors.

    Raises:
        BadInput: the architecture is another one, or a tensor is missing, left over or misshapen.
    """
    tied = HEAD not in state or torch.equal(state[HEAD], state.get(EMBEDDING, torch.empty(0)))
    shape = _shape(config, tied=tied, where=where)
    model = ChartModel(shape).eval()
    if tied:
        state = {**state, HEAD: state.get(EMBEDDING, torch.empty(0))}
    own = model.state_dict()
    names = {name: hub_names(name) for name in own}
    wanted = {part for parts in names.values() for part in parts}
    extra = [name for name in state if name not in wanted and not name.endswith(DERIVED)]
    missing = [name for name in wanted if name not in state]
    if missing or extra:
        what = f"has no {min(missing)}" if missing else f"has a tensor too many: {min(extra)}"
        raise BadInput(what, where=where, remedy="give a whole Donut or UniChart checkpoint")
    for name, parts in names.items():
        tensor = torch.cat([state[part] for part in parts]) if len(parts) > 1 else state[parts[0]]
        if tensor.shape != own[name].shape:
            shapes = f"{tuple(tensor.shape)}, its configuration says {tuple(own[name].shape)}"
            raise BadInput(f"{parts[0]} is {shapes}", where=where)
        own[name].copy_(tensor)
    return model


def to_hub(model: ChartModel, folder: str | Path) -> None:
    """Write ``config.json`` and ``model.safetensors``, from which transformers builds its
    ``VisionEncoderDecoderModel`` with the same output. A tied head is left out, as there.

    ``page`` in ``config.json`` is ours: how pictures are laid on pages, which `from_hub` takes to
    be as for Donut where nothing is said.

    Raises:
        BadInput: the model has a convolutional stem, for which the hub's layout has no place.
    """
    if model.config.encoder.stem != "patch":
        raise BadInput(
            "a convolutional stem does not fit the hub's layout",
            where="encoder.stem",
            remedy="export models with stem=patch",
        )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, tensor in _stored(model):
        parts = hub_names(name)
        for part, piece in zip(parts, tensor.detach().chunk(len(parts)), strict=True):
            tensors[part] = piece.clone(memory_format=torch.contiguous_format)
    hub_config(model.config).save_pretrained(folder)
    save_file(tensors, folder / WEIGHTS[0], metadata={"format": "pt"})


def hub_names(name: str) -> tuple[str, ...]:
    """What the hub calls one of our tensors; several names where it is a concatenation of them.

    >>> hub_names("encoder.swin.layers.1.downsample.norm.bias")
    ('encoder.encoder.layers.0.downsample.norm.bias',)
    """
    stem = "encoder.swin.patch_embed."
    if name.startswith(stem + "proj"):
        return (name.replace(stem + "proj", "encoder.embeddings.patch_embeddings.projection"),)
    if name.startswith(stem):
        return (name.replace(stem, "encoder.embeddings."),)
    if merging := re.fullmatch(r"encoder\.swin\.layers\.(\d+)\.(downsample\..+)", name):
        return (f"encoder.encoder.layers.{int(merging[1]) - 1}.{merging[2]}",)
    if block := re.fullmatch(r"encoder\.swin\.layers\.(\d+)\.blocks\.(\d+)\.(.+)", name):
        inner, dot, kind = block[3], "", ""
        if inner not in BLOCK_NAMES:
            inner, dot, kind = inner.rpartition(".")
        prefix = f"encoder.encoder.layers.{block[1]}.blocks.{block[2]}."
        return tuple(f"{prefix}{part}{dot}{kind}" for part in BLOCK_NAMES[inner])
    return (re.sub(r"^projection\.", "enc_to_dec_proj.", name),)


def hub_config(shape: ChartModelConfig) -> PreTrainedConfig:
    """The configuration that transformers needs for a model of this shape."""
    encoder = DonutSwinConfig(
        image_size=list(shape.image_size),
        patch_size=shape.encoder.patch_size,
        embed_dim=shape.encoder.embed_dim,
        depths=list(shape.encoder.depths),
        num_heads=list(shape.encoder.heads),
        window_size=shape.encoder.window,
        drop_path_rate=shape.encoder.drop_path,
        **ENCODER_IS,
    )
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        encoder,
        shape.mbart(),
        tie_word_embeddings=False,  # of encoder and decoder; the decoder has its own
        pad_token_id=shape.pad_id,
        decoder_start_token_id=shape.bos_id,
        eos_token_id=shape.eos_id,
    )
    config.architectures = ["VisionEncoderDecoderModel"]
    config.decoder.unk_token_id = shape.unk_id
    config.page = shape.page
    return config


def _shape(raw: Mapping[str, Any], *, tied: bool, where: str) -> ChartModelConfig:
    """Our words for a checkpoint's configuration. Raises `BadInput` for what is not Donut's."""
    sides = [raw.get(side) for side in ("encoder", "decoder")]
    kinds = [side.get("model_type") if isinstance(side, Mapping) else None for side in sides]
    if raw.get("model_type") != "vision-encoder-decoder" or kinds != ["donut-swin", "mbart"]:
        raise BadInput(
            f"is a {raw.get('model_type')}"
            + (f" of {kinds[0]} and {kinds[1]}" if all(kinds) else ", which reads no pictures"),
            where=where,
            remedy="give a vision-encoder-decoder of donut-swin and mbart (Donut, UniChart)",
        )
    encoder = _read(DonutSwinConfig, raw["encoder"], ENCODER_READ, ENCODER_IS, where)
    decoder = _read(MBartConfig, raw["decoder"], DECODER_READ, DECODER_IS, where)
    size = encoder.image_size
    return ChartModelConfig(
        name=Path(where).name,
        image_size=(size, size) if isinstance(size, int) else (size[0], size[1]),
        vocab_size=decoder.vocab_size,
        encoder=EncoderConfig(
            embed_dim=encoder.embed_dim,
            depths=tuple(encoder.depths),
            heads=tuple(encoder.num_heads),
            window=encoder.window_size,
            patch_size=encoder.patch_size,
            drop_path=encoder.drop_path_rate,
        ),
        decoder=DecoderConfig(
            layers=decoder.decoder_layers,
            d_model=decoder.d_model,
            heads=decoder.decoder_attention_heads,
            ffn=decoder.decoder_ffn_dim,
            dropout=decoder.dropout,
            max_positions=decoder.max_position_embeddings,
            tied_head=tied,
        ),
        pad_id=decoder.pad_token_id,
        bos_id=decoder.bos_token_id,
        eos_id=decoder.eos_token_id,
        unk_id=raw["decoder"].get("unk_token_id", ChartModelConfig.unk_id),
        page=raw.get("page", "donut"),
    )


def _read(
    kind: type[PreTrainedConfig],
    raw: Mapping[str, Any],
    keys: Sequence[str],
    fixed: Mapping[str, Any],
    where: str,
) -> Any:
    """One side's configuration, with the defaults of its class for what is not said."""
    try:
        config = kind(**{key: raw[key] for key in (*keys, *fixed) if key in raw})
    except (StrictDataclassError, TypeError, ValueError) as error:
        why = str(error).strip().splitlines()[-1]
        raise BadInput(f"config.json cannot be used ({why})", where=where) from error
    single = [key for key in keys if key.endswith("_token_id") or key == "patch_size"]
    for key in (*fixed, *single):
        value, expected = getattr(config, key), fixed.get(key, "one number")
        if value != expected and not (key in single and isinstance(value, int)):
            raise BadInput(
                f"{config.model_type} has {key} {value}, not {expected}",
                where=where,
                remedy="give a Donut or UniChart checkpoint",
            )
    return config


def _stored(model: ChartModel) -> Iterator[tuple[str, Tensor]]:
    """Parameters, a tied one once, and the buffers that a checkpoint of the hub has."""
    yield from model.named_parameters()
    yield from model.named_buffers()


def _file(name: str | Path, file: str) -> Path | None:
    """A file of a local folder or of the hub's cache, fetched if need be; None if there is none."""
    if Path(name).is_dir():
        path = Path(name) / file
        return path if path.is_file() else None
    try:
        return Path(hf_hub_download(str(name), file))
    except EntryNotFoundError:  # also: the hub cannot be reached
        return None
    except (OSError, ValueError) as error:
        raise BadInput(_absent(name), remedy="give a local folder or connect to the hub") from error


def _absent(name: str | Path) -> str:
    if Path(name).is_dir():
        return f"{name} has no config.json"
    if isinstance(name, Path) or name.startswith((".", "/")) or name.count("/") > 1:
        return f"there is no folder {name}"
    return f"{name} is not on this machine and the Hugging Face hub does not give it"


def _tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint file. Raises `BadInput` where it is damaged or holds more."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
        if all(isinstance(tensor, Tensor) for tensor in state.values()):
            return state
        raise ValueError("not all of it are tensors")
    except Exception as error:  # safetensors, pickle and zip raise several kinds
        raise BadInput(
            f"cannot be read ({first_line(error)})",
            where=str(path),
            remedy="give a complete checkpoint",
        ) from error
