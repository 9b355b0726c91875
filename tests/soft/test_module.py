import copy

import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM

from belvedere.errors import BadInput
from belvedere.optimisation import Optimisation
from belvedere.soft import ExtractedModule, SoFTModule, Sorting


@pytest.fixture
def backbone(backbone_folder):
    return AutoModelForCausalLM.from_pretrained(backbone_folder)


@pytest.fixture
def batch():
    torch.manual_seed(1)
    ids = torch.randint(3, 320, (2, 12))
    labels = ids.roll(-1, 1)
    labels[:, :5] = labels[:, -1] = -100
    positions = torch.arange(12).expand(2, -1)
    return {"input_ids": ids, "position_ids": positions, "labels": labels}


def module(backbone, **sorting):
    made = SoFTModule(backbone, Optimisation(), (1, 2, 3), Sorting(**sorting))
    made.log = lambda *_, **__: None
    return made


def plain_losses(backbone, batch):
    """Cross-entropy of every prefix by transformers' own hidden states and the formula."""
    decoder = backbone.model
    seen = {}
    handles = [
        layer.register_forward_hook(lambda _, __, out, i=i: seen.__setitem__(i, out))
        for i, layer in enumerate(decoder.layers, 1)
    ]
    decoder(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False)
    for handle in handles:
        handle.remove()
    logits = [backbone.lm_head(decoder.norm(seen[depth])) for depth in (1, 2, 3, 4)]
    return logits, [
        functional.cross_entropy(one.flatten(0, 1), batch["labels"].flatten()) for one in logits
    ]


def gradients(model):
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def test_loss_and_gradients_are_the_mean_of_all_prefixes(backbone, batch):
    twin = copy.deepcopy(backbone)
    soft = module(backbone)
    loss = soft.training_step(batch, 0)
    loss.backward()
    plain = torch.stack(plain_losses(twin, batch)[1]).mean()
    plain.backward()
    torch.testing.assert_close(loss, plain, atol=1e-5, rtol=1e-5)
    expected = gradients(twin)
    found = gradients(backbone)
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], atol=1e-5, rtol=1e-4)


def test_distillation_pulls_the_prefixes_and_not_the_full_model(backbone, batch):
    twin = copy.deepcopy(backbone)
    module(backbone, distillation=2.0).training_step(batch, 0).backward()
    logits, losses = plain_losses(twin, batch)
    keep = batch["labels"].flatten() != -100
    teacher = logits[-1].flatten(0, 1)[keep].log_softmax(-1).detach()
    kl = [
        functional.kl_div(
            one.flatten(0, 1)[keep].log_softmax(-1), teacher, log_target=True,
            reduction="batchmean",
        )
        for one in logits[:-1]
    ]  # fmt: skip
    ((sum(losses) + 2.0 * sum(kl)) / 4).backward()
    expected = gradients(twin)
    for name, found in gradients(backbone).items():
        torch.testing.assert_close(found, expected[name], atol=1e-5, rtol=1e-4)


def test_sft_trains_the_full_model_alone(backbone, batch):
    twin = copy.deepcopy(backbone)
    loss = module(backbone, schedule="full").training_step(batch, 0)
    torch.testing.assert_close(loss, plain_losses(twin, batch)[1][-1], atol=1e-5, rtol=1e-5)


def test_a_sampled_step_runs_no_deeper_layer(backbone, batch):
    soft = module(backbone, schedule="sampled")
    depth = soft.sorting.chosen([1, 2, 3, 4], 0, 0)[0]
    soft.training_step(batch, 0).backward()
    trained = {name for name in gradients(backbone) if "layers" in name}
    assert {int(name.split(".")[2]) for name in trained} == set(range(depth))


def test_depths_that_are_not_there_are_refused(backbone):
    with pytest.raises(BadInput, match="exit depth 5 is out of range"):
        SoFTModule(backbone, Optimisation(), (2, 5))
    with pytest.raises(BadInput, match="exit depth 4 is out of range"):
        ExtractedModule(backbone, Optimisation(), 4)
    assert SoFTModule(backbone, Optimisation(), (2, 4)).early == (2,)


def test_one_checkpoint_holds_every_sub_model(backbone, batch, tmp_path):
    soft = module(backbone)
    soft.save_model(str(tmp_path))
    inputs = {name: batch[name] for name in ("input_ids", "position_ids")}
    for described in soft.described():
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path, num_hidden_layers=described.layers)
        assert type(loaded) is type(backbone)
        with torch.no_grad():
            expected = described.view().eval()(**inputs, use_cache=False).logits
            found = loaded.eval()(**inputs, use_cache=False).logits
        assert torch.equal(found, expected)


def test_all_sub_models_need_no_memory_of_their_own(backbone):
    views = [described.view() for described in module(backbone).described()]
    pointers = {p.data_ptr() for view in views for p in view.parameters()}
    assert pointers == {p.data_ptr() for p in backbone.parameters()}


def test_extraction_trains_a_copy_and_leaves_the_original(backbone, batch):
    before = {name: p.clone() for name, p in backbone.named_parameters()}
    extracted = ExtractedModule(backbone, Optimisation(), 2)
    extracted.log = lambda *_, **__: None
    torch.testing.assert_close(
        extracted.training_step(batch, 0), plain_losses(backbone, batch)[1][1], atol=1e-5, rtol=1e-5
    )
    extracted.training_step(batch, 0).backward()
    torch.optim.SGD(extracted.model.parameters(), 1.0).step()
    assert all(torch.equal(before[name], p) for name, p in backbone.named_parameters())
    assert len(extracted.model.model.layers) == 2
    assert extracted.described()[0].trained_parameters < sum(p.numel() for p in before.values())
