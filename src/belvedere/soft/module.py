"""The LightningModule of sorted fine-tuning (arXiv 2309.08968): every depth prefix a good model."""

from functools import partial

from torch import Tensor
from transformers import PreTrainedModel

from belvedere.method import MethodModule
from belvedere.optimisation import Optimisation
from belvedere.processes import losses_of_all
from belvedere.soft.schedule import Sorting
from belvedere.submodels.backbone import (
    head_weight_of,
    num_layers_of,
    read_prefixes,
    validate_depths,
)
from belvedere.submodels.described import Described
from belvedere.submodels.losses import HeadLosses, head_losses
from belvedere.submodels.views import submodel


class SoFTModule(MethodModule):
    """Trains a whole decoder so that its first n layers, with its norm and head, are models too.

    Sub-model n has no parameter of its own. One pass through the layers serves all of them, and
    their losses go through the shared head in one pass over the tokens that never holds the logits
    (equation 2: the mean of their cross-entropies). With ``sorting.schedule=full`` this is ordinary
    fine-tuning, and its sub-models are read out without having been trained.

    Args:
        backbone: a pretrained causal language model; its weights are trained in place.
        optimisation: optimiser and schedule.
        depths: layers of the sub-models, ascending; the full model is one of them in any case.
        sorting: which sub-models a step trains, and how much each counts.
        method: what reports call it.

    Raises:
        BadInput: depths that the model does not have.
    """

    def __init__(
        self,
        backbone: PreTrainedModel,
        optimisation: Optimisation,
        depths: tuple[int, ...],
        sorting: Sorting | None = None,
        method: str = "soft",
    ) -> None:
        layers = num_layers_of(backbone)
        early = validate_depths([d for d in depths if d != layers], layers)
        super().__init__(backbone.train(), optimisation, [f"exit_{depth}" for depth in early])
        self.early, self.layers = early, layers
        self.sorting = sorting or Sorting()
        self.method = method

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """The weighted loss of this step's sub-models, in nats for each learned token."""
        depths = [*self.early, self.layers]
        chosen = self.sorting.chosen(depths, self.global_step, batch_idx)
        states = read_prefixes(self.backbone, chosen, batch)
        distilled = self.sorting.distillation and len(chosen) > 1
        losses = head_losses(
            states,
            head_weight_of(self.backbone),
            batch["labels"],
            teacher=states[-1] if distilled else None,
            kl_weight=self.sorting.distillation if distilled else 0.0,
            ce_weight=1.0,
            weights=self.sorting.weights_of(chosen, depths),
            temperature=self.sorting.temperature,
        )
        losses = losses_of_all(losses)
        self.log("train/loss", losses.loss.detach(), prog_bar=True)
        for depth, ce in zip(chosen, losses.ce, strict=True):
            self.log(f"train/loss/{'full' if depth == self.layers else f'exit_{depth}'}", ce)
        return losses.loss

    def evaluate(self, batch: dict[str, Tensor]) -> HeadLosses:
        """Every early sub-model against the full model as it is now."""
        *states, full = read_prefixes(self.backbone, [*self.early, self.layers], batch)
        return head_losses(states, head_weight_of(self.backbone), batch["labels"], teacher=full)

    def described(self) -> list[Described]:
        """The sub-models and the full model."""
        places = [*zip(self.names, self.early, strict=True), ("full", self.layers)]
        views = {name: partial(submodel, self.backbone, depth) for name, depth in places}
        return [
            Described(
                name,
                "full" if name == "full" else "exit",
                self.method,
                depth,
                views[name]().num_parameters(),
                views[name],
            )
            for name, depth in places
        ]

    def save_model(self, folder: str) -> None:
        """Write one ordinary checkpoint of the model's class, which holds every sub-model.

        ``from_pretrained(folder, num_hidden_layers=n)`` loads sub-model n.
        """
        submodel(self.backbone, self.layers).save_pretrained(folder)
