"""LayerSkip's formulas: layer dropout, early-exit weights and the curriculum (arXiv 2404.16710).

Layers are counted from 0 here, as in the paper: the output of layer l is the residual stream at
depth l + 1, and layer L - 1 is the last.
"""

import math

from torch import Tensor, nn, rand, where


def dropout_rates(layers: int, highest: float) -> list[float]:
    """p_l = p_max (e^(l ln 2 / (L - 1)) - 1), from 0 at the first layer to p_max at the last."""
    return [highest * math.expm1(layer * math.log(2) / (layers - 1)) for layer in range(layers)]


def exit_weights(layers: int, scale: float) -> list[float]:
    """e(l) = scale * sum of 0..l below the last layer; e(L-1) = L - 1 + scale * sum of 0..L-2."""
    early = [scale * layer * (layer + 1) / 2 for layer in range(layers - 1)]
    return [*early, layers - 1 + scale * (layers - 2) * (layers - 1) / 2]


def enabled_layers(step: int, layers: int, rotation: int) -> list[int]:
    """Rotational curriculum: every ``rotation``-th layer, another set each step, and the last."""
    chosen = [layer for layer in range(layers - 1) if layer % rotation == step % rotation]
    return [*chosen, layers - 1]


def normalised_weights(enabled: list[int], layers: int, scale: float) -> list[float]:
    """The weights of the enabled layers, with a sum of 1."""
    weights = exit_weights(layers, scale)
    total = sum(weights[layer] for layer in enabled)
    return [weights[layer] / total for layer in enabled]


def add_layer_dropout(layers: nn.ModuleList, rates: list[float]) -> None:
    """Let each layer be skipped for single samples of a batch, in training mode only."""
    for layer, rate in zip(layers, rates, strict=True):
        if rate > 0:
            layer.register_forward_hook(_Skip(rate))


class _Skip:
    """A forward hook that gives some samples the layer's input back instead of its output."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        if not layer.training:
            return None
        hidden = args[0]
        kept = rand(hidden.shape[0], 1, 1, device=hidden.device) >= self.rate
        return where(kept, output, hidden)
