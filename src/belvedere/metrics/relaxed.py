"""Relaxed accuracy: answers to questions about charts, numbers right to within 5 %.

The measure is ChartQA's (Masry et al. 2022, section 5.1) in the form that Pix2Struct published.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric

Rule = Literal["published", "unichart", "strict"]

TOLERANCE = 0.05
CURRENCIES = "$€£¥₹₩₽₺₪₫₱฿"
_LEADING_CURRENCY = re.compile(rf"^([-+]?)\s*[{CURRENCIES}]\s*")
_TRAILING_CURRENCY = re.compile(rf"\s*[{CURRENCIES}]$")
_GROUPED = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?%?")
YEAR = re.compile(r"1[5-9]\d\d|20\d\d", re.ASCII)
"""What the strict rule takes for a year."""


def number(text: str, *, percent: bool = True) -> float | None:
    """What ``float`` makes of a text; None where it is no finite number.

    Args:
        text: such as "12.5" or "1e3"; not "1,200" (see `amount`).
        percent: whether a text may end in "%", which divides by 100.

    Example:
        >>> number("5%"), number("5%", percent=False), number("1,200"), number("nan")
        (0.05, None, None, None)
    """
    scale = 1.0
    if percent and text.endswith("%"):
        text, scale = text.rstrip("%"), 100.0
    try:
        value = float(text) / scale
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def amount(text: str) -> float | None:
    """Like `number`, and thousands commas and one currency sign at either end are read, too.

    Example:
        >>> amount("$1,200"), amount("-€5"), amount("3.5 £"), amount("1,20")
        (1200.0, -5.0, 3.5, None)
    """
    bare, signs = _LEADING_CURRENCY.subn(r"\1", text)
    if not signs:
        bare = _TRAILING_CURRENCY.sub("", bare)
    if _GROUPED.fullmatch(bare):
        bare = bare.replace(",", "")
    return number(bare)


def _published(answer: str, target: str) -> bool:
    given, right = number(answer), number(target)
    if given is not None and right:
        return _near(given, right)
    return _same_text(answer, target)


def _unichart(answer: str, target: str) -> bool:
    given, right = number(answer, percent=False), number(target, percent=False)
    if given is None or right is None:
        return _same_text(answer, target)
    return _near(given, right)


def _strict(answer: str, target: str) -> bool:
    given, right = amount(answer), amount(target)
    if given is None or right is None:
        return _same_text(answer, target)
    return given == right if YEAR.fullmatch(target) else _near(given, right)


def _near(given: float, right: float) -> bool:
    return abs(given - right) / abs(right) <= TOLERANCE if right else given == 0


def _same_text(answer: str, target: str) -> bool:
    return answer.lower() == target.lower()


RULES: dict[Rule, Callable[[str, str], bool]] = {
    "published": _published,
    "unichart": _unichart,
    "strict": _strict,
}


def relaxed_match(answer: str, accepted: Sequence[str], rule: Rule = "published") -> bool:
    """Whether an answer is right for at least one of the accepted ones.

    Two numbers agree where they differ by no more than 5 % of the accepted one, two texts where
    they are equal but for upper and lower case. Blanks around an answer are dropped. The rules:

    - ``published`` (Pix2Struct): a final "%" divides by 100. A target of 0 is compared as text.
      Years are numbers like others, so 2008 counts for 2010, and "1,200" is a text.
    - ``unichart`` (UniChart's fine-tuning script): "5%" is a text; 0 is compared as a number.
    - ``strict`` (this project's): as ``published``, but a target of four bare digits from 1500 to
      2099 is taken for a year and has to be met exactly; thousands commas and currency signs are
      read; 0 is compared as a number.

    "nan" and "inf" are texts here under every rule, so that equal answers always agree.

    Example:
        >>> [relaxed_match("2008", ["2010"], rule) for rule in RULES]
        [True, True, False]
        >>> [relaxed_match("1,200", ["1200"], rule) for rule in RULES]
        [False, False, True]
        >>> [relaxed_match("5%", ["0.05"], rule) for rule in RULES]
        [True, False, True]
    """
    agree = RULES[rule]
    return any(agree(answer.strip(), one.strip()) for one in accepted)


class RelaxedAccuracy(Metric):
    """The share of right answers by a rule of `relaxed_match`, and by the strict one beside it.

    Args:
        rule: what ``relaxed_accuracy`` goes by: "published" or "unichart".
        options: of torchmetrics' ``Metric``, such as ``sync_on_compute``.

    Example:
        >>> accuracy = RelaxedAccuracy()
        >>> accuracy.update(["2008", "Peru"], [["2010"], ["peru", "Chile"]])
        >>> accuracy.compute()
        {'relaxed_accuracy': 1.0, 'relaxed_accuracy_strict': 0.5}
    """

    full_state_update = False
    right: Tensor
    count: Tensor

    def __init__(self, rule: Rule = "published", **options: Any) -> None:
        super().__init__(**options)
        self.rule: Rule = rule
        self.add_state("right", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, answers: Sequence[str], accepted: Sequence[Sequence[str]]) -> None:
        """Add answers, each with the answers that are right."""
        rules: tuple[Rule, Rule] = (self.rule, "strict")
        for answer, targets in zip(answers, accepted, strict=True):
            right = [float(relaxed_match(answer, targets, rule)) for rule in rules]
            self.right += torch.tensor(right, dtype=torch.float64, device=self.right.device)
            self.count += 1

    def compute(self) -> dict[str, float]:
        """Both shares, from 0 to 1; 0 where nothing was asked."""
        plain, strict = (self.right / self.count.clamp(min=1)).tolist()
        return {"relaxed_accuracy": plain, "relaxed_accuracy_strict": strict}
