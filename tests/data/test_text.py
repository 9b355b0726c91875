import errno
import json
import os

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from transformers import AutoModelForCausalLM

from belvedere.data import records, token_cache
from belvedere.data.loading import Order
from belvedere.data.packing import pack
from belvedere.data.text import TextDataModule
from belvedere.errors import BadInput
from belvedere.submodels.losses import IGNORED


@pytest.fixture
def corpus(tmp_path, sentences):
    file = tmp_path / "corpus.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in sentences))
    return file


def module(tokenizer, tmp_path, **options):
    options = {"path": str(tmp_path / "corpus.jsonl"), "batch_size": 4} | options
    return TextDataModule(
        tokenizer, "test", sequence_length=64, cache_dir=str(tmp_path / "cache"), **options
    )


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(3, 16))
def test_packing_loses_and_repeats_no_token(lengths, row_length):
    lengths = np.asarray(lengths, np.int64)
    starts = np.concatenate([[0], lengths.cumsum()[:-1]])
    plan = pack(starts, lengths, row_length)
    tokens = np.concatenate(
        [np.arange(s, s + n) for s, n in zip(plan.starts, plan.lengths, strict=True)]
    )
    assert sorted(tokens.tolist()) == list(range(lengths.sum()))
    assert plan.ends.sum() == len(lengths)
    for begin, end in zip(plan.rows, plan.rows[1:], strict=False):
        assert 0 < plan.lengths[begin:end].sum() <= row_length
    whole = plan.lengths[plan.ends & np.isin(plan.starts, starts)]
    assert len(whole) == (lengths <= row_length).sum()


def test_rows_hold_every_document_once(corpus, tokenizer, sentences, tmp_path):
    data = module(tokenizer, tmp_path)
    data.setup()
    texts = []
    for split in ("train", "validation", "test"):
        for row in (data.rows[split][i] for i in range(len(data.rows[split]))):
            ends = (row["labels"] == IGNORED).nonzero().flatten().tolist()
            begin = 0
            for end in ends:
                ids = row["input_ids"][begin : end + 1]
                begin = end + 1
                if int(ids[0]) == tokenizer.bos_token_id:
                    assert int(ids[-1]) == tokenizer.eos_token_id
                    texts.append(tokenizer.decode(ids, skip_special_tokens=True))
    fitting = [t for t in sentences if len(tokenizer(t).input_ids) <= 62]
    assert sorted(set(fitting)) == sorted(set(texts) & set(fitting))
    assert data.summary()["documents"] == len(data.rows["train"].plan.ends.nonzero()[0])


def test_no_attention_across_documents(corpus, tokenizer, backbone_folder, tmp_path):
    data = module(tokenizer, tmp_path)
    data.setup()
    row = data.rows["train"][0]
    model = AutoModelForCausalLM.from_pretrained(backbone_folder).eval()
    with torch.no_grad():
        packed = model(
            row["input_ids"][None], position_ids=row["position_ids"][None], use_cache=False
        ).logits[0]
        begins = (row["position_ids"] == 0).nonzero().flatten().tolist()
        assert len(begins) > 1
        for begin, end in zip(begins, [*begins[1:], 64], strict=True):
            alone = model(row["input_ids"][None, begin:end]).logits[0]
            torch.testing.assert_close(packed[begin:end], alone, atol=1e-5, rtol=1e-4)


def test_labels_are_the_next_tokens(corpus, tokenizer, tmp_path):
    data = module(tokenizer, tmp_path, document_attention=True)
    data.setup()
    row = data.rows["train"][0]
    inside = (row["labels"] != IGNORED)[:-1]
    assert torch.equal(row["labels"][:-1][inside], row["input_ids"][1:][inside])
    assert torch.equal(row["position_ids"], torch.arange(64))


def test_splits_share_no_document_and_do_not_depend_on_the_order(tokenizer, tmp_path, sentences):
    kept = []
    for order in (sentences, sentences[::-1]):
        (tmp_path / "corpus.jsonl").write_text(
            "".join(json.dumps({"text": text}) + "\n" for text in order)
        )
        data = module(tokenizer, tmp_path)
        data.setup()
        kept.append({s: int(data.rows[s].plan.lengths.sum()) for s in data.rows})
    assert kept[0] == kept[1]


def test_the_cache_is_used_again_and_repaired_when_torn(corpus, tokenizer, tmp_path, monkeypatch):
    module(tokenizer, tmp_path).setup()
    (folder,) = (tmp_path / "cache").iterdir()
    monkeypatch.setattr(token_cache, "_write", lambda *_: pytest.fail("tokenised again"))
    module(tokenizer, tmp_path).setup()
    monkeypatch.undo()
    with (folder / "ids.bin").open("r+b") as opened:
        opened.truncate(10)
    data = module(tokenizer, tmp_path)
    data.setup()
    assert len(data.rows["train"]) > 0
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [folder.name]


def test_a_full_disk_is_one_line_and_leaves_nothing(corpus, tokenizer, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(token_cache.np, "save", full)
    with pytest.raises(BadInput, match=r"no space left.*data\.cache_dir"):
        module(tokenizer, tmp_path).setup()
    assert list((tmp_path / "cache").iterdir()) == []


class Recorder(LightningModule):
    """Trains nothing and notes the batches that it is given."""

    def __init__(self, stop_after=None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []
        self.stop_after = stop_after

    def training_step(self, batch, batch_idx):
        self.seen.append(batch["input_ids"].tolist())
        return self.weight * 0

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SaveAt(Callback):
    """Saves one checkpoint, as a kill right after it would leave it."""

    def __init__(self, step, file):
        self.step, self.file = step, file

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.file)


def trainer(steps, tmp_path, save_at=None):
    callbacks = []
    if save_at is not None:
        callbacks = [SaveAt(save_at, tmp_path / "stop.ckpt")]
    return Trainer(
        max_steps=steps, max_epochs=-1, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path, use_distributed_sampler=False,
        enable_checkpointing=False, limit_val_batches=0, callbacks=callbacks,
    )  # fmt: skip


@pytest.mark.parametrize(("epochs", "batches"), [(0, 2), (1, 2), (2, 2), (1, 0), (2, 0), (2, -1)])
def test_resumes_where_it_stopped(epochs, batches, corpus, tokenizer, tmp_path):
    whole, resumed = Recorder(), Recorder()
    data = module(tokenizer, tmp_path)
    data.setup()
    epoch = len(data.train_dataloader())
    stop = epochs * epoch + batches
    steps = stop + epoch + 5  # through the end of the epoch, and the next one's order as well
    run = trainer(steps, tmp_path, save_at=stop)
    run.fit(whole, datamodule=module(tokenizer, tmp_path))
    trainer(steps, tmp_path).fit(
        resumed, datamodule=module(tokenizer, tmp_path), ckpt_path=tmp_path / "stop.ckpt",
        weights_only=True,
    )  # fmt: skip
    assert resumed.seen == whole.seen[stop:]
    assert whole.seen[:epoch] != whole.seen[epoch : 2 * epoch]


def test_ranks_share_the_rows_out():
    orders = [list(Order(103, seed=1, rank=rank, world=4)) for rank in range(4)]
    assert {len(order) for order in orders} == {25}
    assert len({row for order in orders for row in order}) == 100


def test_a_streamed_set_gives_the_same_rows_again(corpus, tokenizer, tmp_path):
    (tmp_path / "hub").mkdir()
    corpus.rename(tmp_path / "hub" / "train.jsonl")
    options = {"path": None, "hub": str(tmp_path / "hub"), "eval_tokens": 200}
    data = module(tokenizer, tmp_path, **options)
    data.setup()
    loader = data.train_dataloader()
    rows = [batch["input_ids"].tolist() for batch, _ in zip(loader, range(8), strict=False)]
    again = module(tokenizer, tmp_path, **options)
    again.setup()
    loader = again.train_dataloader()
    assert [b["input_ids"].tolist() for b, _ in zip(loader, range(8), strict=False)] == rows


def test_real_text(shared_data, tokenizer, tmp_path):
    data = module(tokenizer, tmp_path, path=str(shared_data / "text/c4.jsonl"))
    data.setup()
    summary = data.summary()
    assert summary["documents"] > 200
    assert summary["truncated"] > 100
    assert summary["padding"] < 0.02


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.jsonl", None, "no such file"),
        ("empty.jsonl", b"", "empty.jsonl: the file is empty"),
        ("a.csv", b"x", r"cannot read \.csv"),
        ("bad.jsonl", b'{"text": "a"}\n' * 16 + b'{"text": \n', r"bad\.jsonl:17: broken JSON"),
        ("a.jsonl", b'{"body": "a"}\n', r"a\.jsonl:1: there is no column 'text'.*body"),
        ("a.jsonl", b'{"text": 5}\n', r"a\.jsonl:1: 'text' is int, not text"),
        ("a.jsonl", b'{"text": "a", "b": ' + b"[" * 40 + b"]" * 40 + b"}\n", "more than 32 lists"),
        (
            "a.jsonl",
            b"[" * 100_000 + b"]" * 100_000,
            r"a\.jsonl:1: broken JSON \(maximum recursion",
        ),
        ("a.jsonl", b"[1]\n", r"a\.jsonl:1: a record is list"),
        ("a.jsonl", b'{"text": " "}\n', "all records are empty"),
        ("a.jsonl", b'{"text": "a"}\n', "no documents for the"),
        ("a.txt", b"fine\n\xff\xfe\n", r"a\.txt:2: not UTF-8 at byte 0"),
        ("a.parquet", b"PAR1 nothing", r"a\.parquet: broken Parquet"),
    ],
)
def test_bad_files_are_named(name, content, message, tokenizer, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=message) as caught:
        module(tokenizer, tmp_path, path=str(tmp_path / name)).setup()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [("a.jsonl", r"a\.jsonl:2: the line has more than 200"), ("a.json", "the file has more than")],
)
def test_what_would_fill_the_memory_is_refused(name, message, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(records, "MOST_BYTES", 200)
    (tmp_path / name).write_text('{"text": "a"}\n' + json.dumps({"text": "a" * 200}) + "\n")
    with pytest.raises(BadInput, match=message):
        module(tokenizer, tmp_path, path=str(tmp_path / name)).setup()


def test_a_set_that_is_not_there(tokenizer, tmp_path):
    with pytest.raises(BadInput, match=r"cannot be loaded.*data=NAME data\.path=FILE"):
        module(tokenizer, tmp_path, path=None, hub=str(tmp_path / "nowhere")).setup()


def test_a_stream_begins_anew_when_it_ends(corpus, tokenizer, tmp_path):
    (tmp_path / "hub").mkdir()
    corpus.rename(tmp_path / "hub" / "train.jsonl")
    options = {"path": None, "hub": str(tmp_path / "hub"), "eval_tokens": 200, "batch_size": 1}
    data = module(tokenizer, tmp_path, **options)
    data.setup()
    loader = iter(data.train_dataloader())
    first = next(loader)["input_ids"].tolist()
    seen = [first]
    while len(seen) < 2000 and seen.count(first) < 3:
        seen.append(next(loader)["input_ids"].tolist())
    epoch = seen.index(first, 1)
    assert seen[epoch : 2 * epoch] == seen[:epoch]

    # Stopped in the second epoch, a run goes on there, and its third epoch begins at the beginning.
    before = module(tokenizer, tmp_path, **options)
    before.setup()
    stopped = before.train_dataloader()
    for _ in zip(stopped, range(epoch + 2), strict=False):
        state = stopped.state_dict()
    again = module(tokenizer, tmp_path, **options)
    again.setup()
    resumed = again.train_dataloader()
    resumed.load_state_dict(state)
    rows = [b["input_ids"].tolist() for b, _ in zip(resumed, range(epoch), strict=False)]
    assert rows == (seen[:epoch] * 3)[epoch + 2 : 2 * epoch + 2]


def test_only_so_many_training_tokens_are_read(corpus, tokenizer, tmp_path):
    whole = module(tokenizer, tmp_path)
    whole.setup()
    lines = corpus.read_text().splitlines()
    corpus.write_text("\n".join(lines * 8) + "\n")
    limited = module(tokenizer, tmp_path, train_tokens=1000)
    limited.setup()
    # Documents are read in batches, so the first batch is there whole and no second one.
    assert limited.summary()["size"] < 4 * whole.summary()["size"]


def test_ranks_hold_out_the_same_documents_and_stream_others(
    corpus, tokenizer, tmp_path, monkeypatch
):
    (tmp_path / "hub").mkdir()
    corpus.rename(tmp_path / "hub" / "train.jsonl")
    held_out, streamed = [], []
    for rank in range(2):
        monkeypatch.setattr(TextDataModule, "_place", lambda _, rank=rank: (rank, 2))
        data = module(tokenizer, tmp_path, path=None, hub=str(tmp_path / "hub"), eval_tokens=200)
        data.setup()
        held_out.append([row["input_ids"].tolist() for row in data.rows["validation"]])
        rows = zip(data.stream, range(20), strict=False)
        streamed.append({tuple(row["input_ids"].tolist()) for row, _ in rows})
    assert held_out[0] == held_out[1]
    assert not streamed[0] & streamed[1]
