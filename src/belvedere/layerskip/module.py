"""The LightningModule of LayerSkip's continual training (arXiv 2404.16710), Balcony's rival."""

import copy
from functools import partial

from torch import Tensor
from transformers import PreTrainedModel

from belvedere.layerskip.schedule import (
    add_layer_dropout,
    dropout_rates,
    enabled_layers,
    normalised_weights,
)
from belvedere.method import TrainedCopyModule
from belvedere.metrics.language import SubModelQuality
from belvedere.optimisation import Optimisation
from belvedere.processes import losses_of_all
from belvedere.submodels.backbone import (
    head_weight_of,
    layers_of,
    num_layers_of,
    read_prefixes,
    validate_depths,
)
from belvedere.submodels.described import Described, raw_exit_name, raw_exits
from belvedere.submodels.losses import HeadLosses, head_losses
from belvedere.submodels.views import submodel


class LayerSkipModule(TrainedCopyModule):
    """Trains a copy of a model so that its prefixes predict too; compares it with the original.

    Args:
        backbone: the pretrained model, which stays as it is and is what the report compares with.
        optimisation: optimiser and schedule.
        depths: the early exits that are reported; all layers are trained.
        dropout: p_max of the layer dropout.
        exit_scale: e_scale of the early-exit losses.
        rotation: R of the rotational curriculum.
    """

    def __init__(
        self,
        backbone: PreTrainedModel,
        optimisation: Optimisation,
        depths: tuple[int, ...],
        dropout: float = 0.1,
        exit_scale: float = 0.1,
        rotation: int = 8,
    ) -> None:
        layers = num_layers_of(backbone)
        early = validate_depths(list(depths), layers)
        names = [f"exit_{depth}" for depth in early]
        model = copy.deepcopy(backbone)
        super().__init__(backbone, model, optimisation, [*names, "full"])
        self.layers, self.depths = layers, early
        self.exit_scale = exit_scale
        self.rotation = rotation
        add_layer_dropout(layers_of(self.model), dropout_rates(layers, dropout))
        self.raw = SubModelQuality([raw_exit_name(depth) for depth in early])

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """The weighted cross-entropy of this step's layers through the shared norm and head."""
        enabled = enabled_layers(self.global_step, self.layers, self.rotation)
        losses = head_losses(
            read_prefixes(self.model, [layer + 1 for layer in enabled], batch),
            head_weight_of(self.model),
            batch["labels"],
            weights=normalised_weights(enabled, self.layers, self.exit_scale),
            kl_weight=0.0,
            ce_weight=1.0,
        )
        losses = losses_of_all(losses)
        self.log("train/loss", losses.loss.detach(), prog_bar=True)
        self.log("train/loss/full", losses.ce[-1])
        return losses.loss

    def evaluate(self, batch: dict[str, Tensor]) -> HeadLosses:
        """The copy at each depth, the full one too, against the original full model."""
        (teacher,) = read_prefixes(self.backbone, [self.layers], batch)
        return head_losses(
            read_prefixes(self.model, [*self.depths, self.layers], batch),
            head_weight_of(self.model),
            batch["labels"],
            teacher=teacher,
            teacher_head=head_weight_of(self.backbone),
        )

    def evaluate_original(self, batch: dict[str, Tensor]) -> HeadLosses:
        """Raw early exits of the original against itself."""
        *raw, full = read_prefixes(self.backbone, [*self.depths, self.layers], batch)
        return head_losses(raw, head_weight_of(self.backbone), batch["labels"], teacher=full)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Add a held-out batch to the quality of the trained copy and of the original."""
        super().validation_step(batch, batch_idx)
        self.raw.update(self.evaluate_original(batch))

    def measured(self) -> dict[str, dict[str, float]]:
        """The quality of copy and original; ``original_full`` is the model before training."""
        own, raw = self.quality.compute_students(), self.raw.compute()
        self.quality.reset()
        self.raw.reset()
        return {**own, **raw, "full": own["full"], "original_full": raw["full"]}

    def described(self) -> list[Described]:
        """The copy at each depth, raw early exits of the original, and the original."""
        trained = sum(p.numel() for p in self.model.parameters())
        found = [
            Described(
                name, "exit", "layerskip", depth, trained, partial(submodel, self.model, depth)
            )
            for name, depth in zip(self.names[:-1], self.depths, strict=True)
        ]
        full = partial(submodel, self.model, self.layers)
        original = partial(submodel, self.backbone, self.layers)
        return [
            *found,
            *raw_exits(self.backbone, self.depths),
            Described("full", "full", "layerskip", self.layers, trained, full),
            Described("original_full", "baseline", "backbone", self.layers, 0, original),
        ]
