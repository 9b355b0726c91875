"""Short stories whose last sentences follow from the first: who has what, where and how many."""

from random import Random

NAMES = [
    "Mia",
    "Tom",
    "Ana",
    "Ben",
    "Lea",
    "Max",
    "Eva",
    "Sam",
    "Ida",
    "Leo",
    "Zoe",
    "Jan",
    "Amy",
    "Kai",
    "Nora",
    "Paul",
    "Rosa",
    "Finn",
    "Lucy",
    "Omar",
]
THINGS = [
    "apples",
    "books",
    "coins",
    "shells",
    "stamps",
    "marbles",
    "pencils",
    "cards",
    "stones",
    "buttons",
]
PLACES = ["kitchen", "garden", "library", "market", "station", "school", "park", "harbour"]
OBJECTS = ["key", "ball", "lamp", "map", "letter", "cup", "hat", "basket"]
COLOURS = ["red", "blue", "green", "yellow", "white", "black", "brown", "orange"]
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
SIZES = ("taller", "older", "faster", "stronger")


def sharing(rng: Random) -> str:
    """Giving things away, with the counts that result."""
    giver, taker = rng.sample(NAMES, 2)
    thing = rng.choice(THINGS)
    has, other = rng.randint(4, 12), rng.randint(1, 6)
    gives = rng.randint(1, has - 2)
    ending = rng.choice(
        (
            f"Now {giver} has {has - gives} {thing} and {taker} has {other + gives}.",
            f"After that, {giver} has {has - gives} {thing} left. {taker} has {other + gives}.",
            f"Together they still have {has + other} {thing}.",
        )
    )
    return (
        f"{giver} has {has} {thing}. {taker} has {other}. "
        f"{giver} gives {gives} of them to {taker}. {ending}"
    )


def moving(rng: Random) -> str:
    """An object that is carried from place to place."""
    first, second = rng.sample(NAMES, 2)
    thing = rng.choice(OBJECTS)
    start, middle, end = rng.sample(PLACES, 3)
    text = f"{first} finds a {thing} in the {start}. {first} takes the {thing} to the {middle}. "
    if rng.random() < 0.5:
        text += f"Then {second} carries the {thing} to the {end}. "
        return text + f"Where is the {thing} now? The {thing} is in the {end}."
    text += f"{second} stays in the {end}. "
    return text + f"Where is the {thing} now? The {thing} is in the {middle}."


def comparing(rng: Random) -> str:
    """An order of three people that follows from two comparisons."""
    first, second, third = rng.sample(NAMES, 3)
    word = rng.choice(SIZES)
    most = word[:-2] + "est"
    statements = [f"{first} is {word} than {second}.", f"{second} is {word} than {third}."]
    rng.shuffle(statements)
    ending = rng.choice(
        (
            f"So {first} is {word} than {third}.",
            f"Of the three, {first} is the {most}.",
            f"{first} is the {most}, and {third} comes last.",
        )
    )
    return f"{statements[0]} {statements[1]} {ending}"


def colours(rng: Random) -> str:
    """Objects with colours, one of which is asked for."""
    chosen = rng.sample(OBJECTS, 3)
    shades = rng.sample(COLOURS, 3)
    owner = rng.choice(NAMES)
    listed = ", ".join(f"a {c} {o}" for c, o in zip(shades[:2], chosen[:2], strict=True))
    i = rng.randrange(3)
    return (
        f"{owner} owns {listed} and a {shades[2]} {chosen[2]}. "
        f"What colour is the {chosen[i]}? The {chosen[i]} is {shades[i]}."
    )


def calendar(rng: Random) -> str:
    """Days of the week, counted on or back."""
    start = rng.randrange(7)
    days = rng.randint(1, 6)
    name = rng.choice(NAMES)
    if rng.random() < 0.5:
        then, words = WEEKDAYS[(start + days) % 7], "later"
    else:
        then, words = WEEKDAYS[(start - days) % 7], "earlier"
    unit = "day" if days == 1 else "days"
    return (
        f"{name} counts the days. The first note is from {WEEKDAYS[start]}. "
        f"The second note is from {days} {unit} {words}, so it is from {then}."
    )


def shopping(rng: Random) -> str:
    """A price, a number of pieces and the change."""
    name = rng.choice(NAMES)
    thing = rng.choice(THINGS)
    price, pieces = rng.randint(2, 9), rng.randint(2, 6)
    total = price * pieces
    paid = total + rng.randint(1, 9)
    return (
        f"{name} buys {pieces} {thing}. Each costs {price} coins, so {name} has to pay {total} "
        f"coins. {name} pays with {paid} coins and gets {paid - total} back."
    )


STORIES = (sharing, moving, comparing, colours, calendar, shopping)


def story(rng: Random) -> str:
    """One story of a random kind."""
    return rng.choice(STORIES)(rng)
