import pytest
import torch
from torch import nn
from torch.optim import AdamW

from belvedere.errors import BadInput
from belvedere.optimisation import (
    Optimisation,
    Together,
    dims_of,
    matrices_of_layers,
    renamed,
)


def made() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict(
        {
            "embedding": nn.Embedding(10, 8),
            "layers": nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.Linear(16, 8)),
            "head": nn.Linear(8, 10),
        }
    )


def loss(module: nn.Module) -> torch.Tensor:
    ids = torch.arange(10)
    states = module["layers"](module["embedding"](ids))
    return nn.functional.cross_entropy(module["head"](states), ids.flip(0))


def trained(steps: int, module: nn.Module, built: dict, start: int = 0) -> None:
    for _ in range(start, steps):
        built["optimizer"].zero_grad()
        built["optimizer"].step(lambda: loss(module).backward())
        built["lr_scheduler"]["scheduler"].step()


def test_everything_is_trained_by_adamw_unless_muon_is_asked_for() -> None:
    module = made()
    optimizer = Optimisation(lr=0.01).build(module, 10)["optimizer"]
    assert type(optimizer) is AdamW
    assert {id(p) for g in optimizer.param_groups for p in g["params"]} == set(
        map(id, module.parameters())
    )


def test_muon_trains_the_matrices_of_layers_and_adamw_the_rest() -> None:
    module = made()
    module["layers"][0].weight.requires_grad_(False)
    assert [p.shape for p in matrices_of_layers(module)] == [(8, 16)]
    optimizer = Optimisation(lr=0.01, muon_lr=0.1, weight_decay=0.5).build(module, 10)["optimizer"]
    groups = {group["name"]: group for group in optimizer.param_groups}
    assert [p.shape for p in groups["matrices"]["params"]] == [(10, 8), (10, 8)]
    assert [p.ndim for p in groups["vectors"]["params"]] == [1] * 5
    assert [p.shape for p in groups["hidden"]["params"]] == [(8, 16)]
    assert [groups[name]["weight_decay"] for name in ("matrices", "vectors", "hidden")] == [
        0.5,
        0.0,
        0.5,
    ]


def test_the_schedule_is_that_of_both_and_the_loss_falls() -> None:
    module = made()
    built = Optimisation(lr=0.01, muon_lr=0.02, warmup=0.2, final=0.5).build(module, 20)
    first = loss(module).item()
    rates = []
    for step in range(20):
        rates.append({group["name"]: group["lr"] for group in built["optimizer"].param_groups})
        trained(1, module, built)
        assert rates[step]["hidden"] == pytest.approx(2 * rates[step]["vectors"])
    assert rates[0]["hidden"] == pytest.approx(0.02 / 4)
    assert max(rate["hidden"] for rate in rates) == pytest.approx(0.02)
    assert loss(module).item() < 0.5 * first


def test_states_are_those_of_the_parts_and_go_on_where_they_were() -> None:
    shape = Optimisation(lr=0.01, muon_lr=0.02, warmup=0.2)
    whole, cut = made(), made()
    plain, first = shape.build(whole, 8), shape.build(cut, 8)
    trained(8, whole, plain)
    trained(4, cut, first)
    again = shape.build(cut, 8)
    assert isinstance(again["optimizer"], Together)
    again["optimizer"].load_state_dict(first["optimizer"].state_dict())
    again["lr_scheduler"]["scheduler"].load_state_dict(
        first["lr_scheduler"]["scheduler"].state_dict()
    )
    trained(8, cut, again, start=4)
    for one, other in zip(whole.parameters(), cut.parameters(), strict=True):
        assert torch.equal(one, other)


def test_states_are_those_of_named_parameters() -> None:
    module = made()
    optimizer = Optimisation(lr=0.01).build(module, 4)["optimizer"]
    loss(module).backward()
    optimizer.step()
    state = optimizer.state_dict()
    assert set(state["state"]) == dict(module.named_parameters()).keys()
    # As of an earlier version: by the numbers that PyTorch gives them.
    numbers = {
        name: number
        for number, name in enumerate(n for g in state["param_groups"] for n in g["params"])
    }
    for known in (state, renamed(state, numbers)):
        again = Optimisation(lr=0.01).build(module, 4)["optimizer"]
        again.load_state_dict(known)
        for name, parameter in module.named_parameters():
            found = again.state[parameter]
            assert all(torch.equal(found[key], state["state"][name][key]) for key in found)


def test_what_a_strategy_has_cut_up_is_decayed_as_before_and_no_matrix() -> None:
    module = made()
    dims = dims_of(module)
    for parameter in module.parameters():
        parameter.data = parameter.data.flatten()[:3]
    optimizer = Optimisation(weight_decay=0.5).build(module, 4, dims)["optimizer"]
    groups = {group["name"]: len(group["params"]) for group in optimizer.param_groups}
    assert groups == {"matrices": 4, "vectors": 5}
    assert set(optimizer.state_dict()["param_groups"][0]["params"]) == set(range(4))
    with pytest.raises(BadInput, match="Muon needs whole matrices"):
        Optimisation(muon_lr=0.1).build(module, 4, dims)
