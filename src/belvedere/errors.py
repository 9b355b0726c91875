"""The one exception for input that a person can put right, and how a program ends on it."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FROM_WORKER = "Caught BadInput in DataLoader worker"
_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{16,}")
BAD_INPUT = 2
"""The exit code of a program whose input cannot be used."""


class BadInput(ValueError):
    """Input that cannot be used: says what, where and the remedy, in one line.

    Every command catches it, prints the line and ends with exit code 2.

    Args:
        what: what is wrong, without a full stop.
        where: the place, as ``file:line``, a path or a configuration key.
        remedy: what to do about it.
    """

    def __init__(self, what: str, *, where: str | None = None, remedy: str | None = None) -> None:
        if what.startswith(FROM_WORKER):
            # PyTorch raises it again in the main process, with the worker's traceback as its text.
            what = what.rpartition(f"{type(self).__name__}: ")[2]
        parts = [f"{where}: {what}" if where else what]
        if remedy:
            parts.append(remedy)
        super().__init__(masked("; ".join(" ".join(part.split()) for part in parts)))


def masked(text: str) -> str:
    """A text without the hub's tokens, which errors of the network may quote."""
    own = os.environ.get("HF_TOKEN", "")
    return _TOKEN.sub("hf_***", text.replace(own, "hf_***") if own else text)


def first_line(error: BaseException, longest: int = 120) -> str:
    """What an error says, in one line; the name of its class where it says nothing."""
    text = str(error).strip()
    return text.splitlines()[0][:longest] if text else type(error).__name__


def unwritable(place: Path, error: OSError, remedy: str) -> BadInput:
    """What to raise for a file or folder that the system does not let us write."""
    return BadInput(
        f"cannot be written ({error.strerror or error})", where=str(place), remedy=remedy
    )


def check_new_file(file: Path) -> None:
    """Raise `BadInput` if a file is there, which is never overwritten."""
    if file.exists():
        raise BadInput("is there already", where=str(file), remedy="name a new file")


@contextmanager
def told_in_one_line() -> Iterator[None]:
    """End a command with one line on stderr and code `BAD_INPUT` where its input cannot be used.

    That is `BadInput`, and whatever the system says of a file.
    """
    try:
        yield
    except BadInput as error:
        line = str(error)
    except OSError as error:
        reason = error.strerror or str(error)
        line = " ".join((f"{error.filename}: {reason}" if error.filename else reason).split())
    else:
        return
    print(f"error: {line}", file=sys.stderr)
    sys.exit(BAD_INPUT)
