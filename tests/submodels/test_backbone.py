import hashlib

import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
from transformers import AutoModel, BertConfig, BertModel, DynamicCache, GPT2Config, GPT2LMHeadModel

from belvedere.errors import BadInput
from belvedere.submodels.backbone import (
    decoder_of,
    head_of,
    head_weight_of,
    layers_of,
    norm_of,
    num_layers_of,
    read_depths,
    sha256_of_weights,
    validate_depths,
)


def test_parts_compose_to_the_models_own_logits(any_backbone, tokens):
    assert num_layers_of(any_backbone) == len(layers_of(any_backbone)) == 5
    with torch.no_grad():
        taps = read_depths(any_backbone, (4,), input_ids=tokens)
        tap = taps.at[4]
        hidden = layers_of(any_backbone)[4](tap.hidden, **tap.layer_kwargs)
        logits = head_of(any_backbone)(norm_of(any_backbone)(hidden))
        assert torch.equal(logits, any_backbone(tokens).logits)
        assert torch.equal(logits, taps.final @ head_weight_of(any_backbone).T)


def test_a_decoder_alone_has_layers_but_no_head(llama):
    decoder = llama.model
    assert decoder_of(decoder) is decoder_of(llama) is decoder
    with pytest.raises(BadInput, match="LlamaModel has no language-model head"):
        head_of(decoder)


def test_models_of_another_build_are_refused():
    shape = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2, "vocab_size": 5}
    bert = BertModel(BertConfig(**shape, intermediate_size=8))
    gpt2 = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=5))
    for model in (bert, gpt2, torch.nn.Linear(2, 2)):
        with pytest.raises(BadInput, match=f"{type(model).__name__} has no decoder"):
            layers_of(model)


@pytest.mark.parametrize("key", ["logit_scale", "logits_scaling", "final_logit_softcapping"])
def test_a_head_that_is_more_than_a_product_is_refused(llama, key):
    setattr(llama.config, key, 1.0)
    assert head_weight_of(llama) is llama.lm_head.weight
    setattr(llama.config, key, 0.5)
    with pytest.raises(BadInput, match=key):
        head_weight_of(llama)


def test_a_head_with_a_bias_is_refused(llama):
    llama.lm_head.bias = torch.nn.Parameter(torch.zeros(67))
    with pytest.raises(BadInput, match=r"lm_head\.bias"):
        head_weight_of(llama)


# Hash of the weights


def test_hash_is_that_of_names_dtypes_shapes_and_bytes():
    module = torch.nn.BatchNorm1d(2, dtype=torch.bfloat16)
    digest = hashlib.sha256()
    for name, shape, content in [  # in order of name; bfloat16 1.0 is 0x3f80
        ("bias", "(2,)", bytes(4)),
        ("num_batches_tracked", "()", bytes(8)),
        ("running_mean", "(2,)", bytes(4)),
        ("running_var", "(2,)", b"\x80\x3f" * 2),
        ("weight", "(2,)", b"\x80\x3f" * 2),
    ]:
        dtype = "torch.int64" if name == "num_batches_tracked" else "torch.bfloat16"
        digest.update(f"{name} {dtype} {shape}\n".encode() + content)
    assert sha256_of_weights(module) == digest.hexdigest()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_hash_changes_with_any_tensor_and_not_otherwise(llama, tokens, dtype):
    llama.to(dtype)
    before = sha256_of_weights(llama)
    llama(tokens).logits.sum().backward()
    assert sha256_of_weights(llama.train()) == before
    for tensor in [*llama.parameters(), *llama.buffers()]:
        element = tensor.detach().view(-1)[-1]
        old = element.clone()
        element += 1
        assert sha256_of_weights(llama) != before
        element.copy_(old)
    assert sha256_of_weights(llama) == before


def test_hash_sees_dtype_shape_and_name():
    def hash_of(name, tensor):
        module = torch.nn.Module()
        module.register_parameter(name, torch.nn.Parameter(tensor))
        return sha256_of_weights(module)

    zeros = torch.zeros(4)
    hashes = {
        hash_of("a", zeros),
        hash_of("b", zeros),
        hash_of("a", zeros.view(2, 2)),
        hash_of("a", torch.zeros(8, dtype=torch.bfloat16).view(8)),
        hash_of("a", torch.zeros(4, dtype=torch.float64)),
    }
    assert len(hashes) == 5
    transposed = torch.arange(6.0).view(2, 3).T
    assert hash_of("a", transposed) == hash_of("a", transposed.contiguous())


def test_hash_of_sharded_weights_is_that_of_the_whole(tmp_path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    try:
        mesh = init_device_mesh("cpu", (1,))
        module = torch.nn.Linear(4, 2)
        before = sha256_of_weights(module)
        for name, parameter in list(module.named_parameters()):
            shard = distribute_tensor(parameter.data, mesh, [Shard(0)])
            module.register_parameter(name, torch.nn.Parameter(shard))
        assert sha256_of_weights(module) == before
    finally:
        torch.distributed.destroy_process_group()


def test_hash_needs_values():
    with pytest.raises(BadInput, match="`weight` has no values"):
        sha256_of_weights(torch.nn.Linear(2, 2, bias=False, device="meta"))


# Depths


def test_good_depths_come_back_as_a_tuple():
    assert validate_depths([1, 3, 4], 5) == (1, 3, 4)


@pytest.mark.parametrize(
    ("depths", "wrong"),
    [
        ([], "no exit depths"),
        ([0, 2], "depth 0 is out of range"),
        ([2, 5], "depth 5 is out of range"),
        ([-1], "depth -1 is out of range"),
        ([1, 2, 2], "depth 2 is given twice"),
        ([3, 1], "depth 1 comes after 3"),
        ([1.0], "depth 1.0 is not a whole number"),
        ([True], "depth True is not a whole number"),
        (["2"], "depth '2' is not a whole number"),
    ],
)
def test_bad_depths_are_named_and_the_allowed_ones_too(depths, wrong):
    with pytest.raises(BadInput, match=rf"{wrong}.*from 1 to 4 of 5 layers"):
        validate_depths(depths, 5)


# Taps


def test_taps_are_the_models_hidden_states(any_backbone, tokens):
    mask = torch.ones_like(tokens)
    mask[0, :3] = 0
    with torch.no_grad():
        taps = read_depths(any_backbone, (1, 2, 4), input_ids=tokens, attention_mask=mask)
        wanted = any_backbone(tokens, attention_mask=mask, output_hidden_states=True).hidden_states
    assert list(taps.at) == [1, 2, 4]
    for depth, tap in taps.at.items():
        assert torch.equal(tap.hidden, wanted[depth])
        assert tap.layer_kwargs.get("past_key_values") is None
    assert torch.equal(taps.final, wanted[-1])


def test_stopping_early_reads_the_same_and_runs_nothing_deeper(any_backbone, tokens):
    ran = []
    for layer in layers_of(any_backbone):  # before, as libraries such as FSDP listen too
        layer.register_forward_pre_hook(lambda module, _: ran.append(module))
    full = read_depths(any_backbone, (1, 3), input_ids=tokens)
    ran.clear()
    short = read_depths(any_backbone, (1, 3), full=False, input_ids=tokens)
    assert ran == list(layers_of(any_backbone))[:3]
    assert short.final is None
    for depth in (1, 3):
        assert torch.equal(short.at[depth].hidden, full.at[depth].hidden)
        assert short.at[depth].layer_kwargs.keys() == full.at[depth].layer_kwargs.keys()


def test_each_tap_has_the_mask_of_its_own_layer(tiny, tokens):
    qwen2 = tiny("qwen2")  # layers 0 and 1 see everything, 2 to 4 the last four tokens
    qwen2.set_attn_implementation("eager")
    taps = read_depths(qwen2, (1, 2), input_ids=tokens)
    seen = {k: (tap.layer_kwargs["attention_mask"][0, 0] == 0) for k, tap in taps.at.items()}
    causal = torch.ones(11, 11, dtype=torch.bool).tril()
    assert torch.equal(seen[1], causal)
    assert torch.equal(seen[2], causal.triu(-3))


def test_no_depths_is_a_plain_pass_and_early_stop_needs_one(llama, tokens):
    taps = read_depths(llama, (), input_ids=tokens)
    assert taps.at == {}
    assert torch.equal(taps.final, llama.model(tokens).last_hidden_state)
    with pytest.raises(BadInput, match="no exit depths"):
        read_depths(llama, (), full=False, input_ids=tokens)


def test_hooks_go_even_when_the_pass_fails(llama, tokens):
    def hooks():
        return [layer._forward_pre_hooks for layer in layers_of(llama)]

    for depths, inputs in [((2,), {"input_ids": tokens}), ((2,), {"input_ids": tokens + 1000})]:
        for full in (True, False):
            try:
                read_depths(llama, depths, full=full, **inputs)
            except IndexError:
                assert inputs["input_ids"] is not tokens
            assert not any(hooks())


def test_gradients_are_the_callers_business(llama, tokens):
    taps = read_depths(llama, (2,), input_ids=tokens)
    assert taps.at[2].hidden.requires_grad
    assert taps.final.requires_grad
    with torch.no_grad():
        taps = read_depths(llama, (2,), input_ids=tokens)
    assert not taps.at[2].hidden.requires_grad


def test_a_cache_is_used_if_given(llama, tokens):
    cache = DynamicCache()
    with torch.no_grad():
        read_depths(llama, (2,), input_ids=tokens[:, :6], past_key_values=cache)
        rest = read_depths(llama, (2,), input_ids=tokens[:, 6:], past_key_values=cache)
        whole = read_depths(llama, (2,), input_ids=tokens)
    assert rest.at[2].layer_kwargs["past_key_values"] is cache
    torch.testing.assert_close(rest.at[2].hidden, whole.at[2].hidden[:, 6:])
    torch.testing.assert_close(rest.final, whole.final[:, 6:])


def test_a_layer_that_skips_its_hooks_is_noticed(llama, tokens):
    layer = layers_of(llama)[2]
    layer._compiled_call_impl = layer.forward  # what layer.compile() does to later hooks
    with pytest.raises(BadInput, match=r"layer 2 did not run.*do not compile"):
        read_depths(llama, (1, 2), input_ids=tokens)


def test_a_decoder_alone_can_be_read(tiny, tokens):
    decoder = AutoModel.from_config(tiny("qwen3").config).eval()
    taps = read_depths(decoder, (3,), input_ids=tokens)
    assert torch.equal(taps.final, decoder(tokens).last_hidden_state)
