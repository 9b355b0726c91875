"""Tokenises files once, into memory-mapped arrays that later runs open at once.

A cache is a folder named by the hash of all that decides its content: the bytes of the files, the
tokenizer, the column and the limit. It is written beside and renamed, so that it is whole or not
there.
"""

import errno
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from belvedere.data.records import read_records, unreadable
from belvedere.errors import BadInput

LOG = logging.getLogger(__name__)
BATCH = 1024
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Tokens:
    """Tokenised documents.

    Attributes:
        ids: [tokens], all documents behind one another, each with its begin and end token.
        offsets: [documents + 1], where each document begins.
        shares: [documents], a number from 0 to 1 by the document's content alone, to split by.
        empty: how many records had an empty text and were left out.
    """

    ids: NDArray[np.integer]
    offsets: NDArray[np.int64]
    shares: NDArray[np.float64]
    empty: int

    def __len__(self) -> int:
        return len(self.offsets) - 1


def tokenised(
    files: list[Path],
    tokenizer: PreTrainedTokenizerBase,
    column: str,
    cache: Path,
    limit: int | None = None,
) -> Tokens:
    """The documents of the files as tokens, from the cache if it has them.

    With a ``limit`` only the first documents, until there are so many tokens.

    Raises:
        BadInput: broken records, no documents at all, or no space for the cache.
    """
    folder = cache / _key(files, tokenizer, column, limit)
    found = _open(folder)
    if found is None:
        named = ", ".join(file.name for file in files)
        LOG.info("tokenising %s, once: later runs open %s", named, cache)
        _write(folder, partial(_fill, files, tokenizer, column, limit))
        found = _open(folder)
    assert found is not None
    if not len(found):
        raise BadInput(
            "all records are empty", where=str(files[0]), remedy="give at least one with a text"
        )
    return found


def encode(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    """Each text with the tokenizer's begin token in front and its end token behind."""
    before = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    behind = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    encoded = tokenizer(texts, add_special_tokens=False, verbose=False).input_ids
    return [[*before, *ids, *behind] for ids in encoded]


def _key(
    files: list[Path], tokenizer: PreTrainedTokenizerBase, column: str, limit: int | None
) -> str:
    digest = hashlib.sha256(
        f"2 {column} {limit} {tokenizer.bos_token_id} {tokenizer.eos_token_id}".encode()
    )
    backend = getattr(tokenizer, "backend_tokenizer", None)
    vocabulary = backend.to_str() if backend else json.dumps(tokenizer.get_vocab(), sort_keys=True)
    digest.update(vocabulary.encode())
    for file in files:
        try:
            with file.open("rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
        except OSError as error:
            raise unreadable(file, error) from error
    return digest.hexdigest()[:32]


def _open(folder: Path) -> Tokens | None:
    """The cache in a folder, or None if it is not there or not whole."""
    try:
        facts = json.loads((folder / "facts.json").read_text())
        offsets = np.load(folder / "offsets.npy", mmap_mode="r", allow_pickle=False)
        shares = np.load(folder / "shares.npy", mmap_mode="r", allow_pickle=False)
        dtype = np.dtype(facts["dtype"])
        size = (folder / "ids.bin").stat().st_size
        ordered = offsets[0] == 0 and bool(np.all(offsets[1:] >= offsets[:-1]))
        if size != int(offsets[-1]) * dtype.itemsize or not ordered:
            return None
        if len(shares) != len(offsets) - 1:
            return None
        empty = int(facts["empty"])
        ids: Any = np.zeros(0, dtype)
        if offsets[-1]:
            ids = np.memmap(folder / "ids.bin", dtype=dtype, mode="r")
    except Exception:  # a header of numpy is parsed as Python, and fails in as many ways
        return None
    return Tokens(ids, offsets, shares, empty)


def _write(folder: Path, fill: Callable[[Path], None]) -> None:
    """Let ``fill`` write its files beside, and rename them to ``folder``."""
    beside: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
        fill(beside)
        if folder.exists():  # torn by hand, or another process was faster
            shutil.rmtree(folder, ignore_errors=True)
        os.replace(beside, folder)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):  # another process was faster
            return
        reason = "no space left" if error.errno in NO_SPACE else f"cannot write ({error.strerror})"
        raise BadInput(
            f"{reason} for the token cache",
            where=str(folder.parent),
            remedy="free some space or set data.cache_dir to another disk",
        ) from error
    finally:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)


def _fill(
    files: list[Path],
    tokenizer: PreTrainedTokenizerBase,
    column: str,
    limit: int | None,
    folder: Path,
) -> None:
    dtype = np.dtype(np.uint16 if len(tokenizer) <= 2**16 else np.uint32)
    lengths: list[int] = []
    shares: list[float] = []
    empty = 0
    texts = (
        record.text(column, "data.text_column") for file in files for record in read_records(file)
    )
    with (folder / "ids.bin").open("wb") as out:
        for batch in _batches(texts):
            if limit is not None and out.tell() >= limit * dtype.itemsize:
                break
            filled = [text for text in batch if text.strip()]
            empty += len(batch) - len(filled)
            shares += map(share_of, filled)
            for ids in encode(tokenizer, filled) if filled else []:
                lengths.append(len(ids))
                out.write(np.asarray(ids, dtype).tobytes())
    np.save(folder / "offsets.npy", np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    np.save(folder / "shares.npy", np.asarray(shares, np.float64))
    (folder / "facts.json").write_text(json.dumps({"dtype": dtype.name, "empty": empty}))


def share_of(text: str) -> float:
    """A number from 0 to 1 that a text always gets: documents are split by it."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:6]) / 2**48


def _batches(texts: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(islice(texts, BATCH)):
        yield batch
