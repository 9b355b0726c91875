from functools import partial

import pytest
import torch
from scipy.stats import chisquare
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from belvedere.errors import BadInput
from belvedere.submodels.engine.cascade import Cascade
from belvedere.submodels.engine.generation import generate
from belvedere.submodels.engine.sampling import Chooser, Sampling
from belvedere.submodels.engine.strategies import Drafting, speculative


def small() -> PreTrainedModel:
    """A model of five tokens, whose first layer says something else than the whole."""
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=5, hidden_size=16, intermediate_size=16, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, initializer_range=0.5, bos_token_id=None,
        eos_token_id=None, pad_token_id=None,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=1.0),
        Sampling(temperature=0.7, top_k=4, top_p=0.9, repetition_penalty=1.3),
    ],
)
def test_speculative_tokens_are_distributed_as_the_full_models(sampling: Sampling) -> None:
    """All answers of three tokens: how often each comes, against its exact probability."""
    model = small()
    choose = Chooser(sampling, torch.Generator().manual_seed(0))
    rows, rounds, new = 256, 16, 3
    prompt = [1, 3]
    counts = torch.zeros(5, 5, 5)
    drafting = Drafting(cost=0.1)
    for _ in range(rounds):
        found: list[list[int]] = [[] for _ in range(rows)]
        strategy = partial(speculative, stage=0, drafting=drafting)
        for some in generate(
            Cascade(model, (1,)), [prompt] * rows, strategy, choose, max_new_tokens=new
        ):
            found[some.row] += some.tokens
        for a, b, c in found:
            counts[a, b, c] += 1
    assert 0.1 < drafting.accepted / drafting.drafted < 0.95
    exact = torch.ones(5, 5, 5)
    with torch.no_grad():
        for a in range(5):
            for b in range(5):
                ids = torch.tensor([[*prompt, a, b]])
                logits = model(ids).logits[0]
                for length in (2, 3, 4):
                    shares = choose.scores(logits[length - 1 : length], ids[:, :length])[0]
                    if length == 4:
                        exact[a, b] *= shares
                    else:
                        exact[a, b] *= shares[ids[0, length]]
    assert float(exact.sum()) == pytest.approx(1, abs=1e-4)
    assert not counts[exact == 0].any()
    expected = (exact * rows * rounds).double()
    often = expected >= 5
    seen = torch.cat([counts[often].double(), counts[~often].double().sum()[None]])
    wanted = torch.cat([expected[often], expected[~often].sum()[None].clamp(min=1e-9)])
    wanted *= seen.sum() / wanted.sum()
    assert chisquare(seen.numpy(), wanted.numpy()).pvalue > 1e-3


def test_greedy_drafts_stand_while_they_are_the_full_models() -> None:
    choose = Chooser(Sampling())
    scores = torch.nn.functional.one_hot(torch.tensor([[1, 2, 3], [1, 0, 3]]), 5).float()
    stand, following = choose.accept(torch.tensor([[1, 2], [1, 2]]), scores[:, :2], scores)
    assert stand.tolist() == [2, 1]
    assert following.tolist() == [3, 0]


def test_draws_repeat_with_their_seed() -> None:
    scores = torch.full((8, 50), 0.02)
    picks = [
        Chooser(Sampling(temperature=1), torch.Generator().manual_seed(seed)).pick(scores).tolist()
        for seed in (0, 0, 1)
    ]
    assert picks[0] == picks[1] != picks[2]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"temperature": -1}, "temperature: -1 cannot be; give 0 or more"),
        ({"top_k": 0}, "top_k: 0 cannot be; give 1 or more"),
        ({"top_p": 0}, "top_p: 0 cannot be; give more than 0 and at most 1"),
        ({"top_p": 1.5}, "top_p: 1.5 cannot be"),
        ({"repetition_penalty": 0}, "repetition_penalty: 0 cannot be; give more than 0"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, float], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        Sampling(**options)  # type: ignore[arg-type]


def drafts(drafting: Drafting, sure: float) -> int:
    """How many drafts are made of which an exit is so sure."""
    count = 1
    while drafting.goes_on([[sure]] * count):
        count += 1
    return count


def test_drafts_are_as_many_as_pay() -> None:
    cheap, dear = Drafting(cost=0.05), Drafting(cost=0.5)
    assert drafts(cheap, 0.9) > drafts(dear, 0.9) > drafts(dear, 0.3) == 1
    for _ in range(100):
        cheap.note(0, [0.9] * 4)
    assert drafts(cheap, 0.9) == 1
    assert cheap.rate < 0.1
    assert cheap.chance(0.95) < 0.1 < cheap.chance(0.15)  # each tenth has its own
    for _ in range(300):
        cheap.note(4, [0.9] * 4)
    assert drafts(cheap, 0.9) == cheap.longest
    assert drafts(cheap, 0.1) < 4
    assert cheap.pace == pytest.approx(5 / 1.2, rel=0.01)
    assert cheap.drafted > cheap.accepted == 1200


def test_a_batch_drafts_as_long_as_it_pays_on_average() -> None:
    drafting = Drafting(cost=0.3)
    assert drafting.goes_on([[0.95, 0.95, 0.05]])
    assert not drafting.goes_on([[0.95, 0.05, 0.05]])


def test_the_probability_of_tokens_is_that_of_their_scores() -> None:
    logits = torch.randn(3, 7)
    greedy, drawn = Chooser(Sampling()), Chooser(Sampling(temperature=1.0))
    for choose in (greedy, drawn):
        scores = choose.scores(logits, torch.zeros(3, 1, dtype=torch.long))
        tokens = choose.pick(scores)
        wanted = logits.softmax(-1).gather(1, tokens[:, None])[:, 0]
        assert torch.allclose(choose.probability(scores, tokens), wanted)
