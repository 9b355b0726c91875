import pytest
import torch

from belvedere.errors import BadInput
from belvedere.submodels.backbone import layers_of, read_depths, sha256_of_weights
from belvedere.submodels.exits import ExitConfig, build_exits
from belvedere.submodels.lora import adapters_off, add_lora, without_adapters
from belvedere.submodels.views import submodel


def adapt(backbone):
    """Adapters that do something: fresh ones add zero."""
    add_lora(backbone)
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0.0, 0.1)
    return backbone.eval()


@torch.no_grad()
def test_adapters_off_restores_the_full_model_exactly(backbone, tokens):
    before = backbone(tokens).logits
    add_lora(backbone)
    assert torch.equal(backbone.eval()(tokens).logits, before)
    adapt_logits = _perturb(backbone)(tokens).logits
    assert not torch.allclose(adapt_logits, before)
    with adapters_off(backbone):
        assert torch.equal(backbone(tokens).logits, before)
    assert torch.equal(backbone(tokens).logits, adapt_logits)


def _perturb(backbone):
    for name, parameter in backbone.named_parameters():
        if "lora_B" in name:
            parameter.normal_(0.0, 0.1)
    return backbone


def test_only_adapters_are_trained_and_they_have_the_published_shape(llama):
    add_lora(llama)
    trained = {name: p for name, p in llama.named_parameters() if p.requires_grad}
    assert all("lora_" in name for name in trained)
    # Each of 5 layers: q 32 x 32 and v 32 x 16, each with rank 8.
    assert sum(p.numel() for p in trained.values()) == 5 * 8 * ((32 + 32) + (32 + 16))
    lora = layers_of(llama)[0].self_attn.q_proj
    assert lora.scaling["default"] == 32 / 8
    assert lora.lora_dropout["default"].p == 0.1


@torch.no_grad()
def test_taps_and_views_see_the_adapters(backbone, tokens):
    exits = build_exits(backbone, ExitConfig((2,)))
    adapt(backbone)
    taps = read_depths(backbone, (2,), input_ids=tokens)
    states = backbone(tokens, output_hidden_states=True).hidden_states
    assert torch.equal(taps.at[2].hidden, states[2])
    view = submodel(backbone, 2, exits.at(2))
    hidden = exits.at(2)(taps.at[2].hidden, **taps.at[2].layer_kwargs)
    assert torch.equal(view(tokens).logits, backbone.lm_head(hidden))
    assert torch.equal(submodel(backbone, 5)(tokens).logits, backbone(tokens).logits)
    shared = {id(p) for p in [*backbone.parameters(), *exits.parameters()]}
    assert {id(p) for p in view.parameters()} <= shared
    greedy = view.generate(tokens[:1], max_new_tokens=5, do_sample=False)
    plain = view.generate(tokens[:1], max_new_tokens=5, do_sample=False, use_cache=False)
    assert torch.equal(greedy, plain)


@torch.no_grad()
def test_a_view_and_its_parent_switch_independently(llama, tokens):
    plain = submodel(llama, 3)(tokens).logits
    adapt(llama)
    view = submodel(llama, 3)
    adapted = view(tokens).logits
    with adapters_off(llama):
        assert torch.equal(view(tokens).logits, adapted)
        assert torch.equal(submodel(llama, 3)(tokens).logits, plain)
    with adapters_off(view):
        assert torch.equal(view(tokens).logits, plain)
        with adapters_off(view):
            pass
        assert torch.equal(view(tokens).logits, plain)
    assert torch.equal(view(tokens).logits, adapted)


def test_the_switch_leaves_training_as_it_was(llama, tokens):
    adapt(llama)
    llama.get_parameter(
        "model.layers.0.self_attn.q_proj.lora_A.default.weight"
    ).requires_grad = False
    before = {name: p.requires_grad for name, p in llama.named_parameters()}
    loss = llama(tokens, labels=tokens).loss
    with adapters_off(llama), torch.no_grad():
        llama(tokens)
    assert {name: p.requires_grad for name, p in llama.named_parameters()} == before
    loss.backward()  # the switch between forward and backward does no harm
    for name, parameter in llama.named_parameters():
        assert (parameter.grad is not None) == before[name]


def test_exits_and_adapters_train_together(llama, tokens):
    exits = build_exits(llama, ExitConfig((3,)))
    adapt(llama)
    tap = read_depths(llama, (3,), full=False, input_ids=tokens).at[3]
    exits.at(3)(tap.hidden, **tap.layer_kwargs).square().sum().backward()
    for name, parameter in llama.named_parameters():
        expected = "lora_" in name and int(name.split(".")[2]) < 3
        assert (parameter.grad is not None) == expected
    assert all(p.grad is not None for p in exits.parameters())


def test_wrong_targets_and_second_adapters_are_refused(llama):
    with pytest.raises(BadInput, match=r"lora\.targets: LlamaForCausalLM has no c_attn"):
        add_lora(llama, targets=["q_proj", "c_attn"])
    add_lora(llama)
    with pytest.raises(BadInput, match="has adapters already"):
        add_lora(llama)


@torch.no_grad()
def test_the_hash_and_the_full_view_know_nothing_of_adapters(llama, tokens):
    before, logits = sha256_of_weights(llama), llama(tokens).logits
    adapt(llama)
    assert sha256_of_weights(llama) == before
    view = without_adapters(submodel(llama, 5))
    assert torch.equal(view(tokens).logits, logits)
    assert not torch.allclose(llama(tokens).logits, logits)  # the parent's are still on
    llama.get_parameter("model.layers.0.self_attn.q_proj.base_layer.weight")[0, 0] += 1
    assert sha256_of_weights(llama) != before
