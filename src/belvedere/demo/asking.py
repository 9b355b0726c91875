"""What the page's second tab does: reads charts, draws what it found on them, answers questions."""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

import torch
from PIL import Image

from belvedere.charts.tables import parse
from belvedere.charts.tasks import QUESTIONED, TaskName, mark_cells, read_marks, says_no_chart
from belvedere.charts.tokenizer import refusal_tokens
from belvedere.demo.marks import drawn
from belvedere.demo.prompting import growing
from belvedere.demo.tokens import notice
from belvedere.errors import BadInput
from belvedere.runs.chart_writing import engine_of, prompt_about, states_of
from belvedere.runs.writing import Writer
from belvedere.submodels.engine.choices import decoding_of
from belvedere.submodels.engine.sampling import Chooser, Sampling
from belvedere.unichart.loading import Reader

ASKED: dict[str, TaskName] = {
    "short answer": "reasoning", "in a sentence": "open", "summary": "summary",
}  # fmt: skip
"""What the page calls the tasks of the question box."""


@dataclass(frozen=True)
class Reply:
    """What a reader says of a picture.

    Attributes:
        text: so far.
        told: how sure the reader is and whether the answer is whole; empty while it grows.
    """

    text: str
    told: str = ""

    @property
    def refuses(self) -> bool:
        """Whether it says that there is no chart."""
        return says_no_chart(self.text)


class ChartAsker:
    """Asks a chart reader about pictures, greedily.

    Args:
        name: of the reader: a run, a folder or a hub name.
        device: to compute on.

    Raises:
        BadInput: there is no such reader.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self.name = name
        reader = Reader(name)
        self.tokenizer = reader.tokenizer()
        self.model = reader.load(len(self.tokenizer)).to(device)

    @torch.no_grad()
    def replies(self, picture: Image.Image, task: TaskName, question: str = "") -> Iterator[Reply]:
        """What the reader says, as it grows.

        Args:
            picture: RGB.
            task: what is wanted.
            question: for the tasks of `QUESTIONED`.

        Raises:
            BadInput: the question leaves no room for an answer.
        """
        states = states_of(self.model, picture)
        prompt, room = prompt_about(self.model, self.tokenizer, task, question)
        checkpoint, frame = engine_of(self.name, self.model, self.tokenizer, states)
        choose = Chooser(Sampling(), forbidden=[self.model.config.unk_id])
        writer = Writer(checkpoint, decoding_of(checkpoint, frame=frame), choose, room)
        text, tokens = "", []
        for written in growing(writer, prompt):
            text = "".join(piece.text for piece in written.pieces).strip()
            tokens = written.tokens
            yield Reply(text)
        answers = self.model.scored(states, prompt, tokens)
        (sure,) = answers.sureness([text], refusal_tokens(self.tokenizer))
        told = f"confidence {sure:.2f}"
        if says_no_chart(text):
            told = f"the probability that there is one after all: {sure:.2f}"
        if not all(answers.ended(self.model.config.eos_id)):
            told += f"; the answer is cut after {room} tokens"
        yield Reply(text, told)

    def read(self, picture: Image.Image) -> Iterator[tuple[Image.Image | None, str, str]]:
        """A chart's table, then its elements, as they are found.

        Yields:
            The picture with the elements on it, None while it stays as it was; HTML of the table;
            HTML of the elements.
        """
        table, elements = "", notice("the elements come next", "note")
        yield drawn(picture, []), notice("reading the table", "note"), elements
        for reply in self.replies(picture, "table"):
            read = table_of(parse(reply.text)) + told_of(reply.told)
            table = refusal(reply) if reply.refuses else read
            yield None, table, elements
        shown = 0
        for reply in self.replies(picture, "elements"):
            marks = [] if reply.refuses else read_marks(reply.text)
            rows = [[str(n), *mark_cells(mark)[:3]] for n, mark in enumerate(marks, 1)]
            read = table_of([["", "kind", "label", "value"], *rows]) + told_of(reply.told)
            new = drawn(picture, marks) if len(marks) > shown or reply.told else None
            shown = len(marks)
            yield new, table, refusal(reply) if reply.refuses else read

    def answer(self, picture: Image.Image | None, asked: str, question: str) -> Iterator[str]:
        """The answer to a question about a chart, as it grows.

        Args:
            picture: RGB; None where there is none yet.
            asked: one of `ASKED`.
            question: as it was typed.

        Yields:
            HTML; what cannot be is said there.
        """
        try:
            if picture is None:
                raise BadInput(
                    "there is no picture", remedy="drop a chart, or choose one of the examples"
                )
            task = ASKED[asked]
            if task in QUESTIONED and not question.strip():
                raise BadInput("there is no question", remedy="type one, or choose the summary")
            words = question.strip() if task in QUESTIONED else ""
            for reply in self.replies(picture, task, words):
                said = f'<div class="answer">{escape(reply.text)}</div>' + told_of(reply.told)
                yield refusal(reply) if reply.refuses else said
        except BadInput as error:
            yield notice(str(error))


def table_of(rows: list[list[str]]) -> str:
    """Cells as an HTML table, header first; rows that are too short are filled up."""
    width = max(map(len, rows), default=0)
    lines = []
    for number, row in enumerate(rows):
        kind = "td" if number else "th"
        cells = [*row, *[""] * (width - len(row))]
        lines.append("".join(f"<{kind}>{escape(cell)}</{kind}>" for cell in cells))
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="table"><table>{body}</table></div>'


def told_of(text: str) -> str:
    """A remark below an answer, if there is one."""
    return f'<div class="told">{escape(text)}</div>' if text else ""


def refusal(reply: Reply) -> str:
    """That there is no chart, so that nobody overlooks it."""
    return notice("No chart: the reader sees none in this picture.", "note") + told_of(reply.told)
