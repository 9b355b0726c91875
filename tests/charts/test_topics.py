from random import Random

import pytest

from belvedere.charts.elements import CHART_KINDS
from belvedere.charts.tables import Table
from belvedere.charts.topics import Drawn, Limits, catalogue, draw
from belvedere.charts.truth import numbers

LIMITS = Limits()


@pytest.fixture(scope="module")
def drawn() -> list[Drawn]:
    rng = Random(0)
    return [draw(rng, LIMITS) for _ in range(3000)]


def test_tables_are_well_formed_and_within_the_limits(drawn: list[Drawn]) -> None:
    for table in (one.table for one in drawn):
        assert len(table.rows) == len(table.values) == len(set(table.rows))
        assert len(set(table.columns)) == len(table.columns) <= LIMITS.columns
        assert all(len(row) == len(table.columns) for row in table.values)
        assert 2 <= len(table.rows) <= 10
        assert "{" not in table.title
        assert all(value > 0 for row in table.values for value in row)


def test_every_topic_and_kind_of_chart_is_drawn(drawn: list[Drawn]) -> None:
    topics = {topic["topic"] for topic in catalogue()["topics"]} | {"facts"}
    assert topics <= {one.table.topic for one in drawn}
    assert set(CHART_KINDS) == {kind for one in drawn for kind in one.kinds}


def test_shares_of_a_whole_sum_to_a_hundred(drawn: list[Drawn]) -> None:
    wholes = [one.table for one in drawn if one.table.whole]
    assert wholes
    for table in wholes:
        assert sum(table.column(0)) == pytest.approx(100)


def test_pies_are_of_wholes_only(drawn: list[Drawn]) -> None:
    for one in drawn:
        assert one.table.whole or not {"pie", "donut"} & set(one.kinds)


def test_true_tables_hold_the_facts(drawn: list[Drawn]) -> None:
    people = {one["name"]: one["population"] for one in numbers()["countries"]}
    tables = [one.table for one in drawn if one.table.title.startswith("Population of countries")]
    assert tables
    for table in tables:
        for name, value in zip(table.rows, table.column(0), strict=True):
            assert value == pytest.approx(people[name] / 1e6, abs=0.051)


def test_the_same_seed_draws_the_same_tables() -> None:
    def tables(seed: int) -> list[Table]:
        rng = Random(seed)
        return [draw(rng, LIMITS).table for _ in range(20)]

    assert tables(3) == tables(3) != tables(4)
