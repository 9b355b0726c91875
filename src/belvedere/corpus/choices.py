"""Makes the shipped tasks of lm-evaluation-harness: ``python -m belvedere.corpus.choices FOLDER``.

``facts`` asks the shipped test questions with four answers to choose from, the wrong ones true of
others of the same kind (the form of ARC). ``endings`` asks for the last word of stories and
instructions of the test split that has come before in them (the form of LAMBADA, arXiv 1606.06031).
"""

import argparse
import json
import re
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.parquet as pq

from belvedere.data.records import read_records
from belvedere.errors import told_in_one_line

CHOICES = 4
MIXED = "two_steps"
"""Questions whose answers are of many kinds, so that wrong ones would be easily told."""
LONGEST = 800
"""Letters of a text, so that every shipped model has room for it."""


def facts(questions: list[dict[str, Any]], rng: Random) -> list[dict[str, Any]]:
    """Questions with their choices, of which number ``answer`` is right.

    Args:
        questions: in TriviaQA's schema.
        rng: of the wrong answers and of the order.
    """
    by_source: dict[str, list[str]] = {}
    for one in questions:
        values = by_source.setdefault(one["question_source"], [])
        if one["answer"]["value"] not in values:
            values.append(one["answer"]["value"])
    found = []
    for one in questions:
        right = one["answer"]
        if one["question_source"] == MIXED:
            continue
        others = [v for v in by_source[one["question_source"]] if v not in right["aliases"]]
        if len(others) >= CHOICES - 1:
            choices = [right["value"], *rng.sample(others, CHOICES - 1)]
            rng.shuffle(choices)
            answer = choices.index(right["value"])
            found.append({"question": one["question"], "choices": choices, "answer": answer})
    return found


def endings(texts: list[str]) -> list[dict[str, str]]:
    """Texts without their last word, and the word, where it has come before."""
    found = []
    for text in texts:
        context, _, last = text.strip().rpartition(" ")
        word = re.sub(r"\W+$", "", last)
        said = re.findall(r"\w+", context)
        if len(word) > 2 and word in said and len(text) <= LONGEST:
            found.append({"context": context, "word": word})
    return found


@told_in_one_line()
def main() -> None:
    """Write both tasks' records."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--questions", type=Path, default=Path("data/questions/test.jsonl"))
    parser.add_argument("--corpus", type=Path, default=Path("data/corpus/test.parquet"))
    parser.add_argument("--limit", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    questions = [record.fields for record in read_records(args.questions)]
    texts = pq.read_table(args.corpus)["text"].to_pylist()
    rng = Random(args.seed)
    made = {"facts": facts(questions, rng), "endings": endings(texts)}
    args.output.mkdir(parents=True, exist_ok=True)
    for name, records in made.items():
        rng.shuffle(records)
        lines = [json.dumps(record, ensure_ascii=False) for record in records[: args.limit]]
        (args.output / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(f"{name}: {len(lines)} of {len(records)}")


if __name__ == "__main__":
    main()
