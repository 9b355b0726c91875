"""Which sub-models a step of sorted fine-tuning trains, and how much each counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, get_args

from belvedere.errors import BadInput

Schedule = Literal["all", "sampled", "rotating", "full"]
Weights = Literal["uniform", "linear", "mean_last"]


@dataclass(frozen=True)
class Sorting:
    """The loss over the sub-models; the published setting is the default (section 3.2).

    Attributes:
        schedule: "all" trains every sub-model in every step (published); "sampled" one that is
            drawn for each batch (SortedNet, arXiv 2309.00255; with several processes it needs
            ``trainer.strategy=ddp_find_unused_parameters_true``); "rotating" the full model and
            one early one, the next in each step (TRL's recipe of LayerSkip); "full" the full
            model alone, which is ordinary fine-tuning (SFT).
        weights: of the sub-models that a step trains, with a sum of 1: "uniform" (published);
            "linear" is i / sum for the i-th of all sub-models; "mean_last" half for the full
            model, and half for the mean of all.
        distillation: weight of KL(full model || sub-model) beside the cross-entropy; the full
            model is detached, so that it is not pulled towards its sub-models.
        temperature: of both distributions in the KL.
        seed: of the draws.

    Raises:
        BadInput: an option that does not exist.
    """

    schedule: Schedule = "all"
    weights: Weights = "uniform"
    distillation: float = 0.0
    temperature: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, options in (("schedule", Schedule), ("weights", Weights)):
            if getattr(self, name) not in get_args(options):
                raise BadInput(
                    f"there is no {name} {getattr(self, name)!r}",
                    where=f"model.sorting.{name}",
                    remedy=f"choose one of {', '.join(get_args(options))}",
                )
        alone = self.schedule in ("sampled", "full")
        if alone and (self.distillation or self.weights != "uniform"):
            raise BadInput(
                f"schedule={self.schedule} trains one sub-model at a time, with no other to weigh "
                "it against or to learn from",
                where="model.sorting",
                remedy="choose schedule=all or rotating, or weights=uniform and distillation=0",
            )
        if self.distillation < 0 or self.temperature <= 0:
            raise BadInput(
                "distillation has to be 0 or more, and temperature above 0", where="model.sorting"
            )

    def chosen(self, depths: Sequence[int], step: int, batch: int) -> list[int]:
        """The depths that a step trains, of all depths with the full one last.

        Args:
            depths: ascending.
            step: optimiser steps before this one.
            batch: batches before this one; with gradient accumulation a step has several.
        """
        if self.schedule == "all":
            return list(depths)
        if self.schedule == "sampled":
            # By step and batch alone, so that all processes draw the same and a resumed run too.
            return [Random(f"{self.seed} {step} {batch}").choice(depths)]
        early = depths[:-1]
        if self.schedule == "rotating" and early:
            return [early[step % len(early)], depths[-1]]
        return [depths[-1]]

    def weights_of(self, chosen: Sequence[int], depths: Sequence[int]) -> list[float]:
        """The weight of each chosen depth, of all depths with the full one last."""
        if self.weights == "linear":
            raw = [depths.index(depth) + 1.0 for depth in chosen]
        elif self.weights == "mean_last":
            raw = [1.0 + len(chosen) * (depth == depths[-1]) for depth in chosen]
        else:
            raw = [1.0] * len(chosen)
        return [value / sum(raw) for value in raw]
