"""Where records come from: local files by split, and sets of the Hugging Face hub."""

from pathlib import Path
from typing import Any

from belvedere.errors import BadInput


def by_split(files: list[Path]) -> dict[str, list[Path]]:
    """Files by the split that their names begin with; ``all`` if they are not so named.

    They are split if some are for training and some are held out.
    """
    named: dict[str, list[Path]] = {}
    for split in ("train", "validation", "test"):
        if found := [file for file in files if file.name.startswith(split)]:
            named[split] = found
    if "train" in named and len(named) > 1:
        return named
    return {"all": files} if files else {}


def load_hub(name: str, config: str | None, split: str, *, streaming: bool) -> Any:
    """A set of the hub, or a folder that ``datasets`` knows.

    Raises:
        BadInput: it cannot be had, in one line.
    """
    from datasets import load_dataset

    try:
        return load_dataset(name, config, split=split, streaming=streaming)
    except Exception as error:  # of the hub, the network, or the set's own form
        raise BadInput(
            f"the set {name!r} cannot be loaded ({str(error).strip().splitlines()[0][:120]})",
            where="data.hub",
            remedy="connect to the hub, or give local files as data=NAME data.path=FILE",
        ) from error
