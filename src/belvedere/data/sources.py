"""Where records come from: local files by split, and sets of the Hugging Face hub."""

from pathlib import Path
from typing import Any

from belvedere.errors import BadInput, first_line

NAMES = {"train": "train", "val": "validation", "dev": "validation", "test": "test"}
"""What the name of a split's file begins with."""


def by_split(files: list[Path]) -> dict[str, list[Path]]:
    """Files by the split that their names begin with; ``all`` if they are not so named.

    They are split if some are for training and some are held out.

    Raises:
        BadInput: they are split, and one of them belongs to no split.
    """
    named: dict[str, list[Path]] = {}
    for file in files:
        split = next((split for name, split in NAMES.items() if file.name.startswith(name)), "")
        named.setdefault(split, []).append(file)
    if "train" not in named or not {"validation", "test"} & set(named):
        return {"all": files} if files else {}
    if "" in named:
        raise BadInput(
            "this file belongs to none of the splits beside it",
            where=str(named[""][0]),
            remedy="let its name begin with train, validation or test, or name the files singly",
        )
    return named


def load_hub(
    name: str, config: str | None, split: str, *, streaming: bool, key: str = "data.hub"
) -> Any:
    """A set of the hub, or a folder that ``datasets`` knows.

    Args:
        name: of the set.
        config: the set's configuration.
        split: to read.
        streaming: without keeping it on this machine.
        key: the setting that the name comes from, for the message.

    Raises:
        BadInput: it cannot be had, in one line.
    """
    from datasets import load_dataset

    try:
        return load_dataset(name, config, split=split, streaming=streaming)
    except Exception as error:  # of the hub, the network, or the set's own form
        raise BadInput(
            f"the set {name!r} cannot be loaded ({first_line(error)})",
            where=key,
            remedy="connect to the hub, or give local files as data=NAME data.path=FILE",
        ) from error
