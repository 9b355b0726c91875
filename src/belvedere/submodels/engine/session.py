"""Sequences on their way through the stages of a model, and the one cache that they share.

Tokens stand in columns, one for each sequence of the batch. A column that has left at an exit is
*pending* there: its state waits for the next time that a deeper stage is needed, and then goes
through it with all others that wait, in one pass. So what is in the cache at any depth is what the
full model would have put there.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

from belvedere.submodels.engine.cascade import FEW, Cascade, Passes, Passing, unsupported

ROOM = 16
"""Columns beyond the longest answer: drafts may come after the last token."""
LEAST_ROOM = 256
"""Compiled passes are made for one number of columns, to all of which they attend: this one, or it
doubled as often as the columns need it."""
GAPS = 0.25
"""Share of columns in no sequence at which a batch is put together anew."""
PROBE = 3
"""Tokens with which a model is asked whether its decoder does more than the stages do."""
CLOSE = 1e-3
"""How far its logits may then be off in float32; other types are allowed what they are coarser."""


@dataclass
class Span:
    """The columns that are passing through a layer, and how many there is room for.

    Attributes:
        start, stop: of the columns.
        capacity: the room.
        columns: their numbers as a tensor, in passes that are compiled: then all columns that there
            is room for are given to the layer, and the shapes are always the same.
    """

    start: int = 0
    stop: int = 0
    capacity: int = 0
    columns: Tensor | None = None


class ColumnLayer(CacheLayerMixin):
    """Keys and values of one layer, allocated once, written where the span says.

    Args:
        span: shared by all layers of a cache.
    """

    def __init__(self, span: Span) -> None:
        super().__init__()
        self.span = span

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate room for all columns."""
        shapes = [
            (*states.shape[:2], self.span.capacity, states.shape[3])
            for states in (key_states, value_states)
        ]
        # Zeros, as columns that nothing attends to still take part, and might be no numbers.
        self.keys, self.values = key_states.new_zeros(shapes[0]), value_states.new_zeros(shapes[1])
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write columns; returns keys and values of all columns up to these, or all there are."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None
        assert self.values is not None
        if self.span.columns is not None:
            self.keys.index_copy_(2, self.span.columns, key_states)
            self.values.index_copy_(2, self.span.columns, value_states)
            return self.keys, self.values
        at = slice(self.span.start, self.span.stop)
        self.keys[:, :, at], self.values[:, :, at] = key_states, value_states
        return self.keys[:, :, : self.span.stop], self.values[:, :, : self.span.stop]

    def get_seq_length(self) -> int:
        """The columns before those that pass."""
        return self.span.start

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """All columns up to those that pass, without an offset."""
        return self.span.stop, 0

    def get_max_length(self) -> int:
        """The columns there is room for."""
        return self.span.capacity

    def moved(self, sources: Tensor) -> None:
        """Put columns elsewhere.

        Args:
            sources: [batch, columns], which column comes to each place.
        """
        if self.keys is None or self.values is None:
            return
        for states in (self.keys, self.values):
            index = sources[:, None, :, None].expand(-1, states.shape[1], -1, states.shape[3])
            states[:, :, : sources.shape[1]] = states.gather(2, index)


class Session:
    """A batch of sequences in a cascade.

    Args:
        cascade: the model.
        batch: sequences.
        capacity: columns there is room for.

    Attributes:
        columns: how many there are.
        ids: [batch, capacity], the tokens in the columns.
        real: [batch, capacity], which of them belong to the sequence; padding and rejected drafts
            do not, and nothing attends to them.
        positions: [batch, capacity], of each token in its sequence.
        lengths: [batch], the real tokens of each sequence.
        alive: [batch], which sequences go on; of the others new tokens are not real.
        deepest: the last stage that is going to be read; nothing waits for later ones.
        goals: [batch], how many tokens each is to have at most, if that is known.
    """

    def __init__(self, cascade: Cascade, batch: int, capacity: int) -> None:
        self.cascade, self.compiled = cascade, cascade.compiled
        if self.compiled is not None:
            capacity = max(LEAST_ROOM, 1 << (capacity - 1).bit_length())
        device = cascade.model.device
        self.columns = 0
        self.ids = torch.zeros(batch, capacity, dtype=torch.long, device=device)
        self.positions = torch.zeros_like(self.ids)
        self.real = torch.zeros(batch, capacity, dtype=torch.bool, device=device)
        self.lengths = torch.zeros(batch, dtype=torch.long, device=device)
        self.alive = torch.ones(batch, dtype=torch.bool, device=device)
        self.numbers = torch.arange(capacity, device=device)
        self.goals: Tensor | None = None
        self.first: Tensor | None = None
        self.whole = True  # whether every token so far is real: then masks are simple
        stages = len(cascade.stages)
        self.deepest = stages - 1
        self.pending: list[list[Tensor]] = [[] for _ in range(stages)]
        self.done = [0] * stages
        self.waiting: list[list[Tensor]] = [[] for _ in range(stages)]  # for the exits' layers
        self.read_by = [0] * stages
        self.behind: list[Tensor | None] = [None] * stages
        self.span = Span(capacity=capacity)
        # All at once: what is compiled for a cache with fewer would have to be compiled again.
        self.cache = Cache([ColumnLayer(self.span) for _ in range(cascade.slots)])

    @property
    def capacity(self) -> int:
        """The columns there is room for."""
        return self.span.capacity

    def push(self, ids: Tensor, real: Tensor | None = None) -> None:
        """Add columns, which wait before the first stage.

        Args:
            ids: [batch, new].
            real: [batch, new], by default all of the sequences that go on.
        """
        new = ids.shape[1]
        at = slice(self.columns, self.columns + new)
        real = self.alive[:, None].expand_as(ids) if real is None else real
        self.whole = self.whole and bool(real.all())
        self.first = ids[:, -1:] if self.first is None else self.first
        self.ids[:, at], self.real[:, at] = ids, real
        # Drafts may come after a sequence's last place; they are taken back.
        last = self.cascade.context - 1
        self.positions[:, at] = (self.lengths[:, None] + real.cumsum(1) - 1).clamp(0, last)
        self.lengths = self.lengths + real.sum(1)
        self.pending[0].append(self.cascade.frame.embed(ids, self.positions[:, at]))
        self.columns += new

    @property
    def history(self) -> Tensor:
        """[batch, columns], the tokens so far; another of its own where one is not real."""
        assert self.first is not None
        ids, real = self.ids[:, : self.columns], self.real[:, : self.columns]
        return ids if self.whole else torch.where(real, ids, self.first)

    def read(self, stage: int, last: int = 1) -> Tensor:
        """Logits of what follows the last columns, as the sub-model of a stage says.

        All columns that wait before the stage, or before earlier ones, go through it first.

        Args:
            stage: its number.
            last: how many columns, at most `ROOM`.

        Returns:
            [batch, last, vocabulary].
        """
        hidden = self._advance(stage)
        if self.cascade.layer_of_exit(stage) is not None:
            hidden = self._through_exit(stage)
        hidden = hidden[:, -last:].clone(memory_format=torch.contiguous_format)
        if self.compiled is not None and last <= FEW:
            return self.compiled.logits(stage, self.compiled.varied(hidden, 1))
        return self.cascade.logits(stage, hidden)

    def keep(self, columns: int, accepted: Tensor) -> None:
        """Take back the columns from a number on, but for those that are accepted.

        Args:
            columns: the first that may be taken back.
            accepted: [batch], how many of each sequence are kept.
        """
        accepted = torch.where(self.alive, accepted, 0)
        new = self.columns - columns
        kept = torch.arange(new, device=accepted.device) < accepted[:, None]
        self.lengths = self.lengths - (self.real[:, columns : self.columns] & ~kept).sum(1)
        self.real[:, columns : self.columns] &= kept
        longest = int(accepted.max())
        self._crop(columns + longest)
        self.whole = self.whole and bool((accepted == longest).all())

    def make_room(self, columns: int) -> None:
        """Close the gaps that rejected drafts left, if they are many or there is no room otherwise.

        Sequences then end in the same column, as padding comes first. Those that have come to an
        end may lose their beginnings.

        Args:
            columns: that are to be added next.
        """
        gaps = 0 if self.whole else self.columns - self._longest()
        if gaps > GAPS * self.columns or (gaps and self.columns + columns > self.capacity):
            self.compact()

    def compact(self) -> None:
        """Close all gaps, where nothing is pending but columns that no stage has seen yet."""
        for stage, waiting in enumerate(self.waiting):
            if waiting:
                self._through_exit(stage)
        fresh = sum(part.shape[1] for part in self.pending[0])
        seen = self.columns - fresh
        assert set(self.done) == {seen}, "a stage has not seen what others have"
        longest = self._longest() - fresh
        # A stable sort puts what is not real first and keeps the order of the rest.
        order = self.real[:, :seen].long().argsort(dim=1, stable=True)
        sources = order[:, seen - longest :]
        for layer in self.cache.layers:
            assert isinstance(layer, ColumnLayer)
            layer.moved(sources)
        for table in (self.ids, self.positions, self.real):
            kept = torch.cat([table.gather(1, sources), table[:, seen : self.columns]], 1)
            table[:, : longest + fresh] = kept
        self.real[:, longest + fresh :] = False
        self.columns = longest + fresh
        self.done = [longest] * len(self.done)
        self.read_by = [longest] * len(self.read_by)
        self.whole = bool(self.real[:, : self.columns].all())

    @property
    def left(self) -> int:
        """The most tokens that a sequence may still get, as far as goals are known."""
        if self.goals is None:
            return self.capacity
        return int(torch.where(self.alive, self.goals - self.lengths, 0).max())

    def _longest(self) -> int:
        """The tokens of the longest sequence that goes on."""
        return int(torch.where(self.alive, self.lengths, 0).max())

    def _advance(self, stage: int) -> Tensor:
        """Everything that waits before a stage or earlier ones, through it; the states of it."""
        hidden = None
        for number in range(stage + 1):
            if not self.pending[number]:
                continue
            hidden = torch.cat(self.pending[number], 1)
            self.pending[number] = []
            start = self.done[number]
            self.done[number] = start + hidden.shape[1]
            passing = self._passing(hidden, start)
            hidden = self._passes.run(number, hidden, passing)
            if number < self.deepest:
                self.pending[number + 1].append(hidden)
            if self.cascade.layer_of_exit(number) is not None:
                self.waiting[number].append(hidden)
            # A copy, as a part would keep the whole of a long prompt in memory.
            self.behind[number] = hidden[:, -ROOM:].clone()
        hidden = self.behind[stage]
        assert hidden is not None, "nothing was pushed"
        return hidden

    def _through_exit(self, stage: int) -> Tensor:
        hidden = torch.cat(self.waiting[stage], 1)
        self.waiting[stage] = []
        start = self.read_by[stage]
        self.read_by[stage] = start + hidden.shape[1]
        passing = self._passing(hidden, start)
        return self._passes.through_exit(stage, hidden, passing)

    def _passing(self, hidden: Tensor, start: int) -> Passing:
        """What states of columns from a number on come with."""
        stop = start + hidden.shape[1]
        compiled = self.compiled if start > 0 and stop - start <= FEW else None
        numbers = self.numbers[start:stop]
        self.span.start, self.span.stop = start, stop
        self.span.columns = None if compiled is None else numbers
        positions = self.positions[:, start:stop].contiguous()
        masks = {
            window: self._mask(numbers, window, hidden.dtype)
            for window in set(self.cascade.windows)
        }
        if compiled is not None:
            for states, dimension in ((hidden, 1), (positions, 1), (numbers, 0)):
                compiled.varied(states, dimension)
            for mask in masks.values():
                assert mask is not None
                compiled.varied(mask, 2)
        return Passing(positions, masks, self.cache)

    @property
    def _passes(self) -> Passes:
        """The ways that the columns go that are passing now."""
        compiled = None if self.span.columns is None else self.compiled
        return compiled or self.cascade

    def _mask(self, new: Tensor, window: int | None, dtype: torch.dtype) -> Tensor | None:
        """[batch, 1, new, all] of what new columns may see; None where nothing needs to be said.

        Args:
            new: their numbers.
            window: of the attention.
            dtype: of the states.
        """
        span, eager = self.span, self.span.columns is None
        reaches = window is None or span.stop <= window
        alone = len(new) == 1 or (span.start == 0 and self.cascade.implementation == "sdpa")
        if eager and self.whole and reaches and alone:
            return None  # one token sees all; several from the start are causal by themselves
        end = span.stop if eager else span.capacity
        columns, own = self.numbers[:end], new[:, None]
        sees = self.real[:, None, :end] & (columns <= own)
        if window is not None:
            at = self.positions
            sees &= at[:, None, :end] > at[:, span.start : span.stop, None] - window
        sees |= columns == own  # what is not real sees itself, as attention to nothing is no number
        if self.cascade.implementation == "sdpa":
            return sees[:, None]
        unseen = torch.finfo(dtype).min
        return torch.zeros_like(sees, dtype=dtype).masked_fill(~sees, unseen)[:, None]

    def _crop(self, columns: int) -> None:
        """Drop the last columns everywhere."""
        self.real[:, columns : self.columns] = False
        self.columns = columns
        self.done = [
            cropped(waiting, done, columns)
            for waiting, done in zip(self.pending, self.done, strict=True)
        ]
        self.read_by = [
            cropped(waiting, done, columns)
            for waiting, done in zip(self.waiting, self.read_by, strict=True)
        ]


def cropped(waiting: list[Tensor], done: int, columns: int) -> int:
    """Drop what waits beyond a number of columns; returns how many of the done ones are left."""
    room = columns - done
    for number, part in enumerate(list(waiting)):
        waiting[number] = part[:, : max(room, 0)]
        room -= part.shape[1]
    waiting[:] = [part for part in waiting if part.shape[1]]
    return min(done, columns)


def checked(cascade: Cascade) -> Cascade:
    """The cascade, if its full depth says what its model says about a few tokens.

    Families may do things around their layers that the engine does not know of.

    Raises:
        BadInput: it does not.
    """
    model = cascade.model
    ids = torch.arange(2, 2 + PROBE, device=model.device)[None]
    with torch.no_grad():
        wanted = model(input_ids=ids, use_cache=False).logits.float()
        session = Session(cascade, 1, PROBE)
        session.push(ids)
        found = session.read(len(cascade.stages) - 1, PROBE).float()
    coarser = torch.finfo(cascade.head.weight.dtype).eps / torch.finfo(torch.float32).eps
    allowed = CLOSE * coarser**0.5 * max(1.0, float(wanted.abs().max()))
    if not float((found - wanted).abs().max()) <= allowed:
        raise unsupported(model)
    return cascade
