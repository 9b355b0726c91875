"""What TensorBoard shows: pages of curves, pictures that go along, and the table of runs."""

import json
import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2

from belvedere.charts.colours import clearest_on
from belvedere.runs.chart_figures import ReadPage, draw_elements
from belvedere.runs.dashboard import leaving_depths
from belvedere.runs.figures import draw_courses
from belvedere.runs.token_figures import COLUMNS, Token, colours_of, draw_tokens


def events_of(folder, **guidance):
    events = EventAccumulator(str(folder), size_guidance={"images": 0, **guidance})
    events.Reload()
    return events


def charts_of(events):
    """The charts of the page of custom scalars: for each its title and the tags it asks for."""
    (event,) = events.Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout()
    layout.ParseFromString(event.tensor_proto.string_val[0])
    return {
        f"{category.title}: {chart.title}": list(chart.multiline.tag)
        for category in layout.category
        for chart in category.chart
    }


def curves_are_there(events):
    """Whether every chart of the page has at least one curve."""
    scalars = events.Tags()["scalars"]
    for title, patterns in charts_of(events).items():
        assert any(re.match(f"({pattern})$", tag) for pattern in patterns for tag in scalars), title


@pytest.fixture
def questions(tmp_path):
    """A file of questions with answers, as training options."""
    file = tmp_path / "questions.jsonl"
    record = {"question_id": "q", "answer": {"value": "Paris", "aliases": ["Paris"]}}
    lines = [json.dumps(record | {"question": f"What is the capital {n}?"}) for n in range(20)]
    file.write_text("\n".join(lines))
    return ["data=questions", f"data.path={file}", "data.held_out=0.4", "data.new_tokens=4"]


@pytest.mark.parametrize(
    ("experiment", "depths"),
    [
        ("balcony_llama3", "model.exits.depths=[1,3]"),
        ("layerskip_llama3", "model.depths=[1,3]"),
        ("soft_llama2_triviaqa", "model.depths=[1,3,4]"),
    ],
)
def test_a_run_of_sub_models_at_a_glance(run, questions, experiment, depths):
    data = questions if "triviaqa" in experiment else None
    folder = run(experiment, depths, "trainer.log_every_n_steps=1", data=data)
    events = events_of(folder)
    curves_are_there(events)
    assert events.Scalars("train/memory_gib")[-1].value > 0.1
    images = events.Tags()["images"]
    for name in (
        "depth_of_each_token", "quality_against_depth", "quality_against_speed", "learning_curves",
    ):  # fmt: skip
        assert len(events.Images(f"validation/{name}")) == 2, "one for each validation"
    assert {"test/quality_against_depth", "test/quality_against_speed"} <= set(images)
    (samples,) = events.Tensors("samples/text_summary")
    text = samples.tensor_proto.string_val[0].decode()
    assert text.startswith("**the capital**\n\n- *")
    assert "- *full*: " in text


def test_a_run_of_a_chart_reader_at_a_glance(run_reader):
    folder = run_reader("unichart_pretrain", "trainer.val_check_interval=2")
    drawn = {file.name for file in (folder / "figures").iterdir()}
    assert drawn >= {f"{name}.{form}" for name in ("charts", "elements", "learning_curves")
                     for form in ("png", "pdf")}  # fmt: skip
    events = events_of(folder)
    curves_are_there(events)
    assert {"charts", "elements", "validation/learning_curves"} <= set(events.Tags()["images"])
    assert 0 <= events.Scalars("outcome/table/rms_f1")[0].value <= 100
    told = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    for name in (b"experiment", b"model.optimisation.lr", b"data.batch_size", b"init"):
        assert name in told
    assert b"log_every_n_steps" not in told


def test_what_is_not_learned_waits_for_no_exit():
    depths = leaving_depths({2: torch.tensor([1, 2, 3]), 5: torch.tensor([1, 4, 3])})
    assert depths.tolist() == [2, 5, 2]
    shown = [Token("known", None), *(Token(" and", depth) for depth in depths.tolist())]
    labels = [
        one.get_text() for one in draw_tokens(shown, {2: "exit 2", 5: "full"}).legends[0].texts
    ]
    assert labels == ["exit 2: 67%", "full: 33%", "not learned"]


def test_no_letter_of_a_text_lies_outside_of_the_picture():
    words = [Token(text, 2) for text in [" word"] * 60 + ["$x_1$", "\n\n", "<b>", "letters" * 20]]
    figure = draw_tokens(words, {2: "exit 2"})
    figure.canvas.draw()
    inside = figure.bbox
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        assert inside.x0 <= box.x0
        assert box.x1 <= inside.x1 + 1
        assert inside.y0 <= box.y0
        assert box.y1 <= inside.y1
    written = "".join(text.get_text() for text in figure.axes[0].texts)
    assert written.startswith(" word" * 60 + "$x_1$⏎⏎<b>" + ("letters" * 20)[:COLUMNS])


def test_deeper_is_darker_and_letters_are_seen():
    colours = colours_of([2, 4, 6, 10])
    light = [float(np.dot(to_rgb(colour), (0.299, 0.587, 0.114))) for colour in colours.values()]
    assert light == sorted(light, reverse=True)
    assert min(a - b for a, b in pairwise(light)) > 0.12, "told apart in grey"
    assert clearest_on(colours[2]) == "#000000"
    assert clearest_on(colours[10]) == "#ffffff"


def test_elements_are_drawn_where_they_are():
    picture = np.full((100, 200, 3), 255, np.uint8)
    page = ReadPage(
        picture, "bar | Spain | 3 | 10 20 30 90", "point | Spain | 3 | 40 50 42 52", 0.5
    )
    (axes, *_) = draw_elements([page]).axes
    (box,) = axes.patches
    assert (*box.get_xy(), box.get_width(), box.get_height()) == pytest.approx((20, 20, 40, 70))
    (point,) = axes.lines
    assert [float(value[0]) for value in point.get_data()] == pytest.approx([82, 51])
    assert axes.get_title() == "1 there, 1 read"


def test_each_curve_of_a_training_has_a_colour_and_a_name():
    curves = {
        "train/kl_to_full/exit_10": {10: 0.5, 20: 0.2},
        "train/kl_to_full/exit_2": {20: 0.9, 10: 2.0},
        "validation/agreement/exit_2": {20: 0.8},
        "validation/agreement/full": {20: 1.0},
        "validation/kl_to_full/full": {20: 0.0},
    }
    figure = draw_courses(curves)
    assert figure
    training, agreement = figure.axes
    assert [line.get_label() for line in training.lines] == ["exit 2", "exit 10"]
    assert [list(axis) for axis in training.lines[0].get_data()] == [[10, 20], [2.0, 0.9]]
    assert agreement.get_title() == "held-out agreement with the full model"
    assert [text.get_text() for text in figure.legends[0].texts] == ["exit 2", "exit 10", "full"]
    colours = {line.get_label(): line.get_color() for line in training.lines + agreement.lines}
    assert len(set(colours.values())) == 3
    assert draw_courses({"validation/kl_to_full/full": {20: 0.0}}) is None
    odd = draw_courses({**curves, "validation/loss/full": {20: 1.0}})
    assert odd
    assert [axes.axison for axes in odd.axes] == [True, True, True, False], "no empty frame"
