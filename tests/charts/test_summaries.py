"""Prose is checked for its facts: each number has to be in the table or to follow from it."""

import re
from itertools import pairwise, permutations
from random import Random

import pytest
from chart_examples import EXAMPLES, GROUPS, POINTS, RANKING, RATES, SHARES, layout_of, random_chart

from belvedere.charts.summaries import Level, open_question, summary
from belvedere.charts.tables import Table

LEVELS: dict[Level, tuple[int, int]] = {"short": (1, 1), "medium": (2, 3), "long": (4, 6)}
SENTENCE_END = re.compile(r"[.?](?= [A-Z0-9(]|$)")
AWKWARD = re.compile(
    r"\b(?:nan|inf|None)\b|-0(?:\.0+)?(?![.\d])|[{}]|  |\bthe the\b|\.\.|"
    r"(?<![\d.])1 (?:hours|percentage points)\b|\bone (?:years|countries)\b|"
    r"from (\S+ \S*) ?to \1[ .,]|\bby 0(?:\.0+)?(?![.\d])"
)
NUMBER = re.compile(r"(?<![\d.\w])-?\$?\d+(?:\.\d+)?")


def derivable(table: Table) -> set[float]:
    """The numbers of a table, and those that follow from it in one step."""
    shown = [[float(table.number(v)) for v in row] for row in table.values]
    columns = [list(column) for column in zip(*shown, strict=True)]
    everything = [v for row in shown for v in row]
    found = {*everything, *map(float, range(len(everything) + 1))}
    for text in (*table.rows, *table.columns, table.title):
        found |= {float(n) for n in re.findall(r"\d+(?:\.\d+)?", text)}
    for values in (*columns, *shown):
        for a, b in permutations(values, 2):
            found |= {round(abs(a - b), 6), round(a + b, 6)}
            if b > 0:
                found |= {round(a / b + shift, 1) for shift in (0, 1e-9, -1e-9)} | {
                    int(a / b + 0.5 + 1e-9)
                }  # halves go up
    for values in columns:
        mean = sum(values) / len(values)
        found |= {
            round(mean + shift, table.decimals + more) for more in (0, 1) for shift in (0, 1e-9)
        }
    return found


def numbers(text: str) -> list[float]:
    return [float(n.replace("$", "")) for n in NUMBER.findall(text)]


def sentences(text: str) -> int:
    return len(SENTENCE_END.findall(text))


@pytest.mark.parametrize("level", LEVELS)
def test_levels_have_their_number_of_sentences(level: Level) -> None:
    least, most = LEVELS[level]
    for table, layout in EXAMPLES:
        for seed in range(20):
            told = summary(table, layout, Random(seed), level)
            assert least <= sentences(told) <= most, told


def test_prose_of_random_tables_is_clean_and_true() -> None:
    rng = Random(0)
    for _ in range(400):
        table, layout = random_chart(rng)
        known = derivable(table)
        told = [summary(table, layout, rng, level) for level in LEVELS]
        question = open_question(table, layout, rng)
        for text in (*told, question.answer):
            assert not AWKWARD.search(text), text
            assert text[0] == text[0].upper()
            for number in numbers(text):
                assert any(abs(abs(number) - abs(k)) < 1e-6 for k in known), (number, text, table)
        for text, (least, most) in zip(told, LEVELS.values(), strict=True):
            assert least <= sentences(text) <= most, text
        assert 1 <= sentences(question.answer) <= 3
        assert question.text.endswith("?") or question.text.startswith("Describe")
        assert not AWKWARD.search(question.text)


def test_a_development_is_told_with_its_direction() -> None:
    layout = layout_of(RATES, "line")
    for seed in range(40):
        told = summary(RATES, layout, Random(seed), "short")
        assert re.search(r"fell|declined|decreased", told)
        assert "5.0 %" in told
        assert "4.4 %" in told


def test_flat_series_do_not_rise() -> None:
    flat = Table("T", "Year", ("Rate",), ("2001", "2002", "2003"), ((5,), (5,), (5,)), "time", "%")
    for seed in range(40):
        for level in LEVELS:
            told = summary(flat, layout_of(flat, "line"), Random(seed), level)
            assert not re.search(r"rose|fell|increased|grew|declined|decreased|highest", told), told


def test_the_largest_share_and_the_highest_row_are_named() -> None:
    for seed in range(40):
        assert "Coal" in summary(SHARES, layout_of(SHARES, "pie"), Random(seed), "short")
        told = summary(RANKING, layout_of(RANKING, "vertical bar"), Random(seed), "short")
        assert "the Netherlands" in told
        assert "9.1 tonnes" in told


def test_women_read_longest_in_three_of_four_groups() -> None:
    for seed in range(40):
        told = summary(GROUPS, layout_of(GROUPS, "grouped bar"), Random(seed), "short")
        assert "Women" in told
        assert "three of the four age groups" in told


def test_points_that_rise_together() -> None:
    for seed in range(40):
        told = summary(POINTS, layout_of(POINTS, "scatter"), Random(seed), "short")
        assert "positive" in told or "higher" in told or "up" in told


def test_long_summaries_name_the_chart_and_its_source() -> None:
    for seed in range(20):
        told = summary(RANKING, layout_of(RANKING, "vertical bar"), Random(seed), "long")
        assert "bar chart" in told
        assert RANKING.title in told
        assert RANKING.source in told


def test_wordings_vary_and_follow_the_seed() -> None:
    for table, layout in EXAMPLES:
        for level in LEVELS:
            told = [summary(table, layout, Random(seed), level) for seed in range(30)]
            assert told == [summary(table, layout, Random(seed), level) for seed in range(30)]
            assert len(set(told)) >= 2
        questions = [open_question(table, layout, Random(seed)) for seed in range(30)]
        assert questions == [open_question(table, layout, Random(seed)) for seed in range(30)]
        assert len({question.text for question in questions}) >= 3
        assert {question.family for question in questions} == {"open"}


def test_sentences_do_not_repeat_themselves() -> None:
    for table, layout in EXAMPLES:
        for seed in range(30):
            parts = SENTENCE_END.split(summary(table, layout, Random(seed), "long"))
            assert all(a.strip() != b.strip() for a, b in pairwise(parts))
