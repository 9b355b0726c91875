import pytest
import torch

from belvedere.unichart.guidance import Guidance
from belvedere.unichart.model import ChartModel, ChartModelConfig, DecoderConfig, EncoderConfig


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


def test_the_loss_is_that_of_the_attention_of_all_layers_but_the_first() -> None:
    model = made()
    model.decoder.set_attn_implementation("eager")
    states, ids = torch.randn(2, 24, 16), torch.randint(5, 40, (2, 7))
    looks = torch.full((2, 7, 2), -1)
    looks[0, 2, 0], looks[1, 0, 0], looks[1, 5, 0], looks[1, 5, 1] = 3, 23, 0, 11
    guidance = Guidance(model.decoder)
    with guidance.watching(looks):
        output = model.decoder.model.decoder(
            input_ids=ids, encoder_hidden_states=states, output_attentions=True
        )
    loss, share = guidance.loss()
    plain = []
    for layer in (1, 2):
        reading, scaling = output.cross_attentions[layer].unflatten(1, (2, 2)).mean(2).unbind(1)
        plain += [reading[0, 2, 3], reading[1, 0, 23], reading[1, 5, 0], scaling[1, 5, 11]]
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
        with guidance.watching(looks):
            model.decode(states, ids)
        loss, share = guidance.loss()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        shares.append(share.item())
    assert shares[0] < 0.1
    assert shares[-1] > 0.7


def test_nothing_is_watched_outside() -> None:
    model = made()
    guidance = Guidance(model.decoder)
    with pytest.raises(ZeroDivisionError), guidance.watching(torch.zeros(1, 2, 2)):
        raise ZeroDivisionError
    model.decode(torch.randn(1, 24, 16), torch.tensor([[5, 6]]))
    assert guidance.seen == {}
    assert guidance.found == []
