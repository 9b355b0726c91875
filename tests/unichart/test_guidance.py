import pytest
import torch
from torch import Tensor

from belvedere.unichart.config import ChartModelConfig, DecoderConfig, EncoderConfig
from belvedere.unichart.guidance import Guidance
from belvedere.unichart.model import ChartModel
from belvedere.unichart.reading import AxisHead


def made(layers: int = 3) -> ChartModel:
    torch.manual_seed(0)
    return ChartModel(
        ChartModelConfig(
            name="test",
            image_size=(32, 48),
            vocab_size=40,
            encoder=EncoderConfig(16, (1,), (2,), window=4, patch_size=8, drop_path=0.0),
            decoder=DecoderConfig(
                layers=layers, d_model=16, heads=4, ffn=32, dropout=0.0, init_std=0.3
            ),
        )
    ).eval()


def watch(
    guidance: Guidance, model: ChartModel, states: Tensor, ids: Tensor, *places: Tensor
) -> None:
    """Let the guidance see a pass over texts, each about a chart of its own."""
    keys, charts = model.keys_of(states), torch.arange(len(ids))
    with guidance.watching(keys, charts, *places):
        model.decode_about([model.config.decoder.layers], keys, charts, ids)


def test_the_loss_is_that_of_the_attention_of_all_layers_but_the_first() -> None:
    model = made()
    model.decoder.set_attn_implementation("eager")
    states, ids = torch.randn(2, 24, 16), torch.randint(5, 40, (2, 7))
    looks = torch.full((2, 7, 3), -1)
    looks[0, 2, 0], looks[1, 0, 0] = 3, 23
    looks[1, 5] = torch.tensor([0, 11, 4])
    guidance = Guidance(model.decoder)
    # A chart of its own for each text, given in the other order.
    keys, charts = model.keys_of(states.flip(0)), torch.tensor([1, 0])
    with guidance.watching(keys, charts, looks):
        output = model.decoder.model.decoder(
            input_ids=ids, encoder_hidden_states=states, output_attentions=True
        )
    loss, share = guidance.loss()
    plain = []
    for layer in (1, 2):
        found = output.cross_attentions[layer]
        reading, low, high = found[:, :2].mean(1), found[:, 2], found[:, 3]
        plain += [reading[0, 2, 3], reading[1, 0, 23], reading[1, 5, 0]]
        plain += [low[1, 5, 11], high[1, 5, 4]]
    assert loss.item() == pytest.approx(-torch.stack(plain).log().mean().item(), rel=1e-4)
    assert share.item() == pytest.approx(torch.stack(plain).mean().item(), rel=1e-4)


def test_guided_attention_learns_to_look_at_the_places() -> None:
    model = made(layers=1).train()
    states, ids = torch.randn(1, 24, 16), torch.arange(5, 25)[None]
    looks = torch.stack([torch.arange(20).flip(0), torch.arange(20)], dim=1)[None]
    optimiser = torch.optim.Adam(model.decoder.parameters(), lr=1e-2)
    shares = []
    for _ in range(150):
        guidance = Guidance(model.decoder)
        watch(guidance, model, states, ids, looks)
        loss, share = guidance.loss()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        shares.append(share.item())
    assert shares[0] < 0.1
    assert shares[-1] > 0.7


def test_the_axis_head_learns_where_between_its_ticks_a_mark_is() -> None:
    model, axis = made(layers=2).train(), AxisHead(16)
    states, ids = torch.randn(1, 24, 16), torch.arange(5, 25)[None]
    shares = torch.linspace(-0.6, 1.6, 20)[None]
    shares[0, 3] = torch.nan
    looks = torch.full((1, 20, 3), -1)
    optimiser = torch.optim.Adam([*model.decoder.parameters(), *axis.parameters()], lr=1e-2)
    found = []
    for _ in range(200):
        guidance = Guidance(model.decoder, axis)
        watch(guidance, model, states, ids, looks, shares)
        assert guidance.loss()[0] == 0
        loss, share = guidance.axis_loss()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        found.append(share.item())
    assert [count for *_, count in guidance.told] == [19]
    assert found[0] < 0.4
    assert found[-1] > 0.95


def test_without_a_place_the_axis_loss_is_nothing() -> None:
    model, axis = made(layers=2), AxisHead(16)
    guidance = Guidance(model.decoder, axis)
    nowhere = torch.full((1, 2, 3), -1), torch.full((1, 2), torch.nan)
    watch(guidance, model, torch.randn(1, 24, 16), torch.tensor([[5, 6]]), *nowhere)
    loss, share = guidance.axis_loss()
    loss.backward()
    assert (float(loss), float(share)) == (0, 0)
    assert axis.scores.weight.grad is not None


def test_nothing_is_watched_outside() -> None:
    model = made()
    guidance = Guidance(model.decoder)
    keys = model.keys_of(torch.randn(1, 24, 16))
    watching = guidance.watching(keys, torch.tensor([0]), torch.zeros(1, 2, 2))
    with pytest.raises(ZeroDivisionError), watching:
        raise ZeroDivisionError
    model.decode(torch.randn(1, 24, 16), torch.tensor([[5, 6]]))
    assert guidance.seen == {}
    assert guidance.found == []
