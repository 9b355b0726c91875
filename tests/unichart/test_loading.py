import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from belvedere.charts.tokenizer import train
from belvedere.errors import BadInput
from belvedere.unichart.config import ChartModelConfig, DecoderConfig, EncoderConfig
from belvedere.unichart.hub import to_hub
from belvedere.unichart.loading import (
    SHAPE,
    WEIGHTS,
    Reader,
    load_reader,
    save_reader,
    with_fresh_decoder,
)
from belvedere.unichart.model import ChartModel

SIZE = (32, 48)


def made(
    stem: str = "conv", layers: int = 1, width: int = 32, positions: str = "none"
) -> ChartModel:
    torch.manual_seed(0)
    encoder = EncoderConfig(
        16, (1, 1), (2, 2), window=4, stem=stem, drop_path=0.0, positions=positions  # type: ignore[arg-type]
    )  # fmt: skip
    decoder = DecoderConfig(layers, d_model=width, heads=2, ffn=64, max_positions=64)
    return ChartModel(
        ChartModelConfig("test", SIZE, vocab_size=300, encoder=encoder, decoder=decoder)
    ).eval()


def logits(model: ChartModel) -> torch.Tensor:
    pixels = torch.linspace(-1, 1, 3 * SIZE[0] * SIZE[1]).view(1, 3, *SIZE)
    with torch.no_grad():
        return model(pixels, torch.tensor([[0, 5, 7]]))


def test_a_reader_comes_back_as_it_was(tmp_path: Path) -> None:
    model = made()
    save_reader(model, tmp_path)
    loaded = load_reader(tmp_path)
    assert loaded.config == model.config
    assert torch.equal(logits(loaded), logits(model))
    head, embedding = loaded.head_weight, loaded.decoder.get_input_embeddings().weight
    assert head.data_ptr() == embedding.data_ptr()


def test_half_the_bytes_are_nearly_the_same_reader(tmp_path: Path) -> None:
    model = made()
    save_reader(model, tmp_path / "whole")
    save_reader(model, tmp_path / "half", torch.float16)
    sizes = [(tmp_path / name / WEIGHTS).stat().st_size for name in ("half", "whole")]
    assert sizes[0] < 0.7 * sizes[1]
    assert torch.allclose(logits(load_reader(tmp_path / "half")), logits(model), atol=0.02)


def test_a_decoder_starts_anew_for_another_tokenizer(tmp_path: Path) -> None:
    model = made()
    save_reader(model, tmp_path)
    fresh = Reader(str(tmp_path), fresh_decoder=True).load(450)
    assert fresh.config == replace(model.config, vocab_size=450)
    pixels = torch.rand(1, 3, *SIZE)
    with torch.no_grad():
        assert torch.equal(fresh.encoder(pixels), model.encoder(pixels))
    assert fresh.letters is not None
    assert model.letters is not None
    assert torch.equal(fresh.letters.scores.weight, model.letters.scores.weight)
    assert fresh(pixels, torch.tensor([[449]])).shape == (1, 1, 450)
    own, old = (next(one.decoder.model.decoder.layers.parameters()) for one in (fresh, model))
    assert not torch.equal(own, old)


def test_what_sees_keeps_its_projection_and_the_decoders_head_is_new() -> None:
    model = made(width=48)
    assert model.axis is not None
    seen = model.projection.weight.clone()
    asked = next(model.axis.parameters()).clone()
    fresh = with_fresh_decoder(model, 450)
    assert torch.equal(fresh.projection.weight, seen)
    assert fresh.axis is not None
    assert not torch.equal(next(fresh.axis.parameters()), asked)


def test_a_fresh_decoder_of_another_width_has_a_projection_of_its_own() -> None:
    encoder = EncoderConfig(16, (1, 1), (2, 2), window=4, drop_path=0.0)
    shape = replace(made().config, name="tiny", encoder=encoder)  # decoders of `tiny` are wider
    fresh = with_fresh_decoder(ChartModel(shape), 450)
    assert fresh(torch.rand(1, 3, *SIZE), torch.tensor([[449]])).shape == (1, 1, 450)
    assert fresh.projection.weight.shape == (fresh.config.decoder.d_model, 32)


def test_a_decoder_grows_without_a_change_of_answers(tmp_path: Path) -> None:
    save_reader(made(), tmp_path)
    grown = Reader(str(tmp_path), decoder_layers=3).load(300)
    assert grown.config.decoder.layers == len(grown.decoder.model.decoder.layers) == 3
    assert torch.equal(logits(grown), logits(made()))
    grown.train()(torch.rand(1, 3, *SIZE), torch.tensor([[0, 5, 7]])).logsumexp(-1).sum().backward()
    for layer in list(grown.decoder.model.decoder.layers)[1:]:
        assert layer.fc2.weight.grad.abs().sum() > 0
    save_reader(grown, tmp_path / "deep")
    with pytest.raises(BadInput, match="3 decoder layers, which is more than 2"):
        Reader(str(tmp_path / "deep"), decoder_layers=2).load(300)


def test_a_reader_learns_to_see_along_lines_without_a_change_of_answers(tmp_path: Path) -> None:
    model = made(positions="sine")
    save_reader(model, tmp_path)
    grown = Reader(str(tmp_path), axial=1).load(300)
    assert grown.config.encoder.axial == 1
    assert torch.equal(logits(grown), logits(model))
    lines = grown.lines
    assert lines is not None
    ids = torch.tensor([[0, 5, 7]])
    grown.train()(torch.rand(1, 3, *SIZE), ids).logsumexp(-1).sum().backward()
    assert lines.out.weight.grad is not None
    assert lines.out.weight.grad.abs().sum() > 0
    torch.nn.init.normal_(lines.out.weight)
    save_reader(grown, tmp_path / "axial")
    again = Reader(str(tmp_path / "axial"), axial=1).load(300)
    assert torch.equal(logits(again), logits(grown.eval()))
    assert not torch.equal(logits(again), logits(model))
    with pytest.raises(BadInput, match="axial: the reader has 1 pairs of axial blocks already"):
        Reader(str(tmp_path / "axial"), axial=2).load(300)
    fresh = with_fresh_decoder(again, 450)
    assert (fresh.lines, fresh.places, fresh.phases) == (again.lines, again.places, again.phases)


def test_readers_are_loaded_by_size_folder_and_hub_layout(tmp_path: Path) -> None:
    save_reader(made(), tmp_path / "ours")
    to_hub(made("patch"), tmp_path / "hub")
    assert Reader("tiny").load(500).config.vocab_size == 500
    assert Reader(str(tmp_path / "ours"), image_size=(64, 64)).load(300).config.image_size == (
        64,
        64,
    )
    theirs = Reader(str(tmp_path / "hub")).load(300)
    assert torch.allclose(logits(theirs), logits(made("patch")), atol=1e-5)


def test_the_tokenizer_lies_beside_the_reader(tmp_path: Path) -> None:
    train(["12 | 34"], 280, 64).save_pretrained(tmp_path)
    assert Reader(str(tmp_path)).tokenizer().eos_token == "</s>"
    with pytest.raises(BadInput, match="there is no tokenizer in tiny"):
        Reader("tiny").tokenizer()


def test_damaged_readers_are_refused(tmp_path: Path) -> None:
    save_reader(made(), tmp_path)
    with pytest.raises(BadInput, match="the model has 300 tokens, its tokenizer 301"):
        Reader(str(tmp_path)).load(301)
    weights = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(weights[: len(weights) // 2])
    with pytest.raises(BadInput, match="no whole chart reader"):
        load_reader(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(weights)
    shape = (tmp_path / SHAPE).read_text()
    (tmp_path / SHAPE).write_text(shape.replace('"vocab_size": 300', '"vocab_size": 30000000000'))
    with pytest.raises(BadInput, match=r"parameters, more than model\.safetensors has bytes"):
        load_reader(tmp_path)
    for shape in ("{}", "[]", "null"):
        (tmp_path / SHAPE).write_text(shape)
        with pytest.raises(BadInput, match="no whole chart reader"):
            load_reader(tmp_path)


def test_weights_that_lack_a_part_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save_reader(made(), tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    tensors.pop("projection.weight", None)
    name = next(name for name in tensors if "encoder" in name and name.endswith("weight"))
    tensors.pop(name)
    save_file(tensors, tmp_path / WEIGHTS)
    with pytest.raises(BadInput, match="the weights lack"):
        load_reader(tmp_path)


def test_weights_that_are_deeper_than_their_shape_are_refused(tmp_path: Path) -> None:
    save_reader(made(layers=2), tmp_path)
    shape = json.loads((tmp_path / SHAPE).read_text())
    shape["decoder"]["layers"] = 1
    (tmp_path / SHAPE).write_text(json.dumps(shape))
    says = r"model\.safetensors: there is no place for 'decoder\.model\.decoder\.layers\.1\."
    with pytest.raises(BadInput, match=says):
        load_reader(tmp_path)


def test_the_page_is_saved_and_that_of_older_readers_is_plain(tmp_path: Path) -> None:
    model = made()
    assert model.config.page == "plain"
    model.config = replace(model.config, page="donut")
    save_reader(model, tmp_path)
    assert load_reader(tmp_path).config.page == "donut"
    shape = json.loads((tmp_path / SHAPE).read_text())
    (tmp_path / SHAPE).write_text(json.dumps(shape | {"page": "round"}))
    with pytest.raises(BadInput, match="there are no pages called 'round'"):
        load_reader(tmp_path)
    del shape["page"]
    (tmp_path / SHAPE).write_text(json.dumps(shape))
    assert load_reader(tmp_path).config.page == "plain"
    assert ChartModelConfig.named("base").page == "donut"


def test_a_run_is_its_reader_and_random_weights_have_a_tokenizer_of_their_own(
    tmp_path: Path,
) -> None:
    inside = tmp_path / "run" / "checkpoints" / "model"
    save_reader(made(), inside)
    train(["a chart"], 300, 64).save_pretrained(inside)
    run = Reader(str(tmp_path / "run"))
    tokens = len(run.tokenizer())
    assert torch.equal(logits(run.load(tokens)), logits(made()))
    assert len(Reader("tiny", size_tokenizer=str(inside)).tokenizer()) == tokens
