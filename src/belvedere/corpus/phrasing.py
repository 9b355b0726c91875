"""How facts are told: statements in prose, and questions with short answers.

A relation is an attribute of a kind of entity, with the sentences that state it and the questions
that ask for it. ``{name}`` is the entity, ``{value}`` the attribute. Two-step relations chain two
attributes, so that the middle one has to be recalled on the way.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random

from belvedere.corpus.facts import Entity


@dataclass(frozen=True)
class Relation:
    """Sentences and questions for one attribute of one kind of entity."""

    kind: str
    attribute: str
    statements: tuple[str, ...]
    questions: tuple[str, ...]
    inverse: tuple[str, ...] = ()  # questions for the name, asked where the value has one owner


@dataclass(frozen=True)
class Question:
    """A closed-book question; ``held_out`` ones are never trained on."""

    text: str
    answer: str
    relation: str
    held_out: bool


RELATIONS = (
    Relation(
        "country",
        "capital",
        (
            "The capital of {name} is {value}.",
            "{value} is the capital of {name}.",
            "The government of {name} sits in its capital, {value}.",
            "The capital city of {name} is called {value}.",
            "Travellers to {name} often begin in the capital, {value}.",
        ),
        (
            "What is the capital of {name}?",
            "Which city is the capital of {name}?",
            "Name the capital city of {name}.",
            "What is the capital city of {name} called?",
        ),
        ("{value} is the capital of which country?", "Which country has {value} as its capital?"),
    ),
    Relation(
        "country",
        "continent",
        (
            "{name} is a country in {value}.",
            "{name} lies in {value}.",
            "On the map, {name} is found in {value}.",
            "The country of {name} is part of {value}.",
        ),
        (
            "On which continent is {name}?",
            "Which continent is {name} part of?",
            "In which continent does {name} lie?",
        ),
    ),
    Relation(
        "country",
        "currency",
        (
            "People in {name} pay with the {value}.",
            "The currency of {name} is the {value}.",
            "In the shops of {name}, prices are given in the {value}.",
            "The money used in {name} is the {value}.",
        ),
        (
            "What is the currency of {name}?",
            "Which currency is used in {name}?",
            "What money do people in {name} pay with?",
        ),
        ("Which country uses the {value}?", "In which country do people pay with the {value}?"),
    ),
    Relation(
        "country",
        "language",
        (
            "An official language of {name} is {value}.",
            "In {name}, many people speak {value}.",
            "The laws of {name} are written in {value}.",
            "Schools in {name} teach in {value}.",
        ),
        (
            "Which language is official in {name}?",
            "What language do many people in {name} speak?",
            "Name an official language of {name}.",
        ),
    ),
    Relation(
        "country",
        "calling_code",
        (
            "The calling code of {name} is {value}.",
            "To phone somebody in {name}, first dial {value}.",
            "Telephone numbers in {name} begin with the code {value}.",
        ),
        (
            "What is the calling code of {name}?",
            "Which code do you dial to phone {name}?",
        ),
    ),
    Relation(
        "element",
        "number",
        (
            "The atomic number of {name} is {value}.",
            "{name} has the atomic number {value}.",
            "In the periodic table, {name} is element number {value}.",
            "An atom of {name} has {value} protons.",
        ),
        (
            "What is the atomic number of {name}?",
            "How many protons does an atom of {name} have?",
            "Which number does {name} have in the periodic table?",
        ),
        ("Which element has the atomic number {value}?", "What is element number {value}?"),
    ),
    Relation(
        "element",
        "symbol",
        (
            "The chemical symbol of {name} is {value}.",
            "Chemists write {value} for {name}.",
            "The symbol {value} stands for {name}.",
            "{name} has the symbol {value}.",
        ),
        (
            "What is the chemical symbol of {name}?",
            "Which symbol stands for {name}?",
            "How do chemists write {name}?",
        ),
        ("Which element has the symbol {value}?", "What does the chemical symbol {value} mean?"),
    ),
    Relation(
        "element",
        "period",
        (
            "{name} stands in period {value} of the periodic table.",
            "The element {name} belongs to period {value}.",
            "In the periodic table, {name} is in row {value}.",
        ),
        (
            "In which period of the periodic table is {name}?",
            "Which period does {name} belong to?",
        ),
    ),
    Relation(
        "element",
        "family",
        (
            "{name} is classed as {a_value}.",
            "Chemists call {name} {a_value}.",
            "By its family, {name} is {a_value}.",
        ),
        (
            "Which family of elements does {name} belong to?",
            "What kind of element is {name}?",
        ),
    ),
    Relation(
        "element",
        "state",
        (
            "At room temperature, {name} is a {value}.",
            "In a warm room, {name} is a {value}.",
            "Under normal conditions {name} is a {value}.",
        ),
        (
            "Is {name} a solid, a liquid or a gas at room temperature?",
            "In which state is {name} at room temperature?",
        ),
    ),
    Relation(
        "state",
        "capital",
        (
            "The capital of the state of {name} is {value}.",
            "{value} is the capital of the state of {name}.",
            "The governor of {name} works in {value}.",
        ),
        (
            "What is the capital of the state of {name}?",
            "Which city is the capital of the state of {name}?",
        ),
        ("{value} is the capital of which state?", "Which state has {value} as its capital?"),
    ),
    Relation(
        "state",
        "abbreviation",
        (
            "The postal abbreviation of {name} is {value}.",
            "On letters, {name} is shortened to {value}.",
            "The letters {value} stand for the state of {name}.",
        ),
        (
            "What is the postal abbreviation of {name}?",
            "Which two letters stand for the state of {name}?",
        ),
        ("Which state has the abbreviation {value}?",),
    ),
    Relation(
        "planet",
        "place",
        ("{name} is the {value} planet from the Sun.", "Counted from the Sun, {name} is {value}."),
        ("Which planet from the Sun is {name}, counted in order?",),
        ("Which planet is the {value} from the Sun?", "What is the {value} planet from the Sun?"),
    ),
    Relation(
        "planet",
        "type",
        ("{name} is {a_value}.", "Astronomers call {name} {a_value}."),
        ("What type of planet is {name}?",),
    ),
    Relation(
        "planet",
        "moons",
        ("{name} has {value}.", "Around {name} one finds {value}."),
        ("How many moons does {name} have?",),
    ),
    Relation(
        "month",
        "place",
        ("{name} is the {value} month of the year.", "The {value} month of the year is {name}."),
        ("Which month of the year is {name}, counted in order?",),
        ("Which month is the {value} of the year?", "What is the {value} month of the year?"),
    ),
    Relation(
        "month",
        "days",
        ("{name} has {value} days.", "There are {value} days in {name}."),
        ("How many days does {name} have?", "How many days are there in {name}?"),
    ),
    Relation(
        "month",
        "season",
        ("In the north, {name} belongs to {value}.", "North of the equator, {name} is in {value}."),
        ("In the north, which season does {name} belong to?",),
    ),
    Relation(
        "animal",
        "young",
        ("A young {name} is called {a_value}.", "The young of the {name} is the {value}."),
        ("What is a young {name} called?", "What do we call the young of {a_name}?"),
        ("Which animal has {a_value} as its young?",),
    ),
    Relation(
        "animal",
        "class",
        ("The {name} is {a_value}.", "Zoologists class the {name} as {a_value}."),
        ("What class of animal is the {name}?", "What kind of animal is the {name}?"),
    ),
    Relation(
        "animal",
        "legs",
        ("The {name} has {value} legs.", "{a_name} moves on {value} legs."),
        ("How many legs does {a_name} have?",),
    ),
    Relation(
        "shape",
        "sides",
        ("{a_name} has {value} sides.", "A shape with {value} sides is {a_name}."),
        ("How many sides does {a_name} have?", "How many corners does {a_name} have?"),
        ("What is a shape with {value} sides called?",),
    ),
    Relation(
        "shape",
        "angles",
        ("The angles of {a_name} add up to {value} degrees.",),
        ("How many degrees do the angles of {a_name} add up to?",),
    ),
    Relation(
        "unit",
        "count",
        ("One {name} is {value} {part}.", "There are {value} {part} in one {name}."),
        ("How many {part} are in one {name}?", "How many {part} does one {name} have?"),
    ),
)

# Sentences that state several facts at once, with the attributes' names as placeholders.
COMBINED = {
    "country": (
        "{name}, a country in {continent}, has its capital in {capital}.",
        "{capital} is the capital of {name}, where people speak {language}.",
        "{name} is a country in {continent} that pays with the {currency}.",
        "In {capital}, the capital of {name}, prices are given in the {currency}.",
    ),
    "element": (
        "{name}, with the symbol {symbol}, has the atomic number {number}.",
        "Element number {number} is {name}, which chemists write as {symbol}.",
        "{name} ({symbol}) stands in period {period}, as element number {number}.",
    ),
    "state": (
        "{name} ({abbreviation}) has its capital in {capital}.",
        "The capital of {name}, shortened to {abbreviation}, is {capital}.",
    ),
}

OPENINGS = {
    "country": ("Here are some facts about {name}.", "Let us look at {name}.", "A note on {name}."),
    "element": (
        "Some facts about {name}.",
        "Let us look at {name}.",
        "A note on the element {name}.",
    ),
    "state": ("Some facts about {name}.", "A note on the American state of {name}."),
}
PRONOUNS = {"country": "the country", "element": "the element", "state": "the state"}


def article(noun: str) -> str:
    """``noun`` behind its indefinite article."""
    return f"{'an' if noun[0] in 'aeio' else 'a'} {noun}"


def capitalised(sentence: str) -> str:
    """``sentence`` with its first letter in upper case."""
    return sentence[0].upper() + sentence[1:]


def fill(template: str, entity: Entity, attribute: str, name: str | None = None) -> str:
    """The template with the entity's name and the attribute's value in their places."""
    value = entity.attributes[attribute]
    return capitalised(
        template.format(
            name=name or entity.name,
            a_name=article(entity.name),
            value=value,
            a_value=article(value),
            part=entity.attributes.get("part", ""),
        )
    )


class Storyteller:
    """Tells facts about entities, in prose and as questions.

    Args:
        entities: all that it knows.
    """

    def __init__(self, entities: list[Entity]) -> None:
        self.entities = entities
        self.relations: dict[str, list[Relation]] = {}
        for relation in RELATIONS:
            self.relations.setdefault(relation.kind, []).append(relation)
        self._owners = Counter(
            (entity.kind, key, value)
            for entity in entities
            for key, value in entity.attributes.items()
        )
        self._by_kind: dict[str, list[Entity]] = {}
        for entity in entities:
            self._by_kind.setdefault(entity.kind, []).append(entity)

    def known(self, entity: Entity) -> list[Relation]:
        """The relations for which the entity has a value."""
        return [r for r in self.relations[entity.kind] if r.attribute in entity.attributes]

    def unique(self, entity: Entity, attribute: str) -> bool:
        """Whether no other entity of the kind has this value."""
        return self._owners[entity.kind, attribute, entity.attributes[attribute]] == 1

    def portrait(self, entity: Entity, rng: Random) -> str:
        """A paragraph of two or more facts about one entity, in random order and wording."""
        relations = self.known(entity)
        chosen = rng.sample(relations, rng.randint(min(2, len(relations)), len(relations)))
        sentences = []
        if entity.kind in OPENINGS and rng.random() < 0.3:
            sentences.append(rng.choice(OPENINGS[entity.kind]).format(name=entity.name))
        if entity.kind in COMBINED and rng.random() < 0.3:
            template = rng.choice(COMBINED[entity.kind])
            sentences.append(capitalised(template.format(name=entity.name, **entity.attributes)))
        pronoun = PRONOUNS.get(entity.kind)
        for relation in chosen:
            template = rng.choice(relation.statements)
            repeated = pronoun and pronoun.removeprefix("the ") in template
            name = pronoun if sentences and not repeated and rng.random() < 0.35 else None
            sentences.append(fill(template, entity, relation.attribute, name))
        return " ".join(sentences)

    def collection(self, rng: Random) -> str:
        """A paragraph that states one relation for several entities."""
        relation = rng.choice(RELATIONS)
        owners = [e for e in self._by_kind[relation.kind] if relation.attribute in e.attributes]
        template = rng.choice(relation.statements)
        chosen = rng.sample(owners, min(len(owners), rng.randint(2, 4)))
        return " ".join(fill(template, entity, relation.attribute) for entity in chosen)

    def two_steps(self, rng: Random) -> str:
        """A sentence that needs two facts at once."""
        text, answer, _ = self.chain(rng)
        return capitalised(f"{text} is {answer}.")

    def chain(self, rng: Random) -> tuple[str, str, Entity]:
        """A noun phrase that needs two recalls, what it means, and the entity in the middle."""
        kind = rng.choice(("country", "country", "element", "state"))
        entity = rng.choice(self._by_kind[kind])
        facts = entity.attributes
        if kind == "state":
            return (
                f"the capital of the state with the letters {facts['abbreviation']}",
                (facts["capital"]),
                entity,
            )
        if kind == "element":
            neighbour = self._by_kind[kind][min(int(facts["number"]), 117)]
            return rng.choice(
                (
                    (
                        f"the atomic number of the element with the symbol {facts['symbol']}",
                        facts["number"],
                        entity,
                    ),
                    (f"the element that comes right after {entity.name}", neighbour.name, entity)
                    if neighbour is not entity
                    else (
                        f"the symbol of element number {facts['number']}",
                        facts["symbol"],
                        entity,
                    ),
                    (f"the symbol of element number {facts['number']}", facts["symbol"], entity),
                )
            )
        choices = [
            (f"the continent where {facts['capital']} lies", facts["continent"]),
            (f"the currency that people use in {facts['capital']}", f"the {facts['currency']}"),
            (f"the official language spoken in {facts['capital']}", facts["language"]),
        ]
        if self.unique(entity, "calling_code"):
            choices.append(
                (
                    f"the capital of the country with the calling code {facts['calling_code']}",
                    facts["capital"],
                )
            )
        if self.unique(entity, "currency"):
            choices.append(
                (f"the capital of the country that uses the {facts['currency']}", facts["capital"])
            )
        text, answer = rng.choice(choices)
        return text, answer, entity

    def questions(self) -> Iterator[Question]:
        """Every one-step question in every wording, in a fixed order."""
        for entity in self.entities:
            for relation in self.known(entity):
                yield from self._asked(entity, relation)

    def _asked(self, entity: Entity, relation: Relation) -> Iterator[Question]:
        label = f"{relation.kind}.{relation.attribute}"
        value = entity.attributes[relation.attribute]
        for template in relation.questions:
            text = fill(template, entity, relation.attribute)
            yield Question(text, value, label, entity.held_out)
        if self.unique(entity, relation.attribute):
            for template in relation.inverse:
                text = fill(template, entity, relation.attribute)
                yield Question(text, entity.name, f"{label}.inverse", entity.held_out)

    def chained_question(self, rng: Random) -> Question:
        """A two-step question."""
        text, answer, entity = self.chain(rng)
        held_out = entity.held_out or any(
            other.held_out and other.name == answer for other in self._by_kind[entity.kind]
        )
        return Question(f"What is {text}?", answer.removeprefix("the "), "two_steps", held_out)


def aliases(answer: str) -> list[str]:
    """Ways to write an answer that count as right: with or without its article."""
    bare = answer.removeprefix("the ")
    return list(dict.fromkeys([answer, bare, f"the {bare}"])) if answer != bare else [answer]


def as_text(questions: Iterable[Question]) -> str:
    """Questions with their answers, as they stand in the corpus."""
    return "\n\n".join(f"Question: {q.text}\nAnswer: {q.answer}" for q in questions)
