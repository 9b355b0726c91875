"""Trains the shipped tokenizer: byte-level BPE in LLaMA-3's manner, digits apart.

The command is ``python -m belvedere.corpus.tokenizer``. It reads the training split of the corpus
only; the result is the same for the same corpus and vocabulary size.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from belvedere.errors import told_in_one_line

BOS, EOS, PAD = "<|begin_of_text|>", "<|end_of_text|>", "<|pad|>"
CHAT = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
# One message after the other, as LLaMA 3 writes them.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message['role'] }}"
    "<|end_header_id|>\n\n{{ message['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)


def texts(file: Path) -> Iterator[str]:
    """The documents of a Parquet file."""
    for batch in pq.ParquetFile(file).iter_batches(columns=["text"]):
        yield from batch.column("text").to_pylist()


def train(documents: Iterator[str], vocabulary: int, context: int) -> PreTrainedTokenizerFast:
    """A tokenizer of ``vocabulary`` tokens for texts of up to ``context`` tokens."""
    tokenizer = Tokenizer(models.BPE())
    # Digits apart: sums and counts are then the same few tokens at any size of number.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[BOS, EOS, PAD, *CHAT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=CHAT,
        chat_template=CHAT_TEMPLATE,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )


@told_in_one_line()
def main() -> None:
    """Train the shipped tokenizer anew."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--corpus", type=Path, default=Path("data/corpus/train.parquet"))
    parser.add_argument("--output", type=Path, default=Path("data/backbone"))
    parser.add_argument("--vocabulary", type=int, default=4096)
    parser.add_argument("--context", type=int, default=1024)
    args = parser.parse_args()
    train(texts(args.corpus), args.vocabulary, args.context).save_pretrained(args.output)


if __name__ == "__main__":
    main()
