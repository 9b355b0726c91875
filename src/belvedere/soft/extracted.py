"""Extracted fine-tuning: the first layers of a pretrained model, taken out and trained alone."""

import copy
from functools import partial

from torch import Tensor
from transformers import PreTrainedModel

from belvedere.method import TrainedCopyModule
from belvedere.optimisation import Optimisation
from belvedere.submodels.backbone import (
    head_weight_of,
    num_layers_of,
    read_prefixes,
    validate_depths,
)
from belvedere.submodels.described import Described
from belvedere.submodels.losses import HeadLosses, head_losses
from belvedere.submodels.views import submodel


class ExtractedModule(TrainedCopyModule):
    """Fine-tunes a copy of a model's first layers, norm and head (arXiv 2309.08968, section 4).

    It is what a sub-model of the same depth could be if it need not share its weights. The whole
    pretrained model stays as it is, and is what the report compares with.

    Args:
        backbone: the pretrained model, left untouched.
        optimisation: optimiser and schedule.
        depth: how many layers are taken.

    Raises:
        BadInput: a depth that the model does not have.
    """

    def __init__(self, backbone: PreTrainedModel, optimisation: Optimisation, depth: int) -> None:
        validate_depths([depth], num_layers_of(backbone))
        model = copy.deepcopy(submodel(backbone, depth))
        super().__init__(backbone, model, optimisation, [f"exit_{depth}"])
        self.depth = depth

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """The cross-entropy of the copy, in nats for each learned token."""
        losses = head_losses(
            read_prefixes(self.model, [self.depth], batch),
            head_weight_of(self.model),
            batch["labels"],
            kl_weight=0.0,
            ce_weight=1.0,
        )
        self.log("train/loss", losses.loss.detach(), prog_bar=True)
        return losses.loss

    def evaluate(self, batch: dict[str, Tensor]) -> HeadLosses:
        """The copy against the whole original."""
        (teacher,) = read_prefixes(self.backbone, [num_layers_of(self.backbone)], batch)
        return head_losses(
            read_prefixes(self.model, [self.depth], batch),
            head_weight_of(self.model),
            batch["labels"],
            teacher=teacher,
            teacher_head=head_weight_of(self.backbone),
        )

    def described(self) -> list[Described]:
        """The copy, and the original with all its layers, not fine-tuned."""
        layers = num_layers_of(self.backbone)
        trained = sum(p.numel() for p in self.model.parameters())
        copied = partial(submodel, self.model, self.depth)
        whole = partial(submodel, self.backbone, layers)
        return [
            Described(self.names[0], "exit", "extracted", self.depth, trained, copied),
            Described("full", "full", "not fine-tuned", layers, 0, whole),
        ]
