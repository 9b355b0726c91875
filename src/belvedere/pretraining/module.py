"""The LightningModule that trains a whole decoder as a language model."""

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
from belvedere.submodels.described import Described, raw_exit_name, raw_exits
from belvedere.submodels.losses import head_losses
from belvedere.submodels.views import submodel


class PretrainModule(LightningModule):
    """Trains every weight of a decoder with the next token's cross-entropy.

    Args:
        backbone: a causal language model; its weights are trained in place.
        optimisation: optimiser and schedule.
        depths: where raw early exits are read out at the end, to see what each depth knows.
    """

    def __init__(
        self, backbone: PreTrainedModel, optimisation: Optimisation, depths: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.backbone_hash = sha256_of_weights(backbone)
        self.backbone = backbone.train()
        self.optimisation = optimisation
        self.depths = validate_depths(list(depths), num_layers_of(backbone))
        self.quality = SubModelQuality([raw_exit_name(depth) for depth in self.depths])
        self.results: dict[str, dict[str, float]] = {}

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """The loss of one packed batch (see `TextDataModule`), in nats for each token."""
        hidden = read_prefixes(self.backbone, [num_layers_of(self.backbone)], batch)
        losses = head_losses(
            hidden, head_weight_of(self.backbone), batch["labels"], kl_weight=0.0, ce_weight=1.0
        )
        self.log("train/loss", losses.loss.detach(), prog_bar=True)
        return losses.loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Add a held-out batch to the quality of the model and of its raw early exits."""
        layers = num_layers_of(self.backbone)
        *raw, full = read_prefixes(self.backbone, [*self.depths, layers], batch)
        head = head_weight_of(self.backbone)
        self.quality.update(head_losses(raw, head, batch["labels"], teacher=full))

    def on_validation_epoch_end(self) -> None:
        """Log the quality at each depth."""
        self.results = self.quality.compute()
        self.quality.reset()
        split = "test" if self.trainer.testing else "validation"
        self.log_dict(logged(split, self.results), rank_zero_only=True)

    test_step = validation_step
    on_test_epoch_end = on_validation_epoch_end

    def configure_optimizers(self) -> Any:
        """AdamW and its schedule over all steps of the run."""
        steps = int(self.trainer.estimated_stepping_batches)
        return self.optimisation.build(self.parameters(), steps)

    def described(self) -> list[Described]:
        """Raw early exits, and the full model."""
        layers = num_layers_of(self.backbone)
        trained = sum(p.numel() for p in self.backbone.parameters())
        full = Described("full", "full", "pretraining", layers, trained, lambda: self.backbone)
        return [*raw_exits(self.backbone, self.depths), full]

    def save_model(self, folder: str) -> None:
        """Write the model as an ordinary checkpoint of its class, in bfloat16."""
        model = submodel(self.backbone, num_layers_of(self.backbone))
        tensors = model.state_dict()
        # One cast for each tensor: a tied head stays tied, and is written once.
        cast = {value.data_ptr(): value.bfloat16() for value in tensors.values()}
        state = {key: cast[value.data_ptr()] for key, value in tensors.items()}
        model.config.dtype = "bfloat16"
        model.save_pretrained(folder, state_dict=state)
