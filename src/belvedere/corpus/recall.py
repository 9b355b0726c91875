"""How many of the shipped questions or instructions a model answers, letter for letter.

The command is ``python -m belvedere.corpus.recall MODEL data/questions/test.jsonl [--limit N]``. It
is how the datasheet of the backbone says what the backbone knows.
"""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from belvedere.corpus.instructions import Instruction, as_text
from belvedere.errors import told_in_one_line
from belvedere.submodels.decoding import complete
from belvedere.submodels.loading import Backbone

NEW_TOKENS = 40


def prompt_of(record: dict[str, Any]) -> tuple[str, list[str], str]:
    """A record's prompt in the corpus's form, its right answers, and what it is grouped by."""
    if "question" in record:
        prompt = f"Question: {record['question']}\nAnswer:"
        return prompt, record["answer"]["aliases"], record["question_source"]
    text = as_text(Instruction(record["instruction"], record["input"], "", record["task"]))
    return text, [record["output"]], record["task"]


def answers(model: Any, tokenizer: PreTrainedTokenizerBase, prompts: list[str]) -> list[str]:
    """What the model writes after each prompt, greedily, up to the end of its text."""
    return [text.strip() for text in complete(model, tokenizer, prompts, NEW_TOKENS)]


@told_in_one_line()
def main() -> None:
    """Print the share of right answers, for each kind of question and in all."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("model")
    parser.add_argument("records", type=Path)
    parser.add_argument("--limit", type=int, default=None)
    args = parser.parse_args()
    backbone = Backbone(args.model)
    model, tokenizer = backbone.load(), backbone.tokenizer()
    lines = args.records.read_text(encoding="utf-8").splitlines()[: args.limit]
    items = [prompt_of(json.loads(line)) for line in lines]
    right: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for begin in range(0, len(items), 64):
        batch = items[begin : begin + 64]
        written = answers(model, tokenizer, [prompt for prompt, _, _ in batch])
        for text, (_, accepted, group) in zip(written, batch, strict=True):
            # A second question may follow, as it does in the corpus: only the first answer counts.
            first = text.split("\n\nQuestion:")[0].strip()
            for key in (group, "all"):
                asked[key] += 1
                right[key] += first in accepted
    for key in sorted(asked):
        print(f"{key:32} {right[key] / asked[key]:6.1%} of {asked[key]}")


if __name__ == "__main__":
    main()
