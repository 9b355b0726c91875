"""Speed of the decoding engine against transformers' own generation, on the same weights.

``python benchmarks/decoding.py RUN`` writes answers to the shipped instructions in turn by:

- ``transformers``: ``generate`` of the full model,
- ``early_exit``: ``generate`` with ``assistant_early_exit``, where prefixes are the sub-models,
- ``assistant``: ``generate`` with a small model of its own that drafts (``--assistant FOLDER``),
- ``full``, ``exit``, ``speculative`` and, with thresholds, ``confident``: the engine,
- the same with ``+``: compiled (``--compile``),
- ``products``: the bare matrix products of one token in the layers and the head, nothing else.

Prefill (until the first token) and the tokens after it are timed apart. Ends are ignored, so that
all write equally much, unless ``--ends`` lets answers end where they do: what comes after the end
of an answer is like no text that a model was made for. ``--begin 10`` takes the first 10 tokens of
each record for a prompt. The last column is the share of answers that are those of ``full``.

``--shape 1b`` takes an untrained model of Llama 3.2 1B's shape instead of a run; nothing that its
exits draft is right.
``--memory`` runs each arm in a process of its own and prints its peak.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from paired import compare
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers.generation.streamers import BaseStreamer

from belvedere.data.records import find_files, read_records
from belvedere.errors import BadInput
from belvedere.runs.writing import Writer, prompt_of
from belvedere.submodels.backbone import head_of, layers_of
from belvedere.submodels.checkpoints import Checkpoint, load_checkpoint
from belvedere.submodels.engine.choices import Decoding, decoding_of
from belvedere.submodels.engine.generation import Statistics, generate, length_of
from belvedere.submodels.engine.sampling import Chooser, Sampling
from belvedere.submodels.exits import ExitConfig, build_exits
from belvedere.submodels.loading import Backbone
from belvedere.submodels.speed import in_turn, now, peak_bytes

INSTRUCTIONS = Path(__file__).parent.parent / "data" / "instructions" / "test.jsonl"
DEPTHS = (8, 9, 11)
"""Of the untrained model's 16 layers, as Balcony's 15, 18 and 21 are of 32."""
Answers = list[list[int]]


@dataclass
class Timed:
    """What answers took.

    Attributes:
        first: seconds until the first tokens of all batches.
        rest: seconds for those after them.
        steps: how many tokens of a sequence came after the first ones, over all batches.
        answers: the tokens.
    """

    first: float = 0.0
    rest: float = 0.0
    steps: int = 0
    answers: Answers = field(default_factory=list)


class Clock(BaseStreamer):
    """Notes when ``generate`` gives out its first new tokens, and how many these are."""

    def __init__(self, batch: int) -> None:
        self.batch, self.calls, self.first, self.tokens = batch, 0, 0.0, 0

    def put(self, value: torch.Tensor) -> None:
        """The prompt comes first."""
        self.calls += 1
        if self.calls == 2:
            self.first, self.tokens = time.perf_counter(), value.numel() // self.batch

    def end(self) -> None:
        """Nothing is left."""


@torch.no_grad()
def by_transformers(
    checkpoint: Checkpoint, batches: list[Answers], new: int, ends: list[int], **options: Any
) -> Timed:
    """Answers by ``generate``, batches padded on the left."""
    timed = Timed()
    options["eos_token_id"] = ends or None
    for batch in batches:
        longest = max(map(len, batch))
        ids = torch.tensor([[0] * (longest - len(one)) + one for one in batch])
        mask = torch.tensor([[0] * (longest - len(one)) + [1] * len(one) for one in batch])
        device = checkpoint.model.device
        clock, start = Clock(len(batch)), now(device)
        found: Any = checkpoint.model.generate(
            ids.to(device), attention_mask=mask.to(device), max_new_tokens=new, do_sample=False,
            pad_token_id=0, streamer=clock, **options,
        )  # fmt: skip
        timed.first += clock.first - start
        timed.rest += now(device) - clock.first
        timed.steps += found.shape[1] - longest - clock.tokens
        written = found[:, longest:].tolist()  # with what fills the batch behind ends
        timed.answers += [one[: length_of(one, 0, ends, len(one))] for one in written]
    return timed


def by_engine(decoding: Decoding, batches: list[Answers], new: int, ends: list[int]) -> Timed:
    """Answers by the engine."""
    timed = Timed()
    for batch in batches:
        written: Answers = [[] for _ in batch]
        found, first = Statistics(), 0
        for some in generate(
            decoding.cascade, batch, decoding.strategy, Chooser(Sampling()),
            max_new_tokens=new, end_ids=ends, statistics=found,
        ):  # fmt: skip
            first = len(some.tokens) if found.rounds == 1 else first
            written[some.row] += some.tokens
        timed.first += found.first_seconds
        timed.rest += found.seconds - found.first_seconds
        timed.steps += max(map(len, written)) - first
        timed.answers += written
    return timed


@torch.no_grad()
def products(checkpoint: Checkpoint, rows: int, new: int) -> Timed:
    """The matrix products of so many tokens."""
    model = checkpoint.model
    weights = [
        parameter
        for layer in layers_of(model)
        for parameter in layer.parameters()
        if parameter.ndim == 2
    ] + [head_of(model).weight]
    inputs = {w.shape[1]: torch.randn(rows, w.shape[1]).to(w) for w in weights}
    start = now(model.device)
    for _ in range(new):
        for weight in weights:
            torch.nn.functional.linear(inputs[weight.shape[1]], weight)
    return Timed(rest=now(model.device) - start, steps=new)


def opened(args: argparse.Namespace) -> Checkpoint:
    """The checkpoint, or an untrained one of a shape."""
    if args.checkpoint is not None:
        checkpoint = load_checkpoint(args.checkpoint, Backbone("", dtype=args.dtype))
        for part in (checkpoint.model, checkpoint.exits):
            if part is not None:
                part.to(args.device)
        checkpoint.model.generation_config.eos_token_id = None  # type: ignore[union-attr]
        return checkpoint
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32,
        num_key_value_heads=8, vocab_size=128_256, tie_word_embeddings=True,
        max_position_embeddings=4096, torch_dtype=getattr(torch, args.dtype),
    )  # fmt: skip
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    model = model.to(getattr(torch, args.dtype)).to_empty(device=args.device)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.02) if parameter.ndim == 2 else parameter.fill_(1.0)
        model.model.rotary_emb = type(model.model.rotary_emb)(config).to(args.device)
    model.generation_config.eos_token_id = None
    exits = build_exits(model.eval(), ExitConfig(DEPTHS))
    return Checkpoint(model, exits.eval(), SimpleNamespace(), Path(), "")  # type: ignore[arg-type]


def prompts(checkpoint: Checkpoint, args: argparse.Namespace) -> Answers:
    """The first prompts of the file, as tokens; of an untrained model any tokens."""
    if args.checkpoint is None:
        return [[(7919 * n + row) % 1000 for n in range(64)] for row in range(args.count)]
    decoding = decoding_of(checkpoint, "full")
    writer = Writer(checkpoint, decoding, Chooser(Sampling()), args.new, format=args.format)
    records = [
        one for file in find_files(str(args.prompts), "prompts") for one in read_records(file)
    ]
    room = decoding.cascade.context - args.new - 16
    ids = [writer.ids(*prompt_of(record))[: args.begin] for record in records]
    return [one for one in ids if len(one) <= room][: args.count]


def ends_of(checkpoint: Checkpoint, args: argparse.Namespace) -> list[int]:
    """The tokens that end an answer; none where all are to be equally long."""
    return [checkpoint.tokenizer.eos_token_id] if args.ends else []


def assisted(checkpoint: Checkpoint, batches: list[Answers], args: argparse.Namespace) -> Timed:
    """By ``generate`` with the small model, which is loaded when it is needed."""
    small = AutoModelForCausalLM.from_pretrained(args.assistant, dtype=getattr(torch, args.dtype))
    small = small.to(args.device).eval()
    return by_transformers(
        checkpoint, batches, args.new, ends_of(checkpoint, args), assistant_model=small
    )


def arms(checkpoint: Checkpoint, args: argparse.Namespace) -> dict[str, Callable[..., Timed]]:
    """What is timed, by name; each takes batches."""
    how: dict[str, Any] = {"new": args.new, "ends": ends_of(checkpoint, args)}
    found: dict[str, Callable[..., Timed]] = {
        "transformers": partial(by_transformers, checkpoint, **how)
    }
    if checkpoint.exits is None and checkpoint.report is not None:
        depth = args.exit or decoding_of(checkpoint, "speculative").cascade.stops[0]
        found["early_exit"] = partial(
            by_transformers, checkpoint, assistant_early_exit=depth, **how
        )
    if args.assistant:
        found["assistant"] = partial(assisted, checkpoint, args=args)
    for compiled in (False, True) if args.compile else (False,):
        for name in ("full", "exit", "speculative", "confident"):
            options: dict[str, Any] = {}
            if name in ("exit", "speculative"):
                options["exit"] = args.exit
            try:
                decoding = decoding_of(checkpoint, name, **options, compile=compiled)
            except BadInput as error:
                if name != "confident":
                    raise
                print(f"confident is left out: {error}")
                continue
            label = name + "+" * compiled
            found[label] = partial(by_engine, decoding, **how)
    found["products"] = lambda batches: products(
        checkpoint, len(batches[0]), args.new * len(batches)
    )
    return {name: arm for name, arm in found.items() if not args.arms or name in args.arms}


def spread(values: Sequence[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def measure_speed(args: argparse.Namespace) -> None:
    """Time all arms in turn, for every size of batch."""
    checkpoint = opened(args)
    ids = prompts(checkpoint, args)
    chosen = arms(checkpoint, args)
    print(
        f"{len(ids)} prompts of {min(map(len, ids))} to {max(map(len, ids))} tokens, {args.new} "
        f"new tokens each{' at most' * args.ends}, {args.dtype}, {args.device}, "
        f"{torch.get_num_threads()} threads, {args.repeats} repeats"
    )
    for size in args.batch:
        batches = [ids[n : n + size] for n in range(0, len(ids), size)]
        single = ("early_exit", "assistant")  # transformers drafts for one sequence only
        here = {
            n: partial(arm, batches) for n, arm in chosen.items() if size == 1 or n not in single
        }
        times = in_turn(here, args.repeats)
        each = {name: [1000 * one.rest / one.steps for one in rows] for name, rows in times.items()}
        wanted = times["full"][0].answers if "full" in times else []
        print(
            f"\nbatch {size}: first tokens, ms | a token, ms | transformers / this | full / this | "
            "as full"
        )
        for name, rows in times.items():
            first = [1000 * one.first / len(batches) for one in rows]
            ratios = [
                spread([a / b for a, b in zip(each[base], each[name], strict=True)])
                if base in each
                else "-"
                for base in ("transformers", "full+" if name.endswith("+") else "full")
            ]
            answers = rows[0].answers
            equal = sum(a == b for a, b in zip(answers, wanted, strict=bool(answers and wanted)))
            same = f"{equal / len(wanted):.1%}" if wanted and answers else "-"
            told = [spread(first), spread(each[name]), *ratios, same]
            print(" | ".join([f"{name:14}", *told]), flush=True)


def measure_memory(variant: str, args: argparse.Namespace) -> dict[str, float]:
    """One arm in this process."""
    checkpoint = opened(args)
    ids = prompts(checkpoint, args)
    args.arms = [variant]
    batches = [ids[n : n + args.batch[0]] for n in range(0, len(ids), args.batch[0])]
    timed = arms(checkpoint, args)[variant](batches)
    return {
        "seconds": timed.first + timed.rest,
        "bytes": peak_bytes(checkpoint.model.device),
        "loss": 0.0,
    }


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        conflict_handler="resolve",  # comparisons of memory have a number of repeats of their own
    )
    parser.add_argument("checkpoint", nargs="?", help="a run or a model's folder")
    parser.add_argument("--shape", choices=["1b"], help="untrained, instead of a checkpoint")
    parser.add_argument("--prompts", default=INSTRUCTIONS)
    parser.add_argument("--format", default="alpaca")
    parser.add_argument("--count", type=int, default=8, help="of prompts")
    parser.add_argument("--new", type=int, default=128, help="tokens of each answer")
    parser.add_argument("--begin", type=int, help="tokens of each record that are the prompt")
    parser.add_argument("--ends", action="store_true", help="answers end where they do")
    parser.add_argument("--batch", type=int, nargs="+", default=[1])
    parser.add_argument("--exit", type=int, help="depth of the exit that writes and drafts")
    parser.add_argument("--assistant", help="folder of a small model of the same vocabulary")
    parser.add_argument("--arms", nargs="+", help="only these")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory", nargs="+", help="arms whose peak of memory is compared")
    parser.add_argument("--repeats", type=int, default=5)
    known, _ = parser.parse_known_args()
    if (known.checkpoint is None) == (known.shape is None):
        parser.error("give a checkpoint or a --shape")
    torch.set_num_threads(known.threads)
    if known.memory:
        first, *others = known.memory
        pairs = [(other, first) for other in others]
        compare(parser, known.memory, measure_memory, pairs, "peak memory of the process")
        return
    measure_speed(parser.parse_args())


if __name__ == "__main__":
    main()
