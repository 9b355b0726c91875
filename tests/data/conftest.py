from pathlib import Path

import datasets
import pytest
from transformers import PreTrainedTokenizerFast

from belvedere.charts.tokenizer import train


@pytest.fixture(scope="module")
def letters() -> PreTrainedTokenizerFast:
    """A tokenizer of some letters and digits."""
    return train(["What is the share of bread? 41 per cent in 2019."] * 4, 300, 512)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache for datasets, which takes folders of one name, with a card and the same
    configuration, for one another."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
