"""How near written texts are to references, over a corpus: BLEU and ROUGE-L.

BLEU is sacrebleu's (Post 2018) with its defaults: 13a tokens, case counts, up to 4-grams, "exp"
smoothing. It is no mean over texts: n-grams are counted over the whole corpus, so the counts are
what has to be added up.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any

import torch
from sacrebleu.metrics import BLEU
from torch import Tensor
from torchmetrics import Metric

from belvedere.charts.tables import parse
from belvedere.errors import BadInput
from belvedere.metrics.answers import rouge_l

ORDER = 4


def bleu_counts(texts: Sequence[str], references: Sequence[Sequence[str]]) -> list[int]:
    """What BLEU is made of, summed over texts; counts of parts of a corpus may be added.

    Args:
        texts: what was written.
        references: for each text one or more, not all as many.

    Returns:
        The texts' length and the nearest references' in tokens, the matched n-grams for n from 1
        to 4, and the written ones: 10 numbers.

    Raises:
        BadInput: a text has no reference.

    Example:
        >>> bleu_counts(["Sales rose."], [["Sales rose.", "Sales grew fast."]])
        [3, 3, 3, 2, 1, 0, 3, 2, 1, 0]
    """
    if len(texts) != len(references):
        raise ValueError(f"{len(texts)} texts, but references for {len(references)}")
    for text, some in zip(texts, references, strict=True):
        if not some:
            raise BadInput(f"no reference for the text {text[:60]!r}", remedy="give at least one")
    if not texts:
        return [0] * (2 + 2 * ORDER)
    # sacrebleu wants the first references of all texts, then the second ones, None for missing.
    streams = [list(stream) for stream in zip_longest(*references)]
    # force: only silences a warning about tokenised texts, which some data sets consist of.
    score = BLEU(force=True).corpus_score(list(texts), streams)
    return [score.sys_len, score.ref_len, *score.counts, *score.totals]


def bleu_from_counts(counts: Sequence[int]) -> float:
    """BLEU, from 0 to 100, from the (summed) result of `bleu_counts`.

    Example:
        >>> round(bleu_from_counts([7, 7, 6, 4, 3, 2, 7, 6, 5, 4]), 2)
        64.35
    """
    written, expected, *matched = counts
    score = BLEU.compute_bleu(
        correct=matched[:ORDER], total=matched[ORDER:], sys_len=written, ref_len=expected,
        smooth_method="exp",
    )  # fmt: skip
    return float(score.score)


def bleu(texts: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """BLEU of a corpus, from 0 to 100 (see `bleu_counts` for the arguments).

    Example:
        >>> round(bleu(["Sales rose a lot in May."], [["Sales rose a lot in June."]]), 2)
        64.35
    """
    return bleu_from_counts(bleu_counts(texts, references))


class TextScores(Metric):
    """``bleu``, from 0 to 100, of all texts together, and ``rouge_l``, from 0 to 1, their mean.

    ROUGE-L is that of ``belvedere.metrics.answers``: the F-measure with the best reference. Both
    are on the scales that the project uses elsewhere: sacrebleu's, and shares.

    Args:
        options: of torchmetrics' ``Metric``, such as ``sync_on_compute``.

    Example:
        >>> scores = TextScores()
        >>> scores.update(["Sales rose a lot in May."], [["Sales rose a lot in June."]])
        >>> {name: round(value, 2) for name, value in scores.compute().items()}
        {'bleu': 64.35, 'rouge_l': 0.83}
    """

    full_state_update = False
    counts: Tensor
    rouge: Tensor
    texts: Tensor

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_state("counts", torch.zeros(2 + 2 * ORDER, dtype=torch.int64), "sum")
        self.add_state("rouge", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("texts", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, texts: Sequence[str], references: Sequence[Sequence[str]]) -> None:
        """Add texts, each with one or more references.

        Raises:
            BadInput: a text has no reference; then none of the texts is added.
        """
        self.counts += torch.tensor(bleu_counts(texts, references), device=self.counts.device)
        self.rouge += sum(rouge_l(*pair) for pair in zip(texts, references, strict=True))
        self.texts += len(texts)

    def compute(self) -> dict[str, float]:
        """Both scores by name; 0 where there was no text."""
        return {
            "bleu": bleu_from_counts(self.counts.tolist()),
            "rouge_l": float(self.rouge / self.texts.clamp(min=1)),
        }


class TextsRead(Metric):
    """``texts_f1``, ``texts_precision`` and ``texts_recall``: texts that were read letter for
    letter, from 0 to 1, over all pictures together.

    A picture's texts are the cells of one line (`belvedere.charts.tables`), in any order; one that
    stands there twice has to be read twice.

    Args:
        options: of torchmetrics' ``Metric``, such as ``sync_on_compute``.

    Example:
        >>> read = TextsRead()
        >>> read.update(["2010 | 2011 | Spam"], [["2010 | 2011 | Spain | 2012"]])
        >>> round(read.compute()["texts_f1"], 3)
        0.571
    """

    full_state_update = False
    counts: Tensor

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_state("counts", torch.zeros(3, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, texts: Sequence[str], references: Sequence[Sequence[str]]) -> None:
        """Add what was read of pictures, each with its true texts as the only reference."""
        for text, (reference,) in zip(texts, references, strict=True):
            found, there = (Counter(chain(*parse(line))) for line in (text, reference))
            right = (found & there).total()
            self.counts += torch.tensor([right, found.total(), there.total()]).to(self.counts)

    def compute(self) -> dict[str, float]:
        """The three measures by name; 0 where there was no text."""
        right, found, there = self.counts.tolist()
        return {
            "texts_f1": 2 * right / max(found + there, 1),
            "texts_precision": right / max(found, 1),
            "texts_recall": right / max(there, 1),
        }
