"""Makes and loads chart readers: by the name of a size, from a folder, or from the hub."""

import copy
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import nn
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from belvedere.charts.tasks import ANSWER, TOKENS
from belvedere.errors import BadInput, first_line
from belvedere.submodels.backbone import layers_of, num_layers_of
from belvedere.submodels.checkpoints import CHART_READER
from belvedere.unichart.config import SIZES, ChartModelConfig, DecoderConfig, EncoderConfig
from belvedere.unichart.hub import from_hub
from belvedere.unichart.model import ChartModel

SHAPE, WEIGHTS = CHART_READER, "model.safetensors"


@dataclass(frozen=True)
class Reader:
    """Which chart reader, and how it is loaded.

    Attributes:
        name: one of `SIZES` with random weights; or a folder that `save_reader` wrote, or the run
            that it belongs to; or a folder or hub name in Donut's and UniChart's layout.
        tokenizer_name: a folder or hub name; by default that of the reader.
        size_tokenizer: likewise, for random weights.
        image_size: (height, width) in pixels to use it at; by default as it was made.
        fresh_decoder: keep what sees, and start the text decoder anew for the tokenizer.
        task_tokens: give the tokenizer the tasks' tokens that it lacks, and the decoder embeddings
            of them, as UniChart did with Donut's.
        decoder_layers: of the text decoder, where it is to be deeper than it was made; the reader
            answers as before until the new layers have learned.
        axial: likewise the pairs of blocks that see along columns and rows, where it has none yet.
        remedy: what to do where a local folder is not there yet.
    """

    name: str
    tokenizer_name: str | None = None
    size_tokenizer: str | None = None
    image_size: tuple[int, int] | None = None
    fresh_decoder: bool = False
    task_tokens: bool = False
    decoder_layers: int | None = None
    axial: int | None = None
    remedy: str | None = None

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer. Raises `BadInput` where it cannot be found."""
        own = self.size_tokenizer if self.name in SIZES else reader_folder(self.name)
        name = self.tokenizer_name or own
        if name is None:  # a size, which the hub is not asked about
            raise self._without_tokenizer(self.name)
        try:
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                name, trust_remote_code=False
            )
        except Exception as error:  # a damaged file raises errors of several kinds
            raise self._without_tokenizer(name) from error
        if self.task_tokens:
            tokenizer.add_tokens([*TOKENS.values(), ANSWER], special_tokens=True)
        return tokenizer

    def _without_tokenizer(self, name: str) -> BadInput:
        absent = self.remedy if not Path(name).exists() else None
        return BadInput(
            f"there is no tokenizer in {name}",
            where="reader.tokenizer_name",
            remedy=absent or "name a folder with one, e.g. of python -m belvedere.charts.tokenizer",
        )

    def load(self, vocabulary: int) -> ChartModel:
        """The model, in eval mode.

        Args:
            vocabulary: of its tokenizer, which a random model is made for.

        Raises:
            BadInput: no such size, folder or hub model, damaged weights, another vocabulary, or
                more decoder layers than are asked for.
        """
        if self.name in SIZES:
            model = ChartModel(ChartModelConfig.named(self.name, vocab_size=vocabulary))
        elif (Path(folder := reader_folder(self.name)) / SHAPE).exists():
            model = load_reader(Path(folder))
        else:
            model = from_hub(folder)
        if self.fresh_decoder:
            model = with_fresh_decoder(model, vocabulary)
        if self.task_tokens and model.config.vocab_size < vocabulary:
            model = with_tokens(model, vocabulary)
        if model.config.vocab_size < vocabulary:
            raise BadInput(
                f"the model has {model.config.vocab_size} tokens, its tokenizer {vocabulary}",
                where="reader.tokenizer_name",
                remedy="use the tokenizer that the model was trained with",
            )
        if self.decoder_layers is not None:
            model = deepened(model, self.decoder_layers)
        if self.axial is not None:
            model = with_axial(model, self.axial)
        if self.image_size is not None:
            height, width = self.image_size
            model.set_image_size((height, width))
        return model.eval()


def reader_folder(name: str) -> str:
    """The folder of the reader in a run; of anything else the name as it is."""
    inside = Path(name) / "checkpoints" / "model"
    return str(inside) if inside.is_dir() else name


def with_fresh_decoder(model: ChartModel, vocabulary: int) -> ChartModel:
    """A reader with all that sees of another, its projection, and a random decoder.

    The decoder has the shape of the model's size where that has a name. With it begin anew its
    `AxisHead` and, where it has another width, the projection and the `PhaseHead` behind that.

    Args:
        model: its parts are moved, not copied.
        vocabulary: tokens of the new decoder.
    """
    decoder = (
        SIZES[model.config.name].decoder if model.config.name in SIZES else model.config.decoder
    )
    fresh = ChartModel(replace(model.config, vocab_size=vocabulary, decoder=decoder))
    fresh.encoder, fresh.letters = model.encoder, model.letters
    fresh.places, fresh.lines = model.places, model.lines
    if decoder.d_model == model.config.decoder.d_model:
        fresh.projection, fresh.phases = model.projection, model.phases
    return fresh


def with_tokens(model: ChartModel, vocabulary: int) -> ChartModel:
    """The same reader with embeddings of more tokens, which begin near the mean of the others."""
    model.decoder.resize_token_embeddings(vocabulary)
    model.config = replace(model.config, vocab_size=vocabulary)
    return model


def deepened(model: ChartModel, layers: int) -> ChartModel:
    """The same reader with a deeper text decoder, which answers as it does.

    The new layers come last. What they add to the stream is zero at first, as where networks grow
    and keep their function (Net2Net, arXiv 1511.05641).

    Args:
        model: with its weights.
        layers: of the new decoder.

    Raises:
        BadInput: the decoder has more than that.
    """
    there = num_layers_of(model.decoder)
    if layers < there:
        raise BadInput(
            f"the reader has {there} decoder layers, which is more than {layers}",
            where="reader.decoder_layers",
            remedy="cut it after training, e.g. with experiment=unichart_soft",
        )
    decoder = replace(model.config.decoder, layers=layers)
    deeper = grown(model, replace(model.config, decoder=decoder))
    fresh: Any = layers_of(deeper.decoder)[there:]
    for layer in fresh:
        for last in (layer.self_attn.out_proj, layer.encoder_attn.out_proj, layer.fc2):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
    return deeper


def with_axial(model: ChartModel, pairs: int) -> ChartModel:
    """The same reader with `AxialBlocks`, which answers as it does until they have learned.

    Args:
        model: with its weights.
        pairs: of blocks.

    Raises:
        BadInput: the reader has another number of them already.
    """
    there = model.config.encoder.axial
    if pairs != there and there:
        raise BadInput(
            f"the reader has {there} pairs of axial blocks already",
            where="reader.axial",
            remedy="leave it out",
        )
    encoder = replace(model.config.encoder, axial=pairs)
    return grown(model, replace(model.config, encoder=encoder))


def grown(model: ChartModel, config: ChartModelConfig) -> ChartModel:
    """A reader of a larger shape with the weights of another, and new ones beside them."""
    larger = ChartModel(config).train(model.training)
    larger.load_state_dict(model.state_dict(), strict=False)
    return larger


def save_reader(model: ChartModel, folder: Path, dtype: torch.dtype | None = None) -> None:
    """Write a chart model as safetensors, with its shape.

    Args:
        model: what is saved.
        folder: made if it is not there.
        dtype: of the weights in the file; by default as they are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shape = json.dumps(asdict(model.config), indent=2)
    (folder / SHAPE).write_text(shape + "\n", encoding="utf-8")
    stored = model if dtype is None else copy.deepcopy(model).to(dtype)
    save_model(stored, str(folder / WEIGHTS), metadata={"format": "pt"})  # a tied head once


def load_reader(folder: Path) -> ChartModel:
    """A chart model that `save_reader` wrote, in float32.

    Raises:
        BadInput: files are missing, damaged, or of another shape.
    """
    try:
        raw: dict[str, Any] = json.loads((folder / SHAPE).read_text(encoding="utf-8"))
        shape = _shape(raw)
        # A number that has changed may ask for more memory than there is.
        with torch.device("meta"):
            count = sum(p.numel() for p in ChartModel(shape).parameters())
        if count > (folder / WEIGHTS).stat().st_size:
            raise ValueError(f"its shape has {count:,} parameters, more than {WEIGHTS} has bytes")
        model = ChartModel(shape)
        missing, unexpected = load_model(model, folder / WEIGHTS, strict=False)
    except Exception as error:  # a damaged file raises errors of many kinds
        raise BadInput(
            f"no whole chart reader ({first_line(error, 80)})",
            where=str(folder),
            remedy="give a folder that a run of unichart wrote, with all its files whole",
        ) from error
    if missing:
        raise BadInput(
            f"the weights lack {sorted(missing)[0]!r}",
            where=str(folder / WEIGHTS),
            remedy="give a complete checkpoint",
        )
    if unexpected:
        raise BadInput(
            f"there is no place for {min(unexpected)!r} in a reader of {SHAPE}",
            where=str(folder / WEIGHTS),
            remedy=f"give the {SHAPE} that was saved with these weights",
        )
    return model.eval()


def _shape(raw: dict[str, Any]) -> ChartModelConfig:
    encoder, decoder = raw.pop("encoder"), raw.pop("decoder")
    for key in ("depths", "heads"):
        encoder[key] = tuple(encoder[key])
    height, width = raw.pop("image_size")
    return ChartModelConfig(
        image_size=(height, width),
        encoder=EncoderConfig(**encoder),
        decoder=DecoderConfig(**decoder),
        **raw,
    )
