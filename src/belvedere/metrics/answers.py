"""How right generated answers are: exact match in two senses, token F1, ROUGE-L."""

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.text import rouge_score

PUNCTUATION = set(string.punctuation) | set("‘’´`")


def normalised(text: str) -> str:
    """An answer as TriviaQA's official evaluation compares it.

    Lower case; punctuation and underscores become spaces; articles and needless spaces go.

    Example:
        >>> normalised("The Snake-eating  Cow.")
        'snake eating cow'
    """
    spaced = "".join(" " if c in PUNCTUATION else c for c in text.lower())
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", spaced).split())


def exact_match(answer: str, accepted: Sequence[str]) -> bool:
    """Whether the answer is one of the accepted ones letter for letter (Sorted LLaMA, sec. 4)."""
    return answer.strip() in {one.strip() for one in accepted}


def exact_match_official(answer: str, accepted: Sequence[str]) -> bool:
    """Whether it is one of them after TriviaQA's normalisation."""
    return normalised(answer) in {normalised(one) for one in accepted}


def token_f1(answer: str, accepted: Sequence[str]) -> float:
    """F1 of the normalised words, the best over the accepted answers.

    Example:
        >>> round(token_f1("the river Nile", ["Nile", "River Nile in Africa"]), 3)
        0.667
    """
    return max((_f1(normalised(answer).split(), normalised(one).split()) for one in accepted),
               default=0.0)  # fmt: skip


def _f1(words: list[str], gold: list[str]) -> float:
    shared = sum((Counter(words) & Counter(gold)).values())
    return 2 * shared / (len(words) + len(gold)) if shared else 0.0


def rouge_l(answer: str, accepted: Sequence[str]) -> float:
    """F-measure of the longest common subsequence of words, the best over the accepted answers.

    By torchmetrics, without stemming.
    """
    if not answer.strip() or not accepted:
        return 0.0
    return float(rouge_score(answer, [list(accepted)], rouge_keys="rougeL")["rougeL_fmeasure"])


SCORES = {
    "exact_match": exact_match,
    "exact_match_official": exact_match_official,
    "f1": token_f1,
    "rouge_l": rouge_l,
}


class AnswerQuality(Metric):
    """The mean of every score in `SCORES` over questions.

    Args:
        options: of torchmetrics' ``Metric``, such as ``sync_on_compute``.

    Example:
        >>> quality = AnswerQuality()
        >>> quality.update(["Paris", "the euro"], [["Paris"], ["Euro", "EUR"]])
        >>> {name: round(value, 3) for name, value in quality.compute().items()}
        {'exact_match': 0.5, 'exact_match_official': 1.0, 'f1': 1.0, 'rouge_l': 0.833}
    """

    full_state_update = False
    sums: Tensor
    count: Tensor

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        zeros = torch.zeros(len(SCORES), dtype=torch.float64)
        self.add_state("sums", default=zeros, dist_reduce_fx="sum")
        self.add_state("count", default=torch.zeros(()), dist_reduce_fx="sum")

    def update(self, answers: Sequence[str], accepted: Sequence[Sequence[str]]) -> None:
        """Add answers, each with the answers that are right."""
        for answer, right in zip(answers, accepted, strict=True):
            scores = [float(score(answer, right)) for score in SCORES.values()]
            self.sums += torch.tensor(scores, dtype=torch.float64)
            self.count += 1

    def compute(self) -> dict[str, float]:
        """The means by name; 0 where nothing was asked."""
        means = self.sums / self.count.clamp(min=1)
        return dict(zip(SCORES, means.tolist(), strict=True))
