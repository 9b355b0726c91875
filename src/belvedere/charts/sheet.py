"""Contact sheets of charts, to be looked at: ``python -m belvedere.charts.sheet sheet.png``.

With ``--boxes`` the marks and texts are framed where the records say they are.
"""

import argparse
import io
from pathlib import Path

from PIL import Image, ImageDraw

from belvedere.charts.build import Recipe, at_least_one, make_chart
from belvedere.charts.rendering import Chart
from belvedere.errors import BadInput, told_in_one_line

GAP = 6
MARK, TEXT, CHARACTER = "#ff00ff", "#00a000", "#ff0000"


def picture(chart: Chart, boxes: bool, zoom: int = 1) -> Image.Image:
    """A chart's picture, with frames around its marks and texts if wanted."""
    image = Image.open(io.BytesIO(chart.picture)).convert("RGB")
    image = image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST)
    if not boxes:
        return image
    pen = ImageDraw.Draw(image)
    for mark in chart.layout.marks:
        pen.rectangle([v * zoom for v in mark.box], outline=MARK)
        for x, y in mark.points:
            pen.ellipse([(x - 1) * zoom, (y - 1) * zoom, (x + 1) * zoom, (y + 1) * zoom], fill=MARK)
    for text in chart.layout.texts:
        pen.rectangle([v * zoom for v in text.box], outline=TEXT)
        pen.point([(x * zoom, y * zoom) for x, y in text.characters], fill=CHARACTER)
    return image


def sheet(pictures: list[Image.Image], columns: int) -> Image.Image:
    """Pictures in a grid on grey."""
    width = max(one.width for one in pictures) + GAP
    height = max(one.height for one in pictures) + GAP
    rows = -(-len(pictures) // columns)
    page = Image.new("RGB", (columns * width + GAP, rows * height + GAP), "#9a9a9a")
    for i, one in enumerate(pictures):
        page.paste(one, (GAP + i % columns * width, GAP + i // columns * height))
    return page


@told_in_one_line()
def main() -> None:
    """Draw charts and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--split", default="train", help="test_unseen shows the held-out looks")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=at_least_one, default=48)
    parser.add_argument("--columns", type=at_least_one, default=6)
    parser.add_argument("--zoom", type=at_least_one, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--boxes", action="store_true")
    args = parser.parse_args()
    kind = Image.registered_extensions().get(args.output.suffix.lower())
    if kind not in Image.SAVE:  # of some kinds pictures are only read
        raise BadInput(
            "no format of pictures is called that", where=str(args.output), remedy="name a .png"
        )
    charts = [
        make_chart(Recipe(seed=args.seed), args.split, args.first + i)[0] for i in range(args.count)
    ]
    pictures = [picture(chart, args.boxes, args.zoom) for chart in charts]
    sheet(pictures, args.columns).save(args.output)


if __name__ == "__main__":
    main()
