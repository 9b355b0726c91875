"""Models that come with code of their own: it is run only where that is asked for by name."""

import json
import shutil

import pytest

from belvedere.errors import BadInput
from belvedere.submodels.loading import Backbone

CODE = """
from pathlib import Path

from transformers import LlamaConfig, LlamaForCausalLM

Path({mark!r}).touch()


class OwnConfig(LlamaConfig):
    model_type = "own"


class OwnForCausalLM(LlamaForCausalLM):
    config_class = OwnConfig
"""


@pytest.fixture
def own(backbone_folder, tmp_path, monkeypatch):
    """A model whose class is in its folder, and the file that is made where its code is run."""
    folder, mark = tmp_path / "own", tmp_path / "mark"
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules")
    )
    shutil.copytree(backbone_folder, folder)
    (folder / "modeling_own.py").write_text(CODE.format(mark=str(mark)))
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "own",
        "architectures": ["OwnForCausalLM"],
        "auto_map": {
            "AutoConfig": "modeling_own.OwnConfig",
            "AutoModelForCausalLM": "modeling_own.OwnForCausalLM",
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder, mark


def test_code_is_not_run_unasked(own):
    folder, mark = own
    with pytest.raises(BadInput, match=r"own comes with code.*trust_remote_code=.*own$"):
        Backbone(str(folder)).load()
    assert not mark.exists()


def test_another_models_code_is_not_trusted(own):
    folder, mark = own
    with pytest.raises(BadInput, match="elsewhere is trusted, but"):
        Backbone(str(folder), trust_remote_code="elsewhere")
    assert not mark.exists()


def test_code_is_run_where_it_is_asked_for(own):
    folder, mark = own
    model = Backbone(str(folder), trust_remote_code=str(folder)).load()
    assert type(model).__name__ == "OwnForCausalLM"
    assert mark.exists()
