"""Pretraining on UniChart's published rows in place of the corpus, from the command line."""

import json

import datasets
import pytest
import torch
from chart_sets import draw, write
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from belvedere.data.unichart_rows import UniChartRowsDataModule
from belvedere.runs.charts import data_for
from belvedere.runs.entry import CONFIGS, register_resolvers
from belvedere.unichart.config import ChartModelConfig
from belvedere.unichart.model import ChartModel


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Twenty pictures with four rows each."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    answers = {
        "<extract_data_table> <s_answer>": "Year | Share & 2019 | 41",
        "<summarize_chart> <s_answer>": "The share is 41.",
        "<chartqa> What is the share? <s_answer>": "41",
        "<opencqa> What of bread? <s_answer>": "It is of 2019.",
    }
    rows = [
        {"imgname": f"{number}.png", "query": query, "label": label}
        for number in range(20) for query, label in answers.items()
    ]  # fmt: skip
    for number in range(20):
        draw(tmp_path / f"images/{number}.png", 10 * number)
    write(tmp_path / "rows.json", rows)
    return [
        "data=unichart_rows", f"data.path={tmp_path / 'rows.json'}",
        f"data.images={tmp_path / 'images'}", "data.held_out=0.5",
    ]  # fmt: skip


PLAIN = ["data.letters=false", "model.letters_weight=0"]


def test_the_published_rows_are_learned_and_reported(run_reader, published, reader_folder):
    folder = run_reader("unichart_pretrain", f"init={reader_folder}", *published, *PLAIN)
    report = json.loads((folder / "report.json").read_text())
    assert report["steps"] == 2
    assert report["images_seen"] == 4
    assert set(report["tasks"]) == {"table", "reasoning", "open", "summary"}
    data = report["data"]
    assert data["name"] == "unichart_rows"
    assert sum(data[key] for key in ("charts", "validation_charts", "test_charts")) == 20
    assert data["rows"]["train"] == dict.fromkeys(report["tasks"], data["charts"])
    assert report["tasks"]["table"]["n"] == data["test_charts"]
    assert f"unichart_rows, {data['charts']} training charts" in (folder / "report.md").read_text()


def test_its_reader_can_be_evaluated_on_them(evaluate, published, reader_folder):
    folder = evaluate(str(reader_folder), "unichart_rows", *published[1:])
    report = json.loads((folder / "report.json").read_text())
    assert set(report["splits"]) == {"test"}
    assert report["baselines"]["typical answer"]["reasoning"]["relaxed_accuracy"] == 1


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ([], "error: data.letters: published charts do not say where their letters are; set"),
        ([*PLAIN, "data.images=null"], "error: data.images: it is not said where the pictures"),
        ([*PLAIN, "data.held_out=0"], "rows.json: there are no rows with an answer for the vali"),
    ],
)
def test_bad_input_is_one_line(run_reader, published, reader_folder, capsys, overrides, line):
    with pytest.raises(SystemExit) as ended:
        run_reader("unichart_pretrain", f"init={reader_folder}", *published, *overrides)
    assert ended.value.code == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert line in error


@pytest.mark.parametrize("scale", ["paper", "paper_960", "workstation"])
def test_every_scale_takes_them_in_place_of_its_corpus(scale, words, tmp_path):
    register_resolvers()
    common = ["experiment=unichart_pretrain", f"scale={scale}", "name=unichart_pretrain"]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        corpus = compose("train", common)
        config = compose("train", [*common, "data=unichart_rows", f"data.images={tmp_path}"])
    assert corpus.data.path == "runs/charts"
    assert config.data.path == "ahmed-masry/unichart-pretrain-data"
    for key in ("batch_size", "eval_batch_size", "eval_charts", "num_workers"):
        assert config.data[key] == corpus.data[key]
    assert config.trainer == corpus.trainer
    assert config.init == corpus.init
    with torch.device("meta"):
        model = ChartModel(ChartModelConfig.named("base"))
    data = data_for(model.config, words, config.data)
    assert isinstance(data, UniChartRowsDataModule)
    assert data.image_size == tuple(model.config.image_size)
    module = instantiate(config.model, model=model, tokenizer=words)
    assert not module.letters_weight
