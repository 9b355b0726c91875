"""The UniChart model: timm's Swin as chart encoder, transformers' mBART as text decoder.

Both are the public classes as they are (arXiv 2305.14761, section 3.1; the design is Donut's, arXiv
2111.15664). Ours are, besides the encoder's padding (`belvedere.unichart.encoder`) and generation
over prompts of different lengths in one batch, what small readers need: a convolutional stem, and
states that know their places.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import DynamicCache, EncoderDecoderCache, GenerationConfig, MBartForCausalLM

from belvedere.errors import BadInput
from belvedere.submodels.backbone import layers_of, prefix_states
from belvedere.submodels.views import shared, submodel
from belvedere.unichart.config import ChartModelConfig
from belvedere.unichart.encoder import AxialBlocks, ChartEncoder, PlaceHead
from belvedere.unichart.generation import Answers, BeamCache, positions_from_first_token
from belvedere.unichart.reading import AxisHead, LetterHead, PhaseHead

SINE_TEMPERATURE = 2.0
"""Waves of 2D positions are 6 to 13 states long: what is compared, a mark and its ticks or a letter
and the next one, is near each other."""
PLACE_SCALE = 4.0
"""Tokens to one unit of the coordinates in the states, which are of the size of the other parts."""


def sines(places: Tensor, width: int) -> Tensor:
    """Sines and cosines of places on a page: in the middles of tokens those of timm's
    `build_sincos2d_pos_embed`, which knows no other ones.

    Args:
        places: [..., 2], x and y in tokens.
        width: of the states, a multiple of 4.

    Returns:
        [..., width]: a quarter each of sines of y, sines of x, and cosines of both.
    """
    rates = SINE_TEMPERATURE ** -(torch.arange(width // 4, device=places.device) / (width // 4))
    angles = (places.flip(-1)[..., None] - 0.5) * rates
    return torch.stack([angles.sin(), angles.cos()], -3).flatten(-3)


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
            attended.update(keys.index_select(0, charts), values.index_select(0, charts), layer)
        return EncoderDecoderCache(PassingCache(), attended)


class PassingCache(DynamicCache):
    """What texts that are read whole need of a cache: each layer attends to its own keys alone.

    As nothing is kept, a layer may run twice (`OptimisedModule.checkpoint_activations`).
    """

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """The keys and values as they are."""
        return key_states, value_states


class ChartModel(nn.Module):
    """Reads a chart and a prompt, writes an answer (arXiv 2305.14761, section 3.1).

    Wherever ``images`` are asked for, pixels [batch, 3, height, width] or the states [batch,
    tokens, d_model] that `encode` made of them will do.

    Args:
        config: the shape; weights are random, `belvedere.unichart.hub` loads trained ones.

    Attributes:
        letters: names the letters that a convolutional stem sees; nothing that it says goes into an
            answer.
        places: says where on the page each state is, where the encoder has positions.
        lines: lets states see along columns and rows, where the encoder is to.
        phases: says where between the numbers of the axes each state is, with ``lines``; nor does
            anything that it says go into an answer.
        axis: says between which ticks the decoder sees a mark; likewise. Readers with a
            convolutional stem have this and ``letters``.
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
        self.lines = self.phases = None
        if config.encoder.axial:
            grid = config.encoder.grid(config.image_size)
            heads = config.encoder.heads[-1]
            self.lines = AxialBlocks(hidden, heads, grid, config.encoder.axial)
            self.phases = PhaseHead(d_model)
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

        The weights stay as they are; only where windows change, too, or are whole columns and
        rows, are the tables of relative positions interpolated (and are new parameters: call this
        before an optimizer is made).

        Args:
            size: (height, width) in pixels.
            window: side of the attention windows, by default as before.
        """
        window = window or self.config.encoder.window
        self.encoder.set_image_size(size, window)
        if self.lines is not None:
            self.lines.set_grid(self.config.encoder.grid(size))
        encoder = replace(self.config.encoder, window=window)
        self.config = replace(self.config, image_size=size, encoder=encoder)

    def encode(self, pixels: Tensor, details: Tensor | None = None) -> Tensor:
        """Pixels [batch, 3, height, width] to states [batch, tokens, d_model].

        Args:
            pixels: the charts.
            details: of `ChartEncoder.details`, where they are known already.
        """
        seen = self.encoder(pixels, details)
        if self.places is None:
            states: Tensor = self.projection(seen)
        else:
            grid = self.config.encoder.grid((pixels.shape[2], pixels.shape[3]))
            places = self.places(seen, grid)
            if self.lines is not None:
                seen = self.lines(seen, sines(places, seen.shape[-1]), grid)
            states = self.projection(seen)
            middle = torch.tensor([grid[1], grid[0]], device=states.device) / 2
            states = F.layer_norm(states, states.shape[-1:]) + sines(places, states.shape[-1])
            states = torch.cat([(places - middle) / PLACE_SCALE, states[..., 2:]], -1)
            states = states.to(seen.dtype)
        return states

    def pixels_of(self, states: Tensor, size: tuple[int, int]) -> Tensor:
        """Where on the page what each state sees is, as far as the states know.

        Args:
            states: [..., d_model], of `encode`, with positions.
            size: (height, width) of the pages in pixels.

        Returns:
            [..., 2], x and y in pixels.
        """
        shape = self.config.encoder
        stride = torch.tensor(shape.stride[::-1], device=states.device)
        middle = torch.tensor(shape.grid(size)[::-1], device=states.device) / 2
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
        # What all keys have in common changes no attention, but in bfloat16 it drowns the gradients
        # of the queries, which are differences between keys.
        centred = states - states.mean(1, keepdim=True)
        found = []
        for layer in layers_of(self.decoder):
            attention: Any = layer.encoder_attn
            shape = (-1, attention.head_dim)
            keys, values = (
                project(given).unflatten(-1, shape).transpose(1, 2)
                for project, given in ((attention.k_proj, centred), (attention.v_proj, states))
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
        with positions_from_first_token(decoder, padding=(mask == 0).sum(1)):
            sequences = decoder.generate(
                input_ids=ids,
                attention_mask=mask,
                encoder_hidden_states=states,
                generation_config=options,
                past_key_values=BeamCache(DynamicCache(), DynamicCache()),
            )
        return self._scored(states, prompts, sequences[:, ids.shape[1] :])

    @torch.no_grad()
    def scored(self, states: Tensor, prompt: Sequence[int], answer: Sequence[int]) -> Answers:
        """An answer with how sure the reader is of it.

        Args:
            states: [1, tokens, d_model], of the chart.
            prompt: token ids.
            answer: token ids, its end included where it has one.
        """
        ids = torch.tensor([list(answer)], device=states.device)
        return self._scored(states, [prompt], ids)

    @torch.no_grad()
    def sure_of(
        self, states: Tensor, prompts: Sequence[Sequence[int]], answer: Sequence[int]
    ) -> list[float]:
        """The probability that the answer to each prompt begins so.

        Args:
            states: [batch, tokens, d_model], of the charts.
            prompts: token ids of one prompt a chart.
            answer: token ids, the same for all prompts.
        """
        ids = torch.tensor([list(answer)] * len(prompts), device=states.device)
        found: list[float] = self._scored(states, prompts, ids).total.exp().tolist()
        return found

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
