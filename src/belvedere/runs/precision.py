"""The precision that a run trains in: the one it names, or the fastest of this machine."""

import time

import torch

ROWS, WIDTH = 256, 512
REPEATS = 3


def chosen_precision(wanted: str) -> str:
    """What ``trainer.precision`` says, with ``auto`` replaced by `fastest_precision`."""
    return fastest_precision() if wanted == "auto" else wanted


def fastest_precision() -> str:
    """``bf16-mixed`` where the matrix product is faster in bfloat16, else ``32-true``.

    A GPU is asked; a CPU is timed, for some milliseconds. Processors without bfloat16 instructions
    emulate them, and are then tens of times slower than in float32.
    """
    if torch.cuda.is_available():
        return (
            "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
        )
    seconds = {dtype: _seconds(dtype) for dtype in (torch.float32, torch.bfloat16)}
    return "bf16-mixed" if seconds[torch.bfloat16] < seconds[torch.float32] else "32-true"


@torch.no_grad()
def _seconds(dtype: torch.dtype) -> float:
    """The fastest of a few matrix products, after one to warm up."""
    left, right = torch.ones(ROWS, WIDTH, dtype=dtype), torch.ones(WIDTH, WIDTH, dtype=dtype)
    times = []
    for _ in range(1 + REPEATS):
        start = time.perf_counter()
        left @ right
        times.append(time.perf_counter() - start)
    return min(times[1:])
