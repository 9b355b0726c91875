import hashlib
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from belvedere.charts.build import Recipe, make_record
from belvedere.corpus import recall
from belvedere.data.chart_corpus import ChartCorpusDataModule
from belvedere.metrics.chart_tasks import task_scores
from belvedere.optimisation import Optimisation
from belvedere.submodels.loading import Backbone
from belvedere.unichart.loading import Reader
from belvedere.unichart.module import UniChartModule

DATA = Path(__file__).resolve().parents[1] / "data"


def test_what_ships_stays_small():
    assert sum(f.stat().st_size for f in DATA.rglob("*") if f.is_file()) < 60e6


def test_the_backbone_recalls_facts_that_no_question_was_trained_on():
    backbone = Backbone(str(DATA / "backbone"))
    records = (DATA / "questions" / "test.jsonl").read_text(encoding="utf-8").splitlines()[:64]
    items = [recall.prompt_of(json.loads(record)) for record in records]
    written = recall.answers(backbone.load(), backbone.tokenizer(), [p for p, _, _ in items])
    right = [
        text.split("\n\nQuestion:")[0].strip() in accepted
        for text, (_, accepted, _) in zip(written, items, strict=True)
    ]
    assert sum(right) > 0.8 * len(right)


@pytest.mark.parametrize("folder", ["backbone", "reader"])
def test_the_datasheet_names_the_weights(folder):
    digest = hashlib.sha256((DATA / folder / "model.safetensors").read_bytes()).hexdigest()
    assert digest in (DATA / folder / "DATASHEET.md").read_text(encoding="utf-8")


def test_the_reader_reads_texts_of_charts_that_it_has_not_seen():
    reader = Reader(str(DATA / "reader"))
    tokenizer = reader.tokenizer()
    model = reader.load(len(tokenizer))
    assert (DATA / "reader" / "model.safetensors").stat().st_size < 25e6
    charts = ChartCorpusDataModule(
        tokenizer, str(DATA / "charts"), {"texts": 1}, name="charts", eval_charts=3,
        image_size=model.config.image_size, positions=model.config.decoder.max_positions,
    )  # fmt: skip
    charts.setup("test")
    module = UniChartModule(model, tokenizer, Optimisation(), beams=1, new_tokens=320)
    with torch.no_grad():
        answered = module.answer(next(iter(charts.test_dataloader())))
    assert task_scores(answered)["texts"]["texts_f1"] > 0.3


def test_the_charts_are_those_that_the_datasheets_command_makes():
    for split, count in (("train", 2000), ("validation", 200), ("test", 400), ("test_unseen", 400)):
        table = pq.read_table(DATA / "charts" / f"{split}-00000.parquet")
        assert table.num_rows == count
        last = table.slice(count - 1).to_pylist()[0]
        made = make_record(Recipe(), split, count - 1)
        for drawn in (made, last):  # fonts and encoders may differ a little between machines
            for name in ("image", "marks", "texts", "width", "height"):
                drawn.pop(name)
        assert last == made
