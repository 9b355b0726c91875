import copy
from dataclasses import replace
from itertools import product

import pytest
import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from belvedere.errors import BadInput
from belvedere.submodels.backbone import layers_of, norm_of, read_depths, sha256_of_weights
from belvedere.submodels.exits import ExitConfig, build_exits
from belvedere.submodels.lora import add_lora

KINDS = ["layer", "attention", "mlp", "norm"]


def storages(module):
    return {tensor.untyped_storage().data_ptr() for tensor in module.parameters()}


def outputs(backbone, exits, **inputs):
    """The hidden states of each exit, by depth."""
    taps = read_depths(backbone, exits.depths, **inputs)
    return {k: exits.at(k)(tap.hidden, **tap.layer_kwargs) for k, tap in taps.at.items()}


# What is refused


@pytest.mark.parametrize(
    ("option", "value", "remedy"),
    [
        ("kind", "ffn", "layer, attention, mlp, norm"),
        ("init", "first", "last, depth, random"),
        ("norm", "input", "final, depth"),
        ("head", "shared", "tied, own"),
    ],
)
def test_unknown_options_are_refused(option, value, remedy):
    with pytest.raises(BadInput, match=f"no {option} '{value}'; choose one of {remedy}"):
        ExitConfig((2,), **{option: value})


def test_depths_of_any_sequence_are_checked_against_the_backbone(llama):
    assert ExitConfig([2, 3]).depths == (2, 3)
    with pytest.raises(BadInput, match="depth 5 is out of range"):
        build_exits(llama, ExitConfig((2, 5)))


def test_an_exit_that_is_not_there_is_refused(llama):
    exits = build_exits(llama, ExitConfig((2, 4)))
    assert exits.at(4).depth == 4
    with pytest.raises(BadInput, match="no exit at depth 3; choose one of 2, 4"):
        exits.at(3)


def test_a_backbone_with_adapters_is_refused(llama):
    add_lora(llama)
    with pytest.raises(BadInput, match="build the exits first"):
        build_exits(llama, ExitConfig((2,)))


def test_layers_of_another_build_are_refused(tiny):
    olmo2 = tiny("olmo2")
    with pytest.raises(BadInput, match=r"no input norm to copy; choose exits\.norm=final"):
        build_exits(olmo2, ExitConfig((2,), norm="depth"))
    layers_of(olmo2)[-1].mlp = torch.nn.Identity()
    with pytest.raises(BadInput, match=r"other parts.*choose exits\.init=depth"):
        build_exits(olmo2, ExitConfig((2,)))
    del layers_of(olmo2)[2].self_attn
    with pytest.raises(BadInput, match="no `self_attn` and `mlp` to choose from"):
        build_exits(olmo2, ExitConfig((2,), init="depth", kind="attention"))


# First weights


@pytest.mark.parametrize(("init", "copied"), [("last", 4), ("depth", 2)])
def test_the_layer_starts_as_a_copy(backbone, init, copied):
    layer = build_exits(backbone, ExitConfig((2,), init=init)).at(2).layer
    wanted = layers_of(backbone)[copied]
    assert type(layer) is type(wanted)
    assert layer.state_dict().keys() == wanted.state_dict().keys()
    for name, tensor in layer.state_dict().items():
        assert torch.equal(tensor, wanted.state_dict()[name])


def test_a_random_layer_is_initialised_as_the_model_is(backbone):
    layer = build_exits(backbone, ExitConfig((2,), init="random")).at(2).layer
    for name, tensor in layer.state_dict().items():
        for other in layers_of(backbone):
            assert not torch.equal(tensor, other.get_parameter(name))
        if "norm" in name:
            assert torch.equal(tensor, torch.ones_like(tensor))
        elif name.endswith("bias"):
            assert torch.equal(tensor, torch.zeros_like(tensor))
        else:
            assert tensor.std().item() == pytest.approx(0.2, rel=0.15)


def test_the_norm_starts_as_the_final_norm_or_the_input_norm_of_its_depth(backbone):
    final = build_exits(backbone, ExitConfig((2,), norm="final")).at(2).norm
    depth = build_exits(backbone, ExitConfig((2,), norm="depth")).at(2).norm
    assert torch.equal(final.weight, norm_of(backbone).weight)
    assert torch.equal(depth.weight, layers_of(backbone)[2].input_layernorm.weight)
    assert not torch.equal(final.weight, depth.weight)


def test_an_own_head_starts_as_a_copy(backbone):
    exit = build_exits(backbone, ExitConfig((2,), head="own")).at(2)
    assert torch.equal(exit.head.weight, backbone.lm_head.weight)
    assert exit.head_weight(backbone) is exit.head.weight
    tied = build_exits(backbone, ExitConfig((2,))).at(2)
    assert tied.head_weight(backbone) is backbone.lm_head.weight


@pytest.mark.parametrize(
    ("kind", "init", "head"), product(KINDS, ["last", "random"], ["tied", "own"])
)
def test_exits_share_nothing_and_leave_the_backbone_untouched(llama, kind, init, head):
    llama.requires_grad_(False)
    before = sha256_of_weights(llama)
    structure = str(llama)
    exits = build_exits(llama, ExitConfig((1, 3), kind=kind, init=init, head=head))
    assert sha256_of_weights(llama) == before
    assert str(llama) == structure
    assert not any(p.requires_grad for p in llama.parameters())
    assert all(p.requires_grad for p in exits.parameters())
    assert not storages(exits) & storages(llama)
    assert not storages(exits.at(1)) & storages(exits.at(3))
    assert [layer.self_attn.layer_idx for layer in layers_of(llama)] == [0, 1, 2, 3, 4]


def test_mode_is_the_backbones(llama):
    config = ExitConfig((2,))
    for mode in (True, False):
        exits = build_exits(llama.train(mode), config)
        assert all(module.training is mode for module in exits.modules())


# What an exit computes


def branches(layer, tap):
    """Attention branch and MLP branch of a layer as functions of the hidden states."""

    def attention(x):
        before = getattr(layer, "input_layernorm", torch.nn.Identity())
        return layer.self_attn(hidden_states=before(x), **tap.layer_kwargs)[0]

    def plain(x):
        return layer.mlp(layer.post_attention_layernorm(x))

    if hasattr(layer, "pre_feedforward_layernorm"):  # Gemma 3
        behind = layer.post_feedforward_layernorm
        return (
            lambda x: layer.post_attention_layernorm(attention(x)),
            lambda x: behind(layer.mlp(layer.pre_feedforward_layernorm(x))),
        )
    if not hasattr(layer, "input_layernorm"):  # OLMo 2
        return (
            lambda x: layer.post_attention_layernorm(attention(x)),
            lambda x: layer.post_feedforward_layernorm(layer.mlp(x)),
        )
    return attention, plain


@torch.no_grad()
def test_kinds_are_the_branches_of_the_layer(any_backbone, tokens):
    tap = read_depths(any_backbone, (2,), input_ids=tokens).at[2]
    norm, x = norm_of(any_backbone), tap.hidden
    attention, mlp = branches(layers_of(any_backbone)[2], tap)
    wanted = {
        "layer": norm(x + attention(x) + mlp(x + attention(x))),
        "attention": norm(x + attention(x)),
        "mlp": norm(x + mlp(x)),
        "norm": norm(x),
    }
    for kind, hidden in wanted.items():
        exit = build_exits(any_backbone, ExitConfig((2,), kind=kind, init="depth")).at(2)
        torch.testing.assert_close(exit(tap.hidden, **tap.layer_kwargs), hidden)
    counts = [
        sum(p.numel() for p in build_exits(any_backbone, ExitConfig((2,), kind=kind)).parameters())
        for kind in KINDS
    ]
    layer, attention_only, mlp_only, norm_only = counts
    assert layer + norm_only == attention_only + mlp_only  # both halves, the norm twice


@pytest.mark.parametrize("kind", KINDS)
def test_every_trained_parameter_gets_a_gradient_and_nothing_else_does(any_backbone, tokens, kind):
    exits = build_exits(any_backbone, ExitConfig((1, 3), kind=kind, head="own"))
    with torch.no_grad():
        taps = read_depths(any_backbone, exits.depths, input_ids=tokens)
    loss = torch.zeros(())
    for k, tap in taps.at.items():
        hidden = exits.at(k)(tap.hidden, **tap.layer_kwargs)
        loss = loss + (hidden @ exits.at(k).head_weight(any_backbone).T).logsumexp(-1).mean()
    loss.backward()
    # Adding the same to every key changes no attention weight, so a bias of keys has no gradient.
    assert all(p.grad.any() for name, p in exits.named_parameters() if "k_proj.bias" not in name)
    assert all(p.grad is None for p in any_backbone.parameters())


def test_gradient_checkpointing_gives_the_same_gradients(llama, tokens):
    def gradients(model):
        exits = build_exits(model.train(), ExitConfig((2,)))
        outputs(model, exits, input_ids=tokens)[2].square().sum().backward()
        return [p.grad for p in exits.parameters()]

    plain = gradients(copy.deepcopy(llama))
    llama.gradient_checkpointing_enable()
    torch.testing.assert_close(gradients(llama), plain)


def test_an_exit_has_the_type_of_the_layer_that_it_stands_for(tiny, tokens):
    qwen2 = tiny("qwen2")  # full attention in layers 0 and 1, a window of 4 in layers 2 to 4
    exits = build_exits(qwen2, ExitConfig((1, 3), init="last"))
    windows = {k: exits.at(k).layer.self_attn.sliding_window for k in exits.depths}
    assert windows == {1: None, 3: 4}

    # What the last token's exit sees: change each token that precedes it, in the exit's input only.
    taps = read_depths(qwen2, exits.depths, input_ids=tokens)
    for k, first_seen in [(1, 0), (3, 7)]:
        tap = taps.at[k]
        hidden = tap.hidden.detach().requires_grad_()
        exits.at(k)(hidden, **tap.layer_kwargs)[0, -1].sum().backward()
        seen = hidden.grad[0].abs().sum(-1) > 0
        assert torch.equal(seen, torch.arange(11) >= first_seen)


def test_exits_follow_the_backbones_attention_implementation(llama, tokens):
    exits = build_exits(llama, ExitConfig((2,)))
    padded = torch.ones_like(tokens)
    padded[:, :3] = 0
    inputs = {"input_ids": tokens, "attention_mask": padded}
    sdpa = outputs(llama, exits, **inputs)[2]
    llama.set_attn_implementation("eager")
    assert exits.at(2).layer.self_attn.config._attn_implementation == "eager"
    eager = outputs(llama, exits, **inputs)[2]
    torch.testing.assert_close(eager[:, 3:], sdpa[:, 3:], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_exits_and_backbone_share_a_cache(any_backbone, tokens):
    exits = build_exits(any_backbone, ExitConfig((1, 3)))
    slots = {k: exits.at(k).layer.self_attn.layer_idx for k in exits.depths}
    assert slots == {1: 5, 3: 6}
    whole = outputs(any_backbone, exits, input_ids=tokens)
    cache = DynamicCache()
    for chunk in tokens.split([6, 1, 1, 2, 1], dim=1):
        last = outputs(any_backbone, exits, input_ids=chunk, past_key_values=cache)
    assert [cache.get_seq_length(slot) for slot in range(7)] == [11] * 7
    for k, hidden in last.items():
        torch.testing.assert_close(hidden, whole[k][:, -1:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kind", "head"), product(KINDS, ["tied", "own"]))
def test_float32_exits_work_on_a_bfloat16_backbone(tiny, tokens, kind, head):
    backbone = tiny("llama").bfloat16()
    exits = build_exits(backbone, ExitConfig((2,), kind=kind, head=head), dtype=torch.float32)
    assert {p.dtype for p in exits.parameters()} == {torch.float32}
    assert {p.dtype for p in backbone.parameters()} == {torch.bfloat16}
    hidden = outputs(backbone, exits, input_ids=tokens)[2]
    assert hidden.dtype == exits.at(2).head_weight(backbone).dtype
    (hidden @ exits.at(2).head_weight(backbone).T).sum().backward()

    same = build_exits(backbone, ExitConfig((2,), kind=kind, head=head))
    assert {p.dtype for p in same.parameters()} == {torch.bfloat16}
    # bfloat16 has 8 bits: the same exit in its arithmetic is near, not equal.
    low = outputs(backbone, same, input_ids=tokens)[2]
    torch.testing.assert_close(low.float(), hidden.float(), rtol=0.1, atol=0.1)


# State


@pytest.mark.parametrize("head", ["tied", "own"])
def test_state_is_the_exits_only_and_loads_into_others(llama, tokens, head):
    config = ExitConfig((1, 3), init="random", head=head)
    exits = build_exits(llama, config)
    state = exits.state_dict()
    parts = {key.split(".")[1] for key in state}
    assert {key.split(".")[0] for key in state} == {"1", "3"}
    assert parts == ({"layer", "norm"} if head == "tied" else {"layer", "norm", "head"})
    assert sum(t.numel() for t in state.values()) == sum(p.numel() for p in exits.parameters())

    others = build_exits(llama, config)
    others.load_state_dict(state)
    for k, hidden in outputs(llama, exits, input_ids=tokens).items():
        assert torch.equal(outputs(llama, others, input_ids=tokens)[k], hidden)
    with pytest.raises(RuntimeError, match=r"Missing key.*2\.layer"):
        build_exits(llama, replace(config, depths=(2, 3))).load_state_dict(state)


def test_the_papers_model_has_the_papers_number_of_trained_parameters():
    hidden, inner, kv = 4096, 14336, 8 * 128
    with torch.device("meta"):
        backbone = LlamaForCausalLM(
            LlamaConfig(
                hidden_size=hidden,
                num_hidden_layers=32,
                num_attention_heads=32,
                num_key_value_heads=8,
                intermediate_size=inner,
                vocab_size=128256,
                tie_word_embeddings=False,
            )
        )
    exits = build_exits(backbone, ExitConfig((15, 18, 21)))
    layer = 2 * hidden * hidden + 2 * hidden * kv + 3 * hidden * inner + 2 * hidden
    trained = sum(p.numel() for p in exits.parameters())
    assert trained == 3 * (layer + hidden) == 654_348_288  # the paper says 654M
    assert sum(p.numel() for p in backbone.parameters()) == 8_030_261_248
    assert {p.device.type for p in exits.parameters()} == {"meta"}
    assert [exits.at(k).layer.self_attn.layer_idx for k in exits.depths] == [32, 33, 34]
