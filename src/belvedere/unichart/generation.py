"""What generation needs beside transformers' own: answers with their confidence, and prompts of
different lengths in one batch."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import EncoderDecoderCache, MBartForCausalLM

from belvedere.charts.tasks import says_no_chart


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

    def sureness(self, texts: Sequence[str], refusal: int) -> list[float]:
        """`confidence` of each answer; of ``no chart`` the probability that there is one after all.

        Args:
            texts: the answers, decoded.
            refusal: tokens of ``no chart``.
        """
        begun = self.log_probs[:, :refusal].sum(1).exp().tolist()
        return [
            1 - share if says_no_chart(text) else sure
            for text, share, sure in zip(texts, begun, self.confidence.tolist(), strict=True)
        ]

    def ended(self, eos_id: int) -> list[bool]:
        """Whether each answer has its end token; one that is cut has none."""
        found: list[bool] = ((self.ids == eos_id) & self.mask).any(1).tolist()
        return found

    def tokens(self) -> list[list[int]]:
        """Each answer's token ids, without padding."""
        pairs = zip(self.ids, self.mask, strict=True)
        return [ids[mask].tolist() for ids, mask in pairs]


class BeamCache(EncoderDecoderCache):
    """Beams of one chart see the same states, so only the text's part follows the beams."""

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Let each beam go on from the one that it was chosen from."""
        self.self_attention_cache.reorder_cache(beam_idx)


@contextmanager
def positions_from_first_token(decoder: MBartForCausalLM, padding: Tensor) -> Iterator[None]:
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
