"""Pretraining in the paper's two stages: Donut's layout at one resolution, then a larger one."""

import json
from dataclasses import replace

import torch
from transformers import AutoTokenizer

from belvedere.charts.tasks import ANSWER, TOKENS
from belvedere.charts.tokenizer import encode, encode_prompt
from belvedere.unichart.hub import to_hub
from belvedere.unichart.loading import Reader, load_reader
from belvedere.unichart.model import ChartModel


def donut(folder, model, tokenizer):
    """A random model in the hub's layout whose tokenizer knows no task."""
    torch.manual_seed(1)
    to_hub(ChartModel(replace(model.config, vocab_size=len(tokenizer))), folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_the_tasks_tokens_are_added_to_what_knows_none(tmp_path, chart_model, plain_words):
    folder = str(donut(tmp_path, chart_model, plain_words))
    old = Reader(folder)
    new = Reader(folder, task_tokens=True)
    tokenizer = new.tokenizer()
    before, after = old.load(len(plain_words)), new.load(len(tokenizer))
    tokens = [*TOKENS.values(), ANSWER]
    assert after.config.vocab_size == len(tokenizer) == len(plain_words) + len(tokens)
    assert encode_prompt(tokenizer, "table", "") == [
        len(plain_words) + tokens.index("<extract_data_table>"), len(tokenizer) - 1
    ]  # fmt: skip
    # A token that stands in a text is text, and is not shown in an answer.
    assert max(encode(tokenizer, "<chartqa>")) < len(plain_words)
    assert tokenizer.decode([len(tokenizer) - 1], skip_special_tokens=True) == ""
    # What the decoder has learned of other tokens stays; its head is still the embedding.
    pixels, ids = torch.rand(1, 3, 48, 64), torch.tensor([[0, 5, 7]])
    with torch.no_grad():
        logits = after(pixels, ids)
        assert torch.allclose(logits[..., : len(plain_words)], before(pixels, ids), atol=1e-5)
    assert after.head_weight.data_ptr() == after.decoder.get_input_embeddings().weight.data_ptr()
    assert after.head_weight[len(plain_words) :].std() > 0
    assert Reader(folder, task_tokens=True, tokenizer_name=folder).load(40).config.vocab_size == (
        before.config.vocab_size
    )


def test_the_second_stage_goes_on_at_a_larger_resolution(
    run_reader, tmp_path, chart_model, plain_words
):
    start = donut(tmp_path / "donut", chart_model, plain_words)
    plain = [
        "data.letters=false", "model.letters_weight=0", "+data.positions=64",
        "data.tasks={texts: 0, elements: 0}",
    ]  # fmt: skip
    first = run_reader(
        "unichart_pretrain", f"init={start}", "reader.task_tokens=true", *plain,
    )  # fmt: skip
    model = first.resolve() / "checkpoints" / "model"
    read = load_reader(model)
    assert read.config.image_size == (48, 64)
    assert len(AutoTokenizer.from_pretrained(model)) == read.config.vocab_size
    second = run_reader(
        "unichart_pretrain", f"init={first.resolve()}", "reader.image_size=[90,120]",
        "name=second", f"run_dir={tmp_path / 'second'}", "activation_checkpointing=true", *plain,
    )  # fmt: skip
    assert second == first
    report = json.loads((tmp_path / "second" / "report.json").read_text())
    assert report["reader"]["image_size"] == [90, 120]
    assert report["reader"]["parameters"] == sum(p.numel() for p in read.parameters())
    assert set(report["tasks"]) == {"table", "reasoning", "open", "summary"}
