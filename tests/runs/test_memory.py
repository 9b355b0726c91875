"""Planned memory: beside what PyTorch's profiler measures, and shared out over devices."""

from contextlib import nullcontext

import pytest
import torch
from hydra import compose, initialize_config_dir
from peaks import peak_of
from transformers import LlamaConfig, LlamaForCausalLM

from belvedere.balcony import BalconyModule
from belvedere.optimisation import Optimisation
from belvedere.runs import memory
from belvedere.runs.entry import CONFIGS, register_resolvers
from belvedere.runs.memory import GIB, Memory, Shares, check_memory, planned, step_memory
from belvedere.soft import SoFTModule
from belvedere.submodels.exits import ExitConfig
from belvedere.unichart.config import ChartModelConfig, DecoderConfig, EncoderConfig
from belvedere.unichart.model import ChartModel
from belvedere.unichart.module import UniChartModule

WORDS, ROWS, LENGTH = 3000, 4, 128


def backbone():
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            hidden_size=64, intermediate_size=160, num_hidden_layers=4, num_attention_heads=4,
            num_key_value_heads=2, vocab_size=WORDS,
        )
    )  # fmt: skip


def texts():
    ids = torch.zeros(ROWS, LENGTH, dtype=torch.long)
    places = torch.arange(LENGTH).expand(ROWS, LENGTH).contiguous()
    return {"input_ids": ids, "labels": ids.clone(), "position_ids": places}


def balcony():
    return BalconyModule(backbone(), ExitConfig(depths=(1, 2)), Optimisation()), texts()


def soft():
    return SoFTModule(backbone(), Optimisation(), [1, 2]), texts()


def unichart():
    encoder = EncoderConfig(16, (1, 1), (2, 2), window=8, patch_size=8, drop_path=0.0)
    decoder = DecoderConfig(layers=2, d_model=32, heads=2, ffn=64, max_positions=256, dropout=0.0)
    model = ChartModel(ChartModelConfig("small", (96, 128), WORDS, encoder, decoder)).train()
    module = UniChartModule(model, None, Optimisation(), new_tokens=8)
    ids = torch.zeros(ROWS, LENGTH, dtype=torch.long)
    return module, {
        "pixels": torch.zeros(ROWS, 3, 96, 128, dtype=torch.uint8),
        "picture": torch.arange(ROWS), "ids": ids, "labels": ids.clone(),
        "looks": -torch.ones(ROWS, LENGTH, 3, 2), "shares": torch.zeros(ROWS, LENGTH),
        "tokens": torch.full((ROWS,), LENGTH),
    }  # fmt: skip


def measured(module, batch, precision):
    """Bytes at the peak of a module's second training step, by the profiler."""
    module.log = lambda *_, **__: None
    optimizer = module.optimisation.build(module, 10)["optimizer"]

    def step():
        mixed = precision == "bf16-mixed"
        with torch.autocast("cpu", torch.bfloat16) if mixed else nullcontext():
            loss = module.training_step(batch, 0)
        loss.backward()
        del loss
        optimizer.step()
        optimizer.zero_grad()

    step()
    held = [*module.parameters(), *module.buffers()]
    held += [one for state in optimizer.state.values() for one in state.values()]
    peak = peak_of(step)
    return peak + sum(one.numel() * one.element_size() for one in held if torch.is_tensor(one))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("make", [balcony, soft, unichart])
def test_the_plan_is_what_is_measured(make, precision):
    module, batch = make()
    plan = step_memory(module, batch, precision, WORDS, LENGTH)
    assert plan.total == pytest.approx(measured(*make(), precision), rel=0.1)
    assert all(plan.bytes[kind] > 0 for kind in ("weights", "optimiser", "activations", "logits"))
    optimised = [one.numel() * 4 for one in make()[0].parameters() if one.requires_grad]
    assert plan.bytes["optimiser"] == pytest.approx(2 * sum(optimised), rel=0.01)


@pytest.mark.parametrize("make", [balcony, soft, unichart])
def test_the_plan_knows_of_activations_that_are_made_anew(make):
    (ours, batch), (theirs, _), (plain, _) = make(), make(), make()
    ours.checkpoint_activations()
    theirs.checkpoint_activations()
    plan = step_memory(ours, batch, "32-true", WORDS, LENGTH)
    assert plan.total == pytest.approx(measured(theirs, batch, "32-true"), rel=0.1)
    without = step_memory(plain, batch, "32-true", WORDS, LENGTH)
    assert plan.bytes["activations"] < 0.9 * without.bytes["activations"]


def test_strategies_share_memory_out():
    whole = Memory(
        {"weights": 80, "gradients": 40, "optimiser": 160, "activations": 9, "logits": 3}
    )
    assert Shares(1, "single", 0).applied(whole) == whole
    assert Shares(4, "ddp", 0).applied(whole).bytes == whole.bytes | {"gradients": 80}
    assert Shares(4, "zero", 0).applied(whole).bytes == {
        "weights": 90, "gradients": 20, "optimiser": 40, "activations": 9, "logits": 3,
    }  # fmt: skip
    assert Shares(4, "fsdp", 7).applied(whole).bytes == {
        "weights": 27, "gradients": 10, "optimiser": 40, "activations": 9, "logits": 3,
    }  # fmt: skip


@pytest.fixture
def config(tmp_path):
    """A configuration of the published scale, on a model of half a billion parameters."""
    register_resolvers()
    LlamaConfig(
        hidden_size=2048, intermediate_size=8192, num_hidden_layers=8, num_attention_heads=32,
        num_key_value_heads=8, vocab_size=16000, tie_word_embeddings=True,
    ).save_pretrained(tmp_path)  # fmt: skip

    def made(*options):
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            return compose(
                "memory",
                [
                    "experiment=balcony_llama3", "scale=paper", f"backbone.name={tmp_path}",
                    "model.exits.depths=[4]", "data.sequence_length=256", "data.batch_size=8",
                    *options,
                ],
            )  # fmt: skip

    return made


def test_a_large_run_is_planned_without_a_weight(config):
    alone = planned(config("trainer.strategy=auto", "trainer.devices=1"))
    shared = planned(config())
    # 0.52 billion weights in bfloat16, and those of an exit in float32.
    assert alone.bytes["weights"] / GIB == pytest.approx(0.967 + 0.227, rel=0.05)
    assert shared.bytes["weights"] < alone.bytes["weights"]
    assert shared.bytes["optimiser"] == pytest.approx(alone.bytes["optimiser"] / 8, rel=0.01)
    assert shared.bytes["activations"] == alone.bytes["activations"]
    assert planned(config("strategy@trainer.strategy=fsdp")) == shared
    zero = planned(config("strategy@trainer.strategy=deepspeed"))
    assert zero.bytes["optimiser"] == shared.bytes["optimiser"]
    assert zero.bytes["weights"] > alone.bytes["weights"]
    with pytest.raises(memory.BadInput, match="no decoder layer is trained"):
        planned(config("model.exits.kind=norm", "activation_checkpointing=true"))


def test_what_does_not_fit_is_refused_with_what_would(config, monkeypatch):
    monkeypatch.setattr(memory, "BESIDE", 0)
    options = ["trainer.strategy=auto", "trainer.devices=1", "trainer.accumulate_grad_batches=2"]
    options.append("data.sequence_length=1024")  # so that activations are most of it
    need = planned(config(*options)).total
    capacity = int(0.95 * need)
    with pytest.raises(memory.BadInput, match=r"a step needs .* GiB of each device") as refused:
        check_memory(config(*options), capacity)
    remedy = str(refused.value).partition("; give ")[2]
    (batch, accumulated) = remedy.split(" and ")
    rows = int(batch.removeprefix("data.batch_size="))
    assert 1 <= rows < 8
    assert int(accumulated.rpartition("=")[2]) * rows >= 16
    check_memory(config(*options, batch), capacity)
    with pytest.raises(memory.BadInput, match=r"share the weights out over more devices"):
        check_memory(config(*options), need // 4)


def test_the_command_prints_and_refuses(config, capsys):
    assert memory.plan(config("data.batch_size=1")).total > GIB // 4
    printed = capsys.readouterr().out
    assert "optimiser" in printed
    assert "together" in printed
    with pytest.raises(memory.BadInput, match=r"there are 1\.0"):
        memory.plan(config("gib=1"))
