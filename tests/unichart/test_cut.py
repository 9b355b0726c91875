"""A reader that is cut at a depth of its decoder, and the training that makes it a good one."""

from pathlib import Path
from typing import Any

import pytest
import torch
from small_training import trainer
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast

from belvedere.data.chart_corpus import ChartCorpusDataModule
from belvedere.data.pictures import normalised
from belvedere.errors import BadInput
from belvedere.optimisation import Optimisation
from belvedere.unichart.config import ChartModelConfig, DecoderConfig, EncoderConfig
from belvedere.unichart.loading import load_reader, save_reader
from belvedere.unichart.model import ChartModel
from belvedere.unichart.module import UniChartModule

TASKS = {"table": 1, "elements": 1, "reasoning": 1, "open": 1, "summary": 1}
PROMPTS = [[7, 9, 11, 13, 8, 20], [7, 8], [10, 9, 33, 8]]
SIZE = (48, 64)
LAYERS = 3


def made(vocabulary: int = 61, layers: int = LAYERS, tied: bool = True) -> ChartModel:
    """A random reader in eval mode, with weights large enough for its choices to depend on all."""
    torch.manual_seed(0)
    decoder = DecoderConfig(
        layers, d_model=24, heads=4, ffn=32, max_positions=512, tied_head=tied, dropout=0.0
    )
    encoder = EncoderConfig(16, (2, 2), (2, 4), window=4, stem="conv", drop_path=0.0)
    config = ChartModelConfig("test", SIZE, vocabulary, encoder=encoder, decoder=decoder)
    model = ChartModel(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            strong = name.startswith("decoder.model.decoder.layers")
            parameter.add_(torch.randn_like(parameter), alpha=0.6 if strong else 0.2)
    return model


def charts(count: int = len(PROMPTS)) -> Tensor:
    return torch.randn(count, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def logits(model: ChartModel) -> Tensor:
    with torch.no_grad():
        return model(charts(1), torch.tensor([PROMPTS[0]]))


# The model


@pytest.mark.parametrize("beams", [1, 4])
def test_a_cut_at_full_depth_is_the_reader(beams: int) -> None:
    model = made()
    cut = model.cut(LAYERS)
    assert cut.config == model.config
    assert torch.equal(logits(cut), logits(model))
    ours, theirs = (
        one.generate(charts(), PROMPTS, max_new_tokens=12, num_beams=beams) for one in (cut, model)
    )
    assert torch.equal(ours.ids, theirs.ids)
    assert torch.equal(ours.log_probs, theirs.log_probs)


@pytest.mark.parametrize("beams", [1, 4])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("tied", [True, False])
def test_a_cut_answers_as_a_reader_of_fewer_layers_with_its_weights(
    layers: int, beams: int, tied: bool
) -> None:
    model = made(tied=tied)
    cut, smaller = model.cut(layers), made(layers=layers, tied=tied)
    kept = model.state_dict()
    smaller.load_state_dict({name: kept[name].clone() for name in smaller.state_dict()})
    assert cut.config == smaller.config
    assert torch.equal(logits(cut), logits(smaller))
    ours, theirs = (
        one.generate(charts(), PROMPTS, max_new_tokens=12, num_beams=beams)
        for one in (cut, smaller)
    )
    assert torch.equal(ours.ids, theirs.ids)
    assert torch.equal(ours.confidence, theirs.confidence)
    assert not torch.allclose(logits(cut), logits(model), atol=0.1)


def test_a_cut_shares_every_tensor_and_nothing_else() -> None:
    model = made()
    cut = model.cut(2)
    theirs = {id(t) for t in [*model.parameters(), *model.buffers()]}
    ours = {id(t) for t in [*cut.parameters(), *cut.buffers()]}
    assert ours < theirs
    assert {name for name, _ in model.named_parameters()} - {
        name for name, _ in cut.named_parameters()
    } == {
        name for name, _ in model.named_parameters() if ".layers.2." in name and "decoder" in name
    }
    cut.train()
    assert not any(module.training for module in model.modules())
    before = logits(model)
    with torch.no_grad():
        cut.decoder.get_decoder().layer_norm.weight.mul_(1.5)
    assert not torch.allclose(logits(model), before)
    assert model.config.decoder.layers == model.decoder.config.decoder_layers == LAYERS


def test_a_cut_is_cut_again() -> None:
    model = made()
    assert torch.equal(logits(model.cut(2).cut(1)), logits(model.cut(1)))


@torch.no_grad()
def test_one_pass_reads_every_depth() -> None:
    model = made()
    states, ids = model.encode(charts()), torch.tensor(PROMPTS[0]).expand(3, -1)
    mask = (torch.arange(6) < torch.tensor([[6], [4], [5]])).long()
    for depths in ([1, 2, 3], [1], [2], [3]):
        found = model.decode_at(depths, states, ids, mask)
        for depth, hidden in zip(depths, found, strict=True):
            assert torch.equal(hidden, model.cut(depth).decode(states, ids, mask))


def test_several_texts_about_a_chart_share_its_keys() -> None:
    model = made()
    which = torch.tensor([2, 0, 2, 2])
    ids = torch.randint(5, 61, (4, 6), generator=torch.Generator().manual_seed(2))
    mask = (torch.arange(6) < torch.tensor([[6], [4], [5], [6]])).long()
    states = model.encode(charts()).detach()
    gradients = []
    for shared in (True, False):
        given = states.clone().requires_grad_()
        model.zero_grad()
        if shared:
            found = model.decode_about([1, 3], model.keys_of(given), which, ids, mask)
        else:
            found = model.decode_at([1, 3], given[which], ids, mask)
        sum((one * mask[..., None]).square().mean() for one in found).backward()
        trained = [given, *model.decoder.parameters()]
        gradients.append([*found, *(one.grad for one in trained if one.grad is not None)])
    assert len(gradients[0]) == len(gradients[1]) > 50
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("layers", [0, 4, -1, 1.0, True])
def test_depths_that_do_not_exist_are_refused(layers: Any) -> None:
    with pytest.raises(BadInput, match="choose a whole number from 1 to 3"):
        made().cut(layers)


@pytest.mark.parametrize("tied", [True, False])
def test_a_saved_cut_comes_back(tmp_path: Path, tied: bool) -> None:
    model = made(tied=tied)
    save_reader(model.cut(2), tmp_path / "cut")
    save_reader(model.cut(2), tmp_path / "half", torch.float16)
    loaded = load_reader(tmp_path / "cut")
    assert loaded.config.decoder.layers == 2
    assert torch.equal(logits(loaded), logits(model.cut(2)))
    half = logits(load_reader(tmp_path / "half"))
    assert torch.allclose(half, logits(model.cut(2)), atol=0.1)
    assert next(model.parameters()).dtype == torch.float32


# The training


@pytest.fixture(scope="module")
def data(written: tuple[Path, PreTrainedTokenizerFast]) -> ChartCorpusDataModule:
    folder, tokenizer = written
    found = ChartCorpusDataModule(
        tokenizer, str(folder), TASKS, name="charts", image_size=SIZE, positions=512,
        batch_size=2, eval_batch_size=2,
    )  # fmt: skip
    found.setup()
    return found


def sorted_reader(data: ChartCorpusDataModule, depths: Any = (1, 2)) -> UniChartModule:
    model = made(len(data.tokenizer))
    return UniChartModule(
        model, data.tokenizer, Optimisation(lr=1e-3), beams=1, new_tokens=6, depths=depths
    )


def plain_loss(model: ChartModel, batch: dict[str, Any]) -> Tensor:
    """The mean cross-entropy of the answers' tokens, text by text."""
    pixels, losses = normalised(batch["pixels"]), []
    for i, length in enumerate(batch["tokens"].tolist()):
        chart = pixels[batch["picture"][i]][None]
        scores = model(chart, batch["ids"][i, :length][None])[0]
        learned = batch["labels"][i, :length] >= 0
        aim = batch["labels"][i, :length][learned]
        losses.append(F.cross_entropy(scores[learned], aim, reduction="none"))
    return torch.cat(losses).mean()


def test_the_loss_is_the_mean_of_the_cut_readers_losses(data: ChartCorpusDataModule) -> None:
    module = sorted_reader(data)
    batch = next(iter(data.train_dataloader()))
    losses = module._losses(module.encoded(batch), batch)
    wanted = [plain_loss(made(len(data.tokenizer)).cut(depth), batch) for depth in (1, 2, LAYERS)]
    assert losses.ce.tolist() == pytest.approx([loss.item() for loss in wanted], rel=1e-4)
    assert losses.loss.item() == pytest.approx(losses.ce.mean().item(), rel=1e-5)

    losses.loss.backward()
    twin = made(len(data.tokenizer))
    total = torch.stack([plain_loss(twin.cut(depth), batch) for depth in (1, 2, LAYERS)]).mean()
    total.backward()
    theirs = dict(twin.named_parameters())
    for name, parameter in module.model.named_parameters():
        if name.startswith(("letters.", "axis.")):
            continue
        assert parameter.grad is not None, name
        assert theirs[name].grad is not None, name
        torch.testing.assert_close(parameter.grad, theirs[name].grad, rtol=1e-3, atol=1e-4)


def test_without_depths_the_full_loss_alone_is_learned(data: ChartCorpusDataModule) -> None:
    batch = next(iter(data.train_dataloader()))
    for depths in ((), [LAYERS]):
        module = sorted_reader(data, depths)
        assert (module.early, module.depths) == ((), (LAYERS,))
        losses = module._losses(module.encoded(batch), batch)
        assert losses.loss.item() == pytest.approx(plain_loss(module.model, batch).item(), rel=1e-4)


def test_depths_are_validated(data: ChartCorpusDataModule) -> None:
    for depths in ([2, 1], [4], [0, 1], [1, 1]):
        with pytest.raises(BadInput, match="from 1 to 2 of 3 layers"):
            sorted_reader(data, depths)


def test_every_depth_learns_is_measured_and_answers(
    data: ChartCorpusDataModule, tmp_path: Path
) -> None:
    module = sorted_reader(data)
    validated = trainer(tmp_path, 12)
    validated.validate(module, datamodule=data, verbose=False)
    before = {name: float(value) for name, value in validated.callback_metrics.items()}
    names = ["", "/exit_1", "/exit_2"]
    assert set(before) == {f"validation/loss/{task}{name}" for task in TASKS for name in names}
    batch = next(iter(data.val_dataloader()))
    chosen = [i for i, example in enumerate(batch["examples"]) if example.task == "reasoning"]
    keys = ("ids", "labels", "tokens", "picture")
    part = {"pixels": batch["pixels"], **{key: batch[key][chosen] for key in keys}}
    for name, depth in zip(names, (LAYERS, 1, 2), strict=True):
        loss = plain_loss(module.model.cut(depth), part).item()
        assert before[f"validation/loss/reasoning{name}"] == pytest.approx(loss, rel=1e-4)

    validated.fit(module, datamodule=data)
    logged = {f"train/loss/{name}" for name in ("full", "exit_1", "exit_2")}
    assert logged <= set(validated.callback_metrics)
    validated.validate(module, datamodule=data, verbose=False)
    after = {name: float(validated.callback_metrics[name]) for name in before}
    for name in names:
        total = [sum(m[f"validation/loss/{task}{name}"] for task in TASKS) for m in (before, after)]
        assert total[1] < total[0]

    trainer(tmp_path, 1).test(module, datamodule=data, verbose=False)
    assert list(module.answered_by_depth) == [1, 2, LAYERS]
    assert module.answered is module.answered_by_depth[LAYERS]
    assert all(seconds > 0 for seconds in module.seconds_by_depth.values())
    batch = next(iter(data.test_dataloader()))
    for depth, answered in module.answered_by_depth.items():
        alone = sorted_reader(data, ())
        alone.model = module.model.cut(depth)
        assert answered == alone.answer(batch)


def test_a_cut_is_no_part_of_the_checkpoint(data: ChartCorpusDataModule) -> None:
    module = sorted_reader(data)
    names = set(module.state_dict())
    module.reader(1)
    assert set(module.state_dict()) == names == set(sorted_reader(data, ()).state_dict())
