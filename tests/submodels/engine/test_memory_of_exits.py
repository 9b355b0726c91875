"""What more exits cost in memory: the keys and values of their layers, and nothing else."""

from functools import partial

import pytest
import torch
from peaks import peak_of
from transformers import PreTrainedModel

from belvedere.submodels.engine.cascade import Cascade
from belvedere.submodels.engine.generation import generate
from belvedere.submodels.engine.sampling import Chooser, Sampling
from belvedere.submodels.engine.session import ROOM
from belvedere.submodels.engine.strategies import confident
from belvedere.submodels.exits import ExitConfig, build_exits

PROMPT = [n % 60 for n in range(40)]
NEW = 16


def peaks(model: PreTrainedModel, depths: tuple[int, ...], *, layers: bool) -> list[int]:
    """Peaks of confident decoding, through all exits for each token and through the first only."""
    torch.manual_seed(3)
    config = ExitConfig(depths, init="random")
    cascade = Cascade(model, depths, build_exits(model, config).eval() if layers else None)

    def write(threshold: float) -> None:
        strategy = partial(confident, thresholds=[threshold] * len(depths))
        list(generate(cascade, [PROMPT], strategy, Chooser(Sampling()), max_new_tokens=NEW))

    write(1.0)
    return [peak_of(partial(write, threshold)) for threshold in (1.0, 0.0)]


@pytest.mark.parametrize("layers", [True, False], ids=["balcony", "prefixes"])
@pytest.mark.parametrize("more", [(2, 3), (2, 3, 4)])
def test_exits_cost_the_keys_and_values_of_their_layers(
    llama: PreTrainedModel, more: tuple[int, ...], layers: bool
) -> None:
    config, added = llama.config, len(more) - 1
    columns = len(PROMPT) + NEW + ROOM
    layer = 2 * columns * config.num_key_value_heads * config.head_dim * 4
    few = ROOM * config.hidden_size * 4  # the last states before an exit, of a prompt of any length
    all_of_one, first_of_one = peaks(llama, (2,), layers=layers)
    all_of_more, first_of_more = peaks(llama, more, layers=layers)
    assert abs(all_of_more - all_of_one - added * layer * layers) <= added * few
    assert first_of_more == first_of_one
