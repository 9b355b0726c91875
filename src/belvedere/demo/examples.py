"""Prompts and pictures to begin with: of the kinds that the shipped models have learned from."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from PIL import Image

from belvedere.charts.build import read_shard
from belvedere.charts.not_charts import draw_not_chart
from belvedere.data.pictures import open_picture
from belvedere.data.records import unreadable

PROMPTS = {
    "facts": "The capital of France is Paris. People in France pay with the",
    "an element": "In the periodic table, nitrogen is in row 2.",
    "a question": "Question: What is the chemical symbol of iron?\nAnswer:",
    "an instruction": (
        "### Instruction:\nSort these numbers from smallest to largest.\n\n"
        "### Input:\n41, 7, 23\n\n### Response:\n"
    ),
    "a story": "Tom is older than Nora. Zoe is older than Tom. So",
    "numbers": "9 times 10 is 90. 67 is a prime number. The number after 93 is",
}
"""By what they are."""
CHARTS = 7
NO_CHART, SIZE = "shapes", (240, 180)


@dataclass(frozen=True)
class ChartExample:
    """A picture to choose.

    Attributes:
        picture: RGB.
        kind: of chart.
        question: that may be asked about it.
    """

    picture: Image.Image
    kind: str
    question: str


def chart_examples(file: Path) -> Iterator[ChartExample]:
    """The first `CHARTS` charts of different kinds in a file, and at last a picture of none.

    Args:
        file: of `belvedere.charts.build`.

    Raises:
        BadInput: the file cannot be read or is no such file.
    """
    try:
        charts = read_shard(file)
    except OSError as error:
        raise unreadable(file, error) from error
    seen: set[str] = set()
    for row, kind in enumerate(charts["kind"].to_pylist()):
        if kind in seen or len(seen) == CHARTS:
            continue
        seen.add(kind)
        record = charts.slice(row, 1).to_pylist()[0]
        asked = record["questions"] or [record["open_question"]]
        picture = open_picture(record["image"]["bytes"], f"{file}[{row}]")
        yield ChartExample(picture, kind, asked[0]["text"])
    nothing = open_picture(draw_not_chart(NO_CHART, SIZE, Random(0)))
    yield ChartExample(nothing, "no chart", "What is shown here?")
