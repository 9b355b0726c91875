"""What the layer of an exit has learned: how far its weights moved, and where its states point."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from belvedere.analysis.agreement import called
from belvedere.errors import BadInput
from belvedere.submodels.backbone import decoder_inputs, norm_of, read_depths
from belvedere.submodels.checkpoints import Checkpoint
from belvedere.submodels.exits import Exits, build_exits
from belvedere.submodels.losses import IGNORED

FOLDER, EXITS_FILE = "analysis", "exits.json"
"""The folder of a run for what is measured of it, and the file there of its exits."""
SOURCES = ("no layer", "layer before training", "trained layer")
"""What stands between the backbone's first layers and the norm, in `ExitLayers.directions`."""


@dataclass(frozen=True)
class ExitLayers:
    """What was measured of the exits of a run.

    Attributes:
        began_as: the exits' ``init``: "last", "depth" or "random".
        changes: for each exit's name, each weight's ``|after - before| / |before|`` (Frobenius
            norms); empty where the exits began with random weights.
        directions: for each exit's name and each of `SOURCES`, the mean over tokens of the cosine
            between the state there and the state behind the full model's last layer, both before
            the norm.
    """

    began_as: str
    changes: dict[str, dict[str, float]]
    directions: dict[str, dict[str, float]]

    def to_json(self) -> str:
        """As `read_exits` reads it."""
        return json.dumps(asdict(self), indent=1) + "\n"


def read_exits(run: Path) -> ExitLayers:
    """What was measured of a run's exits.

    Raises:
        BadInput: nothing was.
    """
    file = run / FOLDER / EXITS_FILE
    if not file.exists():
        raise BadInput(
            "the exits were not measured",
            where=str(file),
            remedy="run python -m belvedere.analysis.tokens RUN, of a run with exits",
        )
    return ExitLayers(**json.loads(file.read_text(encoding="utf-8")))


def said_of_exits(found: ExitLayers) -> str:
    """How far the matrices of each exit moved, and how its states turned, in a sentence each."""
    lines = []
    for name, row in found.directions.items():
        moved = [v for weight, v in found.changes.get(name, {}).items() if "proj" in weight]
        change = f"its matrices moved by {min(moved):.0%} to {max(moved):.0%}; " if moved else ""
        cosines = ", ".join(f"{source} {value:.2f}" for source, value in row.items())
        lines.append(f"{called(name)}: {change}cosine to the last state: {cosines}.")
    return "\n".join(lines)


def measure_exits(
    checkpoint: Checkpoint, batches: Iterable[dict[str, Tensor]], limit: int
) -> ExitLayers:
    """Measure the exits of a checkpoint on packed batches, on about so many tokens.

    A run that trained the backbone as well has exits that began as the backbone was before it;
    theirs are compared with what it is now.
    """
    assert checkpoint.exits is not None
    config = checkpoint.exits.config
    before = build_exits(checkpoint.model, config, dtype=torch.float32).eval()
    changes = {} if config.init == "random" else weight_changes(before, checkpoint.exits)
    directions = mean_directions(checkpoint, before, batches, limit)
    return ExitLayers(config.init, changes, directions)


@torch.no_grad()
def weight_changes(before: Exits, after: Exits) -> dict[str, dict[str, float]]:
    """For each exit's name, how far each of its weights moved for its length."""
    found: dict[str, dict[str, float]] = {}
    for depth in after.depths:
        old = dict(before.at(depth).named_parameters())
        found[f"exit_{depth}"] = {
            name.removesuffix(".weight"): float((new - old[name]).norm() / old[name].norm())
            for name, new in after.at(depth).named_parameters()
        }
    return found


@torch.no_grad()
def mean_directions(
    checkpoint: Checkpoint, before: Exits, batches: Iterable[dict[str, Tensor]], limit: int
) -> dict[str, dict[str, float]]:
    """The mean cosines of `ExitLayers.directions`, over the predicted tokens of some batches."""
    after = checkpoint.exits
    assert after is not None
    sums: dict[str, dict[str, float]] = {}
    tokens = 0
    for batch in batches:
        keep = batch["labels"] != IGNORED
        last: list[Tensor] = []
        handle = norm_of(checkpoint.model).register_forward_pre_hook(_keeper(last))
        try:
            taps = read_depths(checkpoint.model, after.depths, **decoder_inputs(batch))
        finally:
            handle.remove()
        for depth, tap in taps.at.items():
            layers = (before.at(depth).through_layer, after.at(depth).through_layer)
            states = [tap.hidden, *(layer(tap.hidden, **tap.layer_kwargs) for layer in layers)]
            into = sums.setdefault(f"exit_{depth}", dict.fromkeys(SOURCES, 0.0))
            for source, state in zip(SOURCES, states, strict=True):
                cosine = torch.cosine_similarity(state[keep].float(), last[0][keep].float(), -1)
                into[source] += float(cosine.sum())
        tokens += int(keep.sum())
        if tokens >= limit:
            break
    return {
        name: {source: total / tokens for source, total in row.items()}
        for name, row in sums.items()
    }


def _keeper(kept: list[Tensor]) -> Any:
    """A pre-hook that keeps what a module is called with."""

    def keep(_: Any, args: tuple[Tensor, ...]) -> None:
        kept.append(args[0])

    return keep
