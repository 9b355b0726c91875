"""Makes ``data/corpus``, ``data/instructions`` and ``data/questions`` from the facts.

The command is ``python -m belvedere.corpus.build`` (seed 0). The corpus holds documents of these
kinds; instructions and questions of the evaluation splits are in none of them:

- portraits of entities, collections of one fact about several, two-step facts;
- number and word facts, stories with a state to follow;
- instructions with computed answers, closed-book questions.

Instructions are split by task and input, whatever the wording. Test questions are about entities
about which no question is trained (their facts are told in prose only).
"""

import argparse
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq

from belvedere.corpus import facts, instructions, phrasing, stories, words
from belvedere.corpus.instructions import Instruction
from belvedere.corpus.phrasing import Question, Storyteller
from belvedere.errors import told_in_one_line

DOCUMENTS = {"train": 400_000, "validation": 3_000, "test": 3_000}
INSTRUCTIONS = {"train": 6_000, "validation": 500, "test": 1_000}
# Share of the documents of each kind.
MIXTURE = {
    "portrait": 0.20,
    "collection": 0.05,
    "two_steps": 0.08,
    "numbers": 0.05,
    "words": 0.05,
    "story": 0.09,
    "questions": 0.10,
    "instruction": 0.38,
}


def split_of(key: str, validation: float = 0.08, test: float = 0.12) -> str:
    """The split that a key belongs to, by its hash alone."""
    share = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4]) / 2**32
    if share < test:
        return "test"
    return "validation" if share < test + validation else "train"


def instruction_split(item: Instruction) -> str:
    """The split of an instruction: decided by the task and what is given, not by the wording."""
    given = item.input or item.instruction.partition(": ")[2] or item.instruction
    return split_of(f"{item.task}|{given}")


def question_split(question: Question) -> str:
    """Held-out entities are the test split; of the others a few wordings are for validation."""
    if question.held_out:
        return "test"
    return "validation" if split_of(question.text) == "validation" else "train"


def number_facts(rng: Random) -> str:
    """A few true statements about numbers."""

    def one() -> str:
        a, b = rng.randint(2, 12), rng.randint(2, 12)
        c, d = rng.randint(1, 60), rng.randint(1, 39)
        n = rng.randint(2, 99)
        prime = all(n % k for k in range(2, int(n**0.5) + 1))
        return rng.choice(
            (
                f"{a} times {b} is {a * b}.",
                f"{c} plus {d} is {c + d}.",
                f"{c + d} minus {d} is {c}.",
                f"The square of {a} is {a * a}.",
                f"Half of {2 * n} is {n}.",
                f"Twice {n} is {2 * n}.",
                f"{n} is an {'odd' if n % 2 else 'even'} number."
                if not n % 2 or rng.random() < 0.5
                else f"The number after {n} is {n + 1}.",
                f"{n} is {'a' if prime else 'not a'} prime number.",
                f"In words, {n} is {instructions.spelled(n)}.",
                f"In Roman numerals, {min(n, 50)} is {instructions.roman(min(n, 50))}.",
            )
        )

    return " ".join(one() for _ in range(rng.randint(3, 6)))


def word_facts(rng: Random) -> str:
    """A few true statements about words."""

    def one() -> str:
        word, other = rng.choice(sorted(instructions.OPPOSITES.items()))
        category = rng.choice(sorted(words.CATEGORIES))
        member = rng.choice([w for w in words.CATEGORIES[category] if w != "orange"])
        noun = rng.choice(words.NOUNS)
        return rng.choice(
            (
                f"The opposite of {word} is {other}.",
                f"The word {member} names {phrasing.article(category)}.",
                f"One {noun}, two {instructions.plural(noun)}.",
                f"The word {noun} begins with the letter {noun[0]} and ends with {noun[-1]}.",
            )
        )

    return " ".join(one() for _ in range(rng.randint(3, 5)))


class Corpus:
    """Makes documents of the mixture's kinds.

    Args:
        entities: the facts that are told.
    """

    def __init__(self, entities: list[facts.Entity]) -> None:
        self.teller = Storyteller(entities)
        by_split: dict[str, list[Question]] = {"train": [], "validation": [], "test": []}
        for question in self.teller.questions():
            by_split[question_split(question)].append(question)
        self.one_step = by_split
        self.kinds: dict[str, Callable[[Random], str]] = {
            "portrait": lambda rng: self.teller.portrait(rng.choice(entities), rng),
            "collection": self.teller.collection,
            "two_steps": lambda rng: " ".join(self.teller.two_steps(rng) for _ in range(3)),
            "numbers": number_facts,
            "words": word_facts,
            "story": stories.story,
            "questions": lambda rng: phrasing.as_text(
                islice(self.questions("train", rng), rng.randint(1, 3))
            ),
            "instruction": lambda rng: instructions.as_text(next(self.instructions("train", rng))),
        }

    def document(self, rng: Random) -> dict[str, str]:
        """A record ``{text, kind}`` of a random kind."""
        kind = rng.choices(list(MIXTURE), list(MIXTURE.values()))[0]
        return {"text": self.kinds[kind](rng), "kind": kind}

    def questions(self, split: str, rng: Random) -> Iterator[Question]:
        """Endless questions of a split, one in four of them with two steps."""
        while True:
            question = (
                self.teller.chained_question(rng)
                if rng.random() < 0.25
                else rng.choice(self.one_step[split])
            )
            if question_split(question) == split:
                yield question

    def instructions(self, split: str, rng: Random) -> Iterator[Instruction]:
        """Endless instructions of a split."""
        while True:
            item = instructions.instruction(rng)
            if instruction_split(item) == split:
                yield item


def distinct(records: Iterable[dict], key: Callable[[dict], str], count: int) -> list[dict]:
    """The first ``count`` records whose keys differ."""
    found: dict[str, dict] = {}
    for record in records:
        found.setdefault(key(record), record)
        if len(found) == count:
            break
    return list(found.values())


def question_record(question: Question, number: int, split: str) -> dict:
    """A question in the schema of the hub's ``trivia_qa`` (``rc.nocontext``)."""
    names = phrasing.aliases(question.answer)
    return {
        "question": question.text,
        "question_id": f"{split}_{number}",
        "question_source": question.relation,
        "answer": {
            "value": question.answer,
            "aliases": names,
            "normalized_aliases": sorted({name.lower().removeprefix("the ") for name in names}),
            "normalized_value": question.answer.lower().removeprefix("the "),
            "type": "FreeForm",
        },
    }


def write_corpus(corpus: Corpus, folder: Path, seed: int) -> None:
    """Write the splits as Parquet; no document of one split is in another."""
    folder.mkdir(parents=True, exist_ok=True)
    seen: set[str] = set()
    for split in ("test", "validation", "train"):
        rng = Random(f"{seed} {split}")
        documents: list[dict[str, str]] = []
        while len(documents) < DOCUMENTS[split]:
            document = corpus.document(rng)
            if document["text"] not in seen:
                documents.append(document)
                if split != "train":  # the same words may be told twice in training
                    seen.add(document["text"])
        table = pa.Table.from_pylist(documents).replace_schema_metadata({"seed": str(seed)})
        pq.write_table(table, folder / f"{split}.parquet", compression="zstd", compression_level=19)


def write_lines(records: Iterable[dict], file: Path) -> None:
    """Write records as JSON lines."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(record, ensure_ascii=False) for record in records)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_tasks(corpus: Corpus, folder: Path, seed: int) -> None:
    """Write the instruction and question sets, split by split."""
    for split, count in INSTRUCTIONS.items():
        rng = Random(f"{seed} instructions {split}")
        drawn = (item.record() for item in corpus.instructions(split, rng))
        records = distinct(drawn, lambda r: f"{r['instruction']}|{r['input']}", count)
        write_lines(records, folder / "instructions" / f"{split}.jsonl")
        chained = (corpus.teller.chained_question(rng) for _ in range(4_000))
        questions = corpus.one_step[split] + [q for q in chained if question_split(q) == split]
        numbered = (question_record(q, i, split) for i, q in enumerate(questions))
        kept = distinct(numbered, lambda r: r["question"], len(questions))
        Random(f"{seed} order {split}").shuffle(kept)
        write_lines(kept, folder / "questions" / f"{split}.jsonl")


@told_in_one_line()
def main() -> None:
    """Make the shipped corpus, instructions and questions anew."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--facts", type=Path, default=facts.FACTS_FILE)
    parser.add_argument("--output", type=Path, default=Path("data"))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    corpus = Corpus(facts.load(args.facts))
    write_corpus(corpus, args.output / "corpus", args.seed)
    write_tasks(corpus, args.output, args.seed)


if __name__ == "__main__":
    main()
