"""Strategies that share a module out over processes: FSDP, FSDP2, and which of DeepSpeed's."""

from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy, Strategy
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from belvedere.errors import BadInput

ZERO = "belvedere.zero.ZeROStrategy"


class FSDP2Strategy(ModelParallelStrategy):
    """FSDP2 over all processes of a run, whose number Lightning's own strategy has to be told.

    Checkpoints are single files with whole tensors, as those of the other strategies.
    """

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        """Meet the other processes."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()


def check_deepspeed(strategy: Any) -> None:
    """Refuse Lightning's own DeepSpeed, and ours where there is none.

    Args:
        strategy: as configured: a name, or a mapping with a ``_target_``.

    Raises:
        BadInput: it is one of those.
    """
    name = str(strategy.get("_target_") if isinstance(strategy, DictConfig) else strategy)
    if name == ZERO and find_spec("deepspeed") is None:
        raise BadInput(
            "deepspeed is not installed",
            where="trainer.strategy",
            remedy="pip install -e '.[deepspeed]', or give +strategy@trainer.strategy=fsdp2, "
            "which needs nothing more",
        )
    if "deepspeed" in name.lower():
        raise BadInput(
            f"{name} writes checkpoints that would have to be unpickled",
            where="trainer.strategy",
            remedy="give +strategy@trainer.strategy=deepspeed for ZeRO 2, or "
            "+strategy@trainer.strategy=fsdp2, which shares the weights out, too, as ZeRO 3 does",
        )


def shares_weights(strategy: Strategy) -> bool:
    """Whether each process has only its part of the weights between steps."""
    return isinstance(strategy, FSDPStrategy | ModelParallelStrategy)


def shard(module: LightningModule, units: Iterable[nn.Module], mesh: DeviceMesh) -> None:
    """Cut a module up, in place, for FSDP2.

    Args:
        module: whose training and validation steps gather what is in no unit.
        units: parts that are gathered each for its own forward, inner ones first.
        mesh: the processes that share the weights.
    """
    for unit in units:
        fully_shard(unit, mesh=mesh)
    fully_shard(module, mesh=mesh)
    for step in ("training_step", "validation_step"):
        register_fsdp_forward_method(module, step)


def is_cut(parameter: Tensor, ndim: int) -> bool:
    """Whether a strategy has left this process a part of a parameter.

    Args:
        parameter: FSDP makes a vector of it, FSDP2 a tensor that knows of its other parts.
        ndim: how many dimensions it had.
    """
    return parameter.ndim != ndim or isinstance(parameter, DTensor)
