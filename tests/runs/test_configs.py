import itertools
from types import SimpleNamespace

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from lightning.pytorch.strategies import FSDPStrategy
from omegaconf import OmegaConf
from transformers import AutoModelForCausalLM, LlamaConfig
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from belvedere.balcony import BalconyModule
from belvedere.method import MethodModule
from belvedere.runs.entry import CONFIGS, register_resolvers


def composed(*overrides):
    register_resolvers()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose("train", overrides=list(overrides))


def experiments():
    for file in sorted((CONFIGS / "experiment").glob("*.yaml")):
        for scale in ("laptop", "workstation", "paper"):
            at_laptop_only = "pretrain" in file.stem or file.stem == "unichart_soft"
            if scale == "laptop" or not at_laptop_only:
                yield file.stem, scale


@pytest.mark.parametrize(("experiment", "scale"), list(experiments()))
def test_every_experiment_composes_at_its_scales(experiment, scale):
    config = composed(f"experiment={experiment}", f"scale={scale}", f"name={experiment}")
    assert config.scale == scale
    assert config.trainer.max_steps > 0
    resolved = OmegaConf.to_container(config, resolve=True)
    flat = str(list(itertools.chain(resolved["model"].items(), resolved["data"].items())))
    assert "???" not in flat
    assert "${" not in flat


def test_the_paper_scale_is_the_published_recipe():
    config = composed("experiment=balcony_llama3", "scale=paper", "name=balcony_llama3")
    rows = config.data.batch_size * config.trainer.accumulate_grad_batches * config.needs_gpus
    assert rows * config.data.sequence_length == 2**20
    assert config.trainer.max_steps == 30_000
    assert config.model.optimisation.lr == 5e-4
    llama = LlamaConfig(
        hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=8, vocab_size=128_256, tie_word_embeddings=False,
    )  # fmt: skip
    with torch.device("meta"):
        backbone = AutoModelForCausalLM.from_config(llama)
    module = instantiate(config.model, backbone=backbone)
    assert isinstance(module, BalconyModule)
    assert module.trained_parameters == 654_348_288
    assert module.exits.depths == (15, 18, 21)


@pytest.fixture(scope="module")
def llama2_13b():
    llama = LlamaConfig(
        hidden_size=5120, intermediate_size=13824, num_hidden_layers=40, num_attention_heads=40,
        vocab_size=32_000, tie_word_embeddings=False,
    )  # fmt: skip
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(llama)


def test_sorted_fine_tuning_at_paper_scale_has_the_published_sub_models(llama2_13b):
    name = "soft_llama2_alpaca"
    config = composed(f"experiment={name}", "scale=paper", f"name={name}")
    assert config.model.optimisation.lr == 2e-5
    assert config.seed == 42
    module = instantiate(config.model, backbone=llama2_13b)
    sizes = {d.layers: round(d.parameters / 1e9, 1) for d in module.described()}
    assert sizes == {
        12: 4.1, 16: 5.4, 20: 6.7, 24: 7.9, 28: 9.2, 32: 10.5, 36: 11.7, 40: 13.0
    }  # fmt: skip


def test_classifier_tuning_at_paper_scale_adds_a_head_for_each_sub_model(llama2_13b):
    name = "ict_llama2_triviaqa"
    config = composed(f"experiment={name}", "scale=paper", f"name={name}")
    module = instantiate(config.model, backbone=llama2_13b)
    assert module.trained_parameters == 7 * 5120 * 32_000


@pytest.mark.parametrize("name", ["balcony_llama3", "layerskip_llama3", "soft_llama2_alpaca"])
def test_the_paper_scale_shards_layer_by_layer_and_clips_by_the_whole_norm(name):
    config = composed(f"experiment={name}", "scale=paper", f"name={name}")
    strategy = instantiate(config.trainer.strategy)
    assert isinstance(strategy, FSDPStrategy)
    policy = strategy.kwargs["auto_wrap_policy"]
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(LlamaConfig(num_hidden_layers=3, hidden_size=32))
    wrapped = policy._run_policy(model, set(), {})
    assert [type(module) for module in wrapped] == [LlamaDecoderLayer] * 3

    class Sharded:
        clipped = None

        def clip_grad_norm_(self, value):
            self.clipped = value

    class Module(MethodModule):
        evaluate = described = save_model = None

        def __init__(self):
            pass

        trainer = SimpleNamespace(strategy=strategy, model=Sharded())

    module = Module()
    # Lightning's own clipping refuses FSDP, which alone knows the norm over all shards.
    module.configure_gradient_clipping(None, config.trainer.gradient_clip_val, None)
    assert module.trainer.model.clipped == 1.0


def test_the_chosen_data_replace_the_experiments_own():
    config = composed(
        "experiment=balcony_llama3", "data=text", "data.path=mine.txt", "name=balcony_llama3"
    )
    assert config.data.name == "text"
    assert config.data.path == "mine.txt"
