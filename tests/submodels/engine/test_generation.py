"""The decoding engine beside transformers' own generation, on models of several families."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import torch
from transformers import GraniteConfig, GraniteForCausalLM, PreTrainedModel

from belvedere.errors import BadInput
from belvedere.submodels.backbone import layers_of
from belvedere.submodels.engine import session as session_module
from belvedere.submodels.engine.cascade import Cascade
from belvedere.submodels.engine.generation import Statistics, generate
from belvedere.submodels.engine.sampling import Chooser, Sampling
from belvedere.submodels.engine.session import ROOM, Session, checked
from belvedere.submodels.engine.strategies import Drafting, confident, fixed, speculative
from belvedere.submodels.exits import ExitConfig, Exits, build_exits
from belvedere.submodels.views import submodel

LAYERS = 5
PROMPTS = [[5, 9, 31, 7, 44, 12, 60], [8, 3], [21, 22, 23, 24, 25]]
NEW = 24
GREEDY = Chooser(Sampling())


def exits_of(
    backbone: PreTrainedModel, depths: Sequence[int] = (2, 4), kind: Any = "layer"
) -> Exits:
    torch.manual_seed(3)
    return build_exits(backbone, ExitConfig(tuple(depths), kind=kind, init="random")).eval()


def written(
    cascade: Cascade,
    strategy: Any,
    prompts: Sequence[Sequence[int]] = PROMPTS,
    choose: Chooser = GREEDY,
    new: int = NEW,
    **options: Any,
) -> tuple[list[list[int]], list[list[int]]]:
    """The new tokens of each prompt, and the depths that they were found at."""
    tokens: list[list[int]] = [[] for _ in prompts]
    depths: list[list[int]] = [[] for _ in prompts]
    for some in generate(cascade, prompts, strategy, choose, max_new_tokens=new, **options):
        tokens[some.row] += some.tokens
        depths[some.row] += some.depths
    return tokens, depths


def expected(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]] = PROMPTS, **options: Any
) -> list[list[int]]:
    """What transformers generates for each prompt alone."""
    found = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        made = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, do_sample=False, **options
        )
        found.append(made[0, len(prompt) :].tolist())
    return found


def agreeable(backbone: PreTrainedModel, depth: int = 2) -> PreTrainedModel:
    """A model whose later layers change little, so that a prefix often says the same."""
    with torch.no_grad():
        for layer in layers_of(backbone)[depth:]:
            for name, parameter in layer.named_parameters():
                if name.endswith(("o_proj.weight", "down_proj.weight")):
                    parameter.mul_(0.1)
    return backbone


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "mistral", "smollm3", "olmo2"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_the_full_model_writes_what_transformers_writes(
    tiny: Any, family: str, attention: str
) -> None:
    model = tiny(family)
    model.set_attn_implementation(attention)
    cascade = checked(Cascade(model))
    assert written(cascade, partial(fixed, stage=0))[0] == expected(model)
    assert written(cascade, partial(fixed, stage=0), PROMPTS[:1])[0] == expected(model)[:1]


def test_a_family_with_more_around_its_layers_is_refused(tiny: Any) -> None:
    with pytest.raises(BadInput, match="cannot run Gemma3ForCausalLM; use Llama"):
        Cascade(tiny("gemma3"))
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "vocab_size": 67}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    config = GraniteConfig(**shape, **heads, embedding_multiplier=3.0)
    with pytest.raises(BadInput, match="cannot run GraniteForCausalLM"):
        checked(Cascade(GraniteForCausalLM(config).eval()))


def test_attention_without_masks_is_refused(llama: PreTrainedModel) -> None:
    llama.config._attn_implementation = "flash_attention_2"
    with pytest.raises(BadInput, match="flash_attention_2 takes no masks with holes"):
        Cascade(llama)


@pytest.mark.parametrize("depth", [2, 4])
def test_an_exit_writes_what_its_standalone_model_writes(
    backbone: PreTrainedModel, depth: int
) -> None:
    exits = exits_of(backbone)
    cascade = Cascade(backbone, (2, 4), exits)
    found = written(cascade, partial(fixed, stage=cascade.stage_of(depth)))
    assert found[0] == expected(submodel(backbone, depth, exits.at(depth)))
    assert set(found[1][0]) == {depth}


@pytest.mark.parametrize("kind", ["norm", "mlp", "attention"])
def test_exits_of_every_kind_write(llama: PreTrainedModel, kind: str) -> None:
    exits = exits_of(llama, (2,), kind)
    cascade = Cascade(llama, (2,), exits)
    assert written(cascade, partial(fixed, stage=0))[0] == expected(submodel(llama, 2, exits.at(2)))


def test_a_prefix_writes_what_its_standalone_model_writes(backbone: PreTrainedModel) -> None:
    cascade = Cascade(backbone, (3,))
    assert written(cascade, partial(fixed, stage=0))[0] == expected(submodel(backbone, 3))


@pytest.mark.parametrize("agree", [True, False])
@pytest.mark.parametrize("prompts", [PROMPTS[:1], PROMPTS])
@pytest.mark.parametrize("with_exits", [True, False])
def test_greedy_speculation_is_the_full_model(
    backbone: PreTrainedModel, agree: bool, prompts: list[list[int]], with_exits: bool
) -> None:
    if agree:
        agreeable(backbone)
    exits = exits_of(backbone, (2,), "norm") if with_exits else None
    cascade = Cascade(backbone, (2,), exits)
    drafting = Drafting(cost=0.4)
    found = written(cascade, partial(speculative, stage=0, drafting=drafting), prompts)
    assert found[0] == expected(backbone, prompts)
    assert drafting.drafted > 0
    if agree and not with_exits:
        assert drafting.accepted > 0.3 * drafting.drafted
        assert {2, LAYERS} == set(found[1][0])


def test_speculation_by_an_exit_with_a_layer_is_the_full_model(backbone: PreTrainedModel) -> None:
    exits = build_exits(agreeable(backbone), ExitConfig((2,), init="depth")).eval()
    cascade = Cascade(backbone, (2,), exits)
    drafting = Drafting(cost=0.4)
    for prompts in (PROMPTS[:1], PROMPTS):
        strategy = partial(speculative, stage=0, drafting=drafting)
        assert written(cascade, strategy, prompts)[0] == expected(backbone, prompts)
    assert drafting.accepted > 0.3 * drafting.drafted


def test_gaps_between_columns_are_closed(
    llama: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch whose sequences keep different drafts is put together anew, whenever that is."""
    exits = build_exits(agreeable(llama), ExitConfig((2,), init="depth")).eval()
    cascade = Cascade(llama, (2,), exits)
    closed = []
    compact = Session.compact
    monkeypatch.setattr(Session, "compact", lambda self: closed.append(compact(self)))
    for gaps in (0.0, 0.1, 9.0):
        monkeypatch.setattr(session_module, "GAPS", gaps)
        strategy = partial(speculative, stage=0, drafting=Drafting(cost=0.4))
        assert written(cascade, strategy)[0] == expected(llama)
    assert len(closed) > 3


def test_a_token_leaves_at_the_first_exit_that_is_sure(backbone: PreTrainedModel) -> None:
    exits = exits_of(backbone)
    views = [submodel(backbone, 2, exits.at(2)), submodel(backbone, 4, exits.at(4)), backbone]
    cascade = Cascade(backbone, (2, 4), exits)
    ids = torch.tensor([PROMPTS[0] + expected(backbone, PROMPTS[:1])[0]])
    with torch.no_grad():  # of the exits, a third and two thirds of the tokens are surer
        sure = [view(ids).logits[0].softmax(-1).amax(-1) for view in views[:2]]
    thresholds = [float(sure[0].quantile(0.67)), float(sure[1].quantile(0.33))]
    tokens, depths = written(cascade, partial(confident, thresholds=thresholds))
    assert len({depth for row in depths for depth in row}) > 1
    for prompt, row, found in zip(PROMPTS, tokens, depths, strict=True):
        for i, (token, depth) in enumerate(zip(row, found, strict=True)):
            ids = torch.tensor([prompt + row[:i]])
            for view, threshold, at in zip(views, [*thresholds, 0.0], (2, 4, LAYERS), strict=True):
                with torch.no_grad():
                    shares = view(ids).logits[0, -1].softmax(-1)
                if shares.max() >= threshold:
                    assert (int(shares.argmax()), at) == (token, depth)
                    break


@pytest.mark.parametrize(("threshold", "depth"), [(0.0, 2), (1.1, LAYERS)])
def test_thresholds_at_their_ends_are_the_exit_and_the_full_model(
    llama: PreTrainedModel, threshold: float, depth: int
) -> None:
    cascade = Cascade(llama, (2,))
    tokens, depths = written(cascade, partial(confident, thresholds=[threshold]))
    assert tokens == expected(submodel(llama, depth) if depth < LAYERS else llama)
    assert {one for row in depths for one in row} == {depth}


def test_what_is_pending_leaves_the_cache_of_the_full_model(llama: PreTrainedModel) -> None:
    cascade = Cascade(llama, (2, 4))
    session = Session(cascade, 1, 20)
    session.push(torch.tensor([PROMPTS[0]]))
    with torch.no_grad():
        session.read(0)
        for token in (4, 5, 6):
            session.push(torch.tensor([[token]]))
            session.read(0)
        logits = session.read(2, last=2)
        wanted = llama(torch.tensor([[*PROMPTS[0], 4, 5, 6]]), use_cache=True)
    assert torch.allclose(logits, wanted.logits[:, -2:], atol=1e-4)
    for layer, theirs in zip(session.cache.layers, wanted.past_key_values.layers, strict=True):
        assert torch.allclose(layer.keys[:, :, : session.columns], theirs.keys, atol=1e-4)
        assert torch.allclose(layer.values[:, :, : session.columns], theirs.values, atol=1e-4)


def test_nothing_waits_for_stages_that_are_not_read(llama: PreTrainedModel) -> None:
    session = Session(Cascade(llama, (2, 4)), 1, 60)
    session.push(torch.arange(1, 41)[None])
    with torch.no_grad():
        for _ in range(3):
            fixed(session, GREEDY, 0)
    assert not session.pending[1]
    assert not session.pending[2]
    held = session.behind[0]
    assert held is not None
    assert held.untyped_storage().nbytes() <= ROOM * held.shape[2] * 4


def test_confidence_is_worked_out_in_float32(llama: PreTrainedModel) -> None:
    model = llama.to(torch.bfloat16)

    def opened() -> Session:
        session = Session(Cascade(model, (2,)), 1, 20)
        session.push(torch.tensor([[5, 9, 31, 7]]))
        return session

    with torch.no_grad():
        logits = opened().read(0)[0, -1].float()
        # So large that bfloat16 has no numbers near them.
        scale = next(s for s in range(1, 4000) if (logits * s).softmax(0).max() > 0.95)
        model.lm_head.weight.mul_(scale)
        sure = float(opened().read(0)[0, -1].float().softmax(0).max())
        assert 0.9 < sure < 0.999
        assert int(confident(opened(), GREEDY, [sure + 1e-4]).depths) == LAYERS
        assert int(confident(opened(), GREEDY, [sure - 1e-4]).depths) == 2


def test_the_repetition_penalty_is_transformers(llama: PreTrainedModel) -> None:
    choose = Chooser(Sampling(repetition_penalty=1.8))
    wanted = expected(llama, repetition_penalty=1.8)
    assert wanted != expected(llama)
    for count in (1, 3):
        strategies = partial(fixed, stage=1), partial(speculative, stage=0, drafting=Drafting(0.4))
        for strategy in strategies:
            found = written(Cascade(llama, (2,)), strategy, PROMPTS[:count], choose)
            assert found[0] == wanted[:count]


def test_answers_end_at_end_tokens_and_where_the_caller_says(llama: PreTrainedModel) -> None:
    cascade = Cascade(llama)
    strategy = partial(fixed, stage=0)
    whole = written(cascade, strategy)[0]
    end = whole[0][5]
    first = whole[0].index(end)
    found = written(cascade, strategy, end_ids=[end])[0]
    for row, all_tokens in zip(found, whole, strict=True):
        stop = all_tokens.index(end) + 1 if end in all_tokens else NEW
        assert row == all_tokens[:stop]
    assert len(found[0]) == first + 1
    cut = written(
        cascade, strategy, ends=lambda row, tokens: 4 if (row, len(tokens)) == (1, 4) else None
    )
    assert cut[0] == [whole[0], whole[1][:4], whole[2]]


def test_statistics_count_what_was_done(llama: PreTrainedModel) -> None:
    statistics = Statistics()
    cascade = Cascade(agreeable(llama), (2,))
    drafting = Drafting(cost=0.4)
    strategy = partial(speculative, stage=0, drafting=drafting)
    tokens, depths = written(cascade, strategy, statistics=statistics)
    assert statistics.tokens == sum(map(len, tokens)) == NEW * len(PROMPTS)
    assert statistics.prompt_tokens == sum(map(len, PROMPTS))
    assert statistics.depths[2] == sum(row.count(2) for row in depths)
    assert statistics.rounds < NEW
    assert statistics.seconds > statistics.first_seconds > 0
    assert statistics.tokens_per_second > 0


@pytest.mark.parametrize(
    ("prompts", "new", "says"),
    [
        ([[]], 3, "a prompt is empty"),
        ([], 3, "a prompt is empty"),
        ([[5] * 60], 5, "a prompt of 60 and an answer of 5 tokens exceed the context of 64"),
        ([[5]], 0, "max_new_tokens: 0 new tokens; give 1 or more"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    llama: PreTrainedModel, prompts: list[list[int]], new: int, says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        written(Cascade(llama), partial(fixed, stage=0), prompts, new=new)
