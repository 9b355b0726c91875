"""Answers prompts with a checkpoint: one, a file of them, or a chat; shown as they grow."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf
from rich.console import Console
from rich.text import Text
from transformers import PreTrainedTokenizerBase

from belvedere.data.alpaca import InstructionPrompt
from belvedere.data.loading import check_sizes
from belvedere.data.records import Record, find_files, read_records
from belvedere.errors import BadInput, check_new_file, unwritable
from belvedere.runs.entry import CONFIGS
from belvedere.runs.training import quiet
from belvedere.submodels.checkpoints import Checkpoint, load_checkpoint
from belvedere.submodels.decoding import encoded_prompt
from belvedere.submodels.engine.choices import Decoding, decoding_of
from belvedere.submodels.engine.generation import Statistics, check_lengths, generate
from belvedere.submodels.engine.sampling import Chooser
from belvedere.submodels.engine.text import TextStream

FORMATS = {"alpaca": "instructions", "stanford_alpaca": "alpaca"}
"""Formats of instructions, and the data whose prompt they are."""
COLOURS = ("bright_cyan", "green", "yellow", "magenta", "bright_blue", "red")
"""Of exits, the shallowest first; what the full model found has no colour."""
SHOWN = ("text", "depth")
NEW_TOKENS = 200


@dataclass(frozen=True)
class Piece:
    """Some new text of an answer.

    Attributes:
        row: which prompt it answers.
        token: the newest one.
        text: that will not change any more; may be empty.
        depth: the layers of the sub-model that found the token.
        finished: whether it ends the answer.
    """

    row: int
    token: int
    text: str
    depth: int
    finished: bool


class Writer:
    """Answers prompts in one way of decoding.

    Args:
        checkpoint: the model, its sub-models and its tokenizer.
        decoding: the way.
        choose: of tokens.
        max_new_tokens: longest answer.
        stops: strings that end an answer.
        format: of prompts: "plain", "chat" or one of `FORMATS`.

    Attributes:
        statistics: of the last batch.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        decoding: Decoding,
        choose: Chooser,
        max_new_tokens: int,
        stops: Sequence[str] = (),
        format: str = "plain",
    ) -> None:
        if format not in ("plain", "chat", *FORMATS):
            raise BadInput(
                f"there is no format {format!r}",
                where="format",
                remedy=f"choose one of plain, chat, {', '.join(FORMATS)}",
            )
        self.checkpoint, self.decoding, self.choose = checkpoint, decoding, choose
        self.tokenizer = checkpoint.tokenizer
        self.max_new_tokens, self.stops, self.format = max_new_tokens, stops, format
        self.statistics = Statistics()
        self.instruction = instruction_prompt(FORMATS[format]) if format in FORMATS else None
        self.end_ids = end_ids_of(checkpoint, chat=format == "chat")

    def ids(self, prompt: str, given: str = "") -> list[int]:
        """The tokens of a prompt in the writer's format.

        Args:
            prompt: the text, or the instruction.
            given: the instruction's input.
        """
        if self.instruction:
            return encoded_prompt(self.tokenizer, self.instruction.fill(prompt, given))
        text = f"{prompt}\n\n{given}" if given else prompt
        if self.format == "chat":
            return self.ids_of_chat([{"role": "user", "content": text}])
        return encoded_prompt(self.tokenizer, text)

    def ids_of_chat(self, messages: list[dict[str, str]]) -> list[int]:
        """The tokens of a chat up to where the answer begins.

        Raises:
            BadInput: the tokenizer has no template.
        """
        if not self.tokenizer.chat_template:
            raise BadInput(
                "the tokenizer has no chat template", where="format", remedy="use plain or alpaca"
            )
        text: Any = self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=False
        )
        return encoded_prompt(self.tokenizer, text, begin=False)  # the template has it

    def answers(self, prompts: Sequence[Sequence[int]]) -> Iterator[Piece]:
        """The answers to a batch of prompts, piece by piece."""
        self.statistics = Statistics()
        if self.decoding.drafting is not None:
            self.decoding.drafting.count_anew()
        streams = [TextStream(self.tokenizer, self.stops) for _ in prompts]
        fed = [0] * len(prompts)
        waiting: list[list[str]] = [[] for _ in prompts]

        def ends(row: int, tokens: list[int]) -> int | None:
            for number in range(fed[row], len(tokens)):
                waiting[row].append(streams[row].feed(tokens[number]))
                fed[row] = number + 1
                if streams[row].ended:
                    return number + 1
            return None

        for new in generate(
            self.decoding.cascade, prompts, self.decoding.strategy, self.choose,
            max_new_tokens=self.max_new_tokens, end_ids=self.end_ids, ends=ends,
            statistics=self.statistics,
        ):  # fmt: skip
            texts, waiting[new.row] = waiting[new.row], []
            last = len(new.tokens) - 1
            parts = zip(new.tokens, texts, new.depths, strict=True)
            for number, (token, text, depth) in enumerate(parts):
                finished = new.finished and number == last
                if finished:
                    text += streams[new.row].rest()
                yield Piece(new.row, token, text, depth, finished)

    def texts(self, prompts: Sequence[Sequence[int]]) -> list[str]:
        """The whole answers to a batch of prompts."""
        found = [""] * len(prompts)
        for piece in self.answers(prompts):
            found[piece.row] += piece.text
        return found


def write(config: DictConfig) -> None:
    """Answer what the configuration asks."""
    quiet()
    torch.set_float32_matmul_precision("highest")  # drafts are verified to the last bit
    check_options(config)
    if config.image is not None:
        from belvedere.runs.chart_writing import write_about  # it needs much that text does not

        write_about(config)
        return
    writer = writer_of(config)
    shown = Shown(writer, depth=config.show == "depth")
    if config.file is not None:
        write_file(writer, config)
    elif config.prompt is not None:
        shown.answer(writer.ids(str(config.prompt)))
    else:
        chat(writer, shown)


def writer_of(config: DictConfig) -> Writer:
    """The writer that a configuration describes."""
    device = device_of(config.device)
    sampling = instantiate(config.sampling)
    checkpoint = loaded(config, device)
    decoding = decoding_of(
        checkpoint, config.decoding, config.exit, thresholds_of(config), compile=config.compile
    )
    generator = torch.Generator(device).manual_seed(config.seed)
    format = config.format
    chatting = config.prompt is None and config.file is None and format == "plain"
    if chatting and checkpoint.tokenizer.chat_template:
        format = "chat"
    new = NEW_TOKENS if config.max_new_tokens is None else config.max_new_tokens
    return Writer(checkpoint, decoding, Chooser(sampling, generator), new, stops_of(config), format)


def check_options(config: DictConfig) -> None:
    """Refuse at once what no answer can be written with. Raises `BadInput`."""
    check_sizes(
        under="", batch_size=config.batch_size, max_new_tokens=config.max_new_tokens,
        beams=config.beams,
    )  # fmt: skip
    if config.beams > 1 and config.image is None:
        raise BadInput("only charts are read with beams", where="beams", remedy="leave it out")
    check_sizes(0, under="", seed=config.seed)
    if config.seed is None:
        raise BadInput("there is no seed", where="seed", remedy="give a number")
    if config.show not in SHOWN:
        raise BadInput(
            f"{config.show!r} cannot be shown", where="show", remedy=f"choose {' or '.join(SHOWN)}"
        )
    stops_of(config)
    if config.prompt is not None and config.file is not None:
        raise BadInput("there is a prompt and a file", where="file", remedy="give one of them")
    if config.output is not None:
        if config.file is None:
            raise BadInput(
                "only a file of prompts has an output", where="output", remedy="leave it out"
            )
        check_new_file(Path(config.output))


def stops_of(config: DictConfig) -> list[str]:
    """The strings that end an answer. Raises `BadInput` if the configuration gives none such."""
    given = config.stop
    if isinstance(given, str):
        return [given]
    if not isinstance(given, ListConfig):
        raise BadInput(f"{given!r} ends no answer", where="stop", remedy="give ['STRING', …]")
    return [str(stop) for stop in given]


def thresholds_of(config: DictConfig) -> dict[int, float] | None:
    """The thresholds that a configuration gives, by depth. Raises `BadInput` if they are none."""
    if config.thresholds is None:
        return None
    found: Any = config.thresholds
    try:
        found = OmegaConf.to_container(found)
        return {int(depth): float(value) for depth, value in found.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise BadInput(
            f"{found!r} are no thresholds", where="thresholds", remedy="give {DEPTH: 0.9, …}"
        ) from error


def loaded(config: DictConfig, device: torch.device) -> Checkpoint:
    """The checkpoint that a configuration names, on a device."""
    backbone = instantiate(config.backbone)
    checkpoint = load_checkpoint(config.checkpoint, backbone, config.checkpoint_backbone)
    for part in (checkpoint.model, checkpoint.exits):
        if part is not None:
            torch.nn.Module.to(part, device)
    return checkpoint


def device_of(name: str) -> torch.device:
    """The device of that name, or the best there is. Raises `BadInput` if it is not there."""
    there = ["cpu"]
    there += ["cuda"] if torch.cuda.is_available() else []
    there += ["mps"] if torch.backends.mps.is_available() else []
    if name == "auto":
        return torch.device(there[-1])
    if name not in there:
        raise BadInput(
            f"this machine has no {name}", where="device", remedy=f"choose {' or '.join(there)}"
        )
    return torch.device(name)


def instruction_prompt(data: str) -> InstructionPrompt:
    """The text around an instruction, as the configuration of these data has it."""
    raw = OmegaConf.load(CONFIGS / "data" / f"{data}.yaml")
    found: InstructionPrompt = instantiate(raw.prompt)
    return found


def end_ids_of(checkpoint: Checkpoint, *, chat: bool) -> list[int]:
    """The tokens that end an answer: the model's and tokenizer's own, and the end of a turn."""
    tokenizer = checkpoint.tokenizer
    own: Any = getattr(checkpoint.model.generation_config, "eos_token_id", None)
    found = [*(own if isinstance(own, list) else [own]), tokenizer.eos_token_id]
    if chat:
        found.append(end_of_turn(tokenizer))
    return sorted({one for one in found if one is not None})


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The token that a chat template writes after an answer, if it is one."""
    if not tokenizer.chat_template:
        return None
    turn: Any = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "ANSWER"}],
        tokenize=False,
    )
    after = turn.rpartition("ANSWER")[2].strip()
    ids = encoded_prompt(tokenizer, after, begin=False)
    return ids[0] if ids and ids[0] in tokenizer.all_special_ids else None


class Shown:
    """Shows answers in the terminal, as they grow.

    Args:
        writer: of the answers.
        depth: whether each piece has the colour of the depth that it was found at.
    """

    def __init__(self, writer: Writer, *, depth: bool) -> None:
        self.writer, self.depth = writer, depth
        self.console, self.aside = Console(highlight=False), Console(stderr=True, highlight=False)
        stops = writer.decoding.cascade.stops
        self.styles = {
            stop: COLOURS[number % len(COLOURS)] for number, stop in enumerate(stops[:-1])
        } | {stops[-1]: ""}

    def answer(self, ids: list[int]) -> list[Piece]:
        """Show the answer to one prompt, and what it took; returns it."""
        whole = []
        for piece in self.writer.answers([ids]):
            style = self.styles[piece.depth] if self.depth else ""
            if self.console.is_terminal:
                self.console.print(Text(piece.text, style), end="", soft_wrap=True)
            else:  # the console would turn tabs into spaces
                print(piece.text, end="", flush=True)
            whole.append(piece)
        print(flush=True)
        self.aside.print(Text(told(self.writer), "dim"))
        if self.depth:
            names = [
                Text(f"{depth} layers ", style or "default") for depth, style in self.styles.items()
            ]
            self.aside.print(Text.assemble(*names))
        return whole


def told(writer: Writer) -> str:
    """What the last answers took, in one line."""
    found = writer.statistics
    parts = [f"{found.tokens} tokens", f"{found.tokens_per_second:,.1f} tokens/s"]
    drafting = writer.decoding.drafting
    if drafting is not None and drafting.drafted:
        parts.append(f"{drafting.accepted / drafting.drafted:.0%} of {drafting.drafted} drafts")
    if len(found.depths) > 1:
        shares = [
            f"{count / found.tokens:.0%} at {depth} layers"
            for depth, count in sorted(found.depths.items())
        ]
        parts.append(", ".join(shares))
    return "  ".join(parts)


def chat(writer: Writer, shown: Shown) -> None:
    """Answer what is typed, until the end of the input.

    What no longer fits into the model's context is forgotten, the oldest first.
    """
    messages: list[dict[str, str]] = []
    while True:
        try:
            text = input("> " if sys.stdin.isatty() else "")
        except EOFError:
            return
        if not text.strip():
            continue
        try:
            if writer.format != "chat":
                shown.answer(writer.ids(text))
                continue
            messages.append({"role": "user", "content": text})
            room = writer.decoding.cascade.context - writer.max_new_tokens
            while len(messages) > 1 and len(writer.ids_of_chat(messages)) > room:
                del messages[:2]
            pieces = shown.answer(writer.ids_of_chat(messages))
        except BadInput as error:  # too long: the chat goes on without it
            shown.aside.print(Text(str(error), "red"))
            del messages[-1:]
            continue
        answer = "".join(piece.text for piece in pieces)
        messages.append({"role": "assistant", "content": answer})


def write_file(writer: Writer, config: DictConfig) -> None:
    """Answer a file of prompts in batches of like lengths; the answers have the prompts' order.

    What was answered before something went wrong is written.
    """
    records = [one for file in find_files(config.file, "file") for one in read_records(file)]
    prompts = [prompt_of(record) for record in records]
    ids = [writer.ids(*prompt) for prompt in prompts]
    for record, prompt in zip(records, ids, strict=True):
        check_lengths(writer.decoding.cascade, [prompt], writer.max_new_tokens, record.where)
    output = None if config.output is None else created(Path(config.output))
    answers: list[str | None] = [None] * len(ids)
    order = sorted(range(len(ids)), key=lambda number: len(ids[number]))
    try:
        for begin in range(0, len(order), config.batch_size):
            part = order[begin : begin + config.batch_size]
            texts = writer.texts([ids[number] for number in part])
            for number, text in zip(part, texts, strict=True):
                answers[number] = text
            print(told(writer), file=sys.stderr)
    finally:
        lines = [
            json.dumps({"prompt": text, "input": given, "answer": answer}, ensure_ascii=False)
            for (text, given), answer in zip(prompts, answers, strict=True)
            if answer is not None
        ]
        text = "".join(line + "\n" for line in lines)
        if output is None:
            print(text, end="")
        else:
            output.write_text(text, encoding="utf-8")


def created(file: Path) -> Path:
    """An empty new file, so that what cannot be written is known before the work.

    Raises:
        BadInput: it cannot.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(exist_ok=False)
    except OSError as error:
        raise unwritable(file, error, "name another file") from error
    return file


def prompt_of(record: Record) -> tuple[str, str]:
    """The prompt, or the instruction and its input, of a record."""
    for name in ("prompt", "text", "instruction"):
        if name in record.fields:
            has_input = name == "instruction" and record.fields.get("input")
            return record.text(name), record.text("input") if has_input else ""
    return record.text("prompt"), ""
