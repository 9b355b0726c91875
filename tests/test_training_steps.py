"""Steps that are compiled, make activations anew or gather weights: the same as plain ones."""

import pytest
import torch
from torch import distributed
from torch.autograd.graph import saved_tensors_hooks
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor
from transformers import LlamaConfig, LlamaForCausalLM

from belvedere.balcony import BalconyModule
from belvedere.errors import BadInput
from belvedere.layerskip import LayerSkipModule
from belvedere.optimisation import Optimisation, dims_of
from belvedere.soft import SoFTModule
from belvedere.strategies import shard
from belvedere.submodels.exits import ExitConfig
from belvedere.submodels.layers import text_layers
from belvedere.unichart.config import ChartModelConfig, DecoderConfig, EncoderConfig
from belvedere.unichart.model import ChartModel
from belvedere.unichart.module import UniChartModule

WORDS, ROWS, LENGTH = 97, 3, 24
EXITS = ExitConfig(depths=(1, 2))


def backbone():
    return LlamaForCausalLM(
        LlamaConfig(
            hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4,
            num_key_value_heads=2, vocab_size=WORDS, initializer_range=0.2,
        )
    )  # fmt: skip


def texts():
    ids = torch.randint(0, WORDS, (ROWS, LENGTH))
    places = torch.cat([torch.arange(10), torch.arange(LENGTH - 10)]).expand(ROWS, LENGTH)
    return {"input_ids": ids, "labels": ids.roll(-1, 1), "position_ids": places.contiguous()}


def charts():
    ids = torch.randint(0, WORDS, (2 * ROWS, LENGTH))
    looks = torch.rand(2 * ROWS, LENGTH, 3, 2) * 40
    return {
        "pixels": torch.randint(0, 255, (ROWS, 3, 48, 64), dtype=torch.uint8),
        "picture": torch.arange(ROWS).repeat_interleave(2), "ids": ids, "labels": ids.roll(-1, 1),
        "looks": looks, "shares": torch.rand(2 * ROWS, LENGTH),
        "tokens": torch.randint(8, LENGTH, (2 * ROWS,)),
    }  # fmt: skip


def reader(**options):
    encoder = EncoderConfig(16, (2, 2), (2, 2), window=4, patch_size=8, drop_path=0.1)
    decoder = DecoderConfig(layers=3, d_model=36, heads=3, ffn=64, max_positions=64, dropout=0.1)
    model = ChartModel(ChartModelConfig("small", (48, 64), WORDS, encoder, decoder))
    return UniChartModule(model, None, Optimisation(), new_tokens=8, **options)


METHODS = {
    "balcony": (lambda: BalconyModule(backbone(), EXITS, Optimisation()), texts),
    "frozen_in_bfloat16": (
        lambda: BalconyModule(backbone().bfloat16(), EXITS, Optimisation()), texts,
    ),
    "unfrozen": (
        lambda: BalconyModule(backbone(), EXITS, Optimisation(), trained="unfrozen"), texts,
    ),
    "lora": (lambda: BalconyModule(backbone(), EXITS, Optimisation(), trained="lora"), texts),
    "soft": (lambda: SoFTModule(backbone(), Optimisation(), (1, 2)), texts),
    "layerskip": (lambda: LayerSkipModule(backbone(), Optimisation(), (2,), 0.5, 0.1, 2), texts),
    "unichart": (reader, charts),
    "guided": (lambda: reader(guidance_weight=1.0, length_groups=2, depths=(1, 2)), charts),
}  # fmt: skip


def made(method):
    torch.manual_seed(0)
    make, batch = METHODS[method]
    module = make().train()
    module.log = lambda *_, **__: None
    return module, batch()


def stepped(module, batch):
    """The loss, the gradients by name, and the bytes that are kept for the backward pass."""
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    torch.manual_seed(1)
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = module.training_step(batch, 0)
    loss.backward()
    grads = {n: p.grad for n, p in module.named_parameters() if p.grad is not None}
    return loss.detach(), grads, sum(kept.values())


def same(ours, theirs, tolerance=1e-6):
    torch.testing.assert_close(ours[0], theirs[0], rtol=tolerance, atol=tolerance)
    assert ours[1].keys() == theirs[1].keys()
    assert ours[1]
    largest = max(float(grad.abs().max()) for grad in theirs[1].values())
    for name, grad in theirs[1].items():
        torch.testing.assert_close(ours[1][name], grad, rtol=0, atol=tolerance * largest)


@pytest.mark.parametrize("method", METHODS)
def test_checkpointed_activations_give_the_same_gradients_and_less_is_kept(method):
    plain = stepped(*made(method))
    module, batch = made(method)
    module.checkpoint_activations()
    saving = stepped(module, batch)
    same(saving, plain)
    assert saving[2] < 0.8 * plain[2]


@pytest.mark.parametrize("method", ["balcony", "lora", "soft", "layerskip", "unichart", "guided"])
def test_a_compiled_step_is_the_same_step_and_keeps_its_names(method):
    plain, batch = made(method)
    expected, names = stepped(plain, batch), list(plain.state_dict())
    module, batch = made(method)
    module.compile_layers("eager")
    module.checkpoint_activations()  # both together
    same(stepped(module, batch), expected)
    assert list(module.state_dict()) == names
    compiled = [part for part in module.modules() if part._compiled_call_impl is not None]
    assert compiled
    # Hooks on the layers are run, whenever they come; their parts have none.
    assert not any(part in text_layers(module) for part in compiled)


def test_sub_models_of_a_compiled_model_are_not_compiled():
    module, batch = made("soft")
    module.compile_layers("eager")
    module.eval()
    (row,) = [one for one in module.described() if one.name == "exit_2"]
    view = row.view()
    assert all(part._compiled_call_impl is None for part in view.modules())
    with torch.no_grad():
        hidden = view.model(
            input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False
        )[0]
        losses = module.evaluate(batch)
        torch.testing.assert_close(
            losses.ce[1],
            torch.nn.functional.cross_entropy(
                view.lm_head(hidden).flatten(0, 1), batch["labels"].flatten()
            ),
        )


def test_what_cannot_be_done_is_refused():
    heads = BalconyModule(
        backbone(), ExitConfig(depths=(1,), kind="norm", head="own"), Optimisation()
    )
    with pytest.raises(BadInput, match="no decoder layer is trained"):
        heads.checkpoint_activations()
    with pytest.raises(BadInput, match=r"torch\.compile has no backend 'fast'; give true, false"):
        heads.compile_layers("fast")


@pytest.fixture
def mesh():
    """A process that has all parts of the weights: there is nobody else to share them with."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


@pytest.mark.parametrize("saving", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_a_step_that_gathers_its_weights_is_the_same_step(method, saving, mesh):
    plain = stepped(*made(method))
    module, batch = made(method)
    if saving:
        module.checkpoint_activations()
    shard(module, module.units(), mesh)
    loss, grads, _ = stepped(module, batch)
    assert all(isinstance(one, DTensor) for one in module.parameters())
    same((loss, {name: grad.full_tensor() for name, grad in grads.items()}, 0), plain)


def test_what_is_shared_out_has_sub_models_but_no_matrices_for_muon(mesh):
    whole, (module, _) = made("soft")[0], made("soft")
    shard(module, module.units(), mesh)
    sizes = {row.name: row.view().num_parameters() for row in whole.described()}
    assert {row.name: row.view().num_parameters() for row in module.described()} == sizes
    with pytest.raises(BadInput, match="Muon needs whole matrices"):
        Optimisation(muon_lr=0.1).build(module, 4, dims_of(whole))
