"""Ways to decode by name: what a checkpoint offers, as a cascade and a strategy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from belvedere.errors import BadInput
from belvedere.submodels.checkpoints import Checkpoint
from belvedere.submodels.engine.calibration import Calibration, Weights
from belvedere.submodels.engine.cascade import Cascade, Frame
from belvedere.submodels.engine.generation import Strategy
from belvedere.submodels.engine.session import checked
from belvedere.submodels.engine.strategies import Drafting, confident, fixed, speculative

DECODINGS = ("full", "exit", "confident", "speculative")
DRAFT_SHARE = 0.3
"""Of the full model's layers: the exit nearest to it drafts, unless another one is named."""


@dataclass(frozen=True)
class Decoding:
    """A cascade and how it is gone through.

    Attributes:
        name: one of `DECODINGS`.
        cascade: cut at the exits in use.
        strategy: finds the next tokens.
        drafting: what speculation has learned; None for other ways.
    """

    name: str
    cascade: Cascade
    strategy: Strategy
    drafting: Drafting | None = None


def decoding_of(
    checkpoint: Checkpoint,
    name: str = "full",
    exit: int | None = None,
    thresholds: Mapping[int, float] | None = None,
    frame: Frame | None = None,
    *,
    compile: bool = False,
) -> Decoding:
    """A way to decode with a checkpoint.

    Args:
        checkpoint: the model and its sub-models.
        name: "full"; "exit", the sub-model of one depth; "confident", where a token leaves at the
            first exit that is sure enough; "speculative", where an exit drafts for the full model.
        exit: the depth, for "exit" (by default the deepest) and for "speculative".
        thresholds: for "confident", by depth; by default those stored with the checkpoint.
        frame: what is around the layers, for a model that is not of Llama's kind.
        compile: what new tokens pass through, which takes up to a minute before the first ones.

    Raises:
        BadInput: no such way, exit or thresholds, or nothing to compile with.
    """
    if name not in DECODINGS:
        raise BadInput(
            f"there is no decoding {name!r}", where="decoding",
            remedy=f"choose one of {', '.join(DECODINGS)}",
        )  # fmt: skip
    for given, key, ways in (
        (exit is not None, "exit", ("exit", "speculative")),
        (thresholds is not None, "thresholds", ("confident",)),
    ):
        if given and name not in ways:
            raise BadInput(
                f"decoding={name} has no {key}", where=key,
                remedy=f"leave it out, or use decoding={' or '.join(ways)}",
            )  # fmt: skip
    cascade, strategy, drafting = _chosen(checkpoint, name, exit, thresholds, frame)
    return Decoding(name, cascade.compile() if compile else cascade, strategy, drafting)


def check_exit(checkpoint: Checkpoint, depth: int, key: str) -> None:
    """Raise `BadInput` if a checkpoint lacks an exit that the setting ``key`` names."""
    if depth not in checkpoint.depths:
        there = ", ".join(map(str, checkpoint.depths))
        raise BadInput(
            f"the checkpoint has no exit {depth}", where=key, remedy=f"choose one of {there}"
        )


def cut(checkpoint: Checkpoint, depths: Sequence[int], frame: Frame | None) -> Cascade:
    """The cascade of a checkpoint at some of its depths. Raises `BadInput` as `Cascade` does."""
    exits = checkpoint.exits if depths else None
    cascade = Cascade(checkpoint.model, depths, exits, frame)
    return checked(cascade) if frame is None else cascade


def _default_exit(checkpoint: Checkpoint, name: str) -> int:
    depths = checkpoint.trained_depths
    if not depths:
        raise BadInput(
            "a model of one layer has no exits", where="decoding", remedy="use decoding=full"
        )
    if name == "exit":
        return depths[-1]
    return min(depths, key=lambda d: abs(d - DRAFT_SHARE * checkpoint.layers))


def _chosen(
    checkpoint: Checkpoint,
    name: str,
    exit: int | None,
    thresholds: Mapping[int, float] | None,
    frame: Frame | None,
) -> tuple[Cascade, Strategy, Drafting | None]:
    if name == "full":
        return cut(checkpoint, (), frame), partial(fixed, stage=0), None
    if name == "confident":
        found = _thresholds(checkpoint, thresholds)
        depths = sorted(found)
        values = [found[depth] for depth in depths]
        return cut(checkpoint, depths, frame), partial(confident, thresholds=values), None
    depth = exit if exit is not None else _default_exit(checkpoint, name)
    check_exit(checkpoint, depth, "exit")
    cascade = cut(checkpoint, (depth,), frame)
    if name == "exit":
        return cascade, partial(fixed, stage=0), None
    drafting = Drafting(cost=Weights.of(cascade).draft(0))
    return cascade, partial(speculative, stage=0, drafting=drafting), drafting


def _thresholds(
    checkpoint: Checkpoint, thresholds: Mapping[int, float] | None
) -> Mapping[int, float]:
    """Those that are given, or those stored with the checkpoint. Raises `BadInput`."""
    if thresholds is None:
        thresholds = Calibration.load(checkpoint.folder).thresholds
        # Exits that no token may leave at only cost time.
        thresholds = {depth: value for depth, value in thresholds.items() if value <= 1}
    for depth, value in thresholds.items():
        check_exit(checkpoint, depth, "thresholds")
        if not 0 <= value <= 1:
            raise BadInput(
                f"a threshold of {value}", where=f"thresholds.{depth}", remedy="give 0 to 1"
            )
    return thresholds
