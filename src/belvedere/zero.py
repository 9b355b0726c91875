"""DeepSpeed's ZeRO 2 as a strategy, whose checkpoints are those of all others.

What Lightning calls a DeepSpeed strategy writes folders that have to be unpickled, and makes
bfloat16 of all weights where mixed precision is asked for. Here DDP's strategy does all but what
DeepSpeed is for: the backward pass, and the step of the optimiser.
"""

import argparse
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from torch.optim import Optimizer

from belvedere.errors import BadInput, first_line
from belvedere.optimisation import Together, name_of, without_muon

BUCKET = 50_000_000
"""Numbers that processes exchange at once."""


class ZeROStrategy(DDPStrategy):
    """Gradients and optimiser states shared out over processes; the weights stay whole on each."""

    def __init__(self) -> None:
        super().__init__()
        self._shared: SharedOut | None = None

    def configure_ddp(self) -> None:
        """Leave the module as it is: DeepSpeed takes it together with its optimiser."""

    def setup_optimizers(self, trainer: Trainer) -> None:
        """Let DeepSpeed share out what the module's optimiser trains.

        Args:
            trainer: of the run.

        Raises:
            BadInput: it would not train as the other strategies do.
        """
        super().setup_optimizers(trainer)
        module = self.lightning_module
        assert module is not None
        (optimizer,) = self.optimizers
        check_trainable(optimizer, trainer)
        names = {id(p): name_of(name) for name, p in module.named_parameters()}
        parameters = [
            {names[id(p)]: p for p in group["params"]} for group in optimizer.param_groups
        ]
        self.model = self._engine_of(optimizer, config_of(trainer))
        self._shared = SharedOut(self.model, optimizer, parameters)
        self.optimizers = [self._shared]

    def _engine_of(self, optimizer: Optimizer, config: dict[str, Any]) -> Any:
        """DeepSpeed's engine around the module."""
        try:
            import deepspeed
        except Exception as error:  # it looks for the compilers of its parts
            raise BadInput(
                f"deepspeed cannot be used on this machine ({first_line(error)})",
                where="trainer.strategy",
                remedy="give +strategy@trainer.strategy=fsdp2",
            ) from error
        deepspeed.utils.logger.setLevel("ERROR")
        # By this variable Lightning recognises processes that something else has started.
        started = "LOCAL_RANK" in os.environ
        os.environ["LOCAL_RANK"] = str(self.local_rank)
        engine, *_ = deepspeed.initialize(
            args=argparse.Namespace(device_rank=self.root_device.index or 0),
            model=self.lightning_module,
            optimizer=optimizer,
            config=config,
        )
        if not started:
            del os.environ["LOCAL_RANK"]
        return engine

    def backward(
        self, closure_loss: Tensor, optimizer: Optimizer | None, *args: Any, **kwargs: Any
    ) -> Tensor:
        """Make the gradients by DeepSpeed, which keeps this process's part of them.

        Args:
            closure_loss: of this process's batch.
            optimizer: of no use: there is one.
            args: none.
            kwargs: none.

        Returns:
            The loss, without its graph.
        """
        assert self._shared is not None
        assert self.lightning_module is not None
        loss = self.precision_plugin.pre_backward(closure_loss, self.lightning_module)
        self._shared.backward(loss)
        return self.precision_plugin.post_backward(loss, self.lightning_module)

    @contextmanager
    def block_backward_sync(self) -> Iterator[None]:
        """Add to the gradients: the batches of this step are not all there yet."""
        engine: Any = self.model
        engine.set_gradient_accumulation_boundary(False)
        try:
            yield
        finally:
            engine.set_gradient_accumulation_boundary(True)

    def on_validation_start(self) -> None:
        """Evaluate with the statistics of the first process's batches, which are the saved ones."""
        assert self.lightning_module is not None
        for buffer in self.lightning_module.buffers():
            if buffer.is_floating_point():
                torch.distributed.broadcast(buffer, 0)

    def teardown(self) -> None:
        """Leave a module that knows nothing of DeepSpeed any more."""
        if self._shared is not None:
            self._shared.release()
            self.model = self.lightning_module
            self.optimizers, self._shared = [], None
        super().teardown()


def check_trainable(optimizer: Optimizer, trainer: Trainer) -> None:
    """Refuse what ZeRO would do otherwise than the other strategies do.

    Args:
        optimizer: of the module.
        trainer: of the run.

    Raises:
        BadInput: Muon, weights that are not in float32, or what it cannot do to gradients.
    """
    if isinstance(optimizer, Together):
        raise without_muon()
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    precision = trainer.strategy.precision_plugin.precision
    if precision == "16-mixed" or any(p.dtype != torch.float32 for p in trained):
        raise BadInput(
            "this strategy trains weights in float32, with bf16-mixed or 32-true",
            where="trainer.strategy",
            remedy="give +strategy@trainer.strategy=fsdp2",
        )
    if trainer.gradient_clip_val and trainer.gradient_clip_algorithm == "value":
        raise BadInput(
            "this strategy clips gradients by their norm alone",
            where="trainer.gradient_clip_algorithm",
            remedy="set it to norm, or give trainer.strategy=ddp",
        )


def config_of(trainer: Trainer) -> dict[str, Any]:
    """What DeepSpeed is told of a run: Lightning accumulates, and schedules learning rates."""
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,  # for its own statistics, which nothing reads
        "gradient_clipping": trainer.gradient_clip_val or 0.0,
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {
            "stage": 2,
            "reduce_bucket_size": BUCKET,
            "allgather_bucket_size": BUCKET,
        },
    }
    if trainer.strategy.precision_plugin.precision == "bf16-mixed":
        # It turns Lightning's own off. Gradients are exchanged in float32, as by DDP.
        config["torch_autocast"] = {
            "enabled": True, "dtype": "bfloat16", "lower_precision_safe_modules": [],
        }  # fmt: skip
    return config


class SharedOut(Optimizer):
    """An optimiser that DeepSpeed has given a part of all parameters to.

    Its state is that of whole parameters by their names, as `belvedere.optimisation.keep_names` has
    it, so that any strategy can take it over.

    Args:
        engine: of DeepSpeed.
        optimizer: in each of its groups is, since the engine has it, one vector: this process's
            part of the group.
        parameters: of each group, by name.
    """

    def __init__(
        self, engine: Any, optimizer: Optimizer, parameters: Sequence[Mapping[str, Tensor]]
    ) -> None:
        self.engine, self.optimizer, self.parameters = engine, optimizer, parameters
        self._has_gradients = False
        super().__init__(optimizer.param_groups, {})

    def backward(self, loss: Tensor) -> None:
        """Add to the gradients."""
        self.engine.backward(loss)
        self._has_gradients = True

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Pass over the gradients that there are: the next ones take their place."""
        self._has_gradients = False

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Step on all processes, after the closure has made the gradients.

        DeepSpeed clips them before. Lightning's own clipping, within the closure, meets with none.
        """
        loss = None if closure is None else closure()
        if self._has_gradients:
            self.engine.step()
        return loss

    @torch.no_grad()
    def state_dict(self) -> dict[str, Any]:
        """The state, put together; all processes have to ask, and the first one gets it."""
        from deepspeed.utils import safe_get_full_optimizer_state

        first = torch.distributed.get_rank() == 0
        groups = []
        states: dict[str, dict[str, Tensor]] = {}
        for group, parameters in zip(self.param_groups, self.parameters, strict=True):
            groups.append({**group, "params": list(parameters)})
            part = self._link(group, parameters)
            for key, value in self.optimizer.state[part].items():
                for name, parameter in parameters.items():
                    if key != "step":
                        value = safe_get_full_optimizer_state(parameter, key)
                    if first:
                        states.setdefault(name, {})[key] = value.to("cpu", copy=True)
        return {"state": states, "param_groups": groups} if first else {}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take this process's part of a state.

        Args:
            state_dict: of whole parameters.
        """
        from deepspeed.utils import safe_set_full_optimizer_state

        groups = zip(self.param_groups, state_dict["param_groups"], self.parameters, strict=True)
        for group, saved, parameters in groups:
            group |= {key: value for key, value in saved.items() if key != "params"}
            states = {name: state_dict["state"].get(name, {}) for name in parameters}
            (part,) = group["params"]
            self.optimizer.state[part] = {
                key: value.clone() if key == "step" else torch.zeros_like(part)
                for key, value in next(iter(states.values())).items()
            }
            self._link(group, parameters)
            for name, state in states.items():
                for key in state.keys() - {"step"}:
                    safe_set_full_optimizer_state(parameters[name], state[key], key)

    def _link(self, group: dict[str, Any], parameters: Mapping[str, Tensor]) -> Tensor:
        """Tell DeepSpeed of the states of a group; it looks for all when the first has stepped.

        Returns:
            The group's one vector.
        """
        from deepspeed.utils import lazy_init_hp_params_optimizer_state

        (part,) = group["params"]
        lazy_init_hp_params_optimizer_state(list(parameters.values()), part, self.optimizer.state)
        return part

    def release(self) -> None:
        """Let the module go: its parameters are on the CPU then, and on their own."""
        self.engine.module_forward_pre_hook.remove()
        self.engine.module_forward_post_hook.remove()
        self.engine.destroy()
        for parameters in self.parameters:
            for parameter in parameters.values():
                # So far each is a part of one long vector.
                parameter.data = parameter.data.to("cpu", copy=True)
        self.optimizer.state.clear()
