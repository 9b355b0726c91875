"""Chart readers in the decoding engine, beside their own generation."""

from functools import partial
from typing import Any

import pytest
import torch

from belvedere.submodels.engine.cascade import Cascade, EncodedFrame
from belvedere.submodels.engine.generation import generate
from belvedere.submodels.engine.sampling import Chooser, Sampling
from belvedere.submodels.engine.strategies import Drafting, fixed, speculative
from belvedere.unichart.config import ChartModelConfig, DecoderConfig, EncoderConfig
from belvedere.unichart.model import ChartModel

PROMPTS = [[7, 9, 11, 13, 8, 20], [7, 8], [10, 9, 33, 8]]
NEW = 16


@pytest.fixture
def reader() -> ChartModel:
    """A random reader with weights large enough for its choices to depend on all."""
    torch.manual_seed(0)
    encoder = EncoderConfig(16, (2,), (2,), window=4, patch_size=8, stem="conv", drop_path=0.0)
    decoder = DecoderConfig(layers=3, d_model=24, heads=4, ffn=32, max_positions=40)
    config = ChartModelConfig("test", (32, 48), vocab_size=61, encoder=encoder, decoder=decoder)
    model = ChartModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return model


def cascade_of(reader: ChartModel, states: torch.Tensor, depths: tuple[int, ...]) -> Cascade:
    attended = reader.keys_of(states).cache(torch.arange(len(states))).cross_attention_cache
    frame = EncodedFrame(reader.decoder, states, attended)  # type: ignore[arg-type]
    return Cascade(reader.decoder, depths, frame=frame)


def test_speculation_goes_up_to_the_last_position(reader: ChartModel) -> None:
    with torch.no_grad():
        states = reader.encode(torch.randn(1, 3, 32, 48))
    for length in (2, 3, 7, 20, 33, 39):
        prompt = list(range(7, 7 + length))
        answers = []
        for strategy in (
            partial(fixed, stage=1),
            partial(speculative, stage=0, drafting=Drafting(cost=0.4)),
        ):
            cascade = cascade_of(reader, states, (1,))
            found = generate(
                cascade, [prompt], strategy, Chooser(Sampling()), max_new_tokens=40 - length
            )
            answers.append([token for new in found for token in new.tokens])
        assert answers[0] == answers[1]
        assert len(answers[0]) == 40 - length


@pytest.mark.parametrize("way", ["full", "exit", "speculative"])
@pytest.mark.parametrize("count", [1, 3])
def test_a_reader_writes_what_it_generates(reader: ChartModel, way: str, count: int) -> None:
    pixels = torch.randn(count, 3, 32, 48)
    with torch.no_grad():
        states = reader.encode(pixels)
    cascade = cascade_of(reader, states, (1,))
    strategies: dict[str, Any] = {
        "full": partial(fixed, stage=1),
        "exit": partial(fixed, stage=0),
        "speculative": partial(speculative, stage=0, drafting=Drafting(cost=0.4)),
    }
    end = reader.config.eos_id
    found: list[list[int]] = [[] for _ in range(count)]
    for new in generate(
        cascade, PROMPTS[:count], strategies[way],
        Chooser(Sampling(), forbidden=[reader.config.unk_id]), max_new_tokens=NEW, end_ids=[end],
    ):  # fmt: skip
        found[new.row] += new.tokens
    whose = reader.cut(1) if way == "exit" else reader
    wanted = whose.generate(states, PROMPTS[:count], max_new_tokens=NEW, num_beams=1)
    assert found == wanted.tokens()
