"""Compiled decoding writes what the uncompiled engine writes."""

import shutil
from functools import partial
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from belvedere.errors import BadInput
from belvedere.submodels.engine import session as session_module
from belvedere.submodels.engine.cascade import Cascade
from belvedere.submodels.engine.generation import generate
from belvedere.submodels.engine.sampling import Chooser, Sampling
from belvedere.submodels.engine.strategies import Drafting, confident, fixed, speculative
from belvedere.submodels.exits import ExitConfig, build_exits

compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")
PROMPTS = [[5, 9, 31, 7, 44, 12, 60], [8, 3]]


def answers(cascade: Cascade, strategy: Any, new: int = 20) -> list[list[int]]:
    tokens: list[list[int]] = [[] for _ in PROMPTS]
    for some in generate(cascade, PROMPTS, strategy, Chooser(Sampling()), max_new_tokens=new):
        tokens[some.row] += some.tokens
    return tokens


@compiler
def test_compiled_decoding_writes_the_same(
    llama: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "LEAST_ROOM", 32)
    torch.manual_seed(3)
    exits = build_exits(llama, ExitConfig((2,), init="random")).eval()
    plain, compiled = Cascade(llama, (2,), exits), Cascade(llama, (2,), exits).compile()
    way = partial(confident, thresholds=[0.03])
    assert answers(compiled, way) == answers(plain, way)
    full = answers(plain, partial(fixed, stage=1))
    drafting = Drafting(cost=0.4)
    assert answers(compiled, partial(speculative, stage=0, drafting=drafting)) == full
    assert drafting.drafted > drafting.accepted
    # More columns than there was room for, and another model compiled beside the first.
    assert answers(compiled, partial(fixed, stage=1), 40)[0][:20] == full[0]
    other = Cascade(llama, (1,)).compile()
    assert answers(other, partial(fixed, stage=0)) == answers(
        Cascade(llama, (1,)), partial(fixed, stage=0)
    )


def test_without_a_compiler_it_is_refused(
    llama: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(BadInput, match="there is no no-such-compiler; install it or leave"):
        Cascade(llama).compile()
