"""Small sets of charts in the layouts of the published ones, for the tests that read them."""

import json
from pathlib import Path
from typing import Any

from PIL import Image

SPLITS = ("train", "val", "test")


def draw(file: Path, shade: int = 0) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (30, 20), (shade, 80, 160)).save(file)


def write(file: Path, content: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def write_chartqa(folder: Path) -> Path:
    """Two pictures in each split, one with a table; people asked three questions, a program one."""
    for split in SPLITS:
        place = folder / split
        for i in (0, 1):
            draw(place / "png" / f"{i}.png", 100 * i)
        write(
            place / f"{split}_human.json",
            [
                {"imgname": "0.png", "query": "What is shown?", "label": "Bread"},
                {"imgname": "1.png", "query": "Which years?", "label": ["2019", "2020"]},
                {"imgname": "0.png", "query": "How much? ", "label": "41"},
            ],
        )
        write(
            place / f"{split}_augmented.json",
            [{"imgname": "0.png", "query": "In which year?", "label": "2019"}],
        )
        write(place / "tables" / "0.csv", 'Year,"Share, per cent"\n2019,41\n\n2020,a|b & c\n')
    return folder


def write_opencqa(folder: Path) -> Path:
    """One picture with one question that is answered, in each split."""
    for split in SPLITS:
        row = {"imgname": "7.png", "title": "T", "question": "Compare both?"}
        answers = ({"abstractive_answer": "One is\nlarger ."}, {"abstractive_answer": " "})
        write(folder / f"{split}.json", [row | answer for answer in answers])
    draw(folder / "png/7.png")
    return folder


def write_chart_to_text(folder: Path) -> Path:
    """The release's layout of both sources: a simple and a complex chart with a caption in each."""
    for source in ("pew", "statista"):
        place = folder / f"{source}_dataset/dataset"
        for split in SPLITS:
            lines = "File_No\ntwo_col-1.txt\nmulti_col-1.txt\nmulti_col-2.txt\n"
            write(place / f"dataset_split/{split}_index_mapping.csv", lines)
        draw(place / "imgs/1.png")
        write(place / "captions/1.txt", f"A caption of {source} .\n")
        for i in (1, 2):
            draw(place / f"multiColumn/imgs/{i}.png")
        write(place / "multiColumn/captions/1.txt", "Two\nlines .")
    return folder
