import itertools
from types import SimpleNamespace

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy, ModelParallelStrategy
from omegaconf import OmegaConf
from transformers import AutoModelForCausalLM, LlamaConfig
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from belvedere.balcony import BalconyModule
from belvedere.method import MethodModule
from belvedere.runs.charts import data_for
from belvedere.runs.entry import CONFIGS, register_resolvers
from belvedere.strategies import shares_weights
from belvedere.unichart.config import SIZES, ChartModelConfig
from belvedere.unichart.loading import Reader
from belvedere.unichart.model import ChartModel


def composed(*overrides):
    register_resolvers()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose("train", overrides=list(overrides))


def test_a_new_reader_learns_faster_than_a_trained_one():
    trained, new = (
        composed("experiment=unichart_pretrain"),
        composed("experiment=unichart_pretrain", "init=tiny"),
    )
    assert instantiate(trained.model.optimisation).lr == 5e-5
    assert instantiate(trained.model.optimisation).muon_lr is None
    assert instantiate(new.model.optimisation).lr == 1e-3
    assert instantiate(new.model.optimisation).muon_lr == 1e-2


SCALES = {
    "pretrain_backbone": ["laptop"],
    "unichart_pretrain": ["laptop", "workstation", "paper", "paper_960"],
    "unichart_soft": ["laptop", "workstation", "paper", "paper_960"],
}


def experiments(names="*"):
    for file in sorted((CONFIGS / "experiment").glob(f"{names}.yaml")):
        for scale in SCALES.get(file.stem, ["laptop", "workstation", "paper"]):
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


@pytest.mark.parametrize("name", ["layerskip_llama3", "soft_llama2_alpaca"])
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


@pytest.mark.parametrize(
    ("name", "scale", "chosen"),
    [
        ("soft_llama2_alpaca", "laptop", "+strategy"),
        ("unichart_pretrain", "paper", "+strategy"),
        ("soft_llama2_alpaca", "paper", "strategy"),  # that of a scale is replaced
    ],
)
def test_fsdp2_takes_the_place_of_any_strategy(name, scale, chosen):
    options = [f"scale={scale}", f"{chosen}@trainer.strategy=fsdp2", f"name={name}"]
    config = composed(f"experiment={name}", *options)
    strategy = instantiate(config.trainer.strategy)
    assert isinstance(strategy, ModelParallelStrategy)
    assert shares_weights(strategy)
    assert shares_weights(FSDPStrategy())
    assert not shares_weights(DDPStrategy())


def test_exits_and_a_backbone_of_another_dtype_are_shared_out_by_fsdp2():
    config = composed("experiment=balcony_llama3", "scale=paper", "name=balcony_llama3")
    assert config.backbone.dtype == "bfloat16"
    assert isinstance(instantiate(config.trainer.strategy), ModelParallelStrategy)


def test_the_chosen_data_replace_the_experiments_own():
    config = composed(
        "experiment=balcony_llama3", "data=text", "data.path=mine.txt", "name=balcony_llama3"
    )
    assert config.data.name == "text"
    assert config.data.path == "mine.txt"


@pytest.fixture(scope="module")
def chart_models():
    with torch.device("meta"):
        return {name: ChartModel(ChartModelConfig.named(name)) for name in SIZES}


@pytest.mark.parametrize(("experiment", "scale"), list(experiments("unichart_*")))
def test_all_parts_of_a_chart_experiment_are_made(experiment, scale, chart_models, words, tmp_path):
    config = composed(f"experiment={experiment}", f"scale={scale}", f"name={experiment}")
    assert config.run == "belvedere.runs.charts.train"
    model = chart_models["tiny" if scale == "laptop" else "base"]
    module = instantiate(config.model, model=model, tokenizer=words)
    assert module.early == ((1, 2, 3) if experiment == "unichart_soft" else ())
    from_scratch = {"unichart_pretrain", "unichart_soft"}
    # Only the charts of this project say where their letters are.
    assert bool(module.letters_weight) == (scale == "laptop" and experiment in from_scratch)
    config.data.path = str(tmp_path)
    data = data_for(model.config, words, config.data)
    assert data.letters == bool(module.letters_weight)
    if experiment not in from_scratch:
        assert data.name.startswith(experiment.removeprefix("unichart_"))
    assert isinstance(instantiate(config.reader), Reader)
    assert config.trainer.precision == ("auto" if scale == "laptop" else "bf16-mixed")
    trainer = instantiate(
        config.trainer, accelerator="cpu", devices=1, precision="bf16-mixed", logger=False
    )
    assert isinstance(trainer.strategy, DDPStrategy) == scale.startswith("paper")


def composed_stage(scale, experiment="unichart_pretrain"):
    return composed(f"experiment={experiment}", f"scale={scale}", f"name={experiment}")


def pictures_in_a_step(config):
    return config.data.batch_size * config.trainer.accumulate_grad_batches * config.needs_gpus


@pytest.mark.parametrize("scale", ["paper", "workstation"])
def test_charts_are_fine_tuned_by_the_published_recipe(scale):
    config = composed_stage(scale, "unichart_chartqa")
    assert config.reader.name == "ahmed-masry/unichart-base-960"
    assert pictures_in_a_step(config) == 8
    assert config.data.positions == 512
    assert config.trainer.gradient_clip_val == 1.0
    optimisation = instantiate(config.model.optimisation)
    steps = config.trainer.max_steps
    rates = [optimisation.lr * optimisation.multiplier(step, steps) for step in (0, 99, 100, steps)]
    assert rates == pytest.approx([5e-7, 5e-5, 5e-5, 0])
    assert steps == 40_000 or scale == "workstation"
    assert optimisation.weight_decay == 0  # then AdamW is Adam
    assert optimisation.betas == [0.9, 0.999]
    assert config.model.beams == 4


def test_charts_are_learned_in_two_stages():
    first, second = composed_stage("paper"), composed_stage("paper_960")
    assert first.reader.name == "naver-clova-ix/donut-base"
    assert first.reader.task_tokens
    assert [first.reader.image_size, second.reader.image_size] == [[512, 512], [960, 960]]
    assert second.reader.name == "runs/unichart_pretrain/latest"
    assert not second.reader.task_tokens  # the first stage's tokenizer has them
    assert [pictures_in_a_step(first), pictures_in_a_step(second)] == [160, 80]
    assert first.trainer.max_steps > second.trainer.max_steps


@pytest.mark.parametrize(
    "data", ["charts", "chartqa", "opencqa", "chart_to_text", "chart_to_table"]
)
def test_every_set_of_charts_can_be_evaluated(data):
    register_resolvers()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose(
            "evaluate", ["checkpoint=here", f"data={data}", "data.path=there", "name=evaluate"]
        )
    OmegaConf.to_container(config, resolve=True)
    assert config.data.name.startswith(data)
    assert ("beside" in config) == (data == "chartqa")
    if data == "chartqa":
        assert config.beside.path == "there"


@pytest.mark.parametrize("data", ["alpaca", "triviaqa", "instructions", "questions"])
def test_a_file_takes_the_place_of_a_set_of_the_hub_and_the_other_way_round(data):
    place = f"experiment=soft_llama2_alpaca data={data}".split()
    shipped, asked = (composed(*place).data[key] for key in ("path", "hub"))
    assert (shipped is None) != (asked is None)
    own = composed(*place, "data.path=FILE").data
    assert (own.path, own.hub) == ("FILE", None)
    if shipped:
        other = composed(*place, "data.hub=SET").data
        assert (other.path, other.hub) == (None, "SET")
