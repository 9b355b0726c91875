"""Conversion from and to the hub's layout, against transformers' own class."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import EntryNotFoundError, OfflineModeIsEnabled
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    DonutSwinConfig,
    MBartConfig,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
)

from belvedere.errors import BadInput
from belvedere.unichart import hub
from belvedere.unichart.config import ChartModelConfig
from belvedere.unichart.hub import EMBEDDING, HEAD, from_hub, to_hub
from belvedere.unichart.model import ChartModel

WHOLE: dict[str, Any] = {
    "image_size": [64, 96],
    "embed_dim": 16,
    "depths": [2, 2],
    "num_heads": [2, 4],
    "window_size": 4,
}
"""Grids of 16 x 24 and 8 x 12 tokens: whole windows. As wide as the decoder."""
PADDED: dict[str, Any] = {
    "image_size": [66, 84],
    "embed_dim": 8,
    "depths": [2, 3, 2],
    "num_heads": [1, 2, 4],
    "window_size": 5,
}
"""Grids of 17 x 21, 9 x 11 and 5 x 6 tokens: padding everywhere, in pixels and merging too."""
UNICHART: dict[str, Any] = {
    "image_size": [512, 512],
    "embed_dim": 4,
    "depths": [2, 2, 2, 2],
    "num_heads": [1, 1, 2, 2],
    "window_size": 10,
}
"""The geometry of UniChart's first checkpoint: grids of 128, 64, 32 and 16, windows of 10."""


def hub_model(encoder: dict[str, Any], seed: int = 0) -> VisionEncoderDecoderModel:
    torch.manual_seed(seed)
    decoder = MBartConfig(
        vocab_size=53,
        d_model=32,
        decoder_layers=2,
        decoder_attention_heads=4,
        decoder_ffn_dim=48,
        encoder_layers=2,  # of no encoder: transformers makes its caches by it
        max_position_embeddings=40,
        scale_embedding=True,
        forced_eos_token_id=None,
    )
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        DonutSwinConfig(**encoder), decoder, pad_token_id=1, decoder_start_token_id=0
    )
    model = VisionEncoderDecoderModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model


def saved(folder: Path, encoder: dict[str, Any] = WHOLE) -> VisionEncoderDecoderModel:
    model = hub_model(encoder)
    model.save_pretrained(folder)
    return model


def inputs(encoder: dict[str, Any]) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(2, 3, *encoder["image_size"]), torch.randint(4, 53, (2, 7))


@pytest.mark.parametrize("encoder", [WHOLE, PADDED, UNICHART], ids=["whole", "padded", "unichart"])
def test_states_and_logits_are_those_of_transformers(
    tmp_path: Path, encoder: dict[str, Any]
) -> None:
    theirs = saved(tmp_path, encoder)
    ours = from_hub(tmp_path)
    pixels, ids = inputs(encoder)
    with torch.no_grad():
        states = theirs.encoder(pixels).last_hidden_state
        assert (ours.encoder(pixels) - states).abs().max() < 1e-4
        logits = theirs(pixel_values=pixels, decoder_input_ids=ids).logits
        assert (ours(pixels, ids) - logits).abs().max() < 1e-4
    assert not ours.training


@pytest.mark.parametrize("encoder", [WHOLE, PADDED], ids=["whole", "padded"])
def test_there_and_back_keeps_every_bit(tmp_path: Path, encoder: dict[str, Any]) -> None:
    theirs = saved(tmp_path / "theirs", encoder)
    to_hub(from_hub(tmp_path / "theirs"), tmp_path / "ours")
    back = VisionEncoderDecoderModel.from_pretrained(tmp_path / "ours").eval()
    before, after = theirs.state_dict(), back.state_dict()
    assert before.keys() == after.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    files = [load_file(tmp_path / side / "model.safetensors") for side in ("theirs", "ours")]
    assert files[0].keys() == files[1].keys()
    assert back.decoder.lm_head.weight is back.decoder.get_input_embeddings().weight
    pixels, ids = inputs(encoder)
    with torch.no_grad():
        expected = theirs(pixel_values=pixels, decoder_input_ids=ids).logits
        assert torch.equal(back(pixel_values=pixels, decoder_input_ids=ids).logits, expected)


def test_beam_search_is_that_of_transformers(tmp_path: Path) -> None:
    theirs: Any = saved(tmp_path, PADDED)
    pixels, ids = inputs(PADDED)
    out = theirs.generate(
        pixels,
        decoder_input_ids=ids,
        decoder_attention_mask=torch.ones_like(ids),
        max_new_tokens=10,
        num_beams=4,
        early_stopping=True,
        suppress_tokens=[3],
        return_dict_in_generate=True,
        output_scores=True,
    )
    answers = from_hub(tmp_path).generate(pixels, ids.tolist(), max_new_tokens=10)
    assert torch.equal(out.sequences[:, 7:], answers.ids)
    mean = answers.total / answers.mask.sum(1)
    torch.testing.assert_close(mean, out.sequences_scores, atol=1e-4, rtol=1e-4)


def test_a_pickled_checkpoint_with_tied_weights_twice_is_read(tmp_path: Path) -> None:
    theirs = saved(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    ours = from_hub(tmp_path)
    assert ours.config.decoder.tied_head
    assert ours.head_weight is ours.decoder.get_input_embeddings().weight
    assert torch.equal(ours.head_weight, theirs.decoder.lm_head.weight)


def test_a_head_of_its_own_stays_one(tmp_path: Path) -> None:
    state = saved(tmp_path / "theirs").state_dict()
    state[HEAD] = state[HEAD] + 1
    (tmp_path / "theirs" / "model.safetensors").unlink()
    torch.save(state, tmp_path / "theirs" / "pytorch_model.bin")
    ours = from_hub(tmp_path / "theirs")
    assert torch.equal(ours.head_weight, state[HEAD])
    to_hub(ours, tmp_path / "ours")
    back = VisionEncoderDecoderModel.from_pretrained(tmp_path / "ours").state_dict()
    assert torch.equal(back[HEAD], state[HEAD])
    assert torch.equal(back[EMBEDDING], state[EMBEDDING])


def test_shape_and_special_tokens_survive(tmp_path: Path) -> None:
    saved(tmp_path / "theirs", PADDED)
    ours = from_hub(tmp_path / "theirs")
    to_hub(ours, tmp_path / "theirs2")
    again = from_hub(tmp_path / "theirs2")
    assert ours.config.image_size == (66, 84)
    assert again.config.encoder == ours.config.encoder
    assert again.config.decoder == ours.config.decoder
    assert (again.config.pad_id, again.config.eos_id, again.config.unk_id) == (1, 2, 3)


def test_keys_of_older_transformers_do_no_harm(tmp_path: Path) -> None:
    saved(tmp_path)
    old: dict[str, Any] = {
        "add_final_layer_norm": True,
        "bad_words_ids": None,
        "finetuning_task": None,
        "forced_eos_token_id": 2,
        "num_beams": 1,
        "path_norm": True,
        "pruned_heads": {},
        "return_dict": True,
        "torchscript": False,
        "torch_dtype": None,
        "use_bfloat16": False,
    }
    for side in (None, "encoder", "decoder"):
        change(tmp_path, side, **old)
    assert from_hub(tmp_path).config.vocab_size == 53


def change(folder: Path, side: str | None, **values: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (config[side] if side else config).update(values)
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("side", "values", "says"),
    [
        (None, {"model_type": "llama"}, "is a llama of donut-swin and mbart"),
        ("encoder", {"model_type": "vit"}, "of vit and mbart"),
        ("decoder", {"model_type": "gpt2"}, "of donut-swin and gpt2"),
        ("encoder", {"use_absolute_embeddings": True}, "use_absolute_embeddings True"),
        ("decoder", {"activation_function": "relu"}, "activation_function relu"),
        ("decoder", {"eos_token_id": [2, 5]}, r"eos_token_id \[2, 5\], not one number"),
        ("encoder", {"depths": [2, 3]}, r"has no encoder\.encoder\.layers\.1\.blocks\.2"),
        ("encoder", {"depths": [2, 1]}, r"too many: encoder\.encoder\.layers\.1\.blocks\.1"),
        ("encoder", {"window_size": 5}, r"relative_position_bias_table is \(49, 2\)"),
        ("encoder", {"window_size": "five"}, "config.json cannot be used"),
    ],
)
def test_other_architectures_are_refused(
    tmp_path: Path, side: str | None, values: dict[str, Any], says: str
) -> None:
    saved(tmp_path)
    change(tmp_path, side, **values)
    with pytest.raises(BadInput, match=says) as refused:
        from_hub(tmp_path)
    assert str(tmp_path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_is_not_there_or_damaged_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no folder"):
        from_hub(tmp_path / "nowhere")
    with pytest.raises(BadInput, match=r"has no config\.json"):
        from_hub(tmp_path)
    saved(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(BadInput, match=r"model\.safetensors: cannot be read"):
        from_hub(tmp_path)
    weights.unlink()
    with pytest.raises(BadInput, match=r"neither model\.safetensors nor pytorch_model\.bin"):
        from_hub(tmp_path)
    torch.save({"code": Path("x")}, tmp_path / "pytorch_model.bin")
    with pytest.raises(BadInput, match=r"pytorch_model\.bin: cannot be read"):
        from_hub(tmp_path)


def test_a_configuration_that_is_no_table_is_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    (tmp_path / "config.json").write_text('["encoder", "decoder"]')
    with pytest.raises(BadInput, match=r"config\.json: is a list, not a table of keys"):
        from_hub(tmp_path)


def test_pages_of_the_hubs_readers_are_donuts(tmp_path: Path) -> None:
    saved(tmp_path / "theirs")
    ours = from_hub(tmp_path / "theirs")
    assert ours.config.page == "donut"
    to_hub(ours, tmp_path / "donut")
    assert from_hub(tmp_path / "donut").config.page == "donut"
    ours.config = replace(ours.config, page="plain")
    to_hub(ours, tmp_path / "plain")
    assert from_hub(tmp_path / "plain").config.page == "plain"
    VisionEncoderDecoderModel.from_pretrained(tmp_path / "plain")
    change(tmp_path / "plain", None, page="round")
    with pytest.raises(BadInput, match="there are no pages called 'round'"):
        from_hub(tmp_path / "plain")


def test_a_name_is_fetched_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = saved(tmp_path)

    def download(name: str, file: str) -> str:
        if name != "someone/charts":
            raise OfflineModeIsEnabled("offline")
        if not (tmp_path / file).exists():
            raise EntryNotFoundError(file)
        return str(tmp_path / file)

    monkeypatch.setattr(hub, "hf_hub_download", download)
    ours = from_hub("someone/charts")
    assert ours.config.name == "charts"
    assert torch.equal(ours.head_weight, theirs.decoder.lm_head.weight)
    with pytest.raises(BadInput, match="no-one/charts is not on this machine"):
        from_hub("no-one/charts")


def test_a_convolutional_stem_cannot_be_exported(tmp_path: Path) -> None:
    model = ChartModel(ChartModelConfig.named("tiny", vocab_size=16))
    with pytest.raises(BadInput, match=r"encoder\.stem: a convolutional stem"):
        to_hub(model, tmp_path)
