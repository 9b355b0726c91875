"""Closed-book questions in the forms of TriviaQA (Joshi et al. 2017)."""

from typing import Any

from transformers import PreTrainedTokenizerBase

from belvedere.data.records import Record
from belvedere.data.supervised import Example, SupervisedDataModule
from belvedere.errors import BadInput


class TriviaQADataModule(SupervisedDataModule):
    """Questions that are answered from memory: the hub's sets, the original release, the shipped.

    A record has a ``question`` and an ``answer`` with its ``value`` and ``aliases`` (the hub's
    schema), or the same with capitals (the original release, whose files are ``{"Data": [...]}``).
    The value is learned; the value and every alias are right. Splits made here are disjoint by
    question.

    Args:
        tokenizer: of the backbone.
        prompt: the fixed text around a question; ``{question}`` is filled in.
        options: see `SupervisedDataModule`.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, prompt: str, **options: Any) -> None:
        super().__init__(tokenizer, **options)
        if "{question}" not in prompt:
            raise BadInput("the prompt has no {question}", where="data.prompt")
        self.prompt = prompt

    def example(self, record: Record, *, answered: bool = True) -> Example:
        """A question with its answer, before which is a space, as before any word in a text."""
        record = in_hub_schema(record)
        question = record.text("question").strip()
        answer = record.fields.get("answer")
        if answer is None and not answered:
            answer = {"value": ""}
        if not isinstance(answer, dict):
            raise BadInput(
                "'answer' is no object", where=record.where, remedy='write {"value": ..., ...}'
            )
        value = Record(answer, record.where).text("value").strip()
        aliases = answer.get("aliases") or []
        if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
            raise BadInput(
                "'aliases' is no list of texts", where=record.where, remedy='write ["...", "..."]'
            )
        source = record.fields.get("question_source")
        return Example(
            prompt=self.prompt.replace("{question}", question),
            response=f" {value}" if value else "",
            accepted=tuple(filter(None, dict.fromkeys([value, *map(str.strip, aliases)]))),
            key=question,
            group=source if isinstance(source, str) else "",
            question=question,
        )


def in_hub_schema(record: Record) -> Record:
    """The record with the hub's names, whichever of the two schemas it came in."""
    if "Question" not in record.fields:
        return record
    answer = record.fields.get("Answer")
    named = {str(k).lower(): v for k, v in answer.items()} if isinstance(answer, dict) else answer
    fields = {"question": record.fields["Question"], "answer": named}
    if "QuestionSource" in record.fields:
        fields["question_source"] = record.fields["QuestionSource"]
    return Record(fields, record.where)
