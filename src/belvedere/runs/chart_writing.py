"""Answers a question about a picture of a chart, in the terminal, as the answer grows."""

from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.table import Column, Table
from rich.text import Text

from belvedere.charts.tables import parse
from belvedere.charts.tasks import NO_CHART, TOKENS
from belvedere.charts.tokenizer import encode_prompt
from belvedere.data.charts import SHORTEST
from belvedere.data.pictures import fit, normalised, open_picture
from belvedere.errors import BadInput
from belvedere.runs.writing import Shown, Writer, device_of, stops_of, thresholds_of
from belvedere.submodels.checkpoints import Checkpoint, report_of
from belvedere.submodels.engine.cascade import EncodedFrame
from belvedere.submodels.engine.choices import decoding_of
from belvedere.submodels.engine.sampling import Chooser
from belvedere.unichart.loading import Reader, reader_folder


@torch.no_grad()
def write_about(config: DictConfig) -> None:
    """Answer what the configuration asks about a picture."""
    if config.task not in TOKENS:
        raise BadInput(
            f"there is no task {config.task!r}", where="task",
            remedy=f"choose one of {', '.join(TOKENS)}",
        )  # fmt: skip
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
    device = device_of(config.device)
    reader = Reader(config.checkpoint)
    tokenizer = reader.tokenizer()
    model = reader.load(len(tokenizer)).to(device)
    page = fit(open_picture(config.image), model.config.image_size, None, model.config.page)
    states = model.encode(normalised(page.pixels[None].to(device)))
    attended = model.keys_of(states).cache(torch.zeros(1, dtype=torch.long, device=device))
    frame = EncodedFrame(model.decoder, states, attended.cross_attention_cache)
    folder = Path(reader_folder(config.checkpoint))
    checkpoint = Checkpoint(
        model.decoder, None, tokenizer, folder, config.checkpoint, report_of(folder)
    )
    decoding = decoding_of(
        checkpoint, config.decoding, config.exit, thresholds_of(config), frame,
        compile=config.compile,
    )  # fmt: skip
    choose = Chooser(
        instantiate(config.sampling),
        torch.Generator(device).manual_seed(config.seed),
        forbidden=[model.config.unk_id],
    )
    positions = model.config.decoder.max_positions
    question = "" if config.prompt is None else str(config.prompt)
    prompt = encode_prompt(tokenizer, config.task, question)
    if len(prompt) > positions - SHORTEST:
        raise BadInput(
            f"a question of {len(prompt)} tokens leaves no room for an answer", where="prompt",
            remedy=f"shorten it to {positions - SHORTEST}",
        )  # fmt: skip
    room = positions - len(prompt) if config.max_new_tokens is None else config.max_new_tokens
    shown = Shown(
        Writer(checkpoint, decoding, choose, room, stops_of(config)),
        depth=config.show == "depth",
    )
    pieces = shown.answer(prompt)
    answer = "".join(piece.text for piece in pieces).strip()
    (sure,) = model.scored(states, prompt, [piece.token for piece in pieces]).sureness([answer])
    shown.aside.print(f"confidence {sure:.2f}", style="dim")
    if config.task == "table" and answer and answer != NO_CHART:
        shown.console.print(table_of(answer))


def table_of(answer: str) -> Table:
    """A linearised table as one that people read."""
    rows = parse(answer)
    width = max(map(len, rows), default=0)
    head, *others = [[Text(cell) for cell in row] + [Text()] * (width - len(row)) for row in rows]
    table = Table(*(Column(name) for name in head))
    for row in others:
        table.add_row(*row)
    return table
