"""Charts a second on one core: ``python benchmarks/charts.py``.

Takes in turns, several times over: whole records of the corpus (table, picture, marks, texts,
questions, summaries), their pictures alone, and as a measure of the machine bare bar charts that
matplotlib draws without any layout.
"""

import argparse
import io
import statistics
import time
from collections.abc import Callable

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from belvedere.charts.build import Recipe, make_chart, make_record


def bare(index: int) -> None:
    """A bar chart of six bars with a title, as matplotlib draws it by itself."""
    figure = Figure(figsize=(256 / 72, 192 / 72), dpi=72)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.bar(range(6), [index % 7 + i for i in range(6)])
    axes.set_title("A title")
    figure.savefig(io.BytesIO(), format="png")


def main() -> None:
    """Measure and print medians with their range, and the ratio to the bare chart."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--charts", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    recipe = Recipe()
    variants: dict[str, Callable[[int], object]] = {
        "record": lambda i: make_record(recipe, "train", i),
        "picture": lambda i: make_chart(recipe, "train", i),
        "bare": bare,
    }
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for draw in variants.values():
        draw(0)  # fonts are read once
    for repeat in range(args.repeats):
        for name, draw in variants.items():
            start = time.process_time()
            for i in range(args.charts):
                draw(repeat * args.charts + i)
            seconds[name].append((time.process_time() - start) / args.charts)
    for name, found in seconds.items():
        ratios = [one / base for one, base in zip(found, seconds["bare"], strict=True)]
        rates = sorted(1 / one for one in found)
        print(
            f"{name}: {statistics.median(rates):.1f} charts/s a core ({rates[0]:.1f} to "
            f"{rates[-1]:.1f}), {statistics.median(ratios):.2f} times the bare chart's time "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
