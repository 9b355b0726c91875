"""Reads records from .jsonl, .json, .parquet and .txt files; a fault is named by file and line."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from belvedere.errors import BadInput, first_line

SUFFIXES = (".jsonl", ".json", ".parquet", ".txt")
MOST_BYTES = 2**30
"""A longer line, or file of one list, is refused before it is read: it could fill the memory."""
MOST_DEPTH = 32
"""Lists and objects of a JSON record within one another."""


@dataclass(frozen=True)
class Record:
    """One record, and the place that a message can point to."""

    fields: dict[str, Any]
    where: str

    def text(self, column: str, key: str = "") -> str:
        """The text in a column.

        Args:
            column: its name.
            key: the setting that chooses the column, for the message; "" if it is fixed.

        Raises:
            BadInput: there is no such column, or it holds no text.
        """
        if column not in self.fields:
            there = ", ".join(sorted(self.fields))
            raise BadInput(
                f"there is no {'column' if key else 'field'} {column!r}",
                where=self.where,
                remedy=f"choose one of {there} as {key}" if key else f"add it beside {there}",
            )
        value = self.fields[column]
        if not isinstance(value, str):
            raise BadInput(
                f"{column!r} is {type(value).__name__}, not text",
                where=self.where,
                remedy="give every record a string there",
            )
        return whole(value, self.where)

    def file_in(self, folder: Path, column: str) -> Path:
        """The file in a folder that a column names.

        Raises:
            BadInput: it holds no text, or a path that leaves the folder.
        """
        name = Path(self.text(column))
        if name.is_absolute() or ".." in name.parts:
            raise BadInput(
                f"{column!r} leaves the folder of its files",
                where=self.where,
                remedy=f"give the path of a file within {folder}",
            )
        return folder / name


def whole(text: str, where: str) -> str:
    """The text, if all its characters are there: JSON can name the halves of a pair alone.

    Raises:
        BadInput: they are not.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadInput(
            f"half a character at place {error.start} of a text", where=where,
            remedy="repair or remove the record",
        ) from error  # fmt: skip
    return text


def unreadable(place: Path, error: OSError) -> BadInput:
    """What to raise for a file or folder that the system does not let us read."""
    return BadInput(
        f"cannot be read ({error.strerror or error})",
        where=str(place),
        remedy="check its permissions",
    )


def find_files(path: str | Path, key: str = "data.path") -> list[Path]:
    """The data files at a path: itself, or those in it if it is a folder, in order of name.

    Args:
        path: a file or a folder.
        key: the setting that it comes from, for the message.

    Raises:
        BadInput: nothing there, nothing that may be read, or no file of a known kind.
    """
    place = Path(path)
    if not place.exists():
        raise BadInput("there is no such file or folder", where=str(place), remedy=f"check {key}")
    if not place.is_dir():
        if place.suffix not in SUFFIXES:
            raise BadInput(
                f"cannot read {place.suffix or 'a file without a suffix'}",
                where=str(place),
                remedy=f"give one of {', '.join(SUFFIXES)}",
            )
        return [place]
    try:
        files = sorted(p for p in place.iterdir() if p.suffix in SUFFIXES)
    except OSError as error:
        raise unreadable(place, error) from error
    if not files:
        raise BadInput(
            "no data files in this folder", where=str(place), remedy=f"give {', '.join(SUFFIXES)}"
        )
    return files


def read_records(file: Path) -> Iterator[Record]:
    """The records of a file, one after the other, without holding them all.

    A ``.json`` file is a list of records, or an object with that list as its ``Data`` (TriviaQA's
    release). A ``.txt`` file has one record ``{"text": ...}`` for each paragraph: blank lines
    separate them.

    Raises:
        BadInput: an unreadable or empty file, or a broken record.
    """
    try:
        if file.stat().st_size == 0:
            raise BadInput("the file is empty", where=str(file), remedy="give a file with records")
        reader = {".jsonl": _jsonl, ".json": _json, ".parquet": _parquet, ".txt": _paragraphs}
        yield from reader[file.suffix](file)
    except OSError as error:
        raise unreadable(file, error) from error


def read_text(file: Path) -> str:
    """The text of a file in UTF-8, with or without a byte order mark.

    Raises:
        BadInput: it cannot be read, or is not UTF-8.
    """
    try:
        return "".join(line for _, line in _lines(file))
    except OSError as error:
        raise unreadable(file, error) from error


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines; bytes that are no UTF-8 are named by their line."""
    with file.open("rb") as opened:
        lines = iter(lambda: opened.readline(MOST_BYTES + 1), b"")
        for number, raw in enumerate(lines, 1):
            if len(raw) > MOST_BYTES:
                raise BadInput(
                    f"the line has more than {MOST_BYTES:,} bytes",
                    where=f"{file}:{number}",
                    remedy="give records in lines of their own (.jsonl), or a Parquet file",
                )
            try:
                yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise BadInput(
                    f"not UTF-8 at byte {error.start} of the line",
                    where=f"{file}:{number}",
                    remedy="convert the file to UTF-8",
                ) from error


def _jsonl(file: Path) -> Iterator[Record]:
    for number, line in _lines(file):
        if line.strip():
            yield _record(_parsed(line, f"{file}:{number}"), f"{file}:{number}")


def _json(file: Path) -> Iterator[Record]:
    if file.stat().st_size > MOST_BYTES:
        raise BadInput(
            f"the file has more than {MOST_BYTES:,} bytes",
            where=str(file),
            remedy="give it as .jsonl or .parquet, of which not all is read at once",
        )
    content = _parsed(read_text(file), str(file))
    if isinstance(content, dict):
        content = content.get("Data")
    if not isinstance(content, list):
        raise BadInput("not a list of records", where=str(file), remedy="give [{...}, {...}]")
    for number, fields in enumerate(content):
        yield _record(fields, f"{file}[{number}]")


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise BadInput(
            f"broken JSON ({error})", where=where, remedy="repair or remove the record"
        ) from error


def _record(fields: Any, where: str) -> Record:
    if not isinstance(fields, dict):
        raise BadInput(
            f"a record is {type(fields).__name__}, not an object",
            where=where,
            remedy="write {...} with its fields",
        )
    if _deeper(fields, MOST_DEPTH):
        raise BadInput(
            f"more than {MOST_DEPTH} lists and objects within one another",
            where=where,
            remedy="remove the record",
        )
    return Record(fields, where)


def _deeper(content: Any, most: int) -> bool:
    """Whether lists and objects lie deeper within one another than so."""
    layer = [content]
    for _ in range(most + 1):
        within = (one.values() if isinstance(one, dict) else one for one in layer)
        layer = [part for parts in within for part in parts if isinstance(part, dict | list)]
        if not layer:
            return False
    return True


def _parquet(file: Path) -> Iterator[Record]:
    try:
        number = 0
        for batch in pq.ParquetFile(file).iter_batches(batch_size=4096):
            for fields in batch.to_pylist():
                yield Record(fields, f"{file}[{number}]")
                number += 1
    except pa.ArrowException as error:
        raise BadInput(
            f"broken Parquet ({first_line(error)})",
            where=str(file),
            remedy="write the file anew",
        ) from error


def _paragraphs(file: Path) -> Iterator[Record]:
    paragraph: list[str] = []
    start = 1
    for number, line in _lines(file):
        if line.strip():
            if not paragraph:
                start = number
            paragraph.append(line)
        elif paragraph:
            yield Record({"text": "".join(paragraph).strip()}, f"{file}:{start}")
            paragraph = []
    if paragraph:
        yield Record({"text": "".join(paragraph).strip()}, f"{file}:{start}")
