import copy
from itertools import product

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    SiglipVisionConfig,
)

from belvedere.errors import BadInput
from belvedere.submodels.backbone import head_of, layers_of, norm_of, read_depths
from belvedere.submodels.exits import ExitConfig, build_exits
from belvedere.submodels.views import submodel

KINDS = ["layer", "attention", "mlp", "norm"]


def standalone(view):
    """A model of the family's class, made from a view's configuration and state."""
    model = type(view)(copy.deepcopy(view.config))
    state = {name: tensor.clone() for name, tensor in view.state_dict().items()}
    model.load_state_dict(state, strict=True)
    return model.eval()


def exit_logits(backbone, exit, **inputs):
    """The logits of an exit in the pass of the backbone, as training computes them."""
    tap = read_depths(backbone, (exit.depth,), **inputs).at[exit.depth]
    hidden = exit(tap.hidden, **tap.layer_kwargs)
    return hidden @ exit.head_weight(backbone).T


def exit_of(backbone, depth=2, **options):
    options = {"init": "random", **options}
    return build_exits(backbone, ExitConfig((depth,), **options)).at(depth)


def padded(tokens):
    """A batch whose first row is padded by four tokens on the left."""
    mask = torch.ones_like(tokens)
    mask[0, :4] = 0
    return {"input_ids": tokens.masked_fill(mask == 0, 0), "attention_mask": mask}


# Parity (transformers keeps packed texts apart only without a cache)


@torch.no_grad()
def test_full_depth_is_the_backbone_exactly(any_backbone, tokens, packed):
    view = submodel(any_backbone, 5)
    for inputs in ({}, {"position_ids": packed, "use_cache": False}, padded(tokens)):
        inputs = {"input_ids": tokens, **inputs}
        assert torch.equal(view(**inputs).logits, any_backbone(**inputs).logits)


@torch.no_grad()
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_a_raw_early_exit_is_a_standalone_model_of_its_depth(any_backbone, tokens, packed, depth):
    view = submodel(any_backbone, depth)
    model = standalone(view)
    assert model.config.num_hidden_layers == len(layers_of(model)) == depth
    hidden = any_backbone(tokens, output_hidden_states=True).hidden_states[depth]
    assert torch.equal(view(tokens).logits, head_of(view)(norm_of(any_backbone)(hidden)))
    for inputs in ({}, {"position_ids": packed, "use_cache": False}, padded(tokens)):
        inputs = {"input_ids": tokens, **inputs}
        assert torch.equal(view(**inputs).logits, model(**inputs).logits)


@torch.no_grad()
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_an_exit_is_a_standalone_model_of_one_layer_more(any_backbone, tokens, packed, depth):
    exit = exit_of(any_backbone, depth, init="last")
    view = submodel(any_backbone, depth, exit)
    model = standalone(view)
    assert model.config.num_hidden_layers == len(layers_of(model)) == depth + 1
    for inputs in ({}, {"position_ids": packed, "use_cache": False}, padded(tokens)):
        inputs = {"input_ids": tokens, **inputs}
        logits = view(**inputs).logits
        assert torch.equal(logits, model(**inputs).logits)
        assert torch.equal(logits, exit_logits(any_backbone, exit, **inputs))


@torch.no_grad()
@pytest.mark.parametrize(
    ("kind", "init", "norm", "head"),
    product(KINDS, ["last", "depth", "random"], ["final", "depth"], ["tied", "own"]),
)
def test_a_view_of_each_kind_of_exit_is_the_exit(tiny, tokens, packed, kind, init, norm, head):
    backbone = tiny("qwen2")
    exit = exit_of(backbone, kind=kind, init=init, norm=norm, head=head)
    if head == "own":
        exit.head.weight += torch.randn_like(exit.head.weight)
    view = submodel(backbone, 2, exit)
    for inputs in ({"position_ids": packed, "use_cache": False}, padded(tokens)):
        inputs = {"input_ids": tokens, **inputs}
        assert torch.equal(view(**inputs).logits, exit_logits(backbone, exit, **inputs))
    assert len(layers_of(view)) == view.config.num_hidden_layers == 2 + (kind != "norm")


@torch.no_grad()
def test_packed_texts_do_not_see_each_other(backbone, tokens, packed):
    exit = exit_of(backbone)
    together = submodel(backbone, 2, exit)(tokens, position_ids=packed, use_cache=False).logits
    alone = submodel(backbone, 2, exit)(tokens[:1, 5:]).logits
    torch.testing.assert_close(together[:1, 5:], alone, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_view_of_a_view_is_a_view_of_the_parent(backbone, tokens):
    exit = exit_of(backbone)
    assert torch.equal(
        submodel(submodel(backbone, 4), 2, exit)(tokens).logits,
        submodel(backbone, 2, exit)(tokens).logits,
    )


@torch.no_grad()
def test_the_decoder_of_a_model_that_reads_images_is_cut_too(llama, tokens):
    vision = SiglipVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=8,
        patch_size=4,
    )
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            text_config=llama.config,
            vision_config=vision,
            image_token_id=1,
            vision_feature_select_strategy="full",
        )
    ).eval()
    inputs = {"input_ids": tokens.clone(), "pixel_values": torch.randn(2, 3, 8, 8)}
    inputs["input_ids"][:, 1:5] = 1
    assert torch.equal(submodel(model, 5)(**inputs).logits, model(**inputs).logits)
    view = submodel(model, 2, exit_of(model))
    assert view.config.text_config.num_hidden_layers == 3
    assert model.config.text_config.num_hidden_layers == 5
    assert torch.equal(view(**inputs).logits, standalone(view)(**inputs).logits)
    with_cache = view.generate(**inputs, max_new_tokens=5, do_sample=False)
    without = view.generate(**inputs, max_new_tokens=5, do_sample=False, use_cache=False)
    assert torch.equal(with_cache, without)


# Sharing


class NoTensorWork(TorchDispatchMode):
    """Fails on any operation on tensors, so also on any that makes one."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        raise AssertionError(f"{func} was called")


@pytest.mark.parametrize("kind", [None, *KINDS])
@pytest.mark.parametrize("head", ["tied", "own"])
def test_all_tensors_are_the_parents_and_none_is_made(any_backbone, kind, head):
    exit = exit_of(any_backbone, kind=kind, head=head) if kind else None
    with NoTensorWork():
        view = submodel(any_backbone, 2, exit)
    parents = {id(t) for m in (any_backbone, exit) if m for t in [*m.parameters(), *m.buffers()]}
    assert {id(t) for t in [*view.parameters(), *view.buffers()]} <= parents

    parent = dict(any_backbone.named_parameters(remove_duplicate=False))
    for name, parameter in view.named_parameters(remove_duplicate=False):
        if name.startswith(("model.layers.2.", "model.norm.", "lm_head.")):
            continue
        assert parameter is parent[name]
    own = exit is not None and exit.head is not None
    assert view.lm_head.weight is (exit.head if own else any_backbone.lm_head).weight
    assert norm_of(view).weight is (exit.norm if exit else norm_of(any_backbone)).weight
    if exit is not None and exit.layer is not None:
        theirs = list(exit.layer.parameters())
        assert all(a is b for a, b in zip(layers_of(view)[2].parameters(), theirs, strict=True))


def test_a_view_of_the_papers_model_takes_no_memory():
    with torch.device("meta"):
        backbone = LlamaForCausalLM(LlamaConfig())
    view = submodel(backbone, 15, build_exits(backbone, ExitConfig((15,))).at(15))
    assert len(layers_of(view)) == 16
    assert {p.device.type for p in view.parameters()} == {"meta"}


@pytest.mark.parametrize("head", ["tied", "own"])
def test_training_an_exit_changes_its_view(backbone, tokens, head):
    exit = exit_of(backbone, head=head)
    backbone.requires_grad_(False)
    view, raw = submodel(backbone, 2, exit), submodel(backbone, 2)
    before, raw_before = view(tokens).logits, raw(tokens).logits
    optimizer = torch.optim.SGD(exit.parameters(), lr=0.1)
    exit_logits(backbone, exit, input_ids=tokens).logsumexp(-1).sum().backward()
    optimizer.step()
    after = view(tokens).logits
    assert not torch.allclose(after, before)
    assert torch.equal(after, exit_logits(backbone, exit, input_ids=tokens))
    assert torch.equal(raw(tokens).logits, raw_before)


def test_a_view_follows_its_parent_to_another_dtype(llama, tokens):
    exit = exit_of(llama)
    view = submodel(llama, 2, exit)
    llama.bfloat16()
    exit.bfloat16()
    assert torch.equal(view(tokens).logits, submodel(llama, 2, exit)(tokens).logits)


def test_a_view_can_be_trained_like_any_model(llama, tokens):
    view = submodel(llama, 3)
    view(tokens, labels=tokens).loss.backward()
    deeper = [layer.self_attn.q_proj.weight.grad for layer in layers_of(llama)[3:]]
    assert deeper == [None, None]
    assert all(p.grad is not None for p in layers_of(llama)[:3].parameters())


# What is the view's own


def test_a_views_mode_is_the_parents_and_then_its_own(llama):
    for mode in (True, False):
        exit = exit_of(llama)
        view = submodel(llama.train(mode), 2, exit.train(not mode))
        assert all(module.training is mode for module in view.modules())
        view.train(not mode)
        assert all(module.training is mode for module in llama.modules())
        assert all(module.training is not mode for module in exit.modules())


@torch.no_grad()
@pytest.mark.parametrize("parent_first", [True, False])
def test_hidden_states_are_recorded_once_in_view_and_parent(backbone, tokens, parent_first):
    exit = exit_of(backbone)
    if parent_first:
        backbone(tokens, output_hidden_states=True)
    view = submodel(backbone, 2, exit)
    of_view = view(tokens, output_hidden_states=True).hidden_states
    of_parent = backbone(tokens, output_hidden_states=True).hidden_states
    again = submodel(backbone, 2, exit)(tokens, output_hidden_states=True).hidden_states
    assert (len(of_view), len(of_parent), len(again)) == (4, 6, 4)
    assert all(torch.equal(a, b) for a, b in zip(of_view[:3], of_parent[:3], strict=True))


def test_hooks_of_a_view_are_its_own(llama, tokens):
    called = []
    llama.model.layers[0].register_forward_hook(lambda *_: called.append("parent"))
    view = submodel(llama, 2)
    view.model.layers[0].register_forward_hook(lambda *_: called.append("view"))
    llama(tokens)
    assert called == ["parent"]
    view(tokens)  # it behaves as the parent did when it was made
    assert called == ["parent", "parent", "view"]


@torch.no_grad()
def test_a_views_attention_implementation_is_its_own(backbone, tokens):
    exit = copy.deepcopy(exit_of(backbone))  # with a configuration object of its own
    view = submodel(backbone, 2, exit)
    logits = view(tokens).logits
    view.set_attn_implementation("eager")
    assert backbone.config._attn_implementation == "sdpa"
    implementations = {
        m.config._attn_implementation for m in view.modules() if hasattr(m, "config")
    }
    assert implementations == {"eager"}
    torch.testing.assert_close(view(tokens).logits, logits, rtol=1e-4, atol=1e-4)
    assert torch.equal(submodel(backbone, 2, exit)(tokens).logits, logits)


def test_configuration_is_cut_and_the_parents_kept(tiny):
    for family in ("qwen2", "qwen3", "smollm3", "gemma3", "mistral"):
        backbone = tiny(family)
        before = backbone.config.to_dict()
        exit = exit_of(backbone, 3, init="last")
        for view, layers in [
            (submodel(backbone, 5), 5),
            (submodel(backbone, 2), 2),
            (submodel(backbone, 3, exit), 4),
            (submodel(backbone, 3, exit_of(backbone, 3, kind="norm")), 3),
        ]:
            wanted = copy.deepcopy(before) | {"num_hidden_layers": layers}
            for name in ("layer_types", "no_rope_layers"):
                if name in before:
                    wanted[name] = before[name][:layers]
            assert view.config.to_dict() == wanted
            assert view.model.config is view.config
            slots = [layer.self_attn.layer_idx for layer in layers_of(view)]
            assert slots == list(range(layers))
        assert backbone.config.to_dict() == before
        assert exit.layer.self_attn.layer_idx == 5


def test_generation_config_is_kept_and_the_views_own(llama):
    llama.generation_config.max_new_tokens = 7
    view = submodel(llama, 2)
    assert view.generation_config.to_dict() == llama.generation_config.to_dict()
    view.generation_config.max_new_tokens = 9
    assert llama.generation_config.max_new_tokens == 7


def test_tied_embeddings_stay_tied_unless_the_exit_has_a_head(tiny):
    backbone = tiny("qwen3")
    tied = submodel(backbone, 2, exit_of(backbone))
    assert tied.config.tie_word_embeddings is True
    assert tied.lm_head.weight is tied.model.embed_tokens.weight
    own = submodel(backbone, 2, exit_of(backbone, head="own"))
    assert own.config.tie_word_embeddings is False
    own.tie_weights()  # as loading and resizing do
    assert own.lm_head.weight is not own.model.embed_tokens.weight
    assert own.all_tied_weights_keys == {}
    assert "lm_head.weight" in backbone.all_tied_weights_keys
    assert backbone.config.tie_word_embeddings is True


@torch.no_grad()
@pytest.mark.parametrize("head", ["tied", "own"])
def test_saved_views_are_ordinary_checkpoints(any_backbone, tokens, tmp_path, head):
    backbone = any_backbone
    exit = exit_of(backbone, 3, init="last", head=head)
    if head == "own":
        exit.head.weight += 1.0
    view = submodel(backbone, 3, exit)
    view.save_pretrained(tmp_path)
    loaded, info = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert type(loaded) is type(backbone)
    assert torch.equal(loaded(tokens).logits, view(tokens).logits)


# Generation


def generated(model, tokens, **options):
    options = {"max_new_tokens": 7, "do_sample": False, **options}
    return model.generate(**padded(tokens), **options)[:, tokens.shape[1] :]


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_generation_is_the_same_with_and_without_a_cache(backbone, tokens, kind):
    exit = exit_of(backbone, kind=kind) if kind else None
    view = submodel(backbone, 2, exit)
    with_cache = generated(view, tokens, use_cache=True)
    assert torch.equal(with_cache, generated(view, tokens, use_cache=False))
    # Padding on the left changes nothing either.
    alone = view.generate(tokens[:1, 4:], max_new_tokens=7, do_sample=False)[:, 7:]
    assert torch.equal(with_cache[:1], alone)
    assert len(with_cache.unique()) > 1


@pytest.mark.parametrize("kind", KINDS)
def test_generation_with_beams_and_with_a_static_cache(tiny, tokens, kind):
    backbone = tiny("qwen3")
    view = submodel(backbone, 2, exit_of(backbone, kind=kind))
    greedy = generated(view, tokens)
    static = generated(view, tokens, cache_implementation="static", disable_compile=True)
    assert torch.equal(static, greedy)
    beams = generated(view, tokens, num_beams=3)
    assert torch.equal(beams, generated(view, tokens, num_beams=3, use_cache=False))


def test_a_view_generates_what_its_standalone_model_does(any_backbone, tokens):
    view = submodel(any_backbone, 3, exit_of(any_backbone, 3, init="last"))
    assert torch.equal(generated(view, tokens), generated(standalone(view), tokens))


def test_a_view_drafts_for_its_parent(llama, tokens):
    draft = submodel(llama, 2, exit_of(llama))
    plain = llama.generate(tokens[:1], max_new_tokens=8, do_sample=False)
    helped = llama.generate(tokens[:1], max_new_tokens=8, do_sample=False, assistant_model=draft)
    assert torch.equal(helped, plain)


@torch.no_grad()
@pytest.mark.parametrize(("kind", "head"), product(KINDS, ["tied", "own"]))
def test_a_view_of_a_float32_exit_on_a_bfloat16_backbone(tiny, tokens, kind, head):
    backbone = tiny("llama").bfloat16()
    config = ExitConfig((2,), kind=kind, head=head)
    exit = build_exits(backbone, config, dtype=torch.float32).at(2)
    view = submodel(backbone, 2, exit)
    wanted = exit_logits(backbone, exit, input_ids=tokens)
    assert torch.equal(view(tokens).logits, wanted)
    assert generated(view, tokens).shape == (2, 7)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(view(tokens).logits, exit_logits(backbone, exit, input_ids=tokens))


# What is refused


def test_depths_that_do_not_exist_are_refused(llama):
    for depth in (0, 6, -1, 2.0, True, "2"):
        with pytest.raises(BadInput, match=r"no sub-model of .* from 1 to 5"):
            submodel(llama, depth)
    exit = exit_of(llama, 4)
    with pytest.raises(BadInput, match="from 1 to 4"):
        submodel(llama, 5, exit)
    with pytest.raises(BadInput, match="the exit is for depth 4, not 3"):
        submodel(llama, 3, exit)


@pytest.mark.parametrize("kind", ["layer", "norm"])
def test_exits_of_another_backbone_are_refused(tiny, kind):
    qwen3, llama = tiny("qwen3"), tiny("llama")
    if kind == "norm":  # the classes do not tell, the width does
        norm_of(qwen3).weight = torch.nn.Parameter(torch.ones(16))
    with pytest.raises(BadInput, match="built for another backbone"):
        submodel(llama, 2, exit_of(qwen3, kind=kind))


def test_a_backbone_with_a_replaced_forward_is_refused(llama):
    llama.model.forward = llama.model.forward  # as accelerate's hooks do
    with pytest.raises(BadInput, match="forward of LlamaModel was replaced"):
        submodel(llama, 2)
