"""The words that questions and summaries are put together from: plurals, lists, units, wordings."""

import re
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from random import Random
from typing import TypeVar

T = TypeVar("T")

_ADDITION = re.compile(r"\s*\([^)]*\)\s*$")  # what an axis label says in brackets: the unit
_HEAD_END = re.compile(r" (?:of|per|in|by|for|on|with|from|to|at|among|without|using|who|that)\b")
_TRAILING = re.compile(r" (?:sold|built|won|granted|eaten|used|produced|born|killed|made|shipped)$")
_PLURAL_UNIT = re.compile(r"^([a-z]{3,})s\b")
_CURRENCY = re.compile(r"(US\$|\$|€|£|¥)\s*(.*)")
_MONEY = re.compile(r"\b(dollars|euros|pounds|yen|cents)\b|[$€£¥]")
_MASS = re.compile(r"\b(tonnes|tons|kg|g|mg|litres|TWh|GWh|kWh|m3)\b")

# Words that keep their capital inside a sentence.
_PROPER = frozenset({
    "African", "Alpine", "American", "Arabic", "Arctic", "Asian", "Atlantic", "Australian",
    "Austrian", "Belgian", "Brazilian", "British", "Canadian", "Chinese", "Christian", "Danish",
    "Dutch", "English", "European", "Finnish", "French", "German", "Greek", "Indian", "Irish",
    "Italian", "Japanese", "Korean", "Mexican", "Norwegian", "Pacific", "Polish", "Portuguese",
    "Russian", "Spanish", "Swedish", "Swiss", "Turkish", "January", "February", "March", "April",
    "May", "June", "July", "August", "September", "October", "November", "December", "Monday",
    "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday",
})  # fmt: skip
_MASS_NOUNS = frozenset({
    "advertising", "attendance", "consumption", "employment", "gdp", "inflation", "output",
    "rainfall", "revenue", "sleep", "spending", "sunshine", "trade", "trust", "unemployment",
    "waste",
})  # fmt: skip
_UNCHANGED = frozenset({"means", "series", "species", "staff", "people", "aircraft"})
_IRREGULAR = {
    "person": "people", "man": "men", "woman": "women", "child": "children",
    "shelf": "shelves", "leaf": "leaves", "medium": "media", "mouse": "mice", "foot": "feet",
}  # fmt: skip
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
# Names that stand behind an article in running text.
_WITH_ARTICLE = re.compile(
    r"(United |Netherlands|Philippines|Czech Republic|Dominican Republic|Bahamas|Maldives|"
    r"Gambia$|Seychelles|USA$|UK$|EU$|Middle East|Caribbean)"
)


def lowered(name: str) -> str:
    """A heading as it stands inside a sentence: no addition in brackets, no capital at its start.

    Acronyms and words derived from the names of places keep their capitals.
    """
    name = _ADDITION.sub("", name)
    first = name.split(" ", 1)[0].split("-", 1)[0]
    keeps = first in _PROPER or any(letter.isupper() or letter.isdigit() for letter in first[1:])
    return name if keeps or len(first) < 2 else name[0].lower() + name[1:]


def capitalised(sentence: str) -> str:
    """``sentence`` with its first letter in upper case."""
    return sentence[:1].upper() + sentence[1:]


def is_mass(noun: str) -> bool:
    """Whether a noun phrase stands without an article: "inflation", "GDP per capita"."""
    return head(noun).lower() in _MASS_NOUNS


def definite(noun: str) -> str:
    """``noun`` behind its definite article, if it takes one."""
    return noun if is_mass(noun) else f"the {noun}"


def article(noun: str) -> str:
    """``noun`` behind its indefinite article, if it takes one."""
    if is_mass(noun):
        return noun
    vowel = noun[:1].lower() in "aeio" or noun.lower().startswith(("un", "up", "ur"))
    sounds_otherwise = noun.lower().startswith(("eu", "one", "uni", "use"))
    if noun[:2].isupper():  # an acronym is spelt: an HDI, a GDP
        return f"{'an' if noun[0] in 'AEFHILMNORSX' else 'a'} {noun}"
    return f"{'an' if vowel and not sounds_otherwise else 'a'} {noun}"


def named(label: str) -> str:
    """A label as a name in running text: "the Netherlands", but "Norway"."""
    return f"the {label}" if _WITH_ARTICLE.match(label) else label


def head(noun: str) -> str:
    """The word that a noun phrase is about: "births" of "live births per 1,000 women"."""
    return _TRAILING.sub("", _HEAD_END.split(noun, maxsplit=1)[0]).rsplit(" ", 1)[-1]


def is_plural(noun: str) -> bool:
    """Whether a noun phrase speaks of several things."""
    word = head(noun).lower()
    if word in _UNCHANGED or word in _IRREGULAR.values():
        return True
    return word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3


def quantity(name: str, unit: str) -> str:
    """What is measured as a noun phrase in the singular: "number of visitors" for "Visitors"."""
    name = lowered(name)
    if not is_plural(name):
        return name
    if unit == "%":
        return f"percentage of {name}"
    if _MONEY.search(unit):
        return f"value of {name}"
    if unit in {"", "thousand", "million", "billion"} or unit.endswith(f" {name}"):
        return f"number of {name}"
    return f"amount of {name}" if _MASS.search(unit) else f"figure for {name}"


def plural(noun: str) -> str:
    """The plural of a noun phrase: "modes of transport" for "mode of transport"."""
    match = _HEAD_END.search(noun) or _TRAILING.search(noun)
    phrase, rest = (noun[: match.start()], noun[match.start() :]) if match else (noun, "")
    stem, word = phrase[: -len(head(phrase))], head(phrase)
    if word.lower() in _UNCHANGED or is_plural(word):
        return noun
    if word.lower() in _IRREGULAR:
        return stem + _IRREGULAR[word.lower()] + rest
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return f"{stem}{word[:-1]}ies{rest}"
    return f"{stem}{word}{'es' if word.endswith(('s', 'x', 'z', 'ch', 'sh')) else 's'}{rest}"


def listed(names: Sequence[str]) -> str:
    """Names in a row: "A, B and C"."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def in_words(count: int) -> str:
    """Small numbers as words."""
    return _NUMBERS[count] if 0 <= count < len(_NUMBERS) else str(count)


def counted(count: int, noun: str) -> str:
    """How many of them: "one year", "three years"."""
    return f"{in_words(count)} {noun if count == 1 else plural(noun)}"


def ordinal(place: int) -> str:
    """The place, counted from one, in words: "second"; "10th" and the like from ten on."""
    if place <= len(_ORDINALS):
        return _ORDINALS[place - 1]
    ending = "th" if 10 < place % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place}{ending}"


def with_unit(number: str, unit: str) -> str:
    """A number with its unit: "12.5 %", "3 million", "$4 billion", "-$2"."""
    if match := _CURRENCY.fullmatch(unit):
        sign, digits = ("-", number[1:]) if number.startswith("-") else ("", number)
        return f"{sign}{match[1]}{digits} {match[2]}".strip()
    if number in {"1", "-1"}:
        unit = _PLURAL_UNIT.sub(r"\1", unit)
    return f"{number} {unit}".strip()


def rounded(value: Decimal, decimals: int) -> Decimal:
    """``value`` to so many decimals, halves away from zero; zero has no sign."""
    result = value.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
    return result if result else abs(result)


def plain(value: Decimal) -> str:
    """A number without needless zeros or an exponent."""
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in {"", "-0"} else text


def to_places(decimals: int) -> str:
    """How a question asks for rounding."""
    if not decimals:
        return "to the nearest whole number"
    return f"to {in_words(decimals)} decimal{'' if decimals == 1 else 's'}"


def roundest(low: Decimal, high: Decimal) -> Decimal | None:
    """The number strictly between two others that is easiest to say; ``None`` if there is none.

    Among the multiples of 10, 5, 2 and 1 times a power of ten, those of the largest step win, and
    of them the one nearest to the middle.
    """
    if high <= low:
        return None
    middle = (low + high) / 2
    for exponent in range(12, -8, -1):
        for factor in (5, 2, 1):
            step = Decimal(factor).scaleb(exponent)
            nearest = (middle / step).quantize(Decimal(1), ROUND_HALF_UP) * step
            if low < nearest < high:
                return nearest if nearest else abs(nearest)
    return None


def choice(rng: Random, options: Sequence[T]) -> T:
    """One of the options."""
    return options[rng.randrange(len(options))]


def yes_no(holds: bool) -> str:
    """The answer to whether something holds."""
    return "Yes" if holds else "No"
