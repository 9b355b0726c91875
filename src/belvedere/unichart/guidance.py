"""Shows a text decoder where to look: a loss on its cross-attention.

Letters, values and marks of the corpus have known places. From the answers alone a small decoder on
few charts learns what tables look like, long before it finds out that they are in the picture; told
where each token of an answer is read, it looks there much sooner. Only training knows of it: the
model and its answers are what they would be without. (ours)
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import MBartForCausalLM

from belvedere.submodels.backbone import layers_of


class Guidance:
    """The attention that a decoder pays to the right places, over one or more passes over texts.

    Args:
        decoder: half of the heads of its layers are to look at the letter or mark that is read, the
            others at the tick beside the mark; they are free for all other tokens. The first layer
            is free altogether: it has yet to find out where to go next.

    Attributes:
        found: the logarithms of that attention, of each pass.
    """

    def __init__(self, decoder: MBartForCausalLM) -> None:
        layers = layers_of(decoder)
        self.attentions: list[Any] = [layer.encoder_attn for layer in layers[1:] or layers]
        self.seen: dict[nn.Module, Tensor] = {}
        self.found: list[Tensor] = []

    @contextmanager
    def watching(self, looks: Tensor) -> Iterator[None]:
        """Note how much attention the next pass pays to the right places.

        Args:
            looks: [texts, length, 2], the number of the state at which the label of each token is
                read, and that of its tick; -1 where there is none.
        """

        def note(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
            self.seen[module] = output

        handles = [
            module.register_forward_hook(note)
            for attention in self.attentions
            for module in (attention.q_proj, attention.k_proj)
        ]
        try:
            yield
            for attention in self.attentions:
                self.found += self._log_shares(attention, looks)
        finally:
            self.seen.clear()
            for handle in handles:
                handle.remove()

    def loss(self) -> tuple[Tensor, Tensor]:
        """How far from the right places the attention was; some text must have had one.

        Returns:
            The mean over looks and guided layers of the negative logarithm of the attention that
            the heads for this look, on average, pay to the place; and the mean of that attention.
        """
        found = torch.cat(self.found)
        return -found.mean(), found.detach().exp().mean()

    def _log_shares(self, attention: Any, looks: Tensor) -> list[Tensor]:
        """Of each text and kind [looks], the logarithm of the mean attention of its heads."""
        shape, half = (-1, attention.head_dim), attention.num_heads // 2
        # Unbound, as the gradient of an indexed text would be a whole tensor of zeros around it.
        queries, keys = (
            self.seen[module].unflatten(-1, shape).transpose(1, 2).float().unbind()
            for module in (attention.q_proj, attention.k_proj)
        )
        found = []
        for text, places in enumerate(looks):  # one by one, as padding would be most of the work
            parts = zip(
                places.unbind(-1),
                queries[text].split(half),
                keys[text].split(half),
                strict=True,
            )
            for wanted, query, key in parts:
                at = (wanted >= 0).nonzero()[:, 0]
                scores = query[:, at] @ key.transpose(1, 2) * attention.scaling
                aims = wanted[at].expand(half, -1)[..., None]
                to_place = scores.gather(2, aims)[..., 0] - scores.logsumexp(2)
                found.append(to_place.logsumexp(0) - math.log(half))
        return found
