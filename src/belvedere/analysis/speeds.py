"""Measures the decoding speeds of several runs in turn, so that they can be held side by side.

Each run measures its own sub-models when it ends; on a machine that does other things too, speeds
of two runs then differ by what it did at those times.
"""

import copy
from collections.abc import Sequence

from transformers import PreTrainedModel

from belvedere.runs.compare import Run
from belvedere.runs.training import quiet
from belvedere.submodels.checkpoints import load_checkpoint
from belvedere.submodels.speed import measure_speed
from belvedere.submodels.views import submodel

REPEATS = 9


def in_turn(runs: Sequence[Run], repeats: int = REPEATS) -> list[Run]:
    """The runs with the speeds of all their sub-models measured anew, round by round in turn.

    Args:
        runs: of language models, with their checkpoints.
        repeats: counted rounds.

    Raises:
        BadInput: a run has no checkpoint.
    """
    quiet()
    views = [_views(run) for run in runs]
    everything = {
        f"{number} {name}": view
        for number, named in enumerate(views)
        for name, view in named.items()
    }
    speeds = measure_speed(everything, repeats=repeats)
    found = []
    for number, run in enumerate(runs):
        report = copy.deepcopy(run.report)
        full = speeds[f"{number} full"]
        for row in report["submodels"]:
            row |= speeds[f"{number} {row['name']}"].beside(full)
        found.append(Run(run.folder, report))
    return found


def _views(run: Run) -> dict[str, PreTrainedModel]:
    """A run's sub-models by name; of baselines, other weights of the same size."""
    checkpoint = load_checkpoint(str(run.folder))
    depths = {checkpoint.name_of(depth): depth for depth in (*checkpoint.depths, checkpoint.layers)}
    return {
        row["name"]: checkpoint.submodel(depths[row["name"]])
        if row["name"] in depths
        else submodel(checkpoint.model, row["layers"])
        for row in run.report["submodels"]
    }
