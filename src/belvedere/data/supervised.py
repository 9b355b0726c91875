"""What the data modules for fine-tuning share: prompts with responses, packed, and asked again."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from transformers import PreTrainedTokenizerBase

from belvedere.data.loading import Split, check_sizes
from belvedere.data.packed import PackedDataModule, PackedRows
from belvedere.data.packing import pack
from belvedere.data.records import Record, find_files, read_records
from belvedere.data.sources import by_split, load_hub
from belvedere.data.token_cache import share_of
from belvedere.errors import BadInput

Learned = Literal["response", "all"]


@dataclass(frozen=True)
class Example:
    """A prompt with the response that is learned, and what counts as right.

    Attributes:
        prompt: all that the model is given.
        response: what it learns to add, "" if the prompt is only to be answered.
        accepted: the right answers; empty if none is known.
        key: examples of one key are never in two splits, where the data are split here.
        group: what results are told apart by, e.g. a task; may be "".
        question: the question or instruction itself, for people and judges.
        given: the input that the instruction is about; may be "".
    """

    prompt: str
    response: str
    accepted: tuple[str, ...]
    key: str
    group: str = ""
    question: str = ""
    given: str = ""


class SupervisedDataModule(PackedDataModule):
    """Examples from local files or the hub: packed to train on, and as prompts to be answered.

    Every row holds several examples, without attention from one to another. An example is the
    tokenizer's begin token, the prompt, the response and the end token; by default the loss is on
    the response and the end token only. One that is longer than a row is cut; one whose prompt
    alone fills the row is left out. Both are counted in `summary`.

    Files named ``train*``, ``validation*`` and ``test*`` are the splits; otherwise every example
    goes where the hash of its key sends it. A validation split that is missing is taken from the
    training split in the same way; a missing test split is the validation split. Test prompts that
    are in the training split of given files are counted too.

    Args:
        tokenizer: of the backbone.
        name: what reports call the data.
        path: a file, a folder or several of them.
        hub: a set of the hub, or a folder in a form that ``datasets`` knows.
        hub_config: the set's configuration.
        hub_splits: for each of our splits, which of the set's it is; ``all`` to split it here.
        learned: which tokens the loss is on: "response", or "all" for the prompt's too.
        train_examples: at most so many are trained on; None for all.
        eval_examples: at most so many of validation and of test are measured; None for all.
        answered: how many test prompts every sub-model answers after training; None for all.
        prompts: a file of prompts to answer instead of the test examples; they need no response.
        new_tokens: the longest answer, in tokens.
        held_out: share of the examples for validation and test together, where they are not split.
        sequence_length: tokens in a row.
        batch_size: rows in a training batch, for each process.
        eval_batch_size: rows in an evaluation batch, and prompts that are answered at once.
        seed: of the order.
        num_workers: processes that make batches.
        prefetch_factor: batches that each of these keeps ready.

    Raises:
        BadInput: neither path nor hub; unreadable or broken files; an unreachable hub.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        name: str,
        path: str | list[str] | None = None,
        hub: str | None = None,
        hub_config: str | None = None,
        hub_splits: dict[str, str] | None = None,
        learned: Learned = "response",
        train_examples: int | None = None,
        eval_examples: int | None = None,
        answered: int | None = None,
        prompts: str | None = None,
        new_tokens: int = 256,
        held_out: float = 0.02,
        sequence_length: int = 512,
        batch_size: int = 8,
        eval_batch_size: int = 16,
        seed: int = 0,
        num_workers: int = 0,
        prefetch_factor: int = 2,
    ) -> None:
        super().__init__(
            tokenizer, name, sequence_length=sequence_length, batch_size=batch_size,
            eval_batch_size=eval_batch_size, held_out=held_out, seed=seed, num_workers=num_workers,
            prefetch_factor=prefetch_factor,
        )  # fmt: skip
        if (path is None) == (hub is None):
            raise BadInput(
                "give either data.path or data.hub", where="data", remedy="set the other to null"
            )
        if learned not in get_args(Learned):
            raise BadInput(
                f"the loss cannot be on {learned!r}",
                where="data.learned",
                remedy=f"choose {' or '.join(get_args(Learned))}",
            )
        self.paths = [path] if isinstance(path, str) else list(path or [])
        self.hub, self.hub_config = hub, hub_config
        self.hub_splits = hub_splits or {"all": "train"}
        if set(self.hub_splits) - {*get_args(Split), "all"} or not (
            {"train", "all"} & set(self.hub_splits)
        ):
            raise BadInput(
                f"the splits {', '.join(self.hub_splits)} are none to train on",
                where="data.hub_splits",
                remedy="name train, validation and test, or all",
            )
        check_sizes(
            train_examples=train_examples, eval_examples=eval_examples, new_tokens=new_tokens
        )
        check_sizes(lowest=0, answered=answered)
        self.learned = learned
        self.limits = {"train": train_examples, "validation": eval_examples, "test": eval_examples}
        self.answered = answered
        self.prompt_source = prompts
        self.prompt_files = [] if prompts is None else find_files(prompts, "data.prompts")
        self.new_tokens = new_tokens
        self.examples: dict[Split, list[Example]] = {}
        self._prompts: list[Example] = []
        self.counts = {"truncated": 0, "too_long": 0, "empty": 0, "held_out_in_train": 0}
        self.files = by_split([file for place in self.paths for file in find_files(place)])

    @abstractmethod
    def example(self, record: Record, *, answered: bool = True) -> Example:
        """What a record asks and answers.

        Args:
            record: in the form of the data.
            answered: False if it may have no answer.

        Raises:
            BadInput: it is malformed.
        """

    def setup(self, stage: str | None = None) -> None:
        """Read, split, tokenise and pack."""
        if self.rows:
            return
        self.examples = split_examples(
            {split: self._read(records) for split, records in self._sources()}, self.held_out
        )
        for split, examples in self.examples.items():
            if split == "test" and examples is self.examples["validation"]:
                self.rows["test"] = self.rows["validation"]
            else:
                self.rows[split] = self._pack(examples[: self.limits[split]])
        trained = {example.prompt for example in self.examples["train"]}
        self.counts["held_out_in_train"] = sum(
            example.prompt in trained for example in self.examples["test"]
        )
        self._prompts = self.examples["test"]
        if self.prompt_files:
            records = (record for file in self.prompt_files for record in read_records(file))
            self._prompts = [self.example(record, answered=False) for record in records]
            if not self._prompts:
                raise BadInput("there are no prompts", where=str(self.prompt_source))
        for wanted in get_args(Split):
            if not len(self.rows[wanted]):
                raise BadInput(
                    f"no examples for the {wanted} split",
                    where=self.hub or ", ".join(map(str, self.paths)),
                    remedy="give more examples, or change data.held_out",
                )

    def _sources(self) -> Iterator[tuple[str, Iterable[Record]]]:
        """The records of each split as they come."""
        for split, files in self.files.items():
            yield split, (record for file in files for record in read_records(file))
        if self.hub is not None:
            for split, theirs in self.hub_splits.items():
                found = load_hub(self.hub, self.hub_config, theirs, streaming=False)
                where = f"{self.hub}/{theirs}"
                yield split, (Record(r, f"{where}[{i}]") for i, r in enumerate(found))

    def _read(self, records: Iterable[Record]) -> list[Example]:
        """The examples with a response; those without one are counted."""
        examples = [self.example(record) for record in records]
        kept = [example for example in examples if example.response.strip()]
        self.counts["empty"] += len(examples) - len(kept)
        return kept

    def _pack(self, examples: list[Example]) -> PackedRows:
        """Rows of the examples, cut where they are longer than a row."""
        before = [] if self.tokenizer.bos_token_id is None else [self.tokenizer.bos_token_id]
        behind = [] if self.tokenizer.eos_token_id is None else [self.tokenizer.eos_token_id]
        ids: list[list[int]] = []
        learned: list[list[bool]] = []
        for tokens, prompt_tokens in self._encoded(examples):
            start = len(before) + prompt_tokens
            whole = [*before, *tokens, *behind]
            if start >= self.sequence_length:
                self.counts["too_long"] += 1
                continue
            self.counts["truncated"] += len(whole) > self.sequence_length
            ids.append(whole[: self.sequence_length])
            learned.append([self.learned == "all" or i >= start for i in range(len(ids[-1]))])
        lengths = np.asarray([len(row) for row in ids], np.int64)
        rows = PackedRows(
            np.asarray([token for row in ids for token in row], np.int64),
            pack(lengths.cumsum() - lengths, lengths, self.sequence_length),
            self.sequence_length,
            self.padding_id,
            learned=np.asarray([one for row in learned for one in row], bool),
        )
        rows.documents = len(ids)
        return rows

    def _encoded(self, examples: list[Example]) -> Iterator[tuple[list[int], int]]:
        """The tokens of each example, and how many of them begin in its prompt.

        Prompt and response are encoded as the one text that they are: on its own, a response would
        get a space in front from tokenizers such as Llama 2's.
        """
        if not examples:
            return
        encoded = self.tokenizer(
            [example.prompt + example.response for example in examples],
            add_special_tokens=False, verbose=False, return_offsets_mapping=True,
        )  # fmt: skip
        for example, ids, places in zip(
            examples, encoded.input_ids, encoded.offset_mapping, strict=True
        ):
            yield list(ids), sum(begin < len(example.prompt) for begin, _ in places)

    def tokens_of(self, prompt: str) -> int:
        """How many tokens a prompt has, the begin token not counted."""
        return len(self.tokenizer(prompt, add_special_tokens=False, verbose=False).input_ids)

    def prompts(self) -> list[Example]:
        """The test examples that every sub-model answers."""
        return self._prompts[: self.answered]

    def summary(self) -> dict[str, Any]:
        """What a report says of the data: its size, and what was cut, padded or left out."""
        train = self.rows["train"]
        return {
            "name": self.name,
            "source": self.hub or [str(path) for path in self.paths],
            "sequence_length": self.sequence_length,
            "documents": train.documents,
            "size": int(train.plan.lengths.sum()),
            "rows": len(train),
            **self.counts,
            "padding": round(train.plan.padding(self.sequence_length), 6),
            "validation_tokens": int(self.rows["validation"].plan.lengths.sum()),
            "test_tokens": int(self.rows["test"].plan.lengths.sum()),
            "answered": len(self.prompts()),
            "prompts": self.prompt_source,
            "learned": self.learned,
        }


def split_examples(found: dict[str, list[Example]], held_out: float) -> dict[Split, list[Example]]:
    """Training, validation and test examples out of the splits that the data came with.

    Examples of one key go to the same split; see `SupervisedDataModule` for the rules.
    """
    splits: dict[Split, list[Example]] = {"train": [], "validation": [], "test": []}
    if "all" in found:
        for example in found["all"]:
            share = share_of(example.key)
            where: Split = "test" if share < held_out / 2 else "validation"
            splits[where if share < held_out else "train"].append(example)
        splits["test"] = splits["test"] or splits["validation"]
        return splits
    splits["train"] = found["train"]
    if "validation" in found:
        splits["validation"] = found["validation"]
    else:
        shares = [share_of(example.key) for example in found["train"]]
        pairs = list(zip(found["train"], shares, strict=True))
        splits["train"] = [example for example, share in pairs if share >= held_out]
        splits["validation"] = [example for example, share in pairs if share < held_out]
    splits["test"] = found.get("test", splits["validation"])
    return splits
