"""Runs variants of a measurement in turn, each in a process of its own, and prints their ratios.

A process of its own, so that the memory of one does not hide the other's; in turn, so that the
machine's slow moments hit all alike.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence

import psutil
import torch

Found = dict[str, float]


def held_bytes(device: torch.device) -> int:
    """The memory that is in use now, which after a set-up is less than its peak."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return int(psutil.Process().memory_info().rss)


def compare(
    parser: argparse.ArgumentParser,
    variants: Sequence[str],
    measure: Callable[[str, argparse.Namespace], Found],
    pairs: Sequence[tuple[str, str]],
    memory: str,
    tolerance: float | None = None,
) -> None:
    """Measure every variant, and print medians with their range, and the ratios of pairs.

    Ends with an error where two that are compared have not the same loss.

    Args:
        parser: with the options of the measurement.
        variants: their names.
        measure: takes a variant and the options, returns ``seconds``, ``bytes`` and ``loss``, and
            maybe the ``processor``'s seconds.
        pairs: what is divided by what.
        memory: what ``bytes`` are.
        tolerance: of the losses of a pair, relative; None lets them differ.
    """
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=variants, help="one measurement, in this process")
    args = parser.parse_args()
    if args.only:
        print(json.dumps(measure(args.only, args)))
        return
    found: dict[str, list[Found]] = {name: [] for name in variants}
    for _ in range(args.repeats):
        for name, rows in found.items():
            command = [sys.executable, *sys.argv, "--only", name]
            rows.append(
                json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            )
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for name, rows in found.items():
        seconds = [row["seconds"] for row in rows]
        mebibytes = statistics.median(row["bytes"] for row in rows) / 2**20
        processor = [row["processor"] for row in rows if "processor" in row]
        own = f"{statistics.median(processor):.2f} s of the processor, " if processor else ""
        print(
            f"{name}: {statistics.median(seconds):.2f} s ({min(seconds):.2f} to "
            f"{max(seconds):.2f}), {own}{mebibytes:,.0f} MiB, "
            f"loss {rows[0]['loss']:.6f}"
        )
    for first, second in pairs:
        for a, b in zip(found[first], found[second], strict=True):
            if tolerance is not None and not math.isclose(a["loss"], b["loss"], rel_tol=tolerance):
                sys.exit(f"{first} has the loss {a['loss']}, {second} has {b['loss']}")
        for key, what in (("seconds", "time"), ("processor", "processor time"), ("bytes", memory)):
            if key not in found[first][0]:
                continue
            if not all(row[key] for row in found[second]):
                print(f"{first} / {second}, {what}: too small to be measured")
                continue
            ratios = [a[key] / b[key] for a, b in zip(found[first], found[second], strict=True)]
            print(
                f"{first} / {second}, {what}: {statistics.median(ratios):.3f} "
                f"({min(ratios):.3f} to {max(ratios):.3f})"
            )
