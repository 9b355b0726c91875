"""Measures each token of a run's test split: what the full model and each sub-model make of it.

The command is ``python -m belvedere.analysis.tokens RUN``. In ``RUN/analysis`` it writes
``tokens.parquet`` and, for a run with exits, ``exits.json`` (see `belvedere.analysis.exit_layers`).
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from hydra.utils import instantiate
from numpy.typing import NDArray
from omegaconf import OmegaConf
from torch import Tensor

from belvedere.analysis.exit_layers import EXITS_FILE, FOLDER, measure_exits
from belvedere.analysis.kinds import KINDS, kind_of, texts_of
from belvedere.data.packed import PackedDataModule
from belvedere.errors import BadInput, told_in_one_line
from belvedere.runs.compare import Run
from belvedere.runs.training import quiet
from belvedere.submodels.backbone import decoder_inputs, head_weight_of, norm_of, read_depths
from belvedere.submodels.checkpoints import EXITS, Checkpoint, load_checkpoint
from belvedere.submodels.described import raw_exit_name
from belvedere.submodels.losses import CHUNK_ELEMENTS, IGNORED

TOKENS_FILE = "tokens.parquet"
LIMIT = 30_000
"""So many test tokens are measured by default: the laptop runs' whole test split."""
Batch = dict[str, Tensor]


def tokens_of(run: Path) -> pd.DataFrame:
    """The tokens of a run as `measure_tokens` gives them; measured now if that was not done yet.

    Raises:
        BadInput: they were not measured, and there is no checkpoint to measure with.
    """
    file = run / FOLDER / TOKENS_FILE
    if not file.exists():
        print("The tokens of the test split are measured once; this takes about a minute.")
        measure(run)
    table = pd.read_parquet(file)
    small = table.select_dtypes("float16").columns  # means of half precision would overflow
    return table.astype(dict.fromkeys(small, np.float32))


def with_exits(runs: Sequence[Run]) -> Path:
    """The folder of the first of some runs whose exits can be measured, or were.

    Raises:
        BadInput: there is none.
    """
    for run in runs:
        model = run.folder / "checkpoints" / "model"
        if (run.folder / FOLDER / EXITS_FILE).exists() or (model / EXITS).exists():
            return run.folder
    raise BadInput(
        "none of the runs has exits", where="RUN", remedy="give a run of experiment=balcony_llama3"
    )


def measure(run: Path, limit: int = LIMIT) -> Path:
    """Measure a run's test tokens, and its exits if it has some; returns the folder written to.

    Raises:
        BadInput: the run has no settings, no model, or data that are not packed text.
    """
    quiet()
    checkpoint = load_checkpoint(str(run))
    data = data_of(run, checkpoint)
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    measure_tokens(checkpoint, data, limit).to_parquet(
        folder / TOKENS_FILE, compression="zstd", index=False
    )
    if checkpoint.exits is not None:
        found = measure_exits(checkpoint, data.test_dataloader(), limit)
        (folder / EXITS_FILE).write_text(found.to_json(), encoding="utf-8")
    return folder


def data_of(run: Path, checkpoint: Checkpoint) -> PackedDataModule:
    """The data that a run was trained on, as its ``config.yaml`` says. Raises `BadInput`."""
    file = run / "config.yaml"
    if not file.exists():
        raise BadInput(
            "does not say what it was trained on", where=str(file), remedy="give a run's folder"
        )
    data = instantiate(OmegaConf.load(file).data, tokenizer=checkpoint.tokenizer)
    if not isinstance(data, PackedDataModule):
        raise BadInput("has no text", where=str(run), remedy="give a run of a language model")
    data.setup("test")
    return data


@torch.no_grad()
def measure_tokens(checkpoint: Checkpoint, data: PackedDataModule, limit: int) -> pd.DataFrame:
    """One row for each token of the test split that is predicted, in float32.

    Args:
        checkpoint: a full model and its sub-models; measured are those that the run trained.
        data: set up.
        limit: at most so many tokens.

    Returns:
        ``token`` (its number), ``text``, ``kind`` (see `KINDS`), ``position`` (in its document,
        from 1), ``rank`` (by frequency in the training text: 1 is the most frequent token, 0 one
        that is not in there); ``loss`` and ``sure`` of the full model (nats; its highest
        probability); and for each sub-model, called as in reports, ``NAME_agrees`` (its most
        probable token is the full model's), ``NAME_kl`` (KL(full || sub-model), nats) and
        ``NAME_sure``. With exits, raw early exits at their depths are there too.
    """
    found: dict[str, list[NDArray[Any]]] = {}
    count = 0
    for batch in data.test_dataloader():
        for column, values in _measured(checkpoint, batch):
            found.setdefault(column, []).append(values)
        count = sum(map(len, found["token"]))
        if count >= limit:
            break
    table = pd.DataFrame({name: np.concatenate(parts)[:limit] for name, parts in found.items()})
    texts = texts_of(checkpoint.tokenizer, [*table["token"], *table["before"]])
    kinds = [
        kind_of(texts[token], texts[before])
        for token, before in zip(table["token"], table.pop("before"), strict=True)
    ]
    rank = ranks(data)[table["token"]]
    first = {
        "text": table["token"].map(texts).astype("category"),
        "kind": pd.Categorical(kinds, KINDS),
        "rank": rank.astype(np.int32),
    }
    return pd.concat([pd.DataFrame(first), table], axis=1)


def ranks(data: PackedDataModule) -> NDArray[np.int64]:
    """[vocabulary], each token's rank by frequency in the training text from 1; 0 where not there.

    Of a stream, which is not read twice, the validation text takes the training text's place.
    """
    rows = data.rows.get("train", data.rows["validation"])
    counts = np.zeros(len(data.tokenizer), np.int64)
    for start, length in zip(rows.plan.starts, rows.plan.lengths, strict=True):
        np.add.at(counts, rows.ids[start : start + length], 1)
    found = np.empty_like(counts)
    found[np.argsort(-counts, kind="stable")] = np.arange(1, len(counts) + 1)
    return np.where(counts > 0, found, 0)


def _measured(checkpoint: Checkpoint, batch: Batch) -> Iterator[tuple[str, NDArray[Any]]]:
    """The columns of the tokens that a batch predicts, part by part; see `measure_tokens`."""
    keep = batch["labels"] != IGNORED
    states = {
        name: (states[keep], head) for name, (states, head) in _states(checkpoint, batch).items()
    }
    full, full_head = states.pop("full")
    labels = batch["labels"][keep]
    yield "token", labels.numpy().astype(np.int32)
    yield "before", batch["input_ids"][keep].numpy().astype(np.int32)
    yield "position", batch["position_ids"][keep].numpy().astype(np.int16) + np.int16(1)
    chunk = max(1, CHUNK_ELEMENTS // full_head.shape[0])
    for begin in range(0, len(labels), chunk):
        part = slice(begin, begin + chunk)
        teacher = _log_probabilities(full[part], full_head)
        top, picked = teacher.max(1), teacher.gather(1, labels[part, None])[:, 0]
        yield "loss", _small(-picked)
        yield "sure", _small(top.values.exp())
        for name, (state, head) in states.items():
            student = _log_probabilities(state[part], head)
            best = student.max(1)
            yield f"{name}_agrees", (best.indices == top.indices).numpy()
            kl = (teacher.exp() * (teacher - student)).sum(1).clamp(min=0)
            yield f"{name}_kl", _small(kl)
            yield f"{name}_sure", _small(best.values.exp())


def _states(checkpoint: Checkpoint, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
    """States before the head, [batch, length, hidden], and the head, of each model by its name."""
    model, exits = checkpoint.model, checkpoint.exits
    taps = read_depths(model, checkpoint.trained_depths, **decoder_inputs(batch))
    norm, head = norm_of(model), head_weight_of(model)
    found: dict[str, tuple[Tensor, Tensor]] = {}
    for depth, tap in taps.at.items():
        raw = norm(tap.hidden), head
        if exits is None:
            found[checkpoint.name_of(depth)] = raw
            continue
        exit = exits.at(depth)
        found[checkpoint.name_of(depth)] = (
            exit(tap.hidden, **tap.layer_kwargs),
            exit.head_weight(model),
        )
        found[raw_exit_name(depth)] = raw
    assert taps.final is not None
    return {**found, "full": (taps.final, head)}


def _log_probabilities(states: Tensor, head: Tensor) -> Tensor:
    return (states @ head.T).float().log_softmax(-1)


def _small(values: Tensor) -> NDArray[np.float16]:
    """Half precision is enough to draw, and halves the file."""
    return values.half().numpy()


@told_in_one_line()
def main() -> None:
    """Measure the test tokens of a run."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--tokens", type=int, default=LIMIT, help="at most so many")
    args = parser.parse_args()
    print(f"measured: {measure(args.run, args.tokens)}")


if __name__ == "__main__":
    main()
