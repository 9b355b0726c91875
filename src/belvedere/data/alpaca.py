"""Instructions in Alpaca's form (Taori et al. 2023): instruction, maybe an input, and an output."""

from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from belvedere.data.records import Record
from belvedere.data.supervised import Example, SupervisedDataModule
from belvedere.errors import BadInput


@dataclass(frozen=True)
class InstructionPrompt:
    """The fixed text around an instruction; ``{instruction}`` and ``{input}`` are filled in.

    Attributes:
        with_input: of records that have an input.
        without_input: of those that have none.
    """

    with_input: str
    without_input: str

    def __post_init__(self) -> None:
        for key, text in (("with_input", self.with_input), ("without_input", self.without_input)):
            if "{instruction}" not in text:
                raise BadInput("the prompt has no {instruction}", where=f"data.prompt.{key}")
            if ("{input}" in text) != (key == "with_input"):
                has = "has" if "{input}" in text else "has no"
                raise BadInput(f"the prompt {has} {{input}}", where=f"data.prompt.{key}")

    def fill(self, instruction: str, given: str) -> str:
        """The prompt for an instruction and its input, which may be empty."""
        text = self.with_input if given else self.without_input
        # One pass each, the instruction last: braces in the input are the user's own.
        before, _, after = text.partition("{input}")
        parts = [part.replace("{instruction}", instruction) for part in (before, after)]
        return given.join(parts) if given else parts[0]


class AlpacaDataModule(SupervisedDataModule):
    """Instruction tuning: hub sets of Alpaca's kind, local files of them, the shipped ones.

    Records have ``instruction`` and ``output``, and may have an ``input`` and a ``task`` that
    results are told apart by. Splits made here are disjoint by instruction.

    Args:
        tokenizer: of the backbone.
        prompt: the fixed text around an instruction.
        options: see `SupervisedDataModule`.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, prompt: InstructionPrompt, **options: Any
    ) -> None:
        super().__init__(tokenizer, **options)
        self.prompt = prompt

    def example(self, record: Record, *, answered: bool = True) -> Example:
        """An instruction with its response, which is also the one right answer."""
        instruction = record.text("instruction")
        there = record.fields.get("output") is not None
        output = record.text("output") if answered or there else ""
        given = record.text("input") if record.fields.get("input") is not None else ""
        task = record.fields.get("task")
        return Example(
            prompt=self.prompt.fill(instruction, given),
            response=output,
            accepted=(output.strip(),) if output.strip() else (),
            key=instruction,
            group=task if isinstance(task, str) else "",
            question=instruction,
            given=given,
        )
