"""The LightningModule that trains a whole decoder as a language model."""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from transformers import PreTrainedModel

from belvedere.optimisation import Optimisation
from belvedere.submodels.backbone import decoder_of, head_of
from belvedere.submodels.losses import HeadLosses, head_losses


class PretrainModule(LightningModule):
    """Trains every weight of a decoder with the next token's cross-entropy.

    Args:
        backbone: a causal language model; its weights are trained in place.
        optimisation: optimiser and schedule.
    """

    def __init__(self, backbone: PreTrainedModel, optimisation: Optimisation) -> None:
        super().__init__()
        self.backbone = backbone
        self.optimisation = optimisation

    def losses(self, batch: dict[str, Tensor]) -> HeadLosses:
        """Cross-entropy of a packed batch; see ``TextDataModule`` for its form."""
        hidden = decoder_of(self.backbone)(
            input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False
        ).last_hidden_state
        return head_losses(
            [hidden], head_of(self.backbone).weight, batch["labels"], kl_weight=0.0, ce_weight=1.0
        )

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """The loss of one batch, in nats for each token."""
        losses = self.losses(batch)
        self.log("train/loss", losses.loss, prog_bar=True)
        return losses.loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Accumulate the held-out loss, weighted by tokens."""
        losses = self.losses(batch)
        self.log("validation/loss", losses.ce[0], batch_size=int(losses.tokens), prog_bar=True)

    def configure_optimizers(self) -> Any:
        """AdamW and its schedule over all steps of the run."""
        steps = int(self.trainer.estimated_stepping_batches)
        return self.optimisation.build(self.parameters(), steps)

    @torch.no_grad()
    def submodels(self) -> dict[str, PreTrainedModel]:
        """The models that a report is about."""
        return {"full": self.backbone}
