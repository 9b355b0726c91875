"""GGUF files, read back by transformers, which undoes what llama.cpp's order asks for."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from belvedere.errors import BadInput
from belvedere.submodels.checkpoints import Checkpoint
from belvedere.submodels.exits import ExitConfig, build_exits
from belvedere.submodels.export import export
from belvedere.submodels.gguf_file import interleaved, split_of, write_gguf

IDS = torch.tensor([[5, 9, 31, 7, 44, 12, 60, 3]])


def exported(model: Any, tokenizer: Any, folder: Path, depth: int = 2) -> Path:
    torch.manual_seed(3)
    exits = build_exits(model, ExitConfig((2,), init="random")).eval()
    export(Checkpoint(model, exits, tokenizer, folder, "backbone"), depth, folder / "out")
    return folder / "out"


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "mistral"])
def test_a_file_has_the_logits_of_its_folder(
    tiny: Any, tokenizer: Any, tmp_path: Path, family: str
) -> None:
    model = tiny(family)
    if family == "qwen3":  # transformers takes heads of a GGUF file to be 128 wide
        shape = model.config.to_dict() | {"head_dim": 128}
        model = type(model)(type(model.config).from_dict(shape)).eval()
    for name in ("sliding_window", "layer_types"):  # llama.cpp's files do not say
        if getattr(model.config, name, None):
            setattr(
                model.config, name, None if name == "sliding_window" else ["full_attention"] * 5
            )
    model.config.use_sliding_window = False
    folder = exported(model, tokenizer, tmp_path)
    write_gguf(folder, tmp_path / "model.gguf")
    wanted = AutoModelForCausalLM.from_pretrained(folder).eval()
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="model.gguf").eval()
    with torch.no_grad():
        assert torch.allclose(loaded(IDS).logits, wanted(IDS).logits, atol=1e-5)
    assert loaded.config.num_hidden_layers == 3
    with pytest.raises(BadInput, match="is there already; name a new file"):
        write_gguf(folder, tmp_path / "model.gguf")


def test_pairs_that_turn_together_stand_together(llama: Any) -> None:
    rows = torch.arange(32.0)[:, None]  # four heads of eight
    found = interleaved("model.layers.0.self_attn.q_proj.weight", rows, llama, "llama")
    assert found[:8, 0].tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
    assert torch.equal(interleaved("model.norm.weight", rows, llama, "llama"), rows)


def test_what_only_llama_cpps_converter_knows_is_refused(
    tiny: Any, tokenizer: Any, tmp_path: Path
) -> None:
    folder = exported(tiny("olmo2"), tokenizer, tmp_path)
    with pytest.raises(BadInput, match="olmo2 models are not written; use llama"):
        write_gguf(folder, tmp_path / "model.gguf")
    assert AutoTokenizer.from_pretrained(folder) is not None
    assert not (tmp_path / "model.gguf").exists()


LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+"
QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+"
BYTES = {"type": "ByteLevel", "use_regex": True}


def in_turn(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(parts)}


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (BYTES, "gpt-2"),
        (in_turn({"type": "Digits", "individual_digits": True}, BYTES), "smollm"),
        (in_turn({"type": "Split", "pattern": {"Regex": LLAMA3}}, BYTES), "llama-bpe"),
        (in_turn({"type": "Split", "pattern": {"Regex": QWEN2}}, BYTES), "qwen2"),
    ],
)
def test_splits_have_llama_cpps_names(raw: dict[str, Any], name: str) -> None:
    assert split_of(raw) == name


@pytest.mark.parametrize("raw", [None, {"type": "Whitespace"}, in_turn({"type": "Digits"}, BYTES)])
def test_splits_without_a_name_are_refused(raw: dict[str, Any] | None) -> None:
    with pytest.raises(BadInput, match="splits text in a way of its own; use llama"):
        split_of(raw)
