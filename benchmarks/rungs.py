"""The smallest things that a chart reader has to read: one printed number, one label and value.

    python benchmarks/rungs.py number --steps 3000
    python benchmarks/rungs.py pair --init RUN --steps 3000

Draws small pictures in the format of the chart corpus (RUNS/pictures), trains a reader on them by
the suite's own command, from random weights or from INIT, and prints the share of 500 unseen
pictures whose texts are read letter for letter. Numbers and labels of the test pictures are in no
training picture.
"""

import argparse
import io
import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from belvedere.charts.build import LEVELS, write_split
from belvedere.charts.fonts import font_file
from belvedere.charts.not_charts import PAGE_FAMILIES
from belvedere.charts.tables import linearise
from belvedere.charts.truth import numbers

ROOT = Path(__file__).resolve().parents[1]
FONTS = [str(font_file(name)) for name in PAGE_FAMILIES]
PAGES = {"number": (32, 96), "pair": (48, 128)}
"""(height, width) of the pictures in pixels."""
COUNTS = {"train": 20_000, "validation": 200, "test": 500}


def number_of(rng: Random) -> str:
    """A number as charts print them: a year, a count, a share, a decimal."""
    kind = rng.randrange(4)
    if kind == 0:
        return str(rng.randint(0, 9999))
    if kind == 1:
        return f"{rng.randint(1000, 999_999):,}"
    if kind == 2:
        return f"{rng.randint(0, 1000) / 10:g}%"
    return f"{rng.uniform(-1, 1) * 10 ** rng.randint(1, 3):.{rng.randint(1, 2)}f}"


def labels() -> list[str]:
    """Names of the shipped facts: countries, cities, elements."""
    names = {one["name"] for rows in numbers().values() for one in rows}
    return sorted(name for name in names if len(name) <= 14)


def texts_of(rung: str, names: list[str], rng: Random) -> list[str]:
    """What is printed in one picture."""
    number = number_of(rng)
    return [number] if rung == "number" else [rng.choice(names), number]


def record(rung: str, name: str, words: list[str], rng: Random) -> dict[str, Any]:
    """A picture with the words, one above or beside the other, as a row of the chart corpus."""
    height, width = PAGES[rung]
    ground, ink = rng.randint(225, 255), rng.randint(0, 90)
    picture = Image.new("RGB", (width, height), (ground,) * 3)
    draw = ImageDraw.Draw(picture)
    texts = []
    for row, text in enumerate(words):
        font = ImageFont.truetype(rng.choice(FONTS), rng.randint(9, 12))
        band = height / len(words)
        x = rng.uniform(2, max(width - draw.textlength(text, font) - 2, 2))
        y = row * band + rng.uniform(0, max(band - 15, 0))
        draw.text((x, y), text, (ink,) * 3, font)
        left, top, right, bottom = draw.textbbox((x, y), text, font)
        starts = [x + draw.textlength(text[:i], font) for i in range(len(text) + 1)]
        middles = [[(a + b) / 2, (top + bottom) / 2] for a, b in pairwise(starts)]
        texts.append(
            {"role": "title", "text": text, "box": [left, top, right, bottom],
             "characters": middles}
        )  # fmt: skip
    found = io.BytesIO()
    picture.save(found, "PNG")
    none = {"text": "", "answer": "", "family": "", "template": ""}
    return {
        "id": name, "image": {"bytes": found.getvalue(), "path": f"{name}.png"}, "kind": rung,
        "theme": "", "topic": "", "title": "", "unit": "", "width": width, "height": height,
        "table": linearise([["", "value"], [words[0], words[-1]]]), "marks": [], "texts": texts,
        "questions": [], "open_question": none, "summaries": dict.fromkeys(LEVELS, ""),
    }  # fmt: skip


def draw_pictures(rung: str, folder: Path, counts: Mapping[str, int], seed: int) -> None:
    """The splits, of which no two share a number or a label."""
    names = labels()
    Random(seed).shuffle(names)
    used: set[str] = set()
    names_of = {
        "test": names[::10],
        "validation": names[1::10],
        "train": [name for i, name in enumerate(names) if i % 10 > 1],
    }

    def rows(split: str) -> Iterator[dict[str, Any]]:
        rng = Random(f"{seed}/{split}")
        for i in range(counts[split]):
            while True:
                words = texts_of(rung, names_of[split], rng)
                if words[-1] not in used:
                    break
            if split != "train":
                used.add(words[-1])
            yield record(rung, f"{split}-{i:06d}", words, rng)

    folder.mkdir(parents=True, exist_ok=True)
    for split in names_of:  # the training pictures last: they leave out what the others have
        write_split(folder, split, rows(split))


def main() -> None:
    """Draw, train, and say what is read."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rung", choices=PAGES)
    parser.add_argument("--init", default="tiny", help="tiny (random weights), or a run")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--pictures", type=int, default=COUNTS["train"], help="of the training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "rungs")
    args, options = parser.parse_known_args()
    pictures = args.runs / "pictures" / args.rung
    draw_pictures(args.rung, pictures, {**COUNTS, "train": args.pictures}, args.seed)
    height, width = PAGES[args.rung]
    run = args.runs / args.rung
    tasks = "{texts: 1, table: 0, elements: 0, reasoning: 0, open: 0, summary: 0}"
    command = [
        sys.executable, "train.py", "experiment=unichart_pretrain", f"init={args.init}",
        f"reader.image_size=[{height},{width}]", f"data.path={pictures}", f"data.tasks={tasks}",
        "data.tasks_per_chart=1", "data.batch_size=32", "data.eval_charts=500",
        "model.optimisation.lr=1e-3", "model.optimisation.muon_lr=1e-2",
        "model.optimisation.warmup=0.03", "trainer.precision=bf16-mixed",
        f"trainer.max_steps={args.steps}", f"trainer.val_check_interval={args.steps // 10}",
        f"checkpoint_every={args.steps // 10}", f"seed={args.seed}", f"run_dir={run}", *options,
    ]  # fmt: skip
    subprocess.run(command, cwd=ROOT, check=True)
    print((run / "report.md").read_text())


if __name__ == "__main__":
    main()
