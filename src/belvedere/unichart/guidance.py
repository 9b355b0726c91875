"""Shows a text decoder where to look, and what is there to see: losses on its layers.

Letters, values and marks of the corpus have known places. From the answers alone a small decoder on
few charts learns what tables look like, long before it finds out that they are in the picture; told
where each token of an answer is read, it looks there much sooner. Where a value has to be read off
an axis, each layer is also asked where between two ticks the mark is. Only training knows of it:
the model and its answers are what they would be without. (ours)
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import MBartForCausalLM

from belvedere.submodels.backbone import layers_of
from belvedere.unichart.model import ChartKeys
from belvedere.unichart.reading import AxisHead


class Guidance:
    """The attention that a decoder pays to the right places, over one or more passes over texts.

    Args:
        decoder: a third of the heads of its layers are to look at the letter or mark that is read,
            the others at the ticks below and above the mark; they are free for all other tokens.
            The first layer is free altogether: it has yet to find out where to go next.
        axis: asks the guided layers for the mark's place between the ticks.

    Attributes:
        found: the logarithms of that attention, of each pass.
        told: of each pass and layer what `AxisHead.loss` gives, and of how many places.
    """

    def __init__(self, decoder: MBartForCausalLM, axis: AxisHead | None = None) -> None:
        layers = layers_of(decoder)
        self.layers: list[Any] = [*(layers[1:] or layers)]
        self.axis = axis
        self.seen: dict[nn.Module, Tensor] = {}
        self.found: list[Tensor] = []
        self.told: list[tuple[Tensor, Tensor, int]] = []

    @contextmanager
    def watching(
        self, keys: ChartKeys, charts: Tensor, looks: Tensor, shares: Tensor | None = None
    ) -> Iterator[None]:
        """Note how much attention the next pass pays to the right places.

        Args:
            keys: of the charts that the texts are about.
            charts: [texts], the number of each text's chart.
            looks: [texts, length, 3], the number of the state at which the label of each token is
                read, and those of its ticks; -1 where there is none.
            shares: [texts, length], where the mark is between the ticks; NaN where there are none.
        """

        def note(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
            self.seen[module] = output

        handles = [
            module.register_forward_hook(note)
            for layer in self.layers
            for module in (layer, layer.encoder_attn.q_proj)
        ]
        try:
            yield
            guided = keys.pairs[-len(self.layers) :]
            for layer, (of_layer, _) in zip(self.layers, guided, strict=True):
                self.found += self._log_shares(layer.encoder_attn, of_layer, charts, looks)
                if self.axis is not None and shares is not None:
                    known = ~shares.isnan()
                    seen = self.axis.loss(self.seen[layer][known], shares[known])
                    self.told.append((*seen, int(known.sum())))
        finally:
            self.seen.clear()
            for handle in handles:
                handle.remove()

    def loss(self) -> tuple[Tensor, Tensor]:
        """How far from the right places the attention was; 0 where no text had one.

        Returns:
            The mean over looks and guided layers of the negative logarithm of the attention that
            the heads for this look, on average, pay to the place; and the mean of that attention.
        """
        found = torch.cat(self.found)
        looks = max(len(found), 1)
        return -found.sum() / looks, found.detach().exp().sum() / looks

    def axis_loss(self) -> tuple[Tensor, Tensor]:
        """How far off the marks' places between their ticks were, with an axis head.

        Returns:
            The mean cross-entropy over places and guided layers, 0 where there was no place; and
            the share of places that are told to the neighbouring class.
        """
        losses, near, counts = zip(*self.told, strict=True)
        places = max(sum(counts), 1)
        return torch.stack(losses).sum() / places, torch.stack(near).sum() / places

    def _log_shares(
        self, attention: Any, keys: Tensor, charts: Tensor, looks: Tensor
    ) -> list[Tensor]:
        """Of each kind [looks], the logarithm of the mean attention of its heads."""
        kinds, found = looks.shape[-1], []
        queries = self.seen[attention.q_proj].unflatten(-1, (-1, attention.head_dim))
        parts = zip(
            looks.unbind(-1),
            queries.transpose(1, 2).float().tensor_split(kinds, 1),
            keys.float().tensor_split(kinds, 1),
            strict=True,
        )
        for wanted, query, key in parts:
            _, heads, _, width = query.shape
            if not heads:  # fewer of them than kinds of looks
                continue
            # The tokens that look anywhere come first, and only they are read.
            known = wanted >= 0
            longest = int(known.sum(1).max())
            at = known.int().argsort(dim=1, descending=True, stable=True)[:, :longest]
            aims = wanted.gather(1, at)
            asking = query.gather(2, at[:, None, :, None].expand(-1, heads, -1, width))
            scores = asking @ key.index_select(0, charts).transpose(2, 3) * attention.scaling
            places = aims.clamp(min=0)[:, None, :, None].expand(-1, heads, -1, 1)
            to_place = scores.gather(3, places)[..., 0] - scores.logsumexp(3)
            shares = to_place.logsumexp(1) - math.log(heads)
            found.append(shares[aims >= 0])
        return found
