"""Trains the chart reader's tokenizer: byte-level BPE, digits and separators apart.

``python -m belvedere.charts.tokenizer CHARTS... --output FOLDER`` reads the tables, questions and
summaries of chart shards. A number is then its digits, as they stand in the picture, and a table's
separators are tokens of their own. The tokens of tasks are special: text that holds their letters
is encoded as text (`encode`).
"""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from belvedere.charts.build import LEVELS, at_least_one, read_shard
from belvedere.charts.places import UNSEEN, Look, Looks
from belvedere.charts.tasks import ANSWER, NO_CHART, TOKENS, TaskName
from belvedere.errors import told_in_one_line

BOS, PAD, EOS, UNK = "<s>", "<pad>", "</s>", "<unk>"
"""In the order of Donut's and mBART's ids, 0 to 3."""
PIECES = Regex(r" [|&] |\d| ?[^\s\d|&]+|\s+|[|&]")
"""A separator with its blanks, a digit, or a word with the blank before it."""


def texts(files: Iterable[Path]) -> Iterator[str]:
    """What is read and written about the charts of Parquet shards.

    Raises:
        BadInput: a file is none, or a chart of it lacks something.
    """
    columns = ["id", "title", "table", "questions", "open_question", "summaries"]
    for file in files:
        for batch in read_shard(file, columns).to_batches(max_chunksize=1000):
            for record in batch.to_pylist():
                yield record["title"]
                yield record["table"]
                for asked in [*record["questions"], record["open_question"]]:
                    yield asked["text"]
                    yield asked["answer"]
                yield from (record["summaries"][level] for level in LEVELS)


def train(documents: Iterable[str], vocabulary: int, positions: int) -> PreTrainedTokenizerFast:
    """A tokenizer of ``vocabulary`` tokens for texts of up to ``positions`` tokens."""
    tokenizer = Tokenizer(models.BPE(unk_token=UNK))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(PIECES, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [BOS, PAD, EOS, UNK, *TOKENS.values(), ANSWER]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*documents, NO_CHART], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNK,
        additional_special_tokens=[*TOKENS.values(), ANSWER],
        model_max_length=positions,
        clean_up_tokenization_spaces=False,
    )


def encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of plain text: a task's token that stands in it is not one."""
    encoded: Any = tokenizer(
        text, add_special_tokens=False, split_special_tokens=True, verbose=False
    )
    return list(encoded.input_ids)


def encode_looks(
    tokenizer: PreTrainedTokenizerBase, text: str, looks: Looks
) -> tuple[list[int], list[Look]]:
    """Token ids of plain text, and where each token is read: as its first letter that is seen.

    A blank before a word counts only where it is the whole token.


    Args:
        tokenizer: of `train`, or another fast one.
        text: to encode.
        looks: one for each letter; empty if none is known.
    """
    if not looks:
        ids = encode(tokenizer, text)
        return ids, [UNSEEN] * len(ids)
    encoded: Any = tokenizer(
        text,
        add_special_tokens=False,
        split_special_tokens=True,
        return_offsets_mapping=True,
        verbose=False,
    )
    known = []
    for start, end in encoded.offset_mapping:
        blanks = end - start - len(text[start:end].lstrip())
        letters = looks[start + blanks : end] or looks[start:end]
        known.append(next((look for look in letters if look.place is not None), UNSEEN))
    return list(encoded.input_ids), known


def encode_prompt(tokenizer: PreTrainedTokenizerBase, task: TaskName, question: str) -> list[int]:
    """Token ids of ``<task> question <s_answer>``, after which the answer begins.

    Args:
        tokenizer: of charts.
        task: its token comes first.
        question: in plain text.
    """
    begin, end = cast(Any, tokenizer.convert_tokens_to_ids([TOKENS[task], ANSWER]))
    return [begin, *encode(tokenizer, question.strip()), end]


def refusal_tokens(tokenizer: PreTrainedTokenizerBase) -> int:
    """How many tokens `NO_CHART` has."""
    return len(encode(tokenizer, NO_CHART))


def shortened(prompt: list[int], longest: int) -> list[int]:
    """A prompt of at most so many tokens, without the question's end; two tokens always stay."""
    return prompt if len(prompt) <= longest else [*prompt[: max(longest - 1, 1)], prompt[-1]]


@told_in_one_line()
def main() -> None:
    """Train a chart tokenizer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("charts", nargs="+", type=Path, help="Parquet shards of charts")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--vocabulary", type=at_least_one, default=1024)
    parser.add_argument("--positions", type=at_least_one, default=512)
    args = parser.parse_args()
    train(texts(args.charts), args.vocabulary, args.positions).save_pretrained(args.output)


if __name__ == "__main__":
    main()
