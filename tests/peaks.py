"""Peaks of memory by PyTorch's profiler, for tests that compare them."""

from collections.abc import Callable

from torch.profiler import profile


def peak_of(work: Callable[[], object]) -> int:
    """Bytes of tensors at the peak of some work, above those that were there before it."""
    with profile(profile_memory=True) as found:
        work()
    changes = [
        (event.start_ns(), event.nbytes())
        for event in found.profiler.kineto_results.events()
        if event.name() == "[memory]"
    ]
    now = peak = 0
    for _, size in sorted(changes):
        now += size
        peak = max(peak, now)
    return peak
