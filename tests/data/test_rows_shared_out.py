"""Every training document once in each epoch: over processes, workers, and broken connections."""

import json
from collections import Counter
from types import SimpleNamespace

import pytest

from belvedere.data import text
from belvedere.data.text import TextDataModule
from belvedere.errors import BadInput

DOCUMENTS = 240


@pytest.fixture
def places(monkeypatch):
    """Sets the rank and the number of processes that data modules see."""

    def place(rank, world):
        monkeypatch.setattr(TextDataModule, "_place", lambda _: (rank, world))

    return place


def write(folder, files):
    """Documents with a number each, in so many files."""
    folder.mkdir()
    for file in range(files):
        lines = (
            json.dumps({"text": f"The number of this story is {number}."})
            for number in range(file, DOCUMENTS, files)
        )
        (folder / f"train-{file}.jsonl").write_text("\n".join(lines))
    return folder


def module(tokenizer, tmp_path, **options):
    data = TextDataModule(
        tokenizer, "test", sequence_length=96, batch_size=1, held_out=0.2, eval_tokens=100,
        cache_dir=str(tmp_path / "tokens"), **options,
    )  # fmt: skip
    data.setup()
    return data


def numbers_in(tokenizer, rows):
    """The numbers of the documents in rows, each time that one is there."""
    for row in rows:
        for document in tokenizer.decode(row).split("The number of this story is")[1:]:
            yield int(document.split(".")[0].replace(" ", ""))


@pytest.mark.parametrize(("world", "workers"), [(1, 0), (3, 0), (2, 2)])
def test_processes_and_workers_share_rows_out(tokenizer, tmp_path, places, world, workers):
    folder = write(tmp_path / "files", 1)
    seen, whole = Counter(), []
    for rank in range(world):
        places(rank, world)
        data = module(tokenizer, tmp_path, path=str(folder), num_workers=workers)
        batches = [batch["input_ids"][0] for batch in data.train_dataloader()]
        whole.append(len(batches))
        seen.update(numbers_in(tokenizer, batches))
    assert len(set(whole)) == 1  # or one process would wait for another
    assert set(seen.values()) == {1}
    rows = data.rows["train"]
    there = set(numbers_in(tokenizer, (rows[i]["input_ids"] for i in range(len(rows)))))
    assert len(rows) - world < sum(whole) <= len(rows)
    assert set(seen) <= there
    if world == 1:
        assert set(seen) == there


@pytest.mark.parametrize("files", [4, 1])
@pytest.mark.parametrize(("world", "workers"), [(1, 0), (2, 0), (1, 2), (2, 2)])
def test_processes_and_workers_share_a_stream_out(
    tokenizer, tmp_path, places, files, world, workers
):
    folder = write(tmp_path / "hub", files)
    alone = module(tokenizer, tmp_path, hub=str(folder))
    wanted = Counter(first_epoch(tokenizer, alone))
    assert set(wanted.values()) == {1}
    assert len(wanted) > 150
    seen = Counter()
    for rank in range(world):
        places(rank, world)
        data = module(tokenizer, tmp_path, hub=str(folder), num_workers=workers)
        seen.update(first_epoch(tokenizer, data))
    assert seen == wanted


def first_epoch(tokenizer, data):
    """The numbers of the documents in the rows of a stream until it has nothing new.

    Workers are not through with their shares at the same moment, but nothing may come twice long
    before that.
    """
    found, repeated, early = [], 0, 0
    for batch in data.train_dataloader():
        numbers = list(numbers_in(tokenizer, batch["input_ids"][0][None]))
        if set(numbers) & set(found):
            early = early or len(found)
            repeated += 1
        else:
            found += numbers
            repeated = 0
        if repeated == 10:
            assert early > 0.8 * len(found)
            return found


def broken_at(stream, record, faults):
    """A stream that fails before a record, as often as ``faults`` has something left."""
    usual = type(stream).__iter__

    class Breaking(type(stream)):
        def __iter__(self):
            for one in usual(self):
                if one["text"].endswith(f" {record}.") and faults:
                    raise faults.pop()
                yield one

    stream.__class__ = Breaking
    return stream


def test_a_stream_that_breaks_off_goes_on(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(text, "WINDOW", 8 * 20)
    folder = write(tmp_path / "hub", 1)
    wanted = list(first_epoch(tokenizer, module(tokenizer, tmp_path, hub=str(folder))))
    pauses, faults = [], [ConnectionError("gone"), TimeoutError("slow"), OSError("gone")]
    monkeypatch.setattr(text.time, "sleep", pauses.append)
    data = module(tokenizer, tmp_path, hub=str(folder))
    usual = data.open_stream
    monkeypatch.setattr(data, "open_stream", lambda: broken_at(usual(), 55, faults))
    assert list(first_epoch(tokenizer, data)) == wanted
    assert not faults
    assert pauses == [1, 4, 16]


def test_a_stream_that_is_gone_for_good(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(text, "WINDOW", 8 * 20)
    folder = write(tmp_path / "hub", 1)
    pauses = []
    monkeypatch.setattr(text.time, "sleep", pauses.append)
    data = module(tokenizer, tmp_path, hub=str(folder))
    usual = data.open_stream
    faults = [ConnectionError("the hub is\nnot there")] * 99
    monkeypatch.setattr(data, "open_stream", lambda: broken_at(usual(), 55, faults))
    with pytest.raises(BadInput, match=r"data\.hub=.*broke off \(the hub is\).*resume=true"):
        list(first_epoch(tokenizer, data))
    assert pauses == list(text.PAUSES)


def test_a_process_without_a_share_of_the_stream(tokenizer, tmp_path, places):
    folder = write(tmp_path / "hub", 1)
    places(DOCUMENTS, DOCUMENTS + 1)  # the only one without a document
    data = module(tokenizer, tmp_path, hub=str(folder))
    with pytest.raises(BadInput, match="no documents for one of the processes"):
        next(iter(data.train_dataloader()))


def at_batch(data, batches):
    """What a checkpoint holds of the data after so many batches of the first epoch."""
    progress = SimpleNamespace(current=SimpleNamespace(ready=batches))
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=progress))
    data.trainer = SimpleNamespace(current_epoch=0, is_last_batch=False, fit_loop=loop)
    return data.state_dict()


def test_other_processes_go_on_with_the_rows_that_are_left(tokenizer, tmp_path, places):
    folder = write(tmp_path / "files", 1)

    def made(rank, world, state=None, **options):
        places(rank, world)
        data = module(tokenizer, tmp_path, path=str(folder), **options)
        if state is not None:
            data.load_state_dict(state)
        return data, [batch["input_ids"] for batch in data.train_dataloader()]

    data, whole = made(0, 1)
    rows = len(whole)
    # One process has 5 rows, two have 4 together, and two of other batches the rest.
    state = at_batch(data, 5)
    seen = whole[:5]
    parts = [made(rank, 2, state) for rank in range(2)]
    seen += [batch for _, batches in parts for batch in batches[:2]]
    state = at_batch(parts[0][0], 5 + 2)
    assert state["done"] == [9, 7]
    rest = [made(rank, 2, state, num_workers=1) for rank in range(2)]
    seen += [batch for _, batches in rest for batch in batches]
    numbers = Counter(numbers_in(tokenizer, (one[0] for one in seen)))
    assert set(numbers.values()) == {1}
    assert rows - 1 <= len(seen) <= rows


def test_a_stream_goes_on_in_as_many_parts_alone(tokenizer, tmp_path, places):
    folder = write(tmp_path / "hub", 4)
    places(0, 1)
    state = at_batch(module(tokenizer, tmp_path, hub=str(folder)), 3)
    data = module(tokenizer, tmp_path, hub=str(folder))
    data.load_state_dict(state)
    assert len(list(zip(data.train_dataloader(), range(2), strict=False))) == 2
    places(0, 2)
    data = module(tokenizer, tmp_path, hub=str(folder))
    data.load_state_dict(state)
    with pytest.raises(BadInput, match="resume: a stream goes on only in as many parts"):
        data.train_dataloader()


@pytest.mark.parametrize(("count", "world", "size"), [(9, 2, 1), (9, 2, 4), (65, 8, 8), (7, 3, 2)])
def test_processes_evaluate_equally_many_batches(tokenizer, tmp_path, places, count, world, size):
    data = module(tokenizer, tmp_path, path=str(write(tmp_path / "files", 1)))
    data.collate, data.eval_batch_size = list, size
    found = []
    for rank in range(world):
        places(rank, world)
        found.append(list(data.in_order(range(count))))
        assert [row for batch in found[-1] for row in batch] == list(range(rank, count, world))
    assert len({len(batches) for batches in found}) == 1  # or one process would wait for another
    places(0, 1)
    alone = [list(range(start, min(start + size, count))) for start in range(0, count, size)]
    assert list(data.in_order(range(count))) == alone
