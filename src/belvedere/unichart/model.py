"""The UniChart model: timm's Swin as chart encoder, transformers' mBART as text decoder.

Both are the public classes as they are (arXiv 2305.14761, section 3.1; the design is Donut's, arXiv
2111.15664). Three things are ours: the blocks pad before they shift, so that a resolution that is
no multiple of the window gives the same states as the released checkpoints; a convolutional stem
for small models; and generation over prompts of different lengths in one batch.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Any, Literal, get_args

import torch
from timm.layers import ConvNormAct, PatchEmbed, build_sincos2d_pos_embed
from timm.models.resnet import BasicBlock
from timm.models.swin_transformer import (
    SwinTransformer,
    SwinTransformerBlock,
    window_partition,
    window_reverse,
)
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    DynamicCache,
    EncoderDecoderCache,
    GenerationConfig,
    MBartConfig,
    MBartForCausalLM,
)

from belvedere.data.pictures import PageKind
from belvedere.errors import BadInput
from belvedere.submodels.backbone import layers_of, prefix_states
from belvedere.submodels.views import shared, submodel
from belvedere.unichart.reading import AxisHead, LetterHead

DETAIL = 4
"""Pixels to a side of the finest features of a convolutional stem."""
SINE_TEMPERATURE = 2.0
"""Waves of 2D positions are 6 to 13 states long: what is compared, a mark and its ticks or a letter
and the next one, is near each other."""
PLACE_SCALE = 4.0
"""Tokens to one unit of the coordinates in the states, which are of the size of the other parts."""
DONUT_VOCABULARY = 57_525
TASK_TOKENS = 5
"""The paper's: ``<extract_data_table> <summarize_chart> <chartqa> <opencqa> <s_answer>``."""


@dataclass(frozen=True)
class EncoderConfig:
    """The shape of the Swin encoder; the defaults are Donut's and UniChart's.

    Attributes:
        embed_dim: width of the first stage; each further stage has twice that of the one before.
        depths: blocks in each stage, an even number where shifted windows should alternate.
        heads: attention heads in each stage.
        window: side of the attention windows, in tokens of the stage.
        patch_size: pixels to a side of one token of the first stage.
        patch_width: pixels across such a token where it is not square; for convolutional stems.
            Letters are narrower than high: a token for each is easier to read off.
        stem: "patch" cuts the image into patches (Swin); "conv" is a `ConvStem`.
        stem_width: channels of a convolutional stem.
        stem_blocks: its residual blocks.
        drop_path: rate of stochastic depth in the last block, rising linearly from 0.
        positions: "sine" normalises the states and adds where on the page each is (2D sines), and
            to the pixel what it sees (`PlaceHead`); Swin has none beyond those within a window.
    """

    embed_dim: int = 128
    depths: tuple[int, ...] = (2, 2, 14, 2)
    heads: tuple[int, ...] = (4, 8, 16, 32)
    window: int = 10
    patch_size: int = 4
    patch_width: int | None = None
    stem: Literal["patch", "conv"] = "patch"
    stem_width: int = 64
    stem_blocks: int = 3
    drop_path: float = 0.1
    positions: Literal["none", "sine"] = "none"

    def __post_init__(self) -> None:
        if len(self.depths) != len(self.heads):
            raise BadInput(f"{len(self.depths)} stages have {len(self.heads)} numbers of heads")
        for stage, heads in enumerate(self.heads):
            if self.embed_dim * 2**stage % heads:
                raise BadInput(
                    f"a width of {self.embed_dim * 2**stage} does not divide by {heads} heads",
                    where=f"encoder stage {stage}",
                )
        if self.stem != "conv" and self.patch_width is not None:
            raise BadInput(
                "only a convolutional stem can have tokens that are not square",
                where="patch_width",
            )
        for side in self.patch if self.stem == "conv" else ():
            if side < DETAIL or side.bit_count() != 1:
                raise BadInput(
                    f"a convolutional stem cannot have tokens of {side} pixels",
                    remedy=f"use a power of two, at least {DETAIL}",
                )

    @property
    def patch(self) -> tuple[int, int]:
        """Height and width in pixels of one token of the first stage."""
        return self.patch_size, self.patch_width or self.patch_size

    @property
    def stride(self) -> tuple[int, int]:
        """Height and width in pixels of what one state stands for."""
        merged = 2 ** (len(self.depths) - 1)
        return self.patch[0] * merged, self.patch[1] * merged

    @property
    def hidden(self) -> int:
        """Width of the encoder's states: that of the last stage."""
        return self.embed_dim * 2 ** (len(self.depths) - 1)


@dataclass(frozen=True)
class DecoderConfig:
    """The shape of the mBART decoder; the defaults are Donut's and UniChart's.

    Attributes:
        layers: decoder layers.
        d_model: width of the residual stream.
        heads: attention heads, of the text and of the image.
        ffn: width of the feed-forward layers.
        dropout: of embeddings and of each sub-layer's output.
        max_positions: longest prompt and answer together, in tokens.
        tied_head: whether the head shares the embedding's weight.
        init_std: of random weights; mBART's suits its width, a narrow decoder wants larger ones.
    """

    layers: int = 4
    d_model: int = 1024
    heads: int = 16
    ffn: int = 4096
    dropout: float = 0.1
    max_positions: int = 1536
    tied_head: bool = True
    init_std: float = 0.02


@dataclass(frozen=True)
class ChartModelConfig:
    """The shape of a chart model.

    Attributes:
        name: of this shape, for reports.
        image_size: (height, width) in pixels that the model is made for; others work, too.
        vocab_size: tokens, the tasks' own included.
        encoder: the Swin encoder.
        decoder: the mBART decoder.
        pad_id: token that fills up rows; its embedding gets no gradient.
        bos_id: token that begins a text.
        eos_id: token that ends an answer.
        unk_id: token for what the vocabulary lacks, which is never generated.
        page: how pictures are laid on the pages that the model reads; see
            `belvedere.data.pictures.fit`.
    """

    name: str
    image_size: tuple[int, int]
    vocab_size: int = DONUT_VOCABULARY + TASK_TOKENS
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    pad_id: int = 1
    bos_id: int = 0
    eos_id: int = 2
    unk_id: int = 3
    page: PageKind = "plain"

    def __post_init__(self) -> None:
        if self.page not in get_args(PageKind):
            raise BadInput(
                f"there are no pages called {self.page!r}",
                where="page",
                remedy=f"choose {' or '.join(get_args(PageKind))}",
            )

    @classmethod
    def named(cls, name: str, **changes: Any) -> "ChartModelConfig":
        """One of `SIZES`, with some attributes changed: ``named("tiny", vocab_size=512)``.

        Raises:
            BadInput: there is no such size.
        """
        if name not in SIZES:
            raise BadInput(f"no chart model is called {name}", remedy=f"use {' or '.join(SIZES)}")
        return replace(SIZES[name], **changes)

    def mbart(self) -> MBartConfig:
        """The decoder in the words of transformers."""
        shape = self.decoder
        options: dict[str, Any] = {
            "is_decoder": True,
            "is_encoder_decoder": False,
            "add_cross_attention": True,
            "scale_embedding": True,
            "forced_eos_token_id": None,
        }
        for side in ("encoder", "decoder"):  # there is no encoder, but caches ask for its layers
            options[f"{side}_layers"] = shape.layers
            options[f"{side}_attention_heads"] = shape.heads
            options[f"{side}_ffn_dim"] = shape.ffn
        return MBartConfig(
            vocab_size=self.vocab_size,
            d_model=shape.d_model,
            max_position_embeddings=shape.max_positions,
            dropout=shape.dropout,
            tie_word_embeddings=shape.tied_head,
            init_std=shape.init_std,
            pad_token_id=self.pad_id,
            bos_token_id=self.bos_id,
            eos_token_id=self.eos_id,
            **options,
        )


SIZES: dict[str, ChartModelConfig] = {
    "tiny": ChartModelConfig(
        name="tiny",
        image_size=(192, 256),
        vocab_size=1024,
        encoder=EncoderConfig(
            embed_dim=128,
            depths=(2,),
            heads=(4,),
            window=8,
            patch_size=8,
            patch_width=4,
            stem="conv",
            stem_blocks=2,
            drop_path=0.0,
            positions="sine",
        ),
        decoder=DecoderConfig(
            layers=4,
            d_model=192,
            heads=6,
            ffn=512,
            dropout=0.0,
            max_positions=640,
            init_std=0.045,
        ),
    ),
    "base": ChartModelConfig(name="base", image_size=(960, 960), page="donut"),
}
"""``base`` is the paper's; ``tiny`` is ours, for a laptop."""


class ConvStem(nn.Module):
    """Convolutions in place of patches, with the interface of timm's `PatchEmbed`.

    A patch embedding has to learn each letter anew for every offset in its patch. Convolutions
    learn it once, so a small model learns to read from few pictures (stems of convolutions also
    make transformers train more stably, arXiv 2106.14881). Two convolutions of stride 2 and
    residual blocks make details at `DETAIL` pixels; further ones go down to the patch size.

    Args:
        img_size: (height, width) in pixels.
        patch_size: height of a token, a power of two, at least `DETAIL`.
        in_chans: channels of the image.
        embed_dim: channels of the tokens.
        norm_layer: the norm after the stem.
        width: channels of the details.
        blocks: residual blocks.
        patch_width: of a token, likewise; by default its height.
        kwargs: device and dtype; what else timm passes is of no meaning here.
    """

    def __init__(
        self,
        img_size: tuple[int, int],
        patch_size: int,
        in_chans: int,
        embed_dim: int,
        norm_layer: type[nn.Module],
        width: int = 64,
        blocks: int = 3,
        patch_width: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        made: dict[str, Any] = {key: kwargs.get(key) for key in ("device", "dtype")}
        down: Any = partial(ConvNormAct, kernel_size=3, stride=2, **made)
        self.details = nn.Sequential(
            down(in_chans, width // 2),
            down(width // 2, width),
            *(BasicBlock(width, width, **made) for _ in range(blocks)),
        )
        self.patch_size = (patch_size, patch_width or patch_size)
        steps = [side.bit_length() - DETAIL.bit_length() for side in self.patch_size]
        widths = [*([width] * max(steps)), embed_dim] if any(steps) else [width]
        self.coarser = nn.Sequential(
            *(
                down(*pair, stride=tuple(2 if step < wanted else 1 for wanted in steps))
                for step, pair in enumerate(pairwise(widths))
            )
        )
        self.proj = nn.Conv2d(widths[-1], embed_dim, kernel_size=1, **made)
        self.norm = norm_layer(embed_dim, **made)
        self.set_input_size(img_size)

    def set_input_size(self, img_size: tuple[int, int], patch_size: None = None) -> None:
        """Note another nominal image size, (height, width) in pixels; no weight depends on it."""
        self.img_size = img_size
        self.grid_size = (
            -(-img_size[0] // self.patch_size[0]),
            -(-img_size[1] // self.patch_size[1]),
        )

    def tokens(self, details: Tensor) -> Tensor:
        """[batch, width, height / 4, width / 4] to [batch, rows, columns, dim]."""
        found: Tensor = self.norm(self.proj(self.coarser(details)).permute(0, 2, 3, 1))
        return found

    def forward(self, pixels: Tensor) -> Tensor:
        """[batch, channels, height, width] to [batch, rows, columns, dim]."""
        return self.tokens(self.details(pixels))


class PadFirstBlock(SwinTransformerBlock):
    """timm's Swin block, except that it pads the tokens to whole windows before it shifts them.

    timm shifts first. Where the grid is no multiple of the window, the rows that come round from
    the top then lie before the padding and not at the end, where the attention mask expects them:
    opposite edges of the chart see each other. Donut's encoder in transformers, for which
    UniChart's checkpoints are, pads first; at 512 x 512 no stage's grid is whole windows of 10. On
    whole windows both are the same. A grid no larger than one window is not shifted, as in Swin.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[batch, height, width, channels] to the same shape."""
        x = x + self.drop_path1(self._attend(self.norm1(x)))
        out: Tensor = x + self.drop_path2(self.mlp(self.norm2(x)))
        return out

    def _attend(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        window = self.window_size
        x = F.pad(x, (0, 0, 0, -width % window[1], 0, -height % window[0]))
        rows, columns = x.shape[1:3]
        down, right = self.shift_size
        shifted = (down or right) and height > window[0] and width > window[1]
        if shifted:
            x = torch.roll(x, shifts=(-down, -right), dims=(1, 2))
        mask = self.get_attn_mask(x) if shifted else None
        windows = window_partition(x, window).flatten(1, 2)
        windows = self.attn(windows, mask=mask).unflatten(1, window)
        x = window_reverse(windows, window, rows, columns)
        if shifted:
            x = torch.roll(x, shifts=(down, right), dims=(1, 2))
        return x[:, :height, :width]


class ChartEncoder(nn.Module):
    """Swin without the final norm (as in Donut) and without a classifier, for any resolution.

    Windows keep their size at every stage and resolution; what lacks of a whole one is padded.

    Args:
        config: the shape.
        image_size: (height, width) in pixels; only nominal.
    """

    def __init__(self, config: EncoderConfig, image_size: tuple[int, int]) -> None:
        super().__init__()
        stem: Any = partial(PatchEmbed, dynamic_img_pad=True)
        if config.stem == "conv":
            stem = partial(
                ConvStem,
                width=config.stem_width,
                blocks=config.stem_blocks,
                patch_width=config.patch_width,
            )
        self.swin = SwinTransformer(
            img_size=image_size,
            patch_size=config.patch_size,
            num_classes=0,
            embed_dim=config.embed_dim,
            depths=config.depths,
            num_heads=config.heads,
            window_size=config.window,
            always_partition=True,  # or timm narrows windows, and their bias, to a small grid
            strict_img_size=False,
            drop_path_rate=config.drop_path,
            embed_layer=stem,
        )
        self.swin.norm = nn.Identity()
        for block in self.swin.modules():
            if isinstance(block, SwinTransformerBlock):
                block.__class__ = PadFirstBlock  # timm offers no argument for it

    def details(self, pixels: Tensor) -> Tensor:
        """What a convolutional stem sees: [batch, stem_width, height / 4, width / 4].

        Args:
            pixels: [batch, 3, height, width].
        """
        stem: Any = self.swin.patch_embed
        details: Tensor = stem.details(pixels)
        return details

    def forward(self, pixels: Tensor, details: Tensor | None = None) -> Tensor:
        """Encode charts.

        Args:
            pixels: [batch, 3, height, width] of any size.
            details: of the same charts, where they are known already.

        Returns:
            [batch, tokens, hidden], row by row; each further stage halves height and width of the
            patches, rounded up.
        """
        stem: Any = self.swin.patch_embed
        tokens = stem(pixels) if details is None else stem.tokens(details)
        states: Tensor = self.swin.norm(self.swin.layers(tokens))
        return states.flatten(1, 2)

    def set_image_size(self, size: tuple[int, int], window: int) -> None:
        """Take another nominal resolution and window; see `ChartModel.set_image_size`."""
        # Without the window timm would scale it along with the image.
        self.swin.set_input_size(img_size=size, window_size=window)


@dataclass(frozen=True)
class Answers:
    """What a chart model generated.

    Attributes:
        ids: [batch, length], without the prompt, up to and with the end token, then padding.
        mask: [batch, length], True on the answer's tokens.
        log_probs: [batch, length], natural logarithm of each token's probability given all before
            it; 0 on padding. It is the model's own: forbidden tokens keep their share.
    """

    ids: Tensor
    mask: Tensor
    log_probs: Tensor

    @property
    def total(self) -> Tensor:
        """[batch], log-probability of each whole answer."""
        return self.log_probs.sum(1)

    @property
    def confidence(self) -> Tensor:
        """[batch], from 0 to 1: the geometric mean of the probabilities of each answer's tokens."""
        return (self.total / self.mask.sum(1).clamp(min=1)).exp()

    def ended(self, eos_id: int) -> list[bool]:
        """Whether each answer has its end token; one that is cut has none."""
        found: list[bool] = ((self.ids == eos_id) & self.mask).any(1).tolist()
        return found

    def tokens(self) -> list[list[int]]:
        """Each answer's token ids, without padding."""
        pairs = zip(self.ids, self.mask, strict=True)
        return [ids[mask].tolist() for ids, mask in pairs]


class PlaceHead(nn.Module):
    """Says where within its token each state sees a letter's middle or a mark's end.

    The values of an axis are read off by comparing places to a pixel or two; a token is 8 high.

    Args:
        width: of the encoder's states.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.offset = nn.Linear(width, 2)
        nn.init.zeros_(self.offset.weight)
        nn.init.zeros_(self.offset.bias)

    def forward(self, states: Tensor, grid: Sequence[int]) -> Tensor:
        """States [batch, tokens, width] to places [batch, tokens, 2], x and y in tokens.

        Args:
            states: of the encoder, row by row.
            grid: rows and columns of tokens.
        """
        rows, columns = (torch.arange(side, device=states.device) for side in grid)
        corners = torch.cartesian_prod(rows, columns).flip(-1)
        return corners + self.offset(states).float().sigmoid()


@dataclass(frozen=True)
class ChartKeys:
    """What the decoder's layers attend to in some charts, for any number of texts about each.

    Attributes:
        states: [charts, tokens, d_model], of the encoder.
        pairs: for each layer the keys and the values, [charts, heads, tokens, d_model / heads].
    """

    states: Tensor
    pairs: list[tuple[Tensor, Tensor]]

    def cache(self, charts: Tensor) -> EncoderDecoderCache:
        """A cache of texts that have not begun, each about one of the charts.

        Args:
            charts: [texts], the number of each text's chart.
        """
        attended = DynamicCache()
        for layer, (keys, values) in enumerate(self.pairs):
            attended.update(keys[charts], values[charts], layer)
        return EncoderDecoderCache(DynamicCache(), attended)


class ChartModel(nn.Module):
    """Reads a chart and a prompt, writes an answer (arXiv 2305.14761, section 3.1).

    Wherever ``images`` are asked for, pixels [batch, 3, height, width] or the states [batch,
    tokens, d_model] that `encode` made of them will do.

    Args:
        config: the shape; weights are random, `belvedere.unichart.hub` loads trained ones.

    Attributes:
        letters: names the letters that a convolutional stem sees; nothing that it says goes into an
            answer.
        axis: says between which ticks the decoder sees a mark; nor does what this one says. Readers
            with a convolutional stem have both.
    """

    def __init__(self, config: ChartModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = ChartEncoder(config.encoder, config.image_size)
        hidden, d_model = config.encoder.hidden, config.decoder.d_model
        has_details = config.encoder.stem == "conv"
        self.letters = LetterHead(config.encoder.stem_width) if has_details else None
        self.axis = AxisHead(d_model) if has_details else None
        self.places = PlaceHead(hidden) if config.encoder.positions == "sine" else None
        self.projection = nn.Identity() if hidden == d_model else nn.Linear(hidden, d_model)
        self.decoder = MBartForCausalLM(config.mbart())

    @property
    def head_weight(self) -> Tensor:
        """[vocabulary, d_model], for losses that compute the logits in chunks."""
        weight: Tensor = self.decoder.get_output_embeddings().weight
        return weight

    def cut(self, layers: int) -> "ChartModel":
        """The same reader with a shallower decoder: a view that shares all its tensors.

        It has the whole encoder, the decoder's first layers, and its final norm and head. As of
        any view (`belvedere.submodels.views`) its train or eval mode is its own, and a new
        resolution of the parent with another window does not reach it.

        Args:
            layers: of the decoder; with all of them it answers as this model does.

        Raises:
            BadInput: the decoder has no such depth.
        """
        view = shared(self)
        view.decoder = submodel(self.decoder, layers)
        view.config = replace(self.config, decoder=replace(self.config.decoder, layers=layers))
        return view

    def set_image_size(self, size: tuple[int, int], window: int | None = None) -> None:
        """Make the model one for another resolution, as UniChart goes from 512 to 960.

        The weights stay as they are; only where the window changes too, are the tables of
        relative positions interpolated (and are new parameters: call this before an optimizer is
        made).

        Args:
            size: (height, width) in pixels.
            window: side of the attention windows, by default as before.
        """
        window = window or self.config.encoder.window
        self.encoder.set_image_size(size, window)
        encoder = replace(self.config.encoder, window=window)
        self.config = replace(self.config, image_size=size, encoder=encoder)

    def encode(self, pixels: Tensor, details: Tensor | None = None) -> Tensor:
        """Pixels [batch, 3, height, width] to states [batch, tokens, d_model].

        Args:
            pixels: the charts.
            details: of `ChartEncoder.details`, where they are known already.
        """
        seen = self.encoder(pixels, details)
        states: Tensor = self.projection(seen)
        if self.places is not None:
            strides = self.config.encoder.stride
            grid = [
                -(-side // stride) for side, stride in zip(pixels.shape[2:], strides, strict=True)
            ]
            width = states.shape[-1]
            sines = build_sincos2d_pos_embed(grid, width, SINE_TEMPERATURE, device=states.device)
            states = F.layer_norm(states, (width,)) + sines.to(states.dtype)
            middle = torch.tensor([grid[1], grid[0]], device=states.device) / 2
            coordinates = (self.places(seen, grid) - middle) / PLACE_SCALE
            states = torch.cat([coordinates.to(states.dtype), states[..., 2:]], -1)
        return states

    def pixels_of(self, states: Tensor, size: tuple[int, int]) -> Tensor:
        """Where on the page what each state sees is, as far as the states know.

        Args:
            states: [..., d_model], of `encode`, with positions.
            size: (height, width) of the pages in pixels.

        Returns:
            [..., 2], x and y in pixels.
        """
        stride = torch.tensor(self.config.encoder.stride[::-1], device=states.device)
        side = torch.tensor(size[::-1], device=states.device)
        middle = -(-side // stride) / 2
        return (states[..., :2].float() * PLACE_SCALE + middle) * stride

    def decode(self, states: Tensor, ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Run the decoder over whole texts (teacher forcing).

        Args:
            states: [batch, tokens, d_model].
            ids: [batch, length], padded on the right if at all.
            attention_mask: [batch, length], 0 on padding; by default nothing is padding.

        Returns:
            [batch, length, d_model], after the final norm; times `head_weight` they are the
            logits of the token that follows each.
        """
        return self.decode_at([self.config.decoder.layers], states, ids, attention_mask)[0]

    def keys_of(self, states: Tensor) -> ChartKeys:
        """What the decoder attends to in charts, worked out once for all texts about them.

        Args:
            states: [charts, tokens, d_model].
        """
        found = []
        for layer in layers_of(self.decoder):
            attention: Any = layer.encoder_attn
            shape = (-1, attention.head_dim)
            keys, values = (
                project(states).unflatten(-1, shape).transpose(1, 2)
                for project in (attention.k_proj, attention.v_proj)
            )
            found.append((keys, values))
        return ChartKeys(states, found)

    def decode_about(
        self,
        depths: Sequence[int],
        keys: ChartKeys,
        charts: Tensor,
        ids: Tensor,
        attention_mask: Tensor | None = None,
    ) -> list[Tensor]:
        """`decode_at` where several texts may be about one chart.

        Args:
            depths: decoder layers, ascending.
            keys: of the charts.
            charts: [texts], the number of each text's chart.
            ids: [texts, length].
            attention_mask: [texts, length].
        """
        return prefix_states(
            self.decoder,
            depths,
            input_ids=ids,
            attention_mask=attention_mask,
            # The layers find keys and values in the cache; of these they only see that there are.
            encoder_hidden_states=keys.states[:1].expand(len(ids), -1, -1),
            past_key_values=keys.cache(charts),
        )

    def decode_at(
        self,
        depths: Sequence[int],
        states: Tensor,
        ids: Tensor,
        attention_mask: Tensor | None = None,
    ) -> list[Tensor]:
        """Run the decoder once over whole texts, for several of its depths (see `cut`).

        Args:
            depths: decoder layers, ascending; those beyond the last depth are not run.
            states: as in `decode`, as are the texts.
            ids: [batch, length].
            attention_mask: [batch, length].

        Returns:
            For each depth what the `decode` of the reader that is cut there gives.

        Raises:
            BadInput: wrong depths.
        """
        return prefix_states(
            self.decoder,
            depths,
            input_ids=ids,
            attention_mask=attention_mask,
            encoder_hidden_states=states,
        )

    def forward(self, images: Tensor, ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Logits [batch, length, vocabulary] of the token that follows each; as in `decode`."""
        hidden = self.decode(self._states(images), ids, attention_mask)
        logits: Tensor = self.decoder.get_output_embeddings()(hidden)
        return logits

    @torch.no_grad()
    def generate(
        self,
        images: Tensor,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        num_beams: int = 4,
        early_stopping: bool = True,
        length_penalty: float = 1.0,
        forbidden: Sequence[int] | None = None,
    ) -> Answers:
        """Answer one prompt for each chart by beam search, in eval mode.

        Args:
            images: pixels or states of the charts; a chart that is asked twice is there twice.
            prompts: token ids of one prompt a chart, of any lengths, none empty.
            max_new_tokens: longest answer, the end token included.
            num_beams: 1 is greedy search.
            early_stopping: whether a search ends once it has ``num_beams`` whole answers.
            length_penalty: answers are ranked by log-probability / length ** length_penalty.
            forbidden: token ids that are never generated, by default ``<unk>``.

        Raises:
            BadInput: as many prompts as charts are not given, one is empty, or a prompt and its
                answer could exceed the decoder's positions.
        """
        states = self._states(images)
        self._check(prompts, len(states), max_new_tokens)
        ids, mask = self._padded(prompts, states.device, left=True)
        options = GenerationConfig(
            max_new_tokens=max_new_tokens,
            num_beams=num_beams,
            early_stopping=early_stopping if num_beams > 1 else None,
            length_penalty=length_penalty if num_beams > 1 else None,
            do_sample=False,
            suppress_tokens=list([self.config.unk_id] if forbidden is None else forbidden) or None,
            pad_token_id=self.config.pad_id,
            bos_token_id=self.config.bos_id,
            eos_token_id=self.config.eos_id,
        )
        decoder: Any = self.decoder
        with _positions_from_first_token(decoder, padding=(mask == 0).sum(1)):
            sequences = decoder.generate(
                input_ids=ids,
                attention_mask=mask,
                encoder_hidden_states=states,
                generation_config=options,
                past_key_values=_BeamCache(DynamicCache(), DynamicCache()),
            )
        return self._scored(states, prompts, sequences[:, ids.shape[1] :])

    def _states(self, images: Tensor) -> Tensor:
        return self.encode(images) if images.ndim == 4 else images

    def _check(self, prompts: Sequence[Sequence[int]], charts: int, new: int) -> None:
        if len(prompts) != charts:
            raise BadInput(f"{charts} charts have {len(prompts)} prompts", remedy="give one each")
        if not all(prompts):
            raise BadInput("a prompt is empty", remedy="begin with the task's token")
        longest, positions = max(map(len, prompts)), self.config.decoder.max_positions
        if longest + new > positions:
            raise BadInput(
                f"a prompt of {longest} and an answer of {new} tokens exceed {positions} positions",
                remedy="lower max_new_tokens or shorten the prompt",
            )

    def _padded(
        self, rows: Sequence[Sequence[int]], device: torch.device, *, left: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Token ids [rows, longest] and their mask, 1 on tokens and 0 on padding."""
        longest = max(map(len, rows))
        ids = torch.full((len(rows), longest), self.config.pad_id)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            part = slice(longest - len(row), None) if left else slice(len(row))
            ids[i, part], mask[i, part] = torch.tensor(row), 1
        return ids.to(device), mask.to(device)

    def _scored(
        self, states: Tensor, prompts: Sequence[Sequence[int]], generated: Tensor
    ) -> Answers:
        """Cut answers at their end and score them in one more pass: beam search's own scores would
        hold the logits of every step and beam."""
        ended = (generated == self.config.eos_id).cumsum(1)
        mask = (ended == 0) | ((ended == 1) & (generated == self.config.eos_id))
        ids = generated.masked_fill(~mask, self.config.pad_id)
        answers = [row[keep].tolist() for row, keep in zip(ids, mask, strict=True)]
        texts = [[*prompt, *answer] for prompt, answer in zip(prompts, answers, strict=True)]
        hidden = self.decode(states, *self._padded(texts, states.device))
        head = self.decoder.get_output_embeddings()
        log_probs = torch.zeros(ids.shape, device=ids.device)
        for i, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
            before = hidden[i, len(prompt) - 1 : len(prompt) - 1 + len(answer)]
            own = head(before).float().log_softmax(-1)  # one answer's logits at a time
            log_probs[i, : len(answer)] = own.gather(1, ids[i, : len(answer), None])[:, 0]
        return Answers(ids=ids, mask=mask, log_probs=log_probs)


class _BeamCache(EncoderDecoderCache):
    """Beams of one chart see the same states, so only the text's part follows the beams."""

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        self.self_attention_cache.reorder_cache(beam_idx)


@contextmanager
def _positions_from_first_token(decoder: MBartForCausalLM, padding: Tensor) -> Iterator[None]:
    """Count each row's positions from its first token, where mBART counts from the first column.

    mBART takes no positions and does not ask the mask, so with prompts padded on the left it would
    read a short prompt at positions that it never saw in training.

    Args:
        decoder: its embedding of positions is watched.
        padding: [batch], columns of padding at the left of each row; beams repeat the rows.
    """
    table: Any = decoder.get_decoder().embed_positions

    def recount(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        ids, past = args
        columns = past + torch.arange(ids.shape[1], device=ids.device)
        rows = padding.repeat_interleave(len(ids) // len(padding))
        positions = (columns - rows[:, None]).clamp(min=0)
        return F.embedding(positions + table.offset, table.weight)

    handle = table.register_forward_hook(recount)
    try:
        yield
    finally:
        handle.remove()
