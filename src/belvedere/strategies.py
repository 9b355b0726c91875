"""Strategies that share the weights of a module out over processes: FSDP and FSDP2."""

from collections.abc import Iterable

from lightning.pytorch import LightningModule
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy, Strategy
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor


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
