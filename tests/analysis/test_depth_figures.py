"""The figures of the recorded results: nothing is cut off, and labels leave one another room."""

from collections.abc import Iterator
from itertools import combinations

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from belvedere.analysis import agreement, depth_figures, exit_layers, sorted_runs, tokens
from belvedere.analysis.place import RECORDED, runs_of
from belvedere.runs.compare import merge
from belvedere.runs.entry import PROJECT
from belvedere.runs.figures import draw_heat_map


def figures_of_balcony() -> Iterator[tuple[str, Figure]]:
    runs = runs_of(PROJECT / RECORDED / "balcony")
    measured = tokens.with_exits(runs)
    test = tokens.tokens_of(measured)
    yield "pareto", depth_figures.draw_pareto(merge(runs))
    yield "kinds", depth_figures.draw_kinds(agreement.by_kind(test))
    yield (
        "groups",
        depth_figures.draw_groups(
            agreement.by_position(test), agreement.by_rank(test), agreement.by_sureness(test)
        ),
    )
    yield "kl", depth_figures.draw_kl(agreement.kl_by_sureness(test))
    yield "outcomes", depth_figures.draw_outcomes(agreement.repairs(test), "share")
    yield "exits", depth_figures.draw_exit_layers(exit_layers.read_exits(measured))


def figures_of_soft() -> Iterator[tuple[str, Figure]]:
    place = PROJECT / RECORDED / "soft"
    runs = runs_of(place)
    exact = sorted_runs.grid(runs, "exact_match")
    yield "grid", depth_figures.draw_grid(exact, "exact match")
    yield "groups", depth_figures.draw_grid(sorted_runs.groups(runs, "soft"), "exact match")
    yield "positions", depth_figures.draw_positions(sorted_runs.positions_by_submodel(runs))
    answers = sorted_runs.answers_of(place, runs)
    scores = answers.scores["soft", "sft"]
    yield "judged", draw_heat_map(scores, "soft", "sft", answers.judge)


@pytest.mark.parametrize("figures", [figures_of_balcony, figures_of_soft])
def test_no_text_is_cut_off_or_lies_on_another(figures):
    for name, figure in figures():
        FigureCanvasAgg(figure).draw()
        beyond = outside(figure)
        boxes = [
            (text.get_text(), text.get_window_extent())
            for text in figure.findobj(Text)
            if text.get_visible() and text.get_text().strip() and text not in beyond
        ]
        for label, box in boxes:
            inside = box.x0 >= 0 and box.y0 >= 0
            inside &= box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1
            assert inside, f"{name}: {label!r} is cut off"
        for (one, box), (other, rival) in combinations(boxes, 2):
            # Points that lie close have numbers that may touch: only whole words are looked at.
            if len(one) > 2 and len(other) > 2:
                assert not overlap(box, rival), f"{name}: {one!r} lies on {other!r}"


def outside(figure: Figure) -> set[Text]:
    """Labels of ticks beyond the limits of their axis: they are made, but not drawn."""
    found = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if not low <= tick.get_loc() <= high:
                    found |= {tick.label1, tick.label2}
    return found


def overlap(one, other) -> bool:
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return width > 1 and height > 1


def test_trained_and_raw_exits_of_a_depth_differ_in_more_than_colour():
    runs = runs_of(PROJECT / RECORDED / "balcony")
    found = agreement.by_kind(tokens.tokens_of(tokens.with_exits(runs)))
    styles = depth_figures.styles(found)
    look = [(s["marker"], s["markerfacecolor"] == "white") for s in styles.values()]
    assert len(set(look)) == len(look)
