"""What the LightningModules of the methods share: quality at each depth, and the optimiser."""

from abc import abstractmethod
from typing import Any

from lightning.pytorch import LightningModule
from torch import Tensor
from transformers import PreTrainedModel

from belvedere.metrics.language import SubModelQuality, logged
from belvedere.optimisation import Optimisation
from belvedere.submodels.backbone import sha256_of_weights
from belvedere.submodels.described import Described
from belvedere.submodels.losses import HeadLosses


class MethodModule(LightningModule):
    """Trains sub-models of a backbone, and measures each of them beside a full model.

    Args:
        backbone: the pretrained model whose sub-models are reported.
        optimisation: optimiser and schedule.
        names: the sub-models, in the order of `evaluate`.

    Attributes:
        backbone: the model of that name.
        backbone_hash: `sha256_of_weights` of it before training; "" on the meta device.
        results: after testing, the metrics of each sub-model by name.
    """

    def __init__(
        self, backbone: PreTrainedModel, optimisation: Optimisation, names: list[str]
    ) -> None:
        super().__init__()
        self.backbone_hash = "" if backbone.device.type == "meta" else sha256_of_weights(backbone)
        self.backbone = backbone
        self.optimisation = optimisation
        self.names = names
        self.quality = SubModelQuality(names)
        self.results: dict[str, dict[str, float]] = {}

    @abstractmethod
    def evaluate(self, batch: dict[str, Tensor]) -> HeadLosses:
        """The losses of the sub-models on a held-out batch, beside the full model's."""

    @abstractmethod
    def described(self) -> list[Described]:
        """The sub-models, exits and baselines of the run; one is called ``full``."""

    @abstractmethod
    def save_model(self, folder: str) -> None:
        """Write what was trained, as safetensors."""

    def measured(self) -> dict[str, dict[str, float]]:
        """The quality over the batches since the last call, for each sub-model."""
        values = self.quality.compute()
        self.quality.reset()
        return values

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Add a held-out batch to the quality."""
        self.quality.update(self.evaluate(batch))

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Add a test batch to the quality."""
        self.validation_step(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Log the quality at each depth, and keep it for the report."""
        self.results = self.measured()
        split = "test" if self.trainer.testing else "validation"
        self.log_dict(logged(split, self.results), rank_zero_only=True)

    def on_test_epoch_end(self) -> None:
        """Likewise for the test split."""
        self.on_validation_epoch_end()

    def configure_optimizers(self) -> Any:
        """AdamW and its schedule over all steps of the run, for what is not frozen."""
        steps = int(self.trainer.estimated_stepping_batches)
        return self.optimisation.build(self.parameters(), steps)
