"""The chart encoder: timm's Swin, and what small readers have besides: a stem, places, and lines of
sight along the axes of a chart."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from timm.layers import ConvNormAct, PatchEmbed
from timm.models.resnet import BasicBlock
from timm.models.swin_transformer import (
    SwinTransformer,
    SwinTransformerBlock,
    window_partition,
    window_reverse,
)
from torch import Tensor, nn
from torch.nn import functional as F

from belvedere.unichart.config import DETAIL, EncoderConfig


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


class AxialBlocks(nn.Module):
    """Lets states see along their columns and rows, as the axes of a chart are read.

    Swin's windows are small, and the few stages of a small reader do not join them. A mark's value
    is told by the ticks that its row meets, and its name by the label in its column. Blocks of Swin
    whose windows are whole columns, then whole rows, find both (axial attention, arXiv 1912.12180);
    what they find is added to the states.

    Args:
        width: of the states.
        heads: of each block's attention.
        grid: rows and columns of the states.
        pairs: of a block for columns and one for rows.
    """

    def __init__(self, width: int, heads: int, grid: Sequence[int], pairs: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(
                PadFirstBlock(
                    width, (rows, columns), heads, window_size=window, always_partition=True
                )
                for rows, columns in [grid] * pairs
                for window in ((rows, 1), (1, columns))
            )
        )
        self.out = nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)  # a reader that gets them answers as before at first
        nn.init.zeros_(self.out.bias)

    def forward(self, states: Tensor, sines: Tensor, grid: Sequence[int]) -> Tensor:
        """States [batch, tokens, width] to states that know of their columns and rows.

        Args:
            states: row by row.
            sines: of the same shape, of the places of what the states see.
            grid: rows and columns of the states; windows beyond the grid that the blocks are made
                for are parts of a column or row.
        """
        placed = F.layer_norm(states, states.shape[-1:]) + sines
        found: Tensor = self.out(self.blocks(placed.unflatten(1, tuple(grid))).flatten(1, 2))
        return states + found

    def set_grid(self, grid: Sequence[int]) -> None:
        """Take another number of rows and columns; tables of relative places are interpolated."""
        rows, columns = grid
        for number, block in enumerate(self.blocks):
            assert isinstance(block, PadFirstBlock)
            block.set_input_size((rows, columns), (1, columns) if number % 2 else (rows, 1))


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
