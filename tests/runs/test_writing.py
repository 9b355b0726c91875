"""Answers to prompts, from the command line to the text."""

import io
import json
import runpy

import pytest
import torch
from PIL import Image
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer

from belvedere.charts.tokenizer import encode_prompt
from belvedere.data.pictures import fit, normalised, open_picture
from belvedere.errors import BAD_INPUT
from belvedere.runs import writing
from belvedere.runs.chart_writing import table_of
from belvedere.runs.entry import quoted
from belvedere.submodels.engine.calibration import Calibration
from belvedere.unichart.config import ChartModelConfig
from belvedere.unichart.loading import load_reader, save_reader
from belvedere.unichart.model import ChartModel


def expected(folder, prompt, tokens=12, **shape):
    model = AutoModelForCausalLM.from_pretrained(folder, **shape).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(prompt, add_special_tokens=False).input_ids
    if tokenizer.bos_token_id is not None:
        ids = [tokenizer.bos_token_id, *ids]
    made = model.generate(torch.tensor([ids]), max_new_tokens=tokens, do_sample=False)
    return tokenizer.decode(made[0, len(ids) :], skip_special_tokens=True)


def test_a_prompt_is_answered_in_every_way(generate, backbone_folder):
    prompt = "the capital"
    whole = expected(backbone_folder, prompt)
    for ways in (["decoding=full"], ["decoding=speculative", "exit=1"], ["decoding=speculative"]):
        found = generate(backbone_folder, f"prompt={prompt}", *ways)
        assert found.out == whole + "\n"
        assert "12 tokens" in found.err
    assert "drafts" in found.err
    early = generate(backbone_folder, f"prompt={prompt}", "decoding=exit", "exit=2")
    assert early.out == expected(backbone_folder, prompt, num_hidden_layers=2) + "\n"
    sure = generate(
        backbone_folder, f"prompt={prompt}", "decoding=confident", "thresholds={1: 0.0}"
    )
    assert sure.out == expected(backbone_folder, prompt, num_hidden_layers=1) + "\n"


def test_exits_that_were_trained_write(generate, run):
    folder = run("balcony_llama3", "model.exits.depths=[1, 2]")
    generate(folder, "prompt=the capital")  # the run has written, too
    full = generate(folder, "prompt=the capital").out
    speculative = generate(folder, "prompt=the capital", "decoding=speculative", "exit=1")
    assert speculative.out == full
    assert generate(folder, "prompt=the capital", "decoding=exit", "exit=2").out.strip()


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["decoding=fast"], "decoding: there is no decoding 'fast'; choose one of full, exit"),
        (["decoding=exit", "exit=9"], "exit: the checkpoint has no exit 9; choose one of 1, 2"),
        (["exit=1"], "exit: decoding=full has no exit; leave it out, or use decoding=exit or"),
        (["decoding=confident"], "has no thresholds; make them: python -m"),
        (["decoding=confident", "thresholds={1: 1.5}"], "thresholds.1: a threshold of 1.5"),
        (["decoding=confident", "thresholds={9: 0.5}"], "thresholds: the checkpoint has no exit 9"),
        (["prompt=a", "file=b.txt"], "file: there is a prompt and a file; give one of them"),
        (["output=a.jsonl"], "output: only a file of prompts has an output"),
        (["format=letter"], "format: there is no format 'letter'; choose one of plain, chat"),
        (["beams=2"], "beams: only charts are read with beams"),
        (["show=all"], "show: 'all' cannot be shown; choose text or depth"),
        (["device=abacus"], "device: this machine has no abacus; choose cpu"),
        (["temperature=-1"], "temperature: -1 cannot be"),
        (["temperature=hot"], "temperature: 'hot' is no number"),
        (["top_k=2.5"], "top_k: 2.5 cannot be; give 1 or more"),
        (["max_new_tokens=100000"], "exceed the context"),
        (["max_new_tokens=0"], "max_new_tokens: 0 is too small; give 1 or more"),
        (["max_new_tokens=1.5"], "max_new_tokens: 1.5 is no whole number"),
        (["batch_size=0"], "batch_size: 0 is too small"),
        (["seed=null"], "seed: there is no seed"),
        (["stop=null"], "stop: None ends no answer; give ['STRING', …]"),
        (["decoding=confident", "thresholds=0.9"], "thresholds: 0.9 are no thresholds"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(generate, backbone_folder, capsys, overrides, says):
    with pytest.raises(SystemExit) as stopped:
        generate(backbone_folder, "prompt=the capital", *overrides)
    assert stopped.value.code == BAD_INPUT
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert says in line


def test_a_checkpoint_that_is_not_there_is_told(generate, tmp_path, capsys):
    (tmp_path / "last.ckpt").write_bytes(b"")
    for name, says in (("nowhere/at/all", "there is no folder"), ("last.ckpt", "has no configura")):
        with pytest.raises(SystemExit) as stopped:
            generate(tmp_path / name, "prompt=a")
        assert stopped.value.code == BAD_INPUT
        assert says in capsys.readouterr().err


def test_a_file_of_prompts_is_answered_in_its_order(generate, backbone_folder, tmp_path):
    prompts = ["the capital", "the capital of the", "of", "is the capital"]
    file, output = tmp_path / "prompts.jsonl", tmp_path / "out" / "answers.jsonl"
    file.write_text("".join(json.dumps({"prompt": one}) + "\n" for one in prompts))
    generate(backbone_folder, f"file={file}", f"output={output}", "batch_size=3")
    found = [json.loads(line) for line in output.read_text().splitlines()]
    assert [one["prompt"] for one in found] == prompts
    assert [one["answer"] for one in found] == [expected(backbone_folder, one) for one in prompts]
    before = output.read_text()
    with pytest.raises(SystemExit):
        generate(backbone_folder, f"file={file}", f"output={output}")
    assert output.read_text() == before
    shown = generate(backbone_folder, f"file={file}", "decoding=speculative", "exit=1")
    assert [json.loads(line) for line in shown.out.splitlines()] == found


def test_what_was_answered_before_an_interruption_is_kept(
    generate, backbone_folder, tmp_path, monkeypatch
):
    file, output = tmp_path / "prompts.jsonl", tmp_path / "answers.jsonl"
    file.write_text('{"prompt": "the capital of"}\n{"prompt": "of"}\n')
    told = writing.told

    def stop(writer):
        told(writer)
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "told", stop)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        generate(backbone_folder, f"file={file}", f"output={output}", "batch_size=1")
    (line,) = output.read_text().splitlines()
    assert json.loads(line)["prompt"] == "of"


def test_a_prompt_that_is_too_long_is_told_before_any_is_answered(
    generate, backbone_folder, tmp_path, capsys
):
    file, output = tmp_path / "prompts.jsonl", tmp_path / "answers.jsonl"
    file.write_text(json.dumps({"prompt": "of"}) + "\n" + json.dumps({"prompt": "of " * 5000}))
    with pytest.raises(SystemExit) as stopped:
        generate(backbone_folder, f"file={file}", f"output={output}")
    assert stopped.value.code == BAD_INPUT
    assert "prompts.jsonl:2: a prompt of" in capsys.readouterr().err
    assert not output.exists()
    file.write_text('{"prompt": "of"}')
    with pytest.raises(SystemExit) as stopped:
        generate(backbone_folder, f"file={file}", f"output={file}/answers.jsonl")
    assert stopped.value.code == BAD_INPUT
    assert "cannot be written" in capsys.readouterr().err


def test_plain_prompts_have_their_input(generate, backbone_folder, tmp_path):
    file = tmp_path / "prompts.jsonl"
    file.write_text(json.dumps({"instruction": "the capital", "input": "of the"}))
    found = json.loads(generate(backbone_folder, f"file={file}").out)
    assert found["answer"] == expected(backbone_folder, "the capital\n\nof the")


def test_a_stop_and_whole_numbers_are_what_they_say(generate, backbone_folder):
    whole = generate(backbone_folder, "prompt=the capital").out.strip()
    stop = whole.split()[1]
    assert len(stop) > 1
    found = generate(backbone_folder, "prompt=the capital", f"stop='{stop}'").out.strip()
    assert found == whole.partition(stop)[0].strip()
    options = ["temperature=2", "top_p=1", "repetition_penalty=2"]
    assert generate(backbone_folder, "prompt=the capital", *options).out.strip()


def test_exits_load_in_another_dtype_than_they_were_trained_in(run, generate):
    folder = run("balcony_llama3", "model.exits.depths=[1]", "backbone.dtype=bfloat16")
    for dtype in ("float32", "bfloat16"):
        options = ["decoding=speculative", f"backbone.dtype={dtype}"]
        assert generate(folder, "prompt=the capital", *options).out.strip()


def test_a_chat_without_a_template_is_plain(generate, backbone_folder, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("the capital\n" + "of " * 5000 + "\nof\n"))
    found = generate(backbone_folder)
    assert found.err.count("tokens/s") == 2
    assert "exceed the context" in found.err


def test_tables_are_shown_as_they_are():
    console = Console(width=80, file=io.StringIO())
    console.print(table_of("year | Sales [millions] & 1999 | [/x] 3 | more"))
    shown = console.file.getvalue()
    for cell in ("Sales [millions]", "[/x] 3", "more"):
        assert cell in shown


def test_instructions_get_their_form(generate, backbone_folder, tmp_path):
    file = tmp_path / "prompts.jsonl"
    file.write_text(json.dumps({"instruction": "the capital", "input": "of the"}) + "\n")
    found = generate(backbone_folder, f"file={file}", "format=alpaca")
    text = "### Instruction:\nthe capital\n\n### Input:\nof the\n\n### Response:\n"
    assert json.loads(found.out)["answer"] == expected(backbone_folder, text)


def test_a_chat_answers_what_is_typed(generate, monkeypatch):
    monkeypatch.setattr(
        "sys.stdin", io.StringIO("What is the capital of France?\n\nAnd of Spain?\n")
    )
    found = generate("data/backbone", "decoding=full")
    assert len(found.out.strip().splitlines()) >= 2
    assert found.err.count("tokens/s") == 2


@pytest.mark.parametrize(
    "text", ["What is 2+2=?", "it's, {a: b} [c]", 'say "no"', "a\\nb", "${name} and $x", "end\\"]
)
def test_free_text_comes_through_hydra_as_it_is(text):
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    argument = quoted(f"prompt={text}", ["prompt"])
    value = OverridesParser.create().parse_override(argument).value()
    assert OmegaConf.create({"prompt": value}).prompt == text
    assert quoted(f"other={text}", ["prompt"]) == f"other={text}"
    assert quoted("prompt=null", ["prompt"]) == "prompt=null"


@pytest.fixture
def picture(charts, tmp_path):
    import pyarrow.parquet as pq

    (file,) = charts.glob("test*.parquet")
    path = tmp_path / "chart.png"
    path.write_bytes(pq.read_table(file)["image"][0].as_py()["bytes"])
    return path


@pytest.fixture(scope="module")
def random_reader(charts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("random")
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(charts / "tokenizer")
    model = ChartModel(ChartModelConfig.named("tiny", vocab_size=len(tokenizer))).eval()
    save_reader(model, folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_picture_is_asked_about(generate, random_reader, picture):
    about = [f"image={picture}", "task=reasoning", "prompt=How many bars, in all?"]
    whole = generate(random_reader, *about)
    reader = load_reader(random_reader)
    tokenizer = AutoTokenizer.from_pretrained(random_reader)
    prompt = encode_prompt(tokenizer, "reasoning", "How many bars, in all?")
    page = fit(open_picture(picture), reader.config.image_size)
    answers = reader.generate(
        normalised(page.pixels[None]), [prompt], max_new_tokens=12, num_beams=1
    )
    text = tokenizer.decode(answers.tokens()[0], skip_special_tokens=True)
    assert whole.out == text + "\n"
    assert f"confidence {float(answers.confidence):.2f}" in whole.err
    speculative = generate(random_reader, *about, "decoding=speculative", "exit=2")
    assert speculative.out == whole.out
    searched = generate(random_reader, *about, "beams=3")
    answers = reader.generate(
        normalised(page.pixels[None]), [prompt], max_new_tokens=12, num_beams=3
    )
    text = tokenizer.decode(answers.tokens()[0], skip_special_tokens=True)
    assert searched.out == text.strip() + "\n"
    assert f"confidence {float(answers.confidence):.2f}" in searched.err
    shallow = generate(random_reader, *about, "decoding=exit", "exit=1")
    save_reader(reader.cut(1), random_reader / "one")
    tokenizer.save_pretrained(random_reader / "one")
    assert generate(random_reader / "one", *about).out == shallow.out


def test_a_question_is_reasoned_about_and_a_cut_answer_told(generate, random_reader, picture):
    about = [f"image={picture}", "prompt=How many bars, in all?"]
    asked = generate(random_reader, *about)
    assert asked.out == generate(random_reader, *about, "task=reasoning").out
    assert "the answer is cut after 12 tokens" in asked.err


def test_a_reader_without_a_picture_and_a_picture_without_a_reader(
    generate, random_reader, picture, backbone_folder, capsys
):
    for checkpoint, options, says in (
        (random_reader, ["prompt=Hello"], "is a reader of charts; give a picture as image=FILE"),
        (backbone_folder, [f"image={picture}"], "is a llama, which reads no pictures"),
    ):
        with pytest.raises(SystemExit) as stopped:
            generate(checkpoint, *options)
        assert stopped.value.code == BAD_INPUT
        assert says in capsys.readouterr().err


def test_a_blank_page_is_no_chart_with_little_confidence_in_one(generate, tmp_path):
    Image.new("RGB", (256, 192), "white").save(tmp_path / "blank.png")
    told = generate("data/reader", f"image={tmp_path / 'blank.png'}", "task=table")
    assert told.out == "no chart\n"
    assert float(told.err.split("confidence ")[1].split()[0]) < 0.5


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["task=poem"], "task: there is no task 'poem'; choose one of texts, table"),
        (["format=chat"], "image: pictures are asked about one by one"),
        (["beams=0"], "beams: 0 is too small"),
        (["beams=4", "temperature=1"], "beams: beams are searched by the full reader alone"),
        (["beams=2", "stop=[x]", "show=depth"], "leave it out, or stop, show"),
        (["beams=2", "exit=1"], "leave it out, or exit"),
        (["prompt=Which?", "task=table"], "prompt: the task 'table' takes no question"),
        (["task=open"], "prompt: the task 'open' needs a question"),
        (["decoding=exit", "exit=4"], "exit: the checkpoint has no exit 4; choose one of 1, 2, 3"),
        (["max_new_tokens=5000"], "exceed the context of 640"),
    ],
)
def test_what_cannot_be_asked_about_a_picture_is_told(
    generate, random_reader, picture, capsys, overrides, says
):
    with pytest.raises(SystemExit) as stopped:
        generate(random_reader, f"image={picture}", *overrides)
    assert stopped.value.code == BAD_INPUT
    assert says in capsys.readouterr().err
    with pytest.raises(SystemExit):
        generate(random_reader, f"image={picture}.gone")
    assert "chart.png.gone" in capsys.readouterr().err


def test_thresholds_are_found_stored_and_used(run, generate, monkeypatch, tmp_path, corpus, capsys):
    folder = run("balcony_llama3", "model.exits.depths=[1, 2]")
    capsys.readouterr()
    arguments = [
        f"checkpoint={folder}", "data=text", f"data.path={corpus}", "agreement=0.9", "device=cpu",
        f"data.cache_dir={tmp_path / 'cache'}", "data.sequence_length=64", "data.batch_size=4",
    ]  # fmt: skip
    monkeypatch.setattr("sys.argv", ["calibrate", *arguments])
    runpy.run_module("belvedere.runs.calibrate", run_name="__main__")
    assert "wanted 90.00%" in capsys.readouterr().out
    found = Calibration.load(folder / "checkpoints" / "model")
    assert found.agreement >= 0.9
    assert set(found.thresholds) == {1, 2}
    told = generate(folder, "prompt=the capital", "decoding=confident", "show=depth")
    assert told.out.strip()
    assert "layers" in told.err
