"""Sub-models as checkpoints of their own, and the authors' checkpoints as sub-models."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from belvedere.errors import BadInput
from belvedere.submodels.checkpoints import Checkpoint, load_checkpoint
from belvedere.submodels.exits import ExitConfig, Exits, build_exits
from belvedere.submodels.export import CARD, export
from belvedere.submodels.views import submodel

LAYERS = 5
IDS = torch.tensor([[5, 9, 31, 7, 44, 12, 60, 3]])


def exits_of(backbone: PreTrainedModel, **options: Any) -> Exits:
    torch.manual_seed(3)
    return build_exits(backbone, ExitConfig((2, 4), init="random", **options)).eval()


def checkpoint_of(
    model: PreTrainedModel, exits: Exits | None, tokenizer: Any, folder: Path, **facts: Any
) -> Checkpoint:
    return Checkpoint(model, exits, tokenizer, folder, backbone="some/backbone", **facts)


def logits(model: PreTrainedModel) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(IDS).logits
    return found


@pytest.mark.parametrize("depth", [2, 4, LAYERS])
@pytest.mark.parametrize("trained", ["exits", "norms", "heads", "prefixes"])
def test_an_export_gives_the_logits_of_its_sub_model(
    backbone: PreTrainedModel, tokenizer: Any, tmp_path: Path, depth: int, trained: str
) -> None:
    options = {"exits": {}, "norms": {"kind": "norm"}, "heads": {"kind": "norm", "head": "own"}}
    exits = None if trained == "prefixes" else exits_of(backbone, **options[trained])
    if trained == "heads" and exits is not None:
        torch.nn.init.normal_(exits.at(2).head.weight)  # type: ignore[union-attr]
    checkpoint = checkpoint_of(backbone, exits, tokenizer, tmp_path)
    export(checkpoint, depth, tmp_path / "out")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    assert type(loaded) is type(backbone)
    assert torch.allclose(logits(loaded), logits(checkpoint.submodel(depth)), atol=1e-5)
    stored = json.loads((tmp_path / "out" / "config.json").read_text())
    assert stored["num_hidden_layers"] == depth + (trained == "exits" and depth < LAYERS)
    again = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert again("the capital of")["input_ids"] == tokenizer("the capital of")["input_ids"]
    assert (tmp_path / "out" / "generation_config.json").is_file()


def test_tied_heads_stay_tied(tiny: Any, tokenizer: Any, tmp_path: Path) -> None:
    model = tiny("qwen2")
    checkpoint = checkpoint_of(model, exits_of(model), tokenizer, tmp_path)
    export(checkpoint, 2, tmp_path / "out")
    with safe_open(tmp_path / "out" / "model.safetensors", "pt") as opened:
        assert "lm_head.weight" not in opened.keys()  # noqa: SIM118
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight


def test_large_exports_are_in_several_files(
    llama: PreTrainedModel, tokenizer: Any, tmp_path: Path
) -> None:
    checkpoint = checkpoint_of(llama, None, tokenizer, tmp_path)
    export(checkpoint, 3, tmp_path / "out", shard_size="30KB")
    assert len(list((tmp_path / "out").glob("model-*.safetensors"))) > 1
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    assert torch.allclose(logits(loaded), logits(submodel(llama, 3)), atol=1e-5)


def test_exits_of_another_dtype_are_written_in_the_backbones(
    llama: PreTrainedModel, tokenizer: Any, tmp_path: Path
) -> None:
    llama.bfloat16()
    exits = build_exits(llama, ExitConfig((2,)), dtype=torch.float32).eval()
    export(checkpoint_of(llama, exits, tokenizer, tmp_path), 2, tmp_path / "out")
    stored = load_file(tmp_path / "out" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}
    assert exits.at(2).norm.weight.dtype == torch.float32
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.bfloat16).eval()
    assert torch.allclose(logits(loaded), logits(submodel(llama, 2, exits.at(2))), atol=0.3)


def test_a_float32_exit_on_a_tied_bfloat16_backbone_stays_tied(
    tiny: Any, tokenizer: Any, tmp_path: Path
) -> None:
    model = tiny("qwen2").bfloat16()
    exits = build_exits(model, ExitConfig((2,)), dtype=torch.float32).eval()
    export(checkpoint_of(model, exits, tokenizer, tmp_path), 2, tmp_path / "out")
    assert "lm_head.weight" not in load_file(tmp_path / "out" / "model.safetensors")
    with pytest.raises(BadInput, match="shard_size: '5XB' is no size"):
        export(checkpoint_of(model, exits, tokenizer, tmp_path), 2, tmp_path / "new", "5XB")
    assert not (tmp_path / "new").exists()


def test_the_card_says_what_is_known(
    llama: PreTrainedModel, tokenizer: Any, tmp_path: Path
) -> None:
    row = {"name": "exit_2", "method": "balcony", "trained_parameters": 123}
    report = {
        "experiment": "balcony_llama3", "scale": "laptop", "seed": 7, "steps": 400,
        "data": {"name": "corpus"}, "backbone": {"name": "some/backbone"},
        "submodels": [row | {"metrics": {"loss": 2.5, "agreement": 0.8125}}],
    }  # fmt: skip
    checkpoint = checkpoint_of(llama, exits_of(llama), tokenizer, tmp_path, report=report)
    export(checkpoint, 2, tmp_path / "two")
    text = (tmp_path / "two" / CARD).read_text()
    for part in (
        "# The sub-model of depth 2 of backbone",
        "| method | balcony |",
        "| layers | 3 of 5 |",
        "| data | corpus |",
        "| loss | 2.5 |",
        "| agreement | 0.8125 |",
        "| seed | 7 |",
    ):
        assert part in text
    export(checkpoint, 4, tmp_path / "four")
    assert "Its quality was not measured." in (tmp_path / "four" / CARD).read_text()


def test_what_is_there_is_never_overwritten(
    llama: PreTrainedModel, tokenizer: Any, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    checkpoint = checkpoint_of(llama, None, tokenizer, tmp_path)
    for name in ("out", "file"):
        with pytest.raises(BadInput, match="there is something already; name a new"):
            export(checkpoint, 2, tmp_path / name)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["thesis.txt"]
    (tmp_path / "empty").mkdir()
    export(checkpoint, 2, tmp_path / "empty")


def test_what_no_class_has_is_not_exported(
    llama: PreTrainedModel, tokenizer: Any, tmp_path: Path
) -> None:
    checkpoint = checkpoint_of(llama, exits_of(llama, kind="mlp"), tokenizer, tmp_path)
    with pytest.raises(BadInput, match="depth 2 has half a layer"):
        export(checkpoint, 2, tmp_path / "out")
    with pytest.raises(BadInput, match="there is no exit at depth 3; choose one of 2, 4"):
        export(checkpoint, 3, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def nested(llama: PreTrainedModel, exits: Exits, folder: Path, tied: bool, shards: int = 1) -> None:
    """Write what the authors' class would: see `belvedere.submodels.published`."""
    config = llama.config.to_dict() | {
        "model_type": "nested_llama", "architectures": ["NestedLlamaForCausalLM"],
        "exit_layer_indices": list(exits.depths), "output_exit_layers": list(exits.depths),
        "output_full_model": True, "tie_exit_lm_head": tied,
        "exit_decoder_layer": exits.config.kind == "layer",
    }  # fmt: skip
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    state = dict(llama.state_dict())
    parts = ["layer", "norm", "head"] if exits.config.kind == "layer" else ["norm", "head"]
    for name, tensor in exits.state_dict().items():
        depth, part, rest = name.split(".", 2)
        number = exits.depths.index(int(depth))
        state[f"model.exit_modules.{number}.{parts.index(part)}.{rest}"] = tensor
    names = sorted(state)
    files = {}
    for number in range(shards):
        file = (
            "model.safetensors"
            if shards == 1
            else f"model-{number + 1:05}-of-{shards:05}.safetensors"
        )
        part = {key: state[key].contiguous() for key in names[number::shards]}
        save_file(part, folder / file, metadata={"format": "pt"})
        files |= dict.fromkeys(part, file)
    if shards > 1:
        index = {"metadata": {"total_size": 1}, "weight_map": files}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(("kind", "head"), [("layer", "tied"), ("layer", "own"), ("norm", "own")])
@pytest.mark.parametrize("shards", [1, 3])
def test_the_authors_checkpoints_load(
    llama: PreTrainedModel, tokenizer: Any, tmp_path: Path, kind: str, head: str, shards: int
) -> None:
    exits = exits_of(llama, kind=kind, head=head)
    for parameter in exits.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    nested(llama, exits, tmp_path / "theirs", head == "tied", shards)
    tokenizer.save_pretrained(tmp_path / "theirs")
    found = load_checkpoint(str(tmp_path / "theirs"))
    assert found.depths == (2, 4)
    assert torch.allclose(logits(found.model), logits(llama), atol=1e-6)
    for depth in (2, 4):
        wanted = submodel(llama, depth, exits.at(depth))
        assert torch.allclose(logits(found.submodel(depth)), logits(wanted), atol=1e-6)


def test_damaged_checkpoints_of_the_authors_are_refused(
    llama: PreTrainedModel, tokenizer: Any, tmp_path: Path
) -> None:
    nested(llama, exits_of(llama), tmp_path / "theirs", tied=True)
    tokenizer.save_pretrained(tmp_path / "theirs")
    config = json.loads((tmp_path / "theirs" / "config.json").read_text())
    config["tie_exit_lm_head"] = False
    (tmp_path / "theirs" / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match="the exits are not those that the configuration names"):
        load_checkpoint(str(tmp_path / "theirs"))
