"""Answers a question about a picture of a chart, in the terminal, as the answer grows."""

from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from PIL.Image import Image
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text
from torch import Tensor

from belvedere.charts.tables import parse
from belvedere.charts.tasks import LOW_LEVEL, QUESTIONED, TOKENS, TaskName, says_no_chart
from belvedere.charts.tokenizer import encode_prompt, refusal_tokens
from belvedere.data.charts import SHORTEST
from belvedere.data.pictures import fit, normalised, open_picture
from belvedere.errors import BadInput
from belvedere.runs.writing import Piece, Shown, Writer, device_of, stops_of, thresholds_of
from belvedere.submodels.checkpoints import Checkpoint, report_of
from belvedere.submodels.engine.cascade import EncodedFrame
from belvedere.submodels.engine.choices import decoding_of
from belvedere.submodels.engine.sampling import Chooser
from belvedere.unichart.loading import Reader, reader_folder
from belvedere.unichart.model import ChartModel

GREEDY: dict[str, Any] = {
    "decoding": "full", "exit": None, "thresholds": None, "temperature": 0, "top_k": None,
    "top_p": 1, "repetition_penalty": 1, "stop": [], "show": "text", "compile": False,
}  # fmt: skip
"""What has to be as it is without the engine."""


@torch.no_grad()
def write_about(config: DictConfig) -> None:
    """Answer what the configuration asks about a picture."""
    task, question = asked(config)
    if config.file is not None or config.format != "plain":
        raise BadInput(
            "pictures are asked about one by one, in plain words", where="image",
            remedy="leave out file and format",
        )  # fmt: skip
    if config.decoding == "confident" and config.thresholds is None:
        raise BadInput(
            "no thresholds are stored for chart readers", where="thresholds",
            remedy="give {DEPTH: 0.9, …}",
        )  # fmt: skip
    given = [name for name, usual in GREEDY.items() if config[name] != usual]
    if config.beams > 1 and given:
        raise BadInput(
            "beams are searched by the full reader alone", where="beams",
            remedy=f"leave it out, or {', '.join(given)}",
        )  # fmt: skip
    device = device_of(config.device)
    reader = Reader(config.checkpoint)
    tokenizer = reader.tokenizer()
    model = reader.load(len(tokenizer)).to(device)
    states = states_of(model, open_picture(config.image))
    prompt, left = prompt_about(model, tokenizer, task, question)
    room = left if config.max_new_tokens is None else config.max_new_tokens
    if config.beams > 1:
        answers = model.generate(states, [prompt], max_new_tokens=room, num_beams=config.beams)
        answer = str(tokenizer.decode(answers.tokens()[0], skip_special_tokens=True)).strip()
        print(answer)
    else:
        pieces = as_it_grows(config, model, tokenizer, states, prompt, room)
        answer = "".join(piece.text for piece in pieces).strip()
        answers = model.scored(states, prompt, [piece.token for piece in pieces])
    (sure,) = answers.sureness([answer], refusal_tokens(tokenizer))
    told = Console(stderr=True, highlight=False)
    told.print(f"confidence {sure:.2f}", style="dim")
    if not all(answers.ended(model.config.eos_id)):
        told.print(f"the answer is cut after {room} tokens", style="dim")
    if task == "table" and answer and not says_no_chart(answer):
        Console(highlight=False).print(table_of(answer))


def asked(config: DictConfig) -> tuple[TaskName, str]:
    """The task and its question; a question without a task is one to reason about.

    Raises:
        BadInput: no such task, one without the question that it needs, or with one that it has not.
    """
    question = "" if config.prompt is None else str(config.prompt).strip()
    task = config.task or ("reasoning" if question else "table")
    if task not in TOKENS:
        raise BadInput(
            f"there is no task {task!r}", where="task", remedy=f"choose one of {', '.join(TOKENS)}"
        )
    if task in QUESTIONED and not question:
        raise BadInput(
            f"the task {task!r} needs a question", where="prompt", remedy='give prompt="…"'
        )
    if task in LOW_LEVEL and question:
        raise BadInput(
            f"the task {task!r} takes no question", where="prompt",
            remedy=f"leave it out, or give task={' or '.join(QUESTIONED)}",
        )  # fmt: skip
    return task, question


def states_of(model: ChartModel, picture: Image) -> Tensor:
    """What a reader sees of a picture (RGB): [1, tokens, d_model]."""
    page = fit(picture, model.config.image_size, None, model.config.page)
    return model.encode(normalised(page.pixels[None].to(model.decoder.device)))


def prompt_about(
    model: ChartModel, tokenizer: Any, task: TaskName, question: str
) -> tuple[list[int], int]:
    """The token ids of a prompt, and how many more the reader has room for.

    Raises:
        BadInput: the question leaves no room for an answer.
    """
    positions = model.config.decoder.max_positions
    prompt = encode_prompt(tokenizer, task, question)
    if len(prompt) > positions - SHORTEST:
        raise BadInput(
            f"a question of {len(prompt)} tokens leaves no room for an answer", where="prompt",
            remedy=f"shorten it to {positions - SHORTEST}",
        )  # fmt: skip
    return prompt, positions - len(prompt)


def engine_of(
    name: str, model: ChartModel, tokenizer: Any, states: Tensor
) -> tuple[Checkpoint, EncodedFrame]:
    """A reader's decoder before a picture, as the engine takes it.

    Args:
        name: of the reader: a run, a folder or a hub name.
        model: the reader.
        tokenizer: of the reader.
        states: [1, tokens, d_model], of the picture.
    """
    attended = model.keys_of(states).cache(torch.zeros(1, dtype=torch.long, device=states.device))
    frame = EncodedFrame(model.decoder, states, attended.cross_attention_cache)
    folder = Path(reader_folder(name))
    return Checkpoint(model.decoder, None, tokenizer, folder, name, report_of(folder)), frame


def as_it_grows(
    config: DictConfig, model: ChartModel, tokenizer: Any, states: Tensor, prompt: list[int],
    room: int,
) -> list[Piece]:  # fmt: skip
    """Let the engine write an answer, and show it.

    Args:
        config: how it is written and shown.
        model: the reader.
        tokenizer: of the reader.
        states: [1, tokens, d_model], of the picture.
        prompt: token ids.
        room: tokens of the longest answer.
    """
    checkpoint, frame = engine_of(config.checkpoint, model, tokenizer, states)
    decoding = decoding_of(
        checkpoint, config.decoding, config.exit, thresholds_of(config), frame,
        compile=config.compile,
    )  # fmt: skip
    choose = Chooser(
        instantiate(config.sampling),
        torch.Generator(states.device).manual_seed(config.seed),
        forbidden=[model.config.unk_id],
    )
    writer = Writer(checkpoint, decoding, choose, room, stops_of(config))
    return Shown(writer, depth=config.show == "depth").answer(prompt)


def table_of(answer: str) -> Table:
    """A linearised table as one that people read."""
    rows = parse(answer)
    width = max(map(len, rows), default=0)
    head, *others = [[Text(cell) for cell in row] + [Text()] * (width - len(row)) for row in rows]
    table = Table(*(Column(name) for name in head))
    for row in others:
        table.add_row(*row)
    return table
