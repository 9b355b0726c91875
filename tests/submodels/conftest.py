"""Tiny random models of several families, small enough to be made anew for each test."""

from collections.abc import Callable, Iterator

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
)

LAYERS = 5
WINDOW = 4
SHAPE = {
    "vocab_size": 67,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    # Large, so that random models have opinions and differences show.
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": None,
}
MIXED = ["full_attention", "sliding_attention", "full_attention"] * 2
CONFIGS: dict[str, Callable[[], PreTrainedConfig]] = {
    "llama": lambda: LlamaConfig(**SHAPE, tie_word_embeddings=False),
    # The last three layers have a sliding window, the first two have not.
    "qwen2": lambda: Qwen2Config(
        **SHAPE,
        use_sliding_window=True,
        sliding_window=WINDOW,
        max_window_layers=2,
        tie_word_embeddings=True,
    ),
    "qwen3": lambda: Qwen3Config(
        **SHAPE,
        head_dim=16,
        use_sliding_window=True,
        sliding_window=WINDOW,
        layer_types=MIXED[:LAYERS],
        tie_word_embeddings=True,
    ),
    "mistral": lambda: MistralConfig(**SHAPE, sliding_window=WINDOW, tie_word_embeddings=False),
    # Some layers without a rotary embedding.
    "smollm3": lambda: SmolLM3Config(**SHAPE, no_rope_layer_interval=2),
    # Norms before and behind each branch; two rotary embeddings; scaled embeddings.
    "gemma3": lambda: Gemma3TextConfig(
        **SHAPE, head_dim=16, sliding_window=WINDOW, layer_types=MIXED[:LAYERS]
    ),
    # Norms only behind each branch.
    "olmo2": lambda: Olmo2Config(**SHAPE),
}
FAMILIES = ["llama", "qwen2", "qwen3", "mistral"]


def tiny(family: str, seed: int = 0) -> PreTrainedModel:
    """A random model in eval mode; norms and biases are random too, so that each matters."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(CONFIGS[family]()).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or name.endswith("bias"):
                parameter.normal_(float("norm" in name), 0.3)
    return model


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny products gain nothing from threads, and on a busy machine wait 200 times as long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(name="tiny", scope="session")
def _tiny() -> Callable[..., PreTrainedModel]:
    return tiny


@pytest.fixture(params=FAMILIES)
def backbone(request: pytest.FixtureRequest) -> PreTrainedModel:
    """One tiny model of each of the four main families."""
    return tiny(request.param)


@pytest.fixture(params=list(CONFIGS))
def any_backbone(request: pytest.FixtureRequest) -> PreTrainedModel:
    """The four main families and three more with other norms and positions."""
    return tiny(request.param)


@pytest.fixture
def llama() -> PreTrainedModel:
    return tiny("llama")


@pytest.fixture
def tokens() -> torch.Tensor:
    """Token ids, [2, 11]: longer than the sliding window."""
    return torch.randint(2, 67, (2, 11), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def packed() -> torch.Tensor:
    """Position ids, [2, 11]: two and three texts packed into rows of 11 tokens."""
    lengths = [(5, 6), (3, 2, 6)]
    return torch.stack([torch.cat([torch.arange(n) for n in row]) for row in lengths])
