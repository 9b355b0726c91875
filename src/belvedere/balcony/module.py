"""The LightningModule of Balcony (arXiv 2503.05005): train exits by self-distillation."""

import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from belvedere.errors import BadInput
from belvedere.method import MethodModule
from belvedere.metrics.language import SubModelQuality
from belvedere.optimisation import Optimisation
from belvedere.processes import losses_of_all
from belvedere.submodels.backbone import (
    decoder_inputs,
    head_weight_of,
    norm_of,
    num_layers_of,
    read_depths,
)
from belvedere.submodels.checkpoints import EXITS, check_backbone
from belvedere.submodels.described import Described, raw_exit_name, raw_exits
from belvedere.submodels.exits import ExitConfig, build_exits
from belvedere.submodels.loading import safetensors_header
from belvedere.submodels.lora import adapters_off, add_lora, without_adapters
from belvedere.submodels.losses import HeadLosses, head_losses
from belvedere.submodels.views import submodel


@dataclass(frozen=True)
class Distillation:
    """What the exits are trained to do; the published setting is the default (section 3).

    Attributes:
        kl_weight: of KL(full model || exit), the mean over tokens and exits.
        ce_weight: of the exits' cross-entropy with the text.
        temperature: of both distributions in the KL.
    """

    kl_weight: float = 1.0
    ce_weight: float = 0.0
    temperature: float = 1.0


@dataclass(frozen=True)
class Lora:
    """Adapters of the variant ``trained=lora``; the published values are the default."""

    rank: int = 8
    alpha: int = 32
    dropout: float = 0.1
    targets: tuple[str, ...] = field(default=("q_proj", "v_proj"))


class BalconyModule(MethodModule):
    """Exits on a backbone; by default everything but the exits is frozen.

    Args:
        backbone: a pretrained causal language model.
        exits: where the exits are and what they are made of.
        optimisation: optimiser and schedule.
        distillation: the loss.
        trained: "exits" (published); "lora" also trains adapters in the backbone, while the full
            model without them stays the teacher and stays as it was; "unfrozen" trains the
            backbone too, with the full model's own cross-entropy beside the exits'.
        lora: the adapters of that variant.
        method: what reports call the exits; by default what they are.
    """

    def __init__(
        self,
        backbone: PreTrainedModel,
        exits: ExitConfig,
        optimisation: Optimisation,
        distillation: Distillation | None = None,
        trained: Literal["exits", "lora", "unfrozen"] = "exits",
        lora: Lora | None = None,
        method: str | None = None,
    ) -> None:
        if trained not in ("exits", "lora", "unfrozen"):
            raise BadInput(
                f"Balcony cannot train {trained!r}",
                where="model.trained",
                remedy="choose exits, lora or unfrozen",
            )
        frozen = backbone.requires_grad_(trained == "unfrozen")
        # Trained weights are float32 whatever the frozen ones are: AdamW's small steps need it.
        built = build_exits(backbone, exits, dtype=torch.float32)
        super().__init__(frozen, optimisation, [f"exit_{depth}" for depth in built.depths])
        self.exits = built
        if trained == "lora":
            add_lora(backbone, **asdict(lora or Lora()))
        self.distillation = distillation or Distillation()
        self.trained = trained
        self.method = method or ("trained norm and head" if exits.kind == "norm" else "balcony")
        self.strict_loading = False  # the backbone is not in the checkpoint
        raw_names = [raw_exit_name(depth) for depth in self.exits.depths]
        self.test_quality = SubModelQuality(self.names + raw_names)

    @property
    def trained_parameters(self) -> int:
        """How many parameters the run trains."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def train(self, mode: bool = True) -> "BalconyModule":
        """Training mode; a frozen backbone stays in eval mode, so that it has no dropout."""
        super().train(mode)
        if self.trained == "exits":
            self.backbone.eval()
        return self

    def read(self, batch: dict[str, Tensor]) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """One pass through the backbone, and one through each exit.

        Returns:
            Hidden states before the head, each [batch, length, hidden]: of the exits; of the raw
            stream at the same depths, before any norm; of the full model that the exits learn from.
        """
        inputs = decoder_inputs(batch)
        frozen: AbstractContextManager = (
            torch.no_grad() if self.trained == "exits" else nullcontext()
        )
        with frozen:
            taps = read_depths(self.backbone, self.exits.depths, **inputs)
        exits = [
            self.exits.at(depth)(tap.hidden, **tap.layer_kwargs) for depth, tap in taps.at.items()
        ]
        teacher: Tensor | None = taps.final
        if self.trained == "lora":
            with torch.no_grad(), adapters_off(self.backbone):
                teacher = read_depths(self.backbone, (), **inputs).final
        assert teacher is not None
        return exits, [tap.hidden for tap in taps.at.values()], teacher

    def head_weights(self) -> list[Tensor]:
        """The head of each exit, [vocabulary, hidden]; the same tensor where they are tied."""
        return [self.exits.at(depth).head_weight(self.backbone) for depth in self.exits.depths]

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """The mean loss of the exits on one packed batch."""
        exits, _, teacher = self.read(batch)
        losses = head_losses(
            exits,
            self.head_weights(),
            batch["labels"],
            teacher=teacher,
            teacher_head=head_weight_of(self.backbone),
            **asdict(self.distillation),
        )
        losses = losses_of_all(losses)
        loss = losses.loss
        if self.trained == "unfrozen":
            head = head_weight_of(self.backbone)
            own = head_losses([teacher], head, batch["labels"], kl_weight=0.0, ce_weight=1.0)
            loss = loss + losses_of_all(own).loss
        self.log("train/loss", loss.detach(), prog_bar=True)
        for i, name in enumerate(self.names):
            self.log(f"train/kl_to_full/{name}", losses.kl[i])
            self.log(f"train/agreement/{name}", losses.agreement[i])
        return loss

    def evaluate(self, batch: dict[str, Tensor], raw: bool = False) -> HeadLosses:
        """Quality of the exits, and maybe of raw early exits at their depths, on one batch."""
        exits, stream, teacher = self.read(batch)
        shared_norm, head = norm_of(self.backbone), head_weight_of(self.backbone)
        baselines = [shared_norm(hidden) for hidden in stream] if raw else []
        return head_losses(
            [*exits, *baselines],
            self.head_weights() + [head] * len(baselines),
            batch["labels"],
            teacher=teacher,
            teacher_head=head,
        )

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Add a test batch to the quality of exits and raw early exits."""
        self.test_quality.update(self.evaluate(batch, raw=True))

    def measured(self) -> dict[str, dict[str, float]]:
        """Exits and the full model; in a test the raw early exits too."""
        quality = self.test_quality if self.trainer.testing else self.quality
        values = quality.compute()
        quality.reset()
        return values

    def described(self) -> list[Described]:
        """Exits, raw early exits at the same depths, and the full model."""
        layers = num_layers_of(self.backbone)
        found = []
        for depth, name in zip(self.exits.depths, self.names, strict=True):
            exit = self.exits.at(depth)
            found.append(
                Described(
                    name=name,
                    kind="exit",
                    method=self.method,
                    layers=depth + (exit.layer is not None),
                    trained_parameters=sum(p.numel() for p in exit.parameters() if p.requires_grad),
                    view=partial(submodel, self.backbone, depth, exit),
                )
            )
        # The adapters of ``lora`` are not in the full model.
        unfrozen = self.backbone.parameters() if self.trained == "unfrozen" else ()
        full_trained = sum(p.numel() for p in unfrozen)
        full = Described("full", "full", "backbone", layers, full_trained, self.full_model)
        return [*found, *raw_exits(self.backbone, self.exits.depths), full]

    def full_model(self) -> PreTrainedModel:
        """The model that the exits learn from, as a view; without the adapters of ``lora``."""
        return without_adapters(submodel(self.backbone, num_layers_of(self.backbone)))

    def trained_state(self) -> dict[str, Tensor]:
        """The tensors that the run trains, by name: what a checkpoint holds of the model."""
        if self.trained == "unfrozen":
            return dict(nn.Module.state_dict(self))
        keep = ("exits.",) if self.trained == "exits" else ("exits.", "lora_")
        state = nn.Module.state_dict(self)
        return {key: value for key, value in state.items() if any(part in key for part in keep)}

    def save_model(self, folder: str) -> None:
        """Write what was trained as ``exits.safetensors``, with what it belongs to.

        The metadata hold the exits' configuration, the backbone's name and the hash of its weights,
        as JSON; the backbone itself is not copied.
        """
        Path(folder).mkdir(parents=True, exist_ok=True)
        facts = {
            "method": "balcony",
            "trained": self.trained,
            "exits": json.dumps(asdict(self.exits.config)),
            "backbone": str(self.backbone.config.name_or_path),
            "backbone_sha256": self.backbone_hash,
            "backbone_dtype": str(self.backbone.dtype).removeprefix("torch."),
        }
        state = {key: value.contiguous() for key, value in self.trained_state().items()}
        # A tied head and its embedding are one tensor, which safetensors wants to be given once.
        names = {value.data_ptr(): key for key, value in reversed(state.items())}
        state = {key: state[key] for key in names.values()}
        save_file(state, Path(folder) / EXITS, metadata=facts)

    def load_model(self, folder: str) -> None:
        """Take over what :meth:`save_model` wrote.

        Raises:
            BadInput: a damaged file, or one of another backbone or of other exits.
        """
        file = Path(folder) / EXITS
        check_backbone(safetensors_header(file).get("backbone_sha256", ""), self.backbone_hash)
        state = load_file(file)
        expected = self.trained_state()
        wrong = [k for k, v in state.items() if k not in expected or expected[k].shape != v.shape]
        if wrong:
            raise BadInput(
                f"does not fit these exits ({wrong[0]})",
                where=str(file),
                remedy="give the exits' own configuration",
            )
        self.load_state_dict(state, strict=False)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep only what was trained, with the hash of the backbone that it belongs to."""
        super().on_save_checkpoint(checkpoint)
        names = self.trained_state().keys()
        checkpoint["state_dict"] = {
            key: value for key, value in checkpoint["state_dict"].items() if key in names
        }
        checkpoint["backbone_sha256"] = self.backbone_hash

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint whose exits were trained on another backbone."""
        check_backbone(checkpoint.get("backbone_sha256", ""), self.backbone_hash)
