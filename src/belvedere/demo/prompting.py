"""What the page's first tab does: answers a prompt in one way, then with the full model beside."""

import time
from collections.abc import Iterator, Sequence
from functools import partial

import torch

from belvedere.demo.tokens import (
    Written,
    colours_of,
    counters_of,
    notice,
    shares_of,
    text_of,
)
from belvedere.errors import BadInput
from belvedere.runs.writing import Writer
from belvedere.submodels.checkpoints import Checkpoint
from belvedere.submodels.engine.calibration import FILE, Calibration
from belvedere.submodels.engine.choices import decoding_of
from belvedere.submodels.engine.generation import check_lengths
from belvedere.submodels.engine.sampling import Chooser, Sampling

EVERY = 0.1
"""Seconds between two looks at an answer that grows."""
SURE = 0.9
"""The threshold where none was calibrated."""
FEW = 4
"""More exits than that are not asked one after the other, unless somebody wants it."""
AGAIN, LONG = 3, 8.0
"""How often answers are written again for their speed, which other programs disturb, and the most
seconds that both may have taken for that."""
TRAIN = "python train.py experiment=balcony_llama3"


class Prompter:
    """Answers prompts with the sub-models of a checkpoint.

    Args:
        checkpoint: the model and its sub-models.
        name: what the checkpoint was called by.
        seed: of what is drawn.

    Attributes:
        context: most tokens of a prompt and its answer together.

    Raises:
        BadInput: its stored thresholds are damaged, or no prompt can be answered with it.
    """

    def __init__(self, checkpoint: Checkpoint, name: str, seed: int) -> None:
        self.checkpoint, self.name, self.seed = checkpoint, name, seed
        there = (checkpoint.folder / FILE).is_file()
        self.calibration = Calibration.load(checkpoint.folder) if there else None
        # Refuses families that the engine cannot run.
        self.context = self._writer("full", 1, 0.0).decoding.cascade.context
        # Of all depths, so that one has the same colour in every way of decoding.
        self.colours = colours_of([*checkpoint.depths, checkpoint.layers])

    @property
    def asked(self) -> list[int]:
        """The exits that confident decoding asks unless others are chosen."""
        if self.calibration is not None:
            found = [d for d, value in self.calibration.thresholds.items() if value <= 1]
            return sorted(found) or list(self.checkpoint.trained_depths)
        depths = list(self.checkpoint.trained_depths)
        return depths if len(depths) <= FEW else depths[1::2]

    @property
    def threshold(self) -> float:
        """How sure these have to be unless something else is chosen."""
        if self.calibration is None:
            return SURE
        values = [self.calibration.thresholds[d] for d in self.asked]
        return max([value for value in values if value <= 1], default=SURE)

    @property
    def trained(self) -> bool:
        """Whether some run has trained the sub-models."""
        return self.checkpoint.exits is not None or self.checkpoint.report is not None

    def told(self) -> str:
        """What writes here, in one line of Markdown."""
        layers = self.checkpoint.layers
        if not self.trained:
            return (
                f"`{self.name}`: {layers} layers. Nothing was trained to leave it early; its "
                f"first layers with its own norm and head are the sub-models. `{TRAIN}` trains "
                "exits that are much better; start this page again afterwards."
            )
        exits = ", ".join(map(str, self.checkpoint.trained_depths))
        line = f"`{self.name}`: {layers} layers, trained exits after layers {exits}."
        if self.calibration is None:
            return (
                f"{line} No thresholds are stored with it: `python -m belvedere.runs.calibrate "
                f"checkpoint={self.name}` finds some."
            )
        return (
            f"{line} Its thresholds were calibrated so that {self.calibration.wanted:.0%} of the "
            "tokens are the full model's."
        )

    def write(
        self, prompt: str, way: str, exit: int | None, exits: Sequence[int], threshold: float,
        new_tokens: int, temperature: float,
    ) -> Iterator[tuple[str, str]]:  # fmt: skip
        """An answer as it grows, then the full model's beside it.

        Args:
            prompt: the text.
            way: one of `belvedere.submodels.engine.choices.DECODINGS`.
            exit: the depth, for "exit" and "speculative"; None for the engine's own choice.
            exits: the depths that may be left at, for "confident".
            threshold: how sure they have to be, 0 to 1.
            new_tokens: longest answer.
            temperature: 0 is greedy.

        Yields:
            HTML of both; what cannot be is said in the first.
        """
        try:
            yield from self._write(prompt, way, exit, exits, threshold, new_tokens, temperature)
        except BadInput as error:
            yield notice(str(error)), ""

    def _write(
        self, prompt: str, way: str, exit: int | None, exits: Sequence[int], threshold: float,
        new_tokens: int, temperature: float,
    ) -> Iterator[tuple[str, str]]:  # fmt: skip
        if not prompt.strip():
            raise BadInput("there is no prompt", remedy="type one, or choose an example")
        made = partial(self._writer, way, new_tokens, temperature, exit, exits, threshold)
        made_full = partial(self._writer, "full", new_tokens, temperature)
        writer = made()
        ids = writer.ids(prompt)
        check_lengths(writer.decoding.cascade, [ids], new_tokens, "prompt")
        chosen, full = Written([]), Written([])
        for chosen in growing(writer, ids):
            yield self._shown(prompt, chosen, writer), notice("the full model comes next", "note")
        if way == "full":
            yield self._shown(prompt, chosen, writer), notice("this is the full model", "note")
            return
        beside = made_full()
        for full in growing(beside, ids):
            yield self._shown(prompt, chosen, writer), self._shown(prompt, full, beside)
        for _ in range(AGAIN if chosen.seconds + full.seconds < LONG else 0):
            # In turns, and unseen: the page takes its own share of the machine.
            for found, again in ((chosen, made()), (full, made_full())):
                *_, last = growing(again, ids)
                found.repeats.append(last.seconds)
        told = [(f"{chosen.speed / full.speed:.2f}x", "the full model's speed")]
        if temperature == 0:
            told.append((alike(chosen.tokens, full.tokens), "tokens as the full model's"))
        yield self._shown(prompt, chosen, writer, *told), self._shown(prompt, full, beside)

    def _shown(self, prompt: str, written: Written, writer: Writer, *more: tuple[str, str]) -> str:
        colours = {stop: self.colours[stop] for stop in writer.decoding.cascade.stops}
        often = f" (median of {len(written.repeats)})" if written.repeats else ""
        counters = counters_of(
            (f"{written.speed:.0f}", f"tokens/s{often}"),
            (f"{len(written.pieces)}", "tokens"),
            *more,
        )
        shares = shares_of(written, colours, self.checkpoint.layers)
        return counters + shares + text_of(prompt, written, colours, self.checkpoint.layers)

    def _writer(
        self, way: str, new_tokens: int, temperature: float, exit: int | None = None,
        exits: Sequence[int] = (), threshold: float = SURE,
    ) -> Writer:  # fmt: skip
        thresholds = None
        if way == "confident":
            if not exits:
                raise BadInput(
                    "no exit is chosen to be left at", remedy="choose one or more, or another way"
                )
            thresholds = dict.fromkeys(map(int, exits), threshold)
        depth = exit if way in ("exit", "speculative") else None
        decoding = decoding_of(self.checkpoint, way, depth, thresholds)
        generator = torch.Generator(self.checkpoint.model.device).manual_seed(self.seed)
        choose = Chooser(Sampling(temperature=temperature), generator)
        return Writer(self.checkpoint, decoding, choose, new_tokens)


def growing(writer: Writer, ids: list[int]) -> Iterator[Written]:
    """An answer, every now and then while it is written, and when it is there.

    The clock runs only while tokens are found: it must not count how long the page takes to show
    them.
    """
    found = Written([])
    pieces, shown = writer.answers([ids]), time.perf_counter()
    while True:
        start = time.perf_counter()
        piece = next(pieces, None)
        found.seconds += time.perf_counter() - start
        if piece is None:
            break
        found.pieces.append(piece)
        if time.perf_counter() - shown >= EVERY:
            yield found
            shown = time.perf_counter()
    yield found


def alike(tokens: Sequence[int], full: Sequence[int]) -> str:
    """How many tokens from the first on are the full model's, of how many."""
    same = next(
        (n for n, (one, other) in enumerate(zip(tokens, full, strict=False)) if one != other),
        min(len(tokens), len(full)),
    )
    if same == len(tokens) == len(full):
        return "all"
    return f"{same} of {len(tokens)}"
