"""Instructions in Alpaca's form whose answers a program can compute.

Each task is a function ``(rng) -> Instruction``; the wording, the input and the answer are drawn
together. ``task`` names what is asked, so that results can be told apart.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from random import Random

from belvedere.corpus.stories import NAMES, OBJECTS, PLACES, WEEKDAYS
from belvedere.corpus.words import CATEGORIES, NOUNS, WORDS


@dataclass(frozen=True)
class Instruction:
    """One record in Alpaca's schema, with the task that it belongs to."""

    instruction: str
    input: str
    output: str
    task: str

    def record(self) -> dict[str, str]:
        """The record as it is stored."""
        return asdict(self)


OPPOSITES = dict(
    pair.split("-")
    for pair in [
        "hot-cold",
        "big-small",
        "long-short",
        "fast-slow",
        "high-low",
        "old-new",
        "rich-poor",
        "strong-weak",
        "light-dark",
        "early-late",
        "full-empty",
        "hard-soft",
        "open-closed",
        "wet-dry",
        "young-old",
        "clean-dirty",
        "happy-sad",
        "thick-thin",
        "near-far",
        "loud-quiet",
        "heavy-light",
        "wide-narrow",
        "deep-shallow",
        "sweet-sour",
        "right-wrong",
    ]
)
IRREGULAR_PLURALS = {"child": "children", "foot": "feet", "tooth": "teeth", "mouse": "mice",
                     "goose": "geese", "man": "men", "woman": "women"}  # fmt: skip
NUMBER_WORDS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
ROMAN = ((50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"))


def spelled(number: int) -> str:
    """A number from 0 to 99 in words."""
    if number < 20:
        return NUMBER_WORDS[number]
    tens, ones = divmod(number, 10)
    return TENS[tens - 2] + (f"-{NUMBER_WORDS[ones]}" if ones else "")


def roman(number: int) -> str:
    """A number from 1 to 89 in Roman numerals."""
    text = ""
    for value, letters in ROMAN:
        while number >= value:
            text += letters
            number -= value
    return text


def plural(noun: str) -> str:
    """The plural of a common noun."""
    if noun in IRREGULAR_PLURALS:
        return IRREGULAR_PLURALS[noun]
    if noun.endswith(("s", "sh", "ch", "x")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun.removesuffix("fe") + "ves" if noun.endswith("knife") else noun + "s"


def joined(items: list[str] | list[int]) -> str:
    """Items behind one another with commas."""
    return ", ".join(map(str, items))


def make(task: str, rng: Random, wordings: tuple[str, ...], given: str, output: str) -> Instruction:
    """An instruction with one of the wordings.

    The input stands in the instruction's own field, or, one time in four where the wording ends
    with a full stop, in the instruction itself, as people write it.
    """
    wording = rng.choice(wordings)
    if given and wording.endswith(".") and rng.random() < 0.25:
        return Instruction(f"{wording[:-1]}: {given}", "", output, task)
    return Instruction(wording, given, output, task)


def sort_numbers(rng: Random) -> Instruction:
    """Three to five numbers, up or down."""
    wordings: tuple[str, ...]
    numbers = rng.sample(range(1, 100), rng.randint(3, 5))
    if rng.random() < 0.6:
        wordings = (
            "Sort these numbers from smallest to largest.",
            "Put the numbers in ascending order.",
            "Arrange the following numbers in increasing order.",
        )
        return make("sort_numbers", rng, wordings, joined(numbers), joined(sorted(numbers)))
    wordings = (
        "Sort these numbers from largest to smallest.",
        "Put the numbers in descending order.",
    )
    ordered = sorted(numbers, reverse=True)
    return make("sort_numbers", rng, wordings, joined(numbers), joined(ordered))


def sort_words(rng: Random) -> Instruction:
    """Three or four words from A to Z."""
    words = rng.sample(WORDS, rng.randint(3, 4))
    wordings = (
        "Sort these words alphabetically.",
        "Put the words in alphabetical order.",
        "Arrange the following words from A to Z.",
    )
    return make("sort_words", rng, wordings, joined(words), joined(sorted(words)))


def reverse_list(rng: Random) -> Instruction:
    """The same words, last first."""
    words = rng.sample(WORDS, rng.randint(3, 5))
    wordings = (
        "Reverse the order of this list.",
        "Write the list backwards, last word first.",
        "Turn the order of these words around.",
    )
    return make("reverse_list", rng, wordings, joined(words), joined(words[::-1]))


def count_items(rng: Random) -> Instruction:
    """The number of words."""
    words = rng.sample(WORDS, rng.randint(2, 8))
    wordings = (
        "How many words are in this list?",
        "Count the items in the list.",
        "Say how many items there are.",
    )
    return make("count_items", rng, wordings, joined(words), str(len(words)))


def pick_item(rng: Random) -> Instruction:
    """The word at a named place."""
    words = rng.sample(WORDS, rng.randint(3, 5))
    index, place = rng.choice(((0, "first"), (1, "second"), (2, "third"), (-1, "last")))
    wordings = (f"Give the {place} word of the list.", f"Which word is {place} in this list?")
    return make("pick_item", rng, wordings, joined(words), words[index])


def arithmetic(rng: Random) -> Instruction:
    """A sum, a difference or a product."""
    wordings: tuple[str, ...]
    kind = rng.choice(("add", "subtract", "multiply"))
    if kind == "multiply":
        a, b = rng.randint(2, 12), rng.randint(2, 12)
        wordings = ("Multiply the two numbers.", "Find the product of these numbers.")
        return make(kind, rng, wordings, f"{a} and {b}", str(a * b))
    a, b = rng.randint(1, 60), rng.randint(1, 39)
    if kind == "add":
        wordings = ("Add the two numbers.", "Find the sum of these numbers.", "Add these up.")
        return make(kind, rng, wordings, f"{a} and {b}", str(a + b))
    a, b = max(a, b), min(a, b)
    wordings = ("Subtract the second number from the first.", "Find the difference of the numbers.")
    return make(kind, rng, wordings, f"{a} and {b}", str(a - b))


def extremum(rng: Random) -> Instruction:
    """The largest or the smallest number."""
    numbers = rng.sample(range(1, 100), rng.randint(3, 5))
    if rng.random() < 0.5:
        wordings = ("Find the largest number.", "Which of these numbers is the largest?")
        return make("extremum", rng, wordings, joined(numbers), str(max(numbers)))
    wordings = ("Find the smallest number.", "Which of these numbers is the smallest?")
    return make("extremum", rng, wordings, joined(numbers), str(min(numbers)))


def parity(rng: Random) -> Instruction:
    """Even or odd."""
    number = rng.randint(1, 999)
    wordings = ("Is this number even or odd?", "Say whether the number is even or odd.")
    return make("parity", rng, wordings, str(number), "odd" if number % 2 else "even")


def continue_sequence(rng: Random) -> Instruction:
    """The fifth number of an arithmetic sequence."""
    start, step = rng.randint(1, 30), rng.randint(2, 10)
    numbers = [start + i * step for i in range(5)]
    wordings = ("What number comes next?", "Continue the sequence by one number.")
    return make("continue_sequence", rng, wordings, joined(numbers[:4]), str(numbers[4]))


def number_in_words(rng: Random) -> Instruction:
    """From digits to words or back."""
    number = rng.randint(0, 99)
    if rng.random() < 0.5:
        wordings = ("Write this number in words.", "Spell out the number.")
        return make("number_in_words", rng, wordings, str(number), spelled(number))
    wordings = ("Write this number in digits.", "Give the number as digits.")
    return make("number_in_words", rng, wordings, spelled(number), str(number))


def roman_numeral(rng: Random) -> Instruction:
    """A number up to 50 in Roman numerals."""
    number = rng.randint(1, 50)
    wordings = ("Write this number in Roman numerals.", "Convert the number to Roman numerals.")
    return make("roman_numeral", rng, wordings, str(number), roman(number))


def opposite(rng: Random) -> Instruction:
    """A word with the opposite meaning."""
    word = rng.choice(sorted(OPPOSITES))
    wordings = ("What is the opposite of this word?", "Give the opposite.")
    return make("opposite", rng, wordings, word, OPPOSITES[word])


def make_plural(rng: Random) -> Instruction:
    """The plural of a noun."""
    noun = rng.choice([*NOUNS, *sorted(IRREGULAR_PLURALS)])
    wordings = ("Write the plural of this noun.", "Put this word into the plural.")
    return make("plural", rng, wordings, noun, plural(noun))


def classify(rng: Random) -> Instruction:
    """The category of a word."""
    category = rng.choice(sorted(CATEGORIES))
    word = rng.choice([w for w in CATEGORIES[category] if w != "orange"])
    wordings = (
        "Is this a fruit, a tool, an animal or a colour?",
        "Say which group the word belongs to: fruit, tool, animal or colour.",
    )
    return make("classify", rng, wordings, word, category)


def odd_one_out(rng: Random) -> Instruction:
    """The word of another category."""
    main, other = rng.sample(sorted(CATEGORIES), 2)
    words = rng.sample([w for w in CATEGORIES[main] if w != "orange"], 3)
    stranger = rng.choice([w for w in CATEGORIES[other] if w != "orange"])
    mixed = [*words, stranger]
    rng.shuffle(mixed)
    wordings = ("Find the odd one out.", "Which word does not fit with the others?")
    return make("odd_one_out", rng, wordings, joined(mixed), stranger)


def extract(rng: Random) -> Instruction:
    """A name, number, day, place or object out of a sentence."""
    name, place, thing = rng.choice(NAMES), rng.choice(PLACES), rng.choice(OBJECTS)
    day, number = rng.choice(WEEKDAYS), rng.randint(2, 60)
    sentence = rng.choice(
        (
            f"On {day}, {name} brought a {thing} and {number} coins to the {place}.",
            f"{name} waited {number} minutes in the {place} on {day} with a {thing}.",
            f"In the {place}, {name} sold a {thing} for {number} coins on {day}.",
        )
    )
    what, answer = rng.choice(
        (("name", name), ("number", str(number)), ("day", day), ("place", place), ("object", thing))
    )
    wordings = (f"Find the {what} in this sentence.", f"Which {what} does the sentence mention?")
    return make(f"extract_{what}", rng, wordings, sentence, answer)


def format_list(rng: Random) -> Instruction:
    """Words as a dashed, numbered or hyphenated list."""
    words = rng.sample(WORDS, rng.randint(2, 4))
    wordings: tuple[str, ...]
    kind = rng.randrange(3)
    if kind == 0:
        wordings = ("Write this as a list with dashes.", "Turn the words into a dashed list.")
        output = "\n".join(f"- {word}" for word in words)
    elif kind == 1:
        wordings = ("Write this as a numbered list.", "Number the words of the list.")
        output = "\n".join(f"{i}. {word}" for i, word in enumerate(words, 1))
    else:
        wordings = ("Join the words with hyphens.", "Write the words with hyphens between them.")
        output = "-".join(words)
    return make("format_list", rng, wordings, joined(words), output)


def format_date(rng: Random) -> Instruction:
    """A date with its month in words."""
    year, month, day = rng.randint(1900, 2029), rng.randint(1, 12), rng.randint(1, 28)
    wordings = ("Write this date with the month in words.", "Rewrite the date in long form.")
    given = f"{year}-{month:02d}-{day:02d}"
    return make("format_date", rng, wordings, given, f"{day} {MONTHS[month - 1]} {year}")


def upper_case(rng: Random) -> Instruction:
    """A word in capital letters."""
    word = rng.choice(WORDS)
    wordings = ("Write this word in capital letters.", "Put the word in upper case.")
    return make("upper_case", rng, wordings, word, word.upper())


def contains(rng: Random) -> Instruction:
    """Whether a word is in a list."""
    words = rng.sample(WORDS, rng.randint(3, 5))
    inside = rng.random() < 0.5
    word = rng.choice(words) if inside else rng.choice([w for w in WORDS if w not in words])
    wordings = (f"Is the word {word} in this list?", f"Does the list contain the word {word}?")
    return make("contains", rng, wordings, joined(words), "yes" if inside else "no")


def replace_word(rng: Random) -> Instruction:
    """A list with one word exchanged."""
    words = rng.sample(WORDS, rng.randint(3, 5))
    old, new = rng.choice(words), rng.choice([w for w in WORDS if w not in words])
    wordings = (f"Replace {old} with {new}.", f"In this list, change {old} to {new}.")
    output = joined([new if word == old else word for word in words])
    return make("replace_word", rng, wordings, joined(words), output)


# How often each task comes: rules that take more than copying need many more examples.
TASKS: dict[Callable[[Random], Instruction], int] = {
    sort_numbers: 4, sort_words: 4, reverse_list: 3, count_items: 2, pick_item: 2, arithmetic: 4,
    extremum: 2, parity: 1, continue_sequence: 2, number_in_words: 1, roman_numeral: 1, opposite: 1,
    make_plural: 2, classify: 1, odd_one_out: 1, extract: 2, format_list: 2, format_date: 1,
    upper_case: 3, contains: 2, replace_word: 3,
}  # fmt: skip


def instruction(rng: Random) -> Instruction:
    """One instruction of a random task."""
    return rng.choices(list(TASKS), list(TASKS.values()))[0](rng)


def as_text(item: Instruction) -> str:
    """An instruction with its response, in Alpaca's form without the fixed opening.

    The opening paragraph of Alpaca's prompt is the same in each record: it would add a third of
    perfectly predictable tokens and flatter every measurement on this corpus.
    """
    given = f"### Input:\n{item.input}\n\n" if item.input else ""
    return f"### Instruction:\n{item.instruction}\n\n{given}### Response:\n{item.output}"
