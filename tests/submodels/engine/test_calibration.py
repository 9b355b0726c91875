from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from belvedere.errors import BadInput
from belvedere.submodels.engine.calibration import (
    FILE,
    NEVER,
    Calibration,
    Weights,
    calibrated,
    compared,
    thresholds_of,
)
from belvedere.submodels.engine.cascade import Cascade
from belvedere.submodels.exits import ExitConfig, build_exits
from belvedere.submodels.views import submodel

CHEAP = Weights(stages=(3, 4, 3), exits=(0, 0, 1))
"""Exits that cost nothing, so that all are worth asking."""


def example(tokens: int = 400, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Exits that are right the more often the surer they are."""
    generator = torch.Generator().manual_seed(seed)
    sure = torch.rand(2, tokens, generator=generator)
    return sure, torch.rand(2, tokens, generator=generator) < sure ** torch.tensor([[0.3], [0.1]])


@pytest.mark.parametrize("wanted", [0.8, 0.9, 0.97, 0.99, 1.0])
def test_thresholds_give_the_agreement_that_they_promise(wanted: float) -> None:
    sure, right = example()
    found = calibrated((3, 7), sure, right, wanted, CHEAP)
    first = sure[0] >= found.thresholds[3]
    second = ~first & (sure[1] >= found.thresholds[7])
    differ = (first & ~right[0]).sum() + (second & ~right[1]).sum()
    assert found.agreement == pytest.approx(1 - int(differ) / 400)
    assert found.agreement >= wanted
    assert found.leaves[3] == pytest.approx(float(first.float().mean()))
    assert found.leaves[7] == pytest.approx(float(second.float().mean()))
    if 0.9 <= wanted < 1:
        assert found.agreement < wanted + 0.01  # what is allowed is used


def test_lower_thresholds_would_not_do() -> None:
    sure, right = example()
    found = thresholds_of((3,), sure[:1], right[:1], 0.95, {0})
    lower = float(sure[0][sure[0] < found[3]].max())
    assert (~right[0][sure[0] >= lower]).sum() > 0.05 * 400


def test_an_exit_is_asked_only_where_that_saves() -> None:
    sure, right = example()
    both = calibrated((3, 7), sure, right, 0.9, CHEAP)
    assert all(value <= 1 for value in both.thresholds.values())
    dear = calibrated((3, 7), sure, right, 0.9, Weights((3, 4, 3), (9, 0, 1)))
    assert dear.thresholds[3] == NEVER
    assert dear.thresholds[7] <= 1
    assert dear.leaves[3] == 0
    assert dear.leaves[7] > both.leaves[7]  # all that may differ is left to it
    none = calibrated((3, 7), sure, right, 0.9, Weights((3, 4, 3), (9, 9, 1)))
    assert set(none.thresholds.values()) == {NEVER}
    assert (none.read, none.agreement) == (1.0, 1.0)


def test_what_is_read_for_a_token_is_counted() -> None:
    weights = Weights(stages=(30, 40, 30), exits=(5, 5, 10))
    assert weights.share([2.0, 2.0], [0.0, 0.0]) == 1
    # All read 35; the half that goes on 40 and 5 more; a quarter the rest and the head.
    assert weights.share([0.5, 0.5], [0.5, 0.25]) == pytest.approx((35 + 22.5 + 10) / 110)
    assert weights.share([2.0, 0.5], [0.0, 0.75]) == pytest.approx((70 + 5 + 10) / 110)
    assert weights.draft(1) == pytest.approx(75 / 110)


def test_weights_are_those_of_layers_norms_and_heads(llama: PreTrainedModel) -> None:
    exits = build_exits(llama, ExitConfig((2,), init="random"))
    found = Weights.of(Cascade(llama.eval(), (2,), exits.eval()))
    layer, head = (
        sum(weight.numel() for weight in part.parameters())
        for part in (llama.model.layers[0], llama.lm_head)
    )
    norm, layers = llama.model.norm.weight.numel(), llama.config.num_hidden_layers
    assert found == Weights([2 * layer, (layers - 2) * layer], [layer + norm + head, norm + head])


def test_tokens_that_are_equally_sure_leave_together() -> None:
    sure = torch.tensor([[0.9, 0.9, 0.9, 0.5]])
    right = torch.tensor([[True, True, False, True]])
    assert thresholds_of((2,), sure, right, 0.9, {0}) == {2: NEVER}
    assert thresholds_of((2,), sure, right, 0.7, {0}) == {2: 0.5}


def test_the_confidence_is_that_of_the_standalone_models(backbone: PreTrainedModel) -> None:
    torch.manual_seed(0)
    exits = build_exits(backbone, ExitConfig((2, 4), init="random")).eval()
    ids = torch.randint(2, 67, (3, 9))
    labels = ids.roll(-1, 1)
    labels[:, -1] = -100
    batch = {"input_ids": ids, "position_ids": torch.arange(9).expand(3, 9), "labels": labels}
    with torch.no_grad():
        full = backbone(ids).logits[:, :-1].argmax(-1).flatten()
        for used in (exits, None):
            sure, right = compared(backbone, (2, 4), used, [batch])
            assert sure.shape == right.shape == (2, 24)
            for i, depth in enumerate((2, 4)):
                view = submodel(backbone, depth, used.at(depth) if used else None)
                shares, tokens = view(ids).logits[:, :-1].softmax(-1).max(-1)
                assert torch.allclose(sure[i], shares.flatten(), atol=1e-5)
                assert torch.equal(right[i], tokens.flatten() == full)


def test_thresholds_are_kept_with_the_checkpoint(tmp_path: Path) -> None:
    found = calibrated((3, 7), *example(), 0.9, CHEAP, "stories")
    found.save(tmp_path)
    assert Calibration.load(tmp_path) == found
    (tmp_path / FILE).write_text('{"thresholds": 3}')
    with pytest.raises(BadInput, match="no whole thresholds"):
        Calibration.load(tmp_path)
    with pytest.raises(BadInput, match="has no thresholds; make them: python -m"):
        Calibration.load(tmp_path / "elsewhere")


@pytest.mark.parametrize("wanted", [-0.1, 1.01])
def test_an_agreement_that_cannot_be_is_refused(wanted: float) -> None:
    with pytest.raises(BadInput, match="agreement: an agreement of"):
        calibrated((3, 7), *example(), wanted, CHEAP)


def test_no_text_is_refused(llama: Any) -> None:
    with pytest.raises(BadInput, match="there is no text to calibrate on"):
        compared(llama, (2,), None, [])
