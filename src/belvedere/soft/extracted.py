"""Extracted fine-tuning: the first layers of a pretrained model, taken out and trained alone."""

import copy
from functools import partial
from typing import Any

from lightning.pytorch import LightningModule
from torch import Tensor
from transformers import PreTrainedModel

from belvedere.metrics.language import SubModelQuality, logged
from belvedere.optimisation import Optimisation
from belvedere.submodels.backbone import (
    head_weight_of,
    num_layers_of,
    read_prefixes,
    sha256_of_weights,
    validate_depths,
)
from belvedere.submodels.described import Described
from belvedere.submodels.losses import head_losses
from belvedere.submodels.views import submodel


class ExtractedModule(LightningModule):
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
        super().__init__()
        (self.depth,) = validate_depths([depth], num_layers_of(backbone))
        self.model = copy.deepcopy(submodel(backbone, depth)).train()
        self.backbone = backbone.requires_grad_(False)
        self.backbone_hash = sha256_of_weights(backbone)
        self.optimisation = optimisation
        self.name = f"exit_{depth}"
        self.quality = SubModelQuality([self.name])
        self.results: dict[str, dict[str, float]] = {}
        self.strict_loading = False  # the original is not in the checkpoint

    def train(self, mode: bool = True) -> "ExtractedModule":
        """Training mode of the copy; the original stays in eval mode."""
        super().train(mode)
        self.backbone.eval()
        return self

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

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Add a held-out batch to the quality of the copy beside the original."""
        (teacher,) = read_prefixes(self.backbone, [num_layers_of(self.backbone)], batch)
        losses = head_losses(
            read_prefixes(self.model, [self.depth], batch),
            head_weight_of(self.model),
            batch["labels"],
            teacher=teacher,
            teacher_head=head_weight_of(self.backbone),
        )
        self.quality.update(losses)

    def on_validation_epoch_end(self) -> None:
        """Log the quality of the copy and of the original."""
        self.results = self.quality.compute()
        self.quality.reset()
        split = "test" if self.trainer.testing else "validation"
        self.log_dict(logged(split, self.results), rank_zero_only=True)

    test_step = validation_step
    on_test_epoch_end = on_validation_epoch_end

    def configure_optimizers(self) -> Any:
        """AdamW and its schedule over all steps of the run."""
        steps = int(self.trainer.estimated_stepping_batches)
        return self.optimisation.build(self.model.parameters(), steps)

    def described(self) -> list[Described]:
        """The copy, and the original with all its layers, not fine-tuned."""
        layers = num_layers_of(self.backbone)
        trained = sum(p.numel() for p in self.model.parameters())
        copied = partial(submodel, self.model, self.depth)
        whole = partial(submodel, self.backbone, layers)
        return [
            Described(self.name, "exit", "extracted", self.depth, trained, copied),
            Described("full", "full", "not fine-tuned", layers, 0, whole),
        ]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave the original out."""
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {k: v for k, v in state.items() if not k.startswith("backbone.")}

    def save_model(self, folder: str) -> None:
        """Write the trained copy as an ordinary checkpoint of its class."""
        submodel(self.model, self.depth).save_pretrained(folder)
