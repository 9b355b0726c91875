"""What the LightningModules share: the optimiser, and of the methods the quality at each depth."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, cast

from lightning.pytorch import LightningModule
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.optim import Optimizer
from transformers import PreTrainedModel

from belvedere.metrics.language import SubModelQuality, logged
from belvedere.optimisation import Optimisation, dims_of, name_of, renamed
from belvedere.strategies import shard, shares_weights
from belvedere.submodels.backbone import num_layers_of, sha256_of_weights
from belvedere.submodels.described import Described
from belvedere.submodels.layers import checkpoint_activations, compile_layers, text_layers
from belvedere.submodels.losses import HeadLosses
from belvedere.submodels.views import submodel


class OptimisedModule(LightningModule):
    """Trains what is not frozen, on one process or on several that share the weights out.

    Args:
        optimisation: optimiser and schedule.
    """

    def __init__(self, optimisation: Optimisation) -> None:
        super().__init__()
        self.optimisation = optimisation
        self._dims: dict[str, int] | None = None

    def setup(self, stage: str) -> None:
        """Look at the parameters before a strategy cuts them up."""
        self._dims = dims_of(self)

    def units(self) -> Sequence[nn.Module]:
        """Parts whose weights FSDP2 puts together for their own forward alone.

        All processes have to call them equally often. What is in none of them is there, whole,
        throughout a step.
        """
        return text_layers(self)

    def configure_model(self) -> None:
        """Cut the weights up, where a strategy leaves that to the module."""
        shards = isinstance(self.trainer.strategy, ModelParallelStrategy)
        if shards and not isinstance(self, FSDPModule):
            assert self.device_mesh is not None
            shard(self, self.units(), self.device_mesh["data_parallel"])

    def configure_optimizers(self) -> Any:
        """The optimiser and its schedule over all steps of the run, for what is not frozen."""
        steps = int(self.trainer.estimated_stepping_batches)
        return self.optimisation.build(self, steps, self._dims)

    def checkpoint_activations(self) -> None:
        """Save memory by running trained layers twice; `BadInput` where none is trained."""
        checkpoint_activations(self)

    def compile_layers(self, backend: str) -> None:
        """Compile what a step spends its time in; raises `BadInput` for an unknown backend."""
        compile_layers(self, backend)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Name the states of optimisers, which FSDP has numbered by the parameters of the model."""
        if shares_weights(self.trainer.strategy):
            names = dict(enumerate(name_of(name) for name, _ in self.named_parameters()))
            states = checkpoint["optimizer_states"]
            # Only the first process has them.
            checkpoint["optimizer_states"] = [
                renamed(state, names) if state else state for state in states
            ]

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip as the trainer says; where FSDP shares the gradients out, by FSDP's own norm."""
        if isinstance(self.trainer.strategy, FSDPStrategy) and gradient_clip_val:
            cast(Any, self.trainer.model).clip_grad_norm_(gradient_clip_val)
            return
        self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)


class MethodModule(OptimisedModule):
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
        super().__init__(optimisation)
        self.backbone_hash = "" if backbone.device.type == "meta" else sha256_of_weights(backbone)
        self.backbone = backbone
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
        """Log the quality at each depth."""
        self.log_dict(logged("validation", self.measured()), rank_zero_only=True)

    def on_test_epoch_end(self) -> None:
        """Keep the quality on the test split for the report, and log it."""
        self.results = self.measured()
        self.log_dict(logged("test", self.results), rank_zero_only=True)


class TrainedCopyModule(MethodModule):
    """Trains a copy made of a backbone's weights; the backbone stays, to be compared with.

    Args:
        backbone: the original, which is frozen.
        model: the copy.
        optimisation: optimiser and schedule.
        names: the sub-models, in the order of `evaluate`.
    """

    def __init__(
        self,
        backbone: PreTrainedModel,
        model: PreTrainedModel,
        optimisation: Optimisation,
        names: list[str],
    ) -> None:
        super().__init__(backbone.requires_grad_(False), optimisation, names)
        self.model = model.requires_grad_(True).train()
        self.strict_loading = False  # the original is not in the checkpoint

    def train(self, mode: bool = True) -> "TrainedCopyModule":
        """Training mode of the copy; the original stays in eval mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave the original out."""
        super().on_save_checkpoint(checkpoint)
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {k: v for k, v in state.items() if not k.startswith("backbone.")}

    def save_model(self, folder: str) -> None:
        """Write the copy as an ordinary checkpoint of its class."""
        submodel(self.model, num_layers_of(self.model)).save_pretrained(folder)
