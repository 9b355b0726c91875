"""Copies a trained reader in half precision: ``python -m belvedere.runs.ship RUN FOLDER``."""

import argparse
from pathlib import Path

import torch

from belvedere.errors import BadInput, told_in_one_line
from belvedere.unichart.loading import WEIGHTS, Reader, save_reader


def ship(run: str, folder: Path) -> int:
    """Write a reader's weights in float16, and its tokenizer, into a folder.

    Args:
        run: the run's folder, or the reader's.
        folder: is made; one with other files than a reader's is refused.

    Returns:
        Bytes of the weights.

    Raises:
        BadInput: no reader, or something else in the folder.
    """
    reader = Reader(run)
    tokenizer = reader.tokenizer()
    model = reader.load(len(tokenizer))
    if folder.exists() and any(folder.iterdir()) and not (folder / WEIGHTS).exists():
        raise BadInput(
            "there are other files", where=str(folder), remedy="name a new folder, or a reader's"
        )
    save_reader(model, folder, torch.float16)
    tokenizer.save_pretrained(folder)
    return (folder / WEIGHTS).stat().st_size


@told_in_one_line()
def main() -> None:
    """Write a trained reader in half precision."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("run", help="the run's folder, or the reader's")
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    size = ship(args.run, args.folder)
    print(f"{size:,} bytes of weights in {args.folder}")


if __name__ == "__main__":
    main()
