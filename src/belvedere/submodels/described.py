"""What a report says of one sub-model, beside its metrics."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from transformers import PreTrainedModel


@dataclass(frozen=True)
class Described:
    """A sub-model with the facts that every report gives.

    Attributes:
        name: unique in its report, e.g. ``exit_2``.
        kind: an exit, the full model, or a baseline.
        method: how it came to be, e.g. ``balcony``, ``raw early exit``.
        layers: the decoder layers that a token goes through.
        trained_parameters: how many of its parameters the run trained.
        view: makes the model, sharing its parent's weights.
    """

    name: str
    kind: Literal["exit", "full", "baseline"]
    method: str
    layers: int
    trained_parameters: int
    view: Callable[[], PreTrainedModel]

    @property
    def parameters(self) -> int:
        """How many parameters the sub-model uses, shared ones counted once."""
        return sum(p.numel() for p in self.view().parameters())
