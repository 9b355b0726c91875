"""A small corpus of charts, for the tests that train readers."""

from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from belvedere.charts.build import Recipe, make_record, write_split
from belvedere.charts.tokenizer import texts, train


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PreTrainedTokenizerFast]:
    """Two charts of each split, and a tokenizer of them."""
    folder = tmp_path_factory.mktemp("charts")
    for split in ("train", "validation", "test"):
        write_split(folder, split, (make_record(Recipe(questions=2), split, i) for i in range(2)))
    return folder, train(texts(folder.glob("train*")), 320, 256)
