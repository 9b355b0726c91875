"""The LightningModule that trains a whole decoder as a language model."""

from torch import Tensor
from transformers import PreTrainedModel

from belvedere.method import MethodModule
from belvedere.optimisation import Optimisation
from belvedere.processes import losses_of_all
from belvedere.submodels.backbone import (
    head_weight_of,
    num_layers_of,
    read_prefixes,
    validate_depths,
)
from belvedere.submodels.described import Described, raw_exit_name, raw_exits
from belvedere.submodels.losses import HeadLosses, head_losses
from belvedere.submodels.views import submodel


class PretrainModule(MethodModule):
    """Trains every weight of a decoder with the next token's cross-entropy.

    Args:
        backbone: a causal language model; its weights are trained in place.
        optimisation: optimiser and schedule.
        depths: where raw early exits are read out at the end, to see what each depth knows.
    """

    def __init__(
        self, backbone: PreTrainedModel, optimisation: Optimisation, depths: tuple[int, ...]
    ) -> None:
        checked = validate_depths(list(depths), num_layers_of(backbone))
        super().__init__(backbone.train(), optimisation, [raw_exit_name(d) for d in checked])
        self.depths = checked

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """The loss of one packed batch (see `TextDataModule`), in nats for each token."""
        hidden = read_prefixes(self.backbone, [num_layers_of(self.backbone)], batch)
        losses = head_losses(
            hidden, head_weight_of(self.backbone), batch["labels"], kl_weight=0.0, ce_weight=1.0
        )
        losses = losses_of_all(losses)
        self.log("train/loss", losses.loss.detach(), prog_bar=True)
        return losses.loss

    def evaluate(self, batch: dict[str, Tensor]) -> HeadLosses:
        """The raw early exits against the full model as it is now."""
        layers = num_layers_of(self.backbone)
        *raw, full = read_prefixes(self.backbone, [*self.depths, layers], batch)
        return head_losses(raw, head_weight_of(self.backbone), batch["labels"], teacher=full)

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
