"""The shapes of chart models: the paper's, and a small one for a laptop."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from transformers import MBartConfig

from belvedere.data.pictures import PageKind
from belvedere.errors import BadInput

DETAIL = 4
"""Pixels to a side of the finest features of a convolutional stem."""
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
        axial: pairs of blocks in which each state sees its whole column and then its whole row
            (`AxialBlocks`), where states have positions.
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
    axial: int = 0

    def __post_init__(self) -> None:
        if len(self.depths) != len(self.heads):
            raise BadInput(f"{len(self.depths)} stages have {len(self.heads)} numbers of heads")
        for stage, heads in enumerate(self.heads):
            if self.embed_dim * 2**stage % heads:
                raise BadInput(
                    f"a width of {self.embed_dim * 2**stage} does not divide by {heads} heads",
                    where=f"encoder stage {stage}",
                )
        if self.axial < 0:
            raise BadInput(f"{self.axial} pairs of blocks", where="axial", remedy="give 0 or more")
        if self.axial and self.positions == "none":
            raise BadInput(
                "columns and rows are compared by the places of what is in them",
                where="axial",
                remedy="use positions: sine",
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

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the states of a page of (height, width) pixels."""
        return -(-size[0] // self.stride[0]), -(-size[1] // self.stride[1])

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
            axial=2,
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
