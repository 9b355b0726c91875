"""How far each sub-model is from the full model, by the position of the token in the answer."""

from typing import Any, cast

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from belvedere.data.supervised import SupervisedDataModule
from belvedere.method import MethodModule
from belvedere.metrics.language import SubModelQuality
from belvedere.submodels.backbone import decoder_inputs, decoder_of, head_weight_of
from belvedere.submodels.losses import IGNORED, head_losses


class KlByPosition(Callback):
    """Measures KL(full model || sub-model) on test batches of prompts with responses.

    Positions count the learned tokens of an example from 1, and are put together in octaves: 1, 2
    to 3, 4 to 7, 8 to 15 and so on.

    Args:
        batches: at most so many test batches are measured.

    Attributes:
        found: ``begins`` (the first position of each octave), ``tokens`` (measured in each) and
            ``submodels`` (for each name, the KL of each octave in nats).
    """

    def __init__(self, batches: int = 16) -> None:
        self.batches = batches
        self.found: dict[str, Any] = {}

    @torch.no_grad()
    def on_test_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Measure, once the run is over, if the data have responses."""
        data = cast(Any, trainer).datamodule
        if not isinstance(data, SupervisedDataModule):
            return
        views = {d.name: d.view().eval() for d in cast(MethodModule, module).described()}
        full = views.pop("full")
        octaves: list[SubModelQuality] = []
        for batch, _ in zip(data.test_dataloader(), range(self.batches), strict=False):
            batch = module.transfer_batch_to_device(batch, module.device, 0)
            inputs = decoder_inputs(batch)
            teacher, *students = (
                decoder_of(view)(**inputs, use_cache=False).last_hidden_state
                for view in (full, *views.values())
            )
            octave = answer_positions(batch).add(1).log2().floor()
            for number in range(int(octave.max()) + 1):
                if number == len(octaves):
                    octaves.append(SubModelQuality(list(views)).to(module.device))
                labels = batch["labels"].where(octave == number, IGNORED)
                octaves[number].update(
                    head_losses(
                        students,
                        [head_weight_of(view) for view in views.values()],
                        labels,
                        teacher=teacher,
                        teacher_head=head_weight_of(full),
                    )
                )
        values = [quality.compute_students() for quality in octaves]
        self.found = {
            "begins": [2**number for number in range(len(octaves))],
            "tokens": [int(quality.tokens) for quality in octaves],
            "submodels": {name: [v[name]["kl_to_full"] for v in values] for name in views},
        }


def answer_positions(batch: dict[str, Tensor]) -> Tensor:
    """[batch, length]: which of its document's learned tokens each place predicts, from 0.

    It is -1 or a repetition at places that predict nothing.
    """
    learned = (batch["labels"] != IGNORED).long()
    counted = learned.cumsum(1)
    begins = batch["position_ids"] == 0
    before = torch.where(begins, counted - learned, 0).cummax(1).values
    return counted - before - 1
