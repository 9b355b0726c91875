"""Fixtures that several parts share: one thread, and a tiny backbone in a folder."""

import os

# No test asks the hub for anything: without a network each question would be one of many seconds.
os.environ["HF_HUB_OFFLINE"] = "1"

import sys
from pathlib import Path

import pytest
import torch
from absl.logging import get_absl_handler
from transformers import LlamaConfig, LlamaForCausalLM

from belvedere.corpus.tokenizer import train as train_tokenizer

# TensorBoard's logging closes the stream that it was made with when Hydra takes its own into use:
# imported in a test, that is what pytest captures all others' output with.
get_absl_handler().python_handler.setStream(sys.__stderr__)

SHARED = Path(__file__).resolve().parents[1] / "../shared/data"
WORDS = [
    "the",
    "capital",
    "of",
    "france",
    "is",
    "paris",
    "and",
    "people",
    "there",
    "pay",
    "with",
    "euro",
    "while",
    "others",
    "count",
]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    # Tiny tensors on many threads spend their time waiting for one another.
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    if not SHARED.exists():
        pytest.skip("the real data are not on this machine (../shared/data)")
    return SHARED


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    generator = torch.Generator().manual_seed(0)
    texts = []
    for _ in range(400):
        count = int(torch.randint(3, 40, (), generator=generator))
        picks = torch.randint(0, len(WORDS), (count,), generator=generator).tolist()
        texts.append(" ".join(WORDS[i] for i in picks) + ".")
    return texts


@pytest.fixture(scope="session")
def tokenizer(sentences):
    return train_tokenizer(iter(sentences), vocabulary=320, context=128)


@pytest.fixture(scope="session")
def backbone_folder(tmp_path_factory, tokenizer) -> Path:
    """A random Llama of 4 layers with its tokenizer, as ``save_pretrained`` writes them."""
    folder = tmp_path_factory.mktemp("backbone")
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=320, tie_word_embeddings=True,
        max_position_embeddings=128, bos_token_id=0, eos_token_id=1, pad_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
