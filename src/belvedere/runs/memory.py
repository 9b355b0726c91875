"""The memory that a training step needs on each device, found out without using any.

A step is made by tensors that have shapes and no content (PyTorch's fake tensors), and each storage
is counted from its first use to its last: weights, gradients, the optimiser's states, and the most
that activations and logits take at once. So a run of the largest size is planned on any machine in
seconds: ``python -m belvedere.runs.memory experiment=balcony_llama3 scale=paper``.
"""

import math
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast, get_args

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from belvedere.errors import BadInput
from belvedere.method import OptimisedModule
from belvedere.runs.entry import run_verb
from belvedere.runs.precision import chosen_precision
from belvedere.strategies import ZERO
from belvedere.submodels.loading import Backbone
from belvedere.unichart.loading import Reader

Kind = Literal["weights", "gradients", "optimiser", "activations", "logits"]
KINDS: tuple[Kind, ...] = get_args(Kind)
GIB = 2**30
BESIDE = GIB
"""What a GPU needs beside the tensors of a step: the libraries' own, and gaps between tensors."""
AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
TRUE = {"bf16-true": torch.bfloat16, "16-true": torch.float16, "64-true": torch.float64}


@dataclass
class Memory:
    """Bytes of each kind at the moment at which they are the most together."""

    bytes: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))

    @property
    def total(self) -> int:
        """Of all kinds together."""
        return sum(self.bytes.values())


class Counting(TorchDispatchMode):
    """Counts the storages of all tensors that are made while it is on.

    Args:
        vocabulary: tensors with so many columns are logits.
        number: what any number that is read off a tensor is taken to be.

    Attributes:
        peak: the most there was at once.
        kind: of new storages that are no logits.
    """

    def __init__(self, vocabulary: int, number: int) -> None:
        super().__init__()
        self.vocabulary, self.number = vocabulary, number
        self.kind: Kind = "activations"
        self.peak = Memory()
        self._live = Memory()
        self._known: dict[int, tuple[Kind, int]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation, and note what it has made."""
        if func is torch.ops.aten._local_scalar_dense.default:
            return self.number
        found = func(*args, **kwargs or {})
        for one in tree_leaves(found):
            if isinstance(one, Tensor):
                columns = one.shape[-1] if one.ndim > 1 else 0
                logits = columns == self.vocabulary and self.kind == "activations"
                self.note(one, "logits" if logits else self.kind)
        return found

    def note(self, tensor: Tensor, kind: Kind) -> None:
        """Count a tensor's storage, if it is new."""
        storage = tensor.untyped_storage()
        key = id(storage)
        if key in self._known:
            return
        self._known[key] = (kind, storage.nbytes())
        self._live.bytes[kind] += storage.nbytes()
        weakref.finalize(storage, self._forget, key)
        if self._live.total > self.peak.total:
            self.peak = Memory(dict(self._live.bytes))

    def take(self, tensor: Tensor, kind: Kind) -> None:
        """Take a tensor that is counted for one of another kind from now on."""
        key = id(tensor.untyped_storage())
        before, size = self._known[key]
        self._known[key] = (kind, size)
        self._live.bytes[before] -= size
        self._live.bytes[kind] += size

    def _forget(self, key: int) -> None:
        kind, size = self._known.pop(key)
        self._live.bytes[kind] -= size


def fake_parameters(module: nn.Module) -> None:
    """Put fake tensors in the place of a module's parameters and buffers, whatever they are."""
    made: dict[int, Tensor] = {}

    def fake(tensor: Tensor) -> Tensor:
        if id(tensor) not in made:
            empty = torch.empty(tensor.shape, dtype=tensor.dtype)
            trained = tensor.requires_grad
            made[id(tensor)] = (
                nn.Parameter(empty, trained) if isinstance(tensor, nn.Parameter) else empty
            )
        return made[id(tensor)]

    for part in module.modules():
        for tensors in (part._parameters, part._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    cast(dict[str, Any], tensors)[name] = fake(tensor)


def step_memory(
    module: OptimisedModule,
    batch: dict[str, Any],
    precision: str = "32-true",
    vocabulary: int = 0,
    longest: int = 1,
    foreach: bool = False,
) -> Memory:
    """The memory of the second training step, when the optimiser has its states.

    Args:
        module: what is trained; its parameters may have any content, on any device, or none. It
            can not be used any more afterwards.
        batch: of tensors, of which shapes and dtypes count.
        precision: of Lightning.
        vocabulary: columns of logits.
        longest: what a number that is read off a tensor is taken to be, as the length of a text.
        foreach: whether the optimiser goes over all weights at once, as on a GPU.
    """
    if precision in TRUE:
        module = module.to(TRUE[precision])
    with FakeTensorMode(allow_non_fake_inputs=True):
        fake_parameters(module)
        counting = Counting(vocabulary, longest)
        for tensor in (*module.parameters(), *module.buffers()):
            counting.note(tensor, "weights")
        fakes = {
            name: torch.zeros(one.shape, dtype=one.dtype) if isinstance(one, Tensor) else one
            for name, one in batch.items()
        }
        optimizer = module.optimisation.build(module, 10)["optimizer"]
        for group in optimizer.param_groups:
            if "foreach" in group:
                group["foreach"] = foreach
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(
                    lambda one: counting.take(one.grad, "gradients")
                )
        with counting, silent(module):
            for _ in range(2):
                counting.peak = Memory()
                dtype = AUTOCAST.get(precision)
                with torch.autocast("cpu", dtype) if dtype else nullcontext():
                    loss = cast(Tensor, module.training_step(fakes, 0))
                loss.backward()
                del loss
                counting.kind = "optimiser"
                optimizer.step()
                counting.kind = "activations"
                optimizer.zero_grad()
    return counting.peak


@contextmanager
def silent(module: OptimisedModule) -> Iterator[None]:
    """Let a module log nothing: there is no trainer."""
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    yield
    del module.log


def planned(config: DictConfig, batch_size: int | None = None) -> Memory:
    """What a training of a configuration needs on each of its devices.

    A chart reader is planned with the longest texts that its data may have, and without the losses
    that show small ones where to look.

    Args:
        config: as of ``train.py``.
        batch_size: in the place of the configuration's.
    """
    rows = batch_size or config.data.batch_size
    if "backbone" in config:
        backbone: Backbone = instantiate(config.backbone)
        with torch.device("meta"):
            model = replace(backbone, weights="random").load()
            module = instantiate(config.model, backbone=model)
        vocabulary = model.config.get_text_config().vocab_size
        longest = config.data.sequence_length
        names = ("input_ids", "position_ids", "labels")
        batch = {name: torch.empty(rows, longest, dtype=torch.long) for name in names}
    else:
        reader: Reader = instantiate(config.reader)
        tokenizer = reader.tokenizer()
        chart_model = reader.load(len(tokenizer))
        vocabulary = len(tokenizer)
        options = {"letters_weight": 0.0, "guidance_weight": 0.0}
        module = instantiate(config.model, model=chart_model, tokenizer=tokenizer, **options)
        longest = min(config.data.get("positions", 512), chart_model.config.decoder.max_positions)
        texts = rows * config.data.get("tasks_per_chart", config.data.get("texts_per_chart", 1))
        batch = {
            "pixels": torch.empty(rows, 3, *chart_model.config.image_size, dtype=torch.uint8),
            "picture": torch.empty(texts, dtype=torch.long),
            "ids": torch.empty(texts, longest, dtype=torch.long),
            "labels": torch.empty(texts, longest, dtype=torch.long),
            "looks": torch.empty(texts, longest, 3, 2),
            "shares": torch.empty(texts, longest),
            "tokens": torch.empty(texts, dtype=torch.long),
        }
    module.train()
    if config.activation_checkpointing:
        module.checkpoint_activations()
    shares = Shares.of(config, module)
    precision = chosen_precision(config.trainer.precision)
    found = step_memory(module, batch, precision, vocabulary, longest, foreach=True)
    return shares.applied(found)


@dataclass(frozen=True)
class Shares:
    """How a strategy shares a step's memory out over processes.

    Attributes:
        processes: how many.
        strategy: ``fsdp`` (of either version) shares weights, gradients and states out; ``zero``
            gradients and states, and has its part of the trained weights twice; ``ddp`` keeps all
            of them on every device. The last two have the gradients twice to exchange them.
        gathered: bytes of the weights that FSDP puts together again at once: two units, and what
            is in none.
    """

    processes: int
    strategy: Literal["single", "ddp", "zero", "fsdp"]
    gathered: int

    @classmethod
    def of(cls, config: DictConfig, module: OptimisedModule) -> "Shares":
        """Those of a configuration."""
        trainer = config.trainer
        devices = trainer.devices
        if not isinstance(devices, int):
            devices = config.get("needs_gpus", 0) or max(torch.cuda.device_count(), 1)
        processes = devices * trainer.get("num_nodes", 1)
        if isinstance(trainer.strategy, DictConfig):
            if trainer.strategy["_target_"] == ZERO:
                return cls(processes, "zero", 0)
            units = [sum(map(size_of, unit.parameters())) for unit in module.units()]
            rest = sum(map(size_of, module.parameters())) - sum(units)
            return cls(processes, "fsdp", 2 * max(units, default=0) + rest)
        return cls(processes, "single" if processes == 1 else "ddp", 0)

    def applied(self, memory: Memory) -> Memory:
        """The memory of one device, given that of a device that has everything."""
        found = Memory(dict(memory.bytes))
        if self.strategy == "ddp":
            found.bytes["gradients"] *= 2
        if self.strategy == "zero":
            part = found.bytes["gradients"] // self.processes
            found.bytes["weights"] += part
            found.bytes["gradients"] = 2 * part
            found.bytes["optimiser"] //= self.processes
        if self.strategy == "fsdp":
            for kind in ("weights", "gradients", "optimiser"):
                found.bytes[kind] //= self.processes
            found.bytes["weights"] += self.gathered
        return found


def size_of(tensor: Tensor) -> int:
    """Bytes of a tensor."""
    return tensor.numel() * tensor.element_size()


def check_memory(config: DictConfig, capacity: float) -> Memory:
    """What a training needs on each device, which has to be there.

    Args:
        config: of the training.
        capacity: bytes of each device.

    Raises:
        BadInput: it does not fit, with the batch that would.
    """
    found = planned(config)
    if found.total + BESIDE <= capacity:
        return found
    rows = config.data.batch_size
    one = planned(config, 1)
    each = (found.total - one.total) / max(rows - 1, 1)
    fitting = int((capacity - BESIDE - one.total) / each) + 1 if each else 0
    if 1 <= fitting < rows:
        accumulated = -(-rows * config.trainer.accumulate_grad_batches // fitting)
        remedy = f"give data.batch_size={fitting} and trainer.accumulate_grad_batches={accumulated}"
    else:
        remedy = (
            "share the weights out over more devices by +strategy@trainer.strategy=fsdp, "
            "or train a smaller model"
        )
    kinds = ", ".join(f"{kind} {found.bytes[kind] / GIB:.1f}" for kind in KINDS)
    raise BadInput(
        f"a step needs {found.total / GIB:.1f} GiB of each device ({kinds}) and {BESIDE / GIB:.0f} "
        f"beside them, and there are {capacity / GIB:.1f}",
        where="data.batch_size",
        remedy=remedy,
    )


def check_devices(config: DictConfig) -> None:
    """Refuse at once a training that does not fit into this machine's GPUs; raises `BadInput`."""
    if config.trainer.accelerator != "cpu" and torch.cuda.is_available():
        check_memory(config, torch.cuda.get_device_properties(0).total_memory)


def plan(config: DictConfig) -> Memory:
    """Print what a training needs; with ``gib`` it has to fit."""
    found = check_memory(config, math.inf if config.gib is None else int(config.gib * GIB))
    table = Table("each device holds", "GiB")
    for kind in KINDS:
        table.add_row(kind, f"{found.bytes[kind] / GIB:.2f}")
    table.add_row("together", f"{found.total / GIB:.2f}")
    Console().print(table)
    return found


if __name__ == "__main__":
    run_verb(plan, "memory")
