"""mBART's decoder as a backbone: its layers look at an encoder's states too."""

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    DynamicCache,
    EncoderDecoderCache,
    MBartConfig,
    MBartForCausalLM,
    MBartForConditionalGeneration,
)

from belvedere.errors import BadInput
from belvedere.submodels.backbone import (
    decoder_of,
    head_of,
    head_weight_of,
    layers_of,
    norm_of,
    prefix_states,
    read_depths,
)
from belvedere.submodels.exits import ExitConfig, build_exits
from belvedere.submodels.views import shared, submodel

LAYERS = 4


def config(**options):
    shape = {
        "vocab_size": 61, "d_model": 24, "max_position_embeddings": 32, "init_std": 0.3,
        "add_cross_attention": True, "scale_embedding": True, "tie_word_embeddings": True,
        "forced_eos_token_id": None, "eos_token_id": None,
    }  # fmt: skip
    for side in ("encoder", "decoder"):
        shape[f"{side}_layers"] = LAYERS
        shape[f"{side}_attention_heads"] = 4
        shape[f"{side}_ffn_dim"] = 32
    return MBartConfig(**shape, **options)


@pytest.fixture
def mbart():
    torch.manual_seed(0)
    model = MBartForCausalLM(config()).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or name.endswith("bias"):
                parameter.normal_(float("norm" in name), 0.3)
    return model


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(1)
    return {
        "input_ids": torch.randint(4, 61, (2, 9), generator=generator),
        "encoder_hidden_states": torch.randn(2, 5, 24, generator=generator),
    }


def generated(model, inputs, cache=True, **options):
    # transformers makes a plain cache for a decoder alone, in which the encoder's states would
    # lie among the text's: the kind with two parts has to be given.
    if cache:
        options["past_key_values"] = EncoderDecoderCache(DynamicCache(), DynamicCache())
    options = {"max_new_tokens": 7, "do_sample": False, "pad_token_id": 1, **options}
    return model.generate(**inputs, use_cache=cache, **options)


def test_the_final_norm_is_neither_the_embeddings_nor_a_layers(mbart):
    decoder = decoder_of(mbart)
    assert norm_of(mbart) is decoder.layer_norm
    assert norm_of(mbart) is not decoder.layernorm_embedding


def test_a_decoder_with_a_norm_of_a_plainer_family_keeps_it(llama):
    norm = norm_of(llama)
    llama.model.layer_norm = torch.nn.LayerNorm(32)
    assert norm_of(llama) is norm is llama.model.norm


@torch.no_grad()
def test_taps_are_the_hidden_states_with_all_that_the_next_layer_takes(mbart, inputs):
    taps = read_depths(mbart, (1, 3), **inputs)
    wanted = mbart(**inputs, output_hidden_states=True).hidden_states
    for depth, tap in taps.at.items():
        assert torch.equal(tap.hidden, wanted[depth])
        assert tap.layer_kwargs["encoder_hidden_states"] is inputs["encoder_hidden_states"]
    last = layers_of(mbart)[3](taps.at[3].hidden, **taps.at[3].layer_kwargs)
    assert torch.equal(norm_of(mbart)(last), taps.final)


@torch.no_grad()
@pytest.mark.parametrize("depths", [[1], [1, 3], [2, LAYERS], [LAYERS]])
def test_the_states_of_prefixes_are_those_of_the_views(mbart, inputs, depths):
    states = prefix_states(mbart, depths, **inputs)
    for depth, hidden in zip(depths, states, strict=True):
        view = submodel(mbart, depth)
        assert torch.equal(hidden @ head_weight_of(mbart).T, view(**inputs).logits)
        assert torch.equal(hidden, decoder_of(view)(**inputs).last_hidden_state)


@pytest.mark.parametrize("depth", [1, 2, LAYERS])
def test_a_view_is_a_standalone_model_and_generates_with_its_cache(mbart, inputs, depth):
    view = submodel(mbart, depth)
    parents = {id(t) for t in [*mbart.parameters(), *mbart.buffers()]}
    assert {id(t) for t in [*view.parameters(), *view.buffers()]} <= parents
    alone = MBartForCausalLM(view.config).eval()
    alone.load_state_dict(view.state_dict())
    assert len(layers_of(alone)) == alone.config.decoder_layers == depth
    assert alone.config.num_hidden_layers == depth
    assert mbart.config.decoder_layers == mbart.config.num_hidden_layers == LAYERS
    assert torch.equal(view(**inputs).logits, alone(**inputs).logits)

    tokens = generated(view, inputs)
    assert len(tokens.unique()) > 5
    assert torch.equal(tokens, generated(alone, inputs))
    assert torch.equal(tokens, generated(view, inputs, cache=False))
    beams = generated(view, inputs, num_beams=3)
    assert torch.equal(beams, generated(alone, inputs, num_beams=3))
    assert torch.equal(beams, generated(view, inputs, cache=False, num_beams=3))


@torch.no_grad()
def test_views_depend_on_the_encoders_states(mbart, inputs):
    other = {**inputs, "encoder_hidden_states": inputs["encoder_hidden_states"] + 1}
    view = submodel(mbart, 1)
    assert not torch.allclose(view(**inputs).logits, view(**other).logits)


@torch.no_grad()
def test_a_saved_view_is_an_ordinary_checkpoint(mbart, inputs, tmp_path):
    view = submodel(mbart, 2)
    view.save_pretrained(tmp_path)
    loaded, info = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert torch.equal(loaded.eval()(**inputs).logits, view(**inputs).logits)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["layer", "norm"])
def test_an_exit_looks_at_the_encoders_states_too(mbart, inputs, kind):
    exit = build_exits(mbart, ExitConfig((2,), kind=kind, init="random")).at(2)
    tap = read_depths(mbart, (2,), **inputs).at[2]
    logits = exit(tap.hidden, **tap.layer_kwargs) @ exit.head_weight(mbart).T
    view = submodel(mbart, 2, exit)
    assert torch.equal(view(**inputs).logits, logits)
    assert view.config.decoder_layers == len(layers_of(view)) == 2 + (kind == "layer")
    assert torch.equal(generated(view, inputs), generated(view, inputs, cache=False))


@torch.no_grad()
def test_the_decoder_of_a_translator_is_cut_and_its_encoder_is_not(inputs):
    torch.manual_seed(0)
    whole = MBartForConditionalGeneration(config()).eval()
    view = submodel(whole, 2)
    assert (view.config.encoder_layers, view.config.decoder_layers) == (LAYERS, 2)
    assert (len(view.get_encoder().layers), len(layers_of(view))) == (LAYERS, 2)
    alone = MBartForConditionalGeneration(view.config).eval()
    alone.load_state_dict(view.state_dict())
    texts = {"input_ids": inputs["input_ids"], "decoder_input_ids": inputs["input_ids"]}
    assert torch.equal(view(**texts).logits, alone(**texts).logits)


def test_depths_that_do_not_exist_are_refused(mbart, inputs):
    with pytest.raises(BadInput, match="from 1 to 4"):
        submodel(mbart, 5)
    with pytest.raises(BadInput, match="from 1 to 3 of 4 layers"):
        prefix_states(mbart, [0, 4], **inputs)


def test_a_module_that_is_no_backbone_is_shared_whole(mbart, inputs):
    parent = torch.nn.ModuleDict({"writer": mbart, "norm": torch.nn.BatchNorm1d(3)})
    view = shared(parent)
    assert type(view) is torch.nn.ModuleDict
    theirs = {id(t) for t in [*parent.parameters(), *parent.buffers()]}
    assert {id(t) for t in [*view.parameters(), *view.buffers()]} == theirs
    view.train()
    view["norm"] = torch.nn.Identity()
    assert not any(module.training for module in mbart.modules())
    assert isinstance(parent["norm"], torch.nn.BatchNorm1d)
    with torch.no_grad():
        head_of(mbart).weight.mul_(2)
        assert torch.equal(view["writer"].eval()(**inputs).logits, mbart(**inputs).logits)
