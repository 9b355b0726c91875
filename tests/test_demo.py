"""The page to try it: what its tabs do with the shipped weights, and the page in use."""

import re
import runpy
import sys
import urllib.request
from html import unescape

import pytest
import torch

from belvedere.charts.colours import contrast
from belvedere.demo.__main__ import BACKBONE, checkpoint_of
from belvedere.demo.asking import ChartAsker, table_of
from belvedere.demo.examples import CHARTS, chart_examples
from belvedere.demo.marks import framed
from belvedere.demo.prompting import Prompter, alike
from belvedere.demo.tokens import colours_of
from belvedere.errors import BAD_INPUT
from belvedere.metrics.marks import ReadMark
from belvedere.runs.entry import PROJECT
from belvedere.submodels.checkpoints import load_checkpoint
from belvedere.submodels.engine.calibration import Calibration

TESTS = PROJECT / "data" / "charts" / "test-00000.parquet"
PROMPT = "The capital of France is"


@pytest.fixture(scope="module")
def prompter():
    return Prompter(load_checkpoint(str(BACKBONE)), "data/backbone", seed=0)


@pytest.fixture(scope="module")
def asker():
    return ChartAsker(str(PROJECT / "data" / "reader"), torch.device("cpu"))


@pytest.fixture(scope="module")
def examples():
    return list(chart_examples(TESTS))


def text_in(html):
    """The text that a pane shows for a prompt and its answer."""
    return unescape(re.sub(r"<[^>]*>", "", html.partition('<div class="written">')[2]))


def numbers_in(html):
    found = re.findall(r"<b>([^<]*)</b><span>([^<]*)</span>", html)
    return {unescape(what): number for number, what in found}


def last_of(
    prompter, way="full", prompt=PROMPT, exit=None, exits=(), threshold=0.5, new=12, warm=0
):
    *_, found = prompter.write(prompt, way, exit, exits, threshold, new, warm)
    return found


def test_each_way_writes_beside_the_full_model(prompter):
    full, note = last_of(prompter)
    assert "Paris" in text_in(full)
    assert "this is the full model" in note
    chosen, beside = last_of(prompter, "speculative")
    assert text_in(chosen) == text_in(beside) == text_in(full)
    told = numbers_in(chosen)
    assert told["tokens as the full model's"] == "all"
    assert told["the full model's speed"].endswith("x")
    early, _ = last_of(prompter, "exit", exit=1)
    assert 'title="exit 1"' in early
    assert 'title="full model"' not in early


def test_the_threshold_decides_how_deep_tokens_go(prompter):
    all_early, _ = last_of(prompter, "confident", exits=[2, 4], threshold=0.0)
    assert 'title="exit 2"' in all_early
    assert "exit 2 <b>100%</b>" in all_early
    none_early, beside = last_of(prompter, "confident", exits=[2], threshold=1.0)
    assert "full model <b>100%</b>" in none_early
    assert text_in(none_early) == text_in(beside)


def test_an_answer_is_shown_while_it_grows(prompter):
    lengths = [
        len(text_in(shown)) for shown, _ in prompter.write(PROMPT, "full", None, (), 0, 60, 0)
    ]
    assert lengths == sorted(lengths)
    assert lengths[-1] > len(PROMPT)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"prompt": " \n"}, "there is no prompt; type one, or choose an example"),
        ({"prompt": "a b " * 900}, "exceed the context of 1024; shorten the prompt"),
        ({"way": "confident"}, "no exit is chosen to be left at"),
        ({"way": "confident", "exits": [2], "threshold": 1.5}, "a threshold of 1.5; give 0 to 1"),
        ({"way": "exit", "exit": 99}, "the checkpoint has no exit 99"),
        ({"warm": -1.0}, "temperature: -1.0 cannot be"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_said_on_the_page(prompter, given, says):
    shown, beside = last_of(prompter, **given)
    assert 'role="alert"' in shown
    assert says in shown
    assert not beside


def test_text_is_shown_as_text(prompter):
    shown, _ = last_of(prompter, prompt="<b>x</b> <script>alert(1)</script>")
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown


def test_the_page_says_what_writes(prompter, tmp_path, monkeypatch):
    assert "python train.py experiment=balcony_llama3" in prompter.told()
    assert prompter.asked == [2, 4, 6, 8]
    monkeypatch.chdir(tmp_path)
    assert checkpoint_of(None) == str(BACKBONE)
    assert checkpoint_of("elsewhere") == "elsewhere"


def test_calibrated_thresholds_are_the_first_choice(backbone_folder):
    thresholds = {1: 2.0, 2: 0.7, 3: 0.8}
    Calibration(0.98, thresholds, dict.fromkeys(thresholds, 0.1), 0.98, 10).save(backbone_folder)
    try:
        prompter = Prompter(load_checkpoint(str(backbone_folder)), "folder", seed=0)
    finally:
        (backbone_folder / "thresholds.json").unlink()
    assert prompter.asked == [2, 3]
    assert prompter.threshold == 0.8


def test_text_can_be_read_on_the_colour_of_every_depth():
    for stops in ([4], [2, 4], [2, 4, 6, 10], list(range(1, 33))):
        colours = colours_of(stops)
        assert list(colours) == stops
        assert len({colour.ground for colour in colours.values()}) == len(stops)
        assert min(contrast(one.ground, one.text) for one in colours.values()) >= 4.5
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


def test_tokens_are_compared_from_the_first_on():
    assert alike([1, 2, 3], [1, 2, 3]) == "all"
    assert alike([1, 2, 3], [1, 5, 3]) == "1 of 3"
    assert alike([1, 2], [1, 2, 3]) == "2 of 2"


def test_a_chart_is_read_marked_and_asked_about(asker, examples):
    assert len(examples) == CHARTS + 1
    one = examples[0]
    (first, *_), *_, last = asker.read(one.picture)
    page, table, elements = last
    assert table.count("<tr>") == 3
    assert "Norway" in table
    assert "<td>bar</td><td>Norway</td>" in elements
    assert "confidence" in table
    assert first.size == page.size
    assert first.tobytes() != page.tobytes()
    *_, answer = asker.answer(one.picture, "short answer", one.question)
    assert 'class="answer"' in answer
    assert "confidence" in answer


def test_a_picture_without_a_chart_is_called_so(asker, examples):
    *_, (_, table, elements) = asker.read(examples[-1].picture)
    *_, answer = asker.answer(examples[-1].picture, "in a sentence", "What is shown?")
    assert all("No chart" in shown for shown in (table, elements, answer))


def test_what_cannot_be_asked_is_said_on_the_page(asker, examples):
    picture = examples[0].picture
    for given, says in (
        ((None, "short answer", "Why?"), "there is no picture; drop a chart"),
        ((picture, "short answer", "  "), "there is no question; type one"),
        ((picture, "in a sentence", "why " * 900), "leaves no room for an answer"),
    ):
        (shown,) = asker.answer(*given)
        assert says in shown


def test_elements_without_extent_are_seen_and_corners_may_be_turned_round():
    left, top, right, bottom = framed(ReadMark("line", "a", 1, (0.5, 0.5, 0.5, 0.5)), (200, 100))
    assert left < 100 < right
    assert top < 50 < bottom
    turned = framed(ReadMark("bar", "a", 1, (0.9, 0.8, 0.1, 0.2)), (200, 100))
    assert turned == (20, 20, 180, 80)


def test_tables_of_any_shape_are_shown():
    assert table_of([]).count("<tr>") == 0
    ragged = table_of([["a"], ["<b>", "c"]])
    assert ragged.count("<th>") == 2
    assert "&lt;b&gt;" in ragged


def test_without_gradio_one_line_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "belvedere.demo.page", raising=False)
    monkeypatch.setattr(sys, "argv", ["demo"])
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    monkeypatch.delitem(sys.modules, "belvedere.demo.__main__")
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module("belvedere.demo", run_name="__main__")
    assert stopped.value.code == BAD_INPUT
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line == "error: the page needs gradio, which is not installed; pip install -e '.[demo]'"


@pytest.fixture(scope="module")
def address(prompter, asker, tmp_path_factory):
    pytest.importorskip("gradio")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        from belvedere.demo.page import opened, page_of

        page, look = page_of(prompter, asker, TESTS)
        yield opened(page, look, "127.0.0.1", None, block=False)
        page.close(verbose=False)


def test_the_page_answers_and_loads_nothing_from_elsewhere(address, tmp_path, examples):
    client = pytest.importorskip("gradio_client").Client(address, verbose=False)
    given = {"api_name": "/write"}
    chosen, beside = client.predict(PROMPT, "speculative", 0, [2], 0.5, 12, 0, **given)
    assert text_in(chosen) == text_in(beside)
    wrong, _ = client.predict("", "full", 0, [2], 0.5, 12, 0, **given)
    assert "there is no prompt" in wrong

    from gradio_client import handle_file

    examples[-1].picture.save(tmp_path / "nothing.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    read = [client.predict(handle_file(str(tmp_path / name)), api_name="/read")
            for name in ("nothing.png", "broken.png")]  # fmt: skip
    assert "No chart" in str(read[0])
    assert "broken.png: not a picture that can be read" in str(read[1])
    with urllib.request.urlopen(address) as page:
        policy = page.headers["Content-Security-Policy"]
        loaded = re.findall(
            r'<(?:script|link)[^>]*(?:src|href)="(https?:[^"]*)"', page.read().decode()
        )
    assert policy.startswith("default-src 'self'")
    assert [one for one in loaded if not one.startswith(address)] == []
