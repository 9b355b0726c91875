"""The words that instructions and word facts are about, by category.

There are some hundreds, so that sorting, copying, writing in capitals and forming plurals are
learned as rules: with a few dozen a model learns the words by heart and fails on held-out ones.
"""

from belvedere.corpus.stories import COLOURS, OBJECTS, PLACES


def _listed(words: str) -> list[str]:
    return words.split()


FRUITS = _listed("""
apple pear plum cherry lemon grape peach melon banana orange mango fig apricot coconut papaya
lime date olive strawberry blueberry raspberry cranberry pineapple kiwi
""")
TOOLS = _listed("""
hammer saw drill spade rake axe chisel ladder brush knife wrench shovel file nail screw rope
bucket needle plough anvil crowbar clamp trowel
""")
BEASTS = _listed("""
cat dog horse lion bear sheep goat rabbit owl duck tiger camel monkey snake eagle spider beaver
badger falcon lizard parrot pigeon rooster salmon turtle walrus zebra donkey hamster raven seal
swan whale frog crab
""")
CATEGORIES = {"fruit": FRUITS, "tool": TOOLS, "animal": BEASTS, "colour": COLOURS}
HOUSEHOLD = _listed("""
table chair window door bed carpet curtain pillow blanket mirror clock candle bottle plate
spoon fork kettle oven drawer cushion vase bowl towel pan lantern stove
""")
CLOTHES = _listed("""
shirt coat glove boot sock belt jacket dress sweater apron cloak sandal button collar sleeve
pocket ribbon
""")
VEHICLES = _listed("""
car train boat wagon tractor bicycle ship canoe ferry truck tram rocket sledge carriage
""")
OUTDOORS = _listed("""
river mountain forest valley island meadow desert beach bridge tower castle village road field
lake hill cave harvest fence path stream well orchard canyon glacier
""")
PEOPLE = _listed("""
farmer baker doctor teacher sailor painter singer writer king queen nurse judge pilot miner
carpenter tailor soldier student captain hunter potter weaver
""")
OTHER = _listed("""
answer bell book cloud coin dream engine flower game hour idea jewel kingdom lesson machine
number ocean page question ring song story ticket umbrella voyage winter year storm picture
planet garland hammock insect jungle magnet napkin oak puzzle quilt seed thread violin wheel
""")

NOUNS = sorted({*FRUITS, *TOOLS, *OBJECTS, *HOUSEHOLD, *CLOTHES, *VEHICLES, *OUTDOORS, *PEOPLE,
                *OTHER})  # fmt: skip
"""Nouns whose plural follows the rules of `instructions.plural`."""

WORDS = sorted({*NOUNS, *BEASTS, *COLOURS, *PLACES})
