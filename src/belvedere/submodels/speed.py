"""Tokens per second of sub-models, prompt and decoding measured in turn; peaks of memory."""

import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from transformers import DynamicCache, PreTrainedModel

Measured = TypeVar("Measured")


@dataclass(frozen=True)
class Speed:
    """Median tokens per second with the range over the repeats.

    Attributes:
        prefill: of the prompt in one pass.
        decode: of the tokens after it, one by one, greedy, with the cache.
        prefill_range: slowest and fastest repeat.
        decode_range: likewise.
    """

    prefill: float
    decode: float
    prefill_range: tuple[float, float]
    decode_range: tuple[float, float]

    def beside(self, full: "Speed") -> dict[str, Any]:
        """What a report's row says of it, beside the full model's."""
        return {
            "tokens_per_second": round(self.decode, 1),
            "speedup": round(self.decode / full.decode, 3),
            "decode_range": [round(value, 1) for value in self.decode_range],
            "prefill_tokens_per_second": round(self.prefill, 1),
            "prefill_speedup": round(self.prefill / full.prefill, 3),
            "prefill_range": [round(value, 1) for value in self.prefill_range],
        }


def measure_speed(
    models: Mapping[str, PreTrainedModel],
    *,
    prompt_tokens: int = 128,
    new_tokens: int = 32,
    repeats: int = 5,
) -> dict[str, Speed]:
    """Time every model at batch 1, in turn, so that a machine's slow moments hit all alike.

    Args:
        models: the models by name; they are put into eval mode for the measurement.
        prompt_tokens: length of the prompt.
        new_tokens: how many tokens are decoded after it.
        repeats: counted rounds, after one that is not.
    """
    times = in_turn(
        {
            name: partial(_time_once, model, prompt_tokens, new_tokens)
            for name, model in models.items()
        },
        repeats,
    )
    return {name: _summary(rows, prompt_tokens, new_tokens) for name, rows in times.items()}


def in_turn(
    measure: Mapping[str, Callable[[], Measured]], repeats: int
) -> dict[str, list[Measured]]:
    """Measure several things round by round, after one round that is not counted.

    Args:
        measure: makes one measurement of each.
        repeats: counted rounds.
    """
    found: dict[str, list[Measured]] = {name: [] for name in measure}
    for round_ in range(repeats + 1):
        for name, once in measure.items():
            measured = once()
            if round_:
                found[name].append(measured)
    return found


@torch.inference_mode()
def _time_once(model: PreTrainedModel, prompt_tokens: int, new_tokens: int) -> tuple[float, float]:
    """Seconds for the prompt and for the tokens after it."""
    device = model.device
    vocabulary = model.config.get_text_config().vocab_size
    ids = (torch.arange(prompt_tokens, device=device) * 7919 % vocabulary)[None]
    was_training = model.training
    model.eval()
    cache = DynamicCache(config=model.config)
    start = now(device)
    logits = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
    between = now(device)
    for _ in range(new_tokens):
        token = logits[:, -1].argmax(-1, keepdim=True)
        logits = model(input_ids=token, past_key_values=cache, use_cache=True).logits
    end = now(device)
    model.train(was_training)
    return between - start, end - between


def now(device: torch.device) -> float:
    """Seconds on a clock, once the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def peak_bytes(device: torch.device) -> int:
    """The most memory that was in use until now: of a GPU its tensors, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes * (1 if sys.platform == "darwin" else 1024)


def _summary(rows: list[tuple[float, float]], prompt_tokens: int, new_tokens: int) -> Speed:
    prefill = [prompt_tokens / seconds for seconds, _ in rows]
    decode = [new_tokens / seconds for _, seconds in rows]
    return Speed(
        statistics.median(prefill),
        statistics.median(decode),
        (min(prefill), max(prefill)),
        (min(decode), max(decode)),
    )
