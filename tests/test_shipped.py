import hashlib
import json
from pathlib import Path

import pyarrow.parquet as pq

from belvedere.charts.build import Recipe, make_record
from belvedere.corpus import recall
from belvedere.submodels.loading import Backbone

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


def test_the_datasheet_names_the_weights():
    digest = hashlib.sha256((DATA / "backbone" / "model.safetensors").read_bytes()).hexdigest()
    assert digest in (DATA / "backbone" / "DATASHEET.md").read_text(encoding="utf-8")


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
