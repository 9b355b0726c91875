"""Answers are checked against numbers counted by hand, not by the module's own means."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random

import pytest
from chart_examples import (
    EXAMPLES,
    GROUPS,
    LINES,
    POINTS,
    RANKING,
    RATES,
    SHARES,
    TIED,
    layout_of,
    random_chart,
)

from belvedere.charts.elements import ChartKind, Layout
from belvedere.charts.questions import FAMILIES, TEMPLATES, ask
from belvedere.charts.tables import Table

BY_NAME = {template.name: template for template in TEMPLATES}
RATE = {"2010": 5.0, "2011": 6.5, "2012": 8.0, "2013": 7.2, "2014": 6.1, "2015": 4.4}
EMISSION = {"Norway": 7.0, "Spain": 5.5, "Netherlands": 9.1, "Ireland": 8.2, "Chile": 4.4}
SHARE = {"Coal": 45, "Gas": 27, "Wind": 20, "Solar": 8}


def asked(name: str, table: Table, layout: Layout, times: int = 40) -> Iterator[tuple[str, str]]:
    """Questions of one template by many seeds."""
    for seed in range(times):
        found = BY_NAME[name](table, layout, Random(seed))
        if found is not None:
            yield found


def test_many_templates_in_all_families() -> None:
    assert len(TEMPLATES) >= 90
    assert len(BY_NAME) == len(TEMPLATES)
    assert {template.family for template in TEMPLATES} == set(FAMILIES)
    assert min(Counter(template.family for template in TEMPLATES).values()) >= 5


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_no_template_is_dead(name: str) -> None:
    found = [q for table, layout in EXAMPLES for q in asked(name, table, layout, times=25)]
    assert found
    if name not in {"title", "source", "label_of_axis"}:
        assert len({text for text, _ in found}) > 1


# Templates whose answer does not depend on chance, with the answer counted by hand.
FIXED: list[tuple[str, Table, ChartKind, str]] = [
    ("first_value", RATES, "line", "5.0"),
    ("last_value", RATES, "line", "4.4"),
    ("number_of_rows", RATES, "line", "6"),
    ("number_of_series", GROUPS, "grouped bar", "3"),
    ("number_of_marks", GROUPS, "grouped bar", "12"),
    ("number_of_marks", LINES, "multi line", "3"),
    ("highest_row", RATES, "line", "2012"),
    ("lowest_row", RATES, "line", "2015"),
    ("second_highest_row", RATES, "line", "2013"),
    ("second_lowest_row", RATES, "line", "2010"),
    ("third_highest_row", RANKING, "vertical bar", "Norway"),
    ("highest_value", RANKING, "vertical bar", "9.1"),
    ("lowest_value", RANKING, "vertical bar", "4.4"),
    ("second_highest_value", RANKING, "vertical bar", "8.2"),
    ("highest_row", POINTS, "scatter", "110"),
    ("lead", RANKING, "vertical bar", "0.9"),
    ("ratio_of_extremes", RANKING, "vertical bar", "2.1"),
    ("sum_of_extremes", RANKING, "vertical bar", "13.5"),
    ("sum_of_series", RANKING, "vertical bar", "34.2"),
    ("mean_of_series", RANKING, "vertical bar", "6.84"),
    ("mean_of_series", RATES, "line", "6.20"),
    ("median_of_series", RANKING, "vertical bar", "7.0"),
    ("median_of_series", RATES, "line", "6.30"),
    ("row_of_median", RANKING, "vertical bar", "Norway"),
    ("range_of_series", RATES, "line", "3.6"),
    ("range_of_x", POINTS, "scatter", "80"),
    ("largest_fall", RATES, "line", "2015"),
    ("number_of_rises", RATES, "line", "2"),
    ("number_of_falls", RATES, "line", "3"),
    ("always_rising", RATES, "line", "No"),
    ("kind_of_correlation", POINTS, "scatter", "Positive"),
    ("time_from_low_to_high", RATES, "line", "3"),
    ("smallest_two_against_largest", RANKING, "vertical bar", "Yes"),
    ("smallest_two_against_largest", SHARES, "pie", "No"),
    ("change_of_halves", RATES, "line", "No"),
    ("highest_against_lowest_two", SHARES, "pie", "1.6"),
    ("equal_rows", TIED, "vertical bar", "Norway and Italy"),
    ("first_bar", RANKING, "vertical bar", "Norway"),
    ("last_bar", RANKING, "vertical bar", "Chile"),
    ("first_bar", RANKING, "horizontal bar", "Norway"),
    ("difference_of_outer_bars", RANKING, "vertical bar", "2.6"),
    ("bars_are_sorted", RANKING, "vertical bar", "No"),
    ("number_of_colours", SHARES, "pie", "4"),
    ("colour_of_all", RATES, "line", "blue"),
    ("number_of_legend_entries", LINES, "multi line", "3"),
    ("legend_or_not", LINES, "multi line", "Yes"),
    ("kind_of_chart", LINES, "multi line", "Line chart"),
    ("kind_of_chart", RANKING, "horizontal bar", "Bar chart"),
    ("title", RATES, "line", "Unemployment in Spain"),
    ("source", RATES, "line", "Labour Office"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "table", "kind", "answer"), FIXED)
def test_answers_without_chance(name: str, table: Table, kind: ChartKind, answer: str) -> None:
    found = {given for _, given in asked(name, table, layout_of(table, kind))}
    assert found == {answer}


def years(text: str) -> list[str]:
    return re.findall(r"\b20\d\d\b", text)


def named_in(text: str, names: dict[str, float]) -> list[str]:
    """The names in the order in which a text has them."""
    return sorted((name for name in names if name in text), key=text.index)


def limits(text: str) -> list[float]:
    """The numbers of a text with a unit: what values are compared with."""
    return [float(n) for n in re.findall(r"(\d+(?:\.\d+)?) (?:%|tonnes)", text)]


def one_of(names: dict[str, float], best: Callable[..., str]) -> Callable[[str], str]:
    return lambda text: best(named_in(text, names), key=names.__getitem__)


def apart(values: dict[str, float], decimals: int) -> Callable[[str], str]:
    def answer(text: str) -> str:
        a, b = named_in(text, values)
        return f"{abs(values[a] - values[b]):.{decimals}f}"

    return answer


def count_of(values: dict[str, float], text: str) -> str:
    if "between" in text:
        low, high = (float(n) for n in re.findall(r"(\d+(?:\.\d+)?) %", text))
        return str(sum(low < v < high for v in values.values()))
    (limit,) = limits(text)
    above = "above" in text or "higher" in text
    return str(sum((v > limit) == above for v in values.values()))


def rank_among_all(text: str) -> str:
    (name,) = named_in(text, EMISSION)
    return str(sorted(EMISSION.values(), reverse=True).index(EMISSION[name]) + 1)


def increase_or_decrease(text: str) -> str:
    first, last = sorted(years(text))
    return "Increase" if RATE[last] > RATE[first] else "Decrease"


def percent_of_change(text: str) -> str:
    first, last = sorted(years(text))
    return str(abs(round(100 * (RATE[last] / RATE[first] - 1))))


def nearest(text: str) -> str:
    return min(RATE, key=lambda year: abs(RATE[year] - limits(text)[0]))


def first_time(text: str) -> str:
    limit = limits(text)[0]
    above = "above" in text
    return next(year for year, v in RATE.items() if (v > limit) == above)


def without(text: str) -> str:
    (name,) = named_in(text, EMISSION)
    rest = [v for other, v in EMISSION.items() if other != name]
    return f"{sum(rest) / 4:.3f}"


COMPUTED: list[tuple[str, Table, ChartKind, Callable[[str], str]]] = [
    ("value_of_row", RATES, "line", lambda text: f"{RATE[years(text)[0]]:.1f}"),
    ("value_of_row", SHARES, "pie", lambda text: str(SHARE[named_in(text, SHARE)[0]])),
    ("row_of_value", RATES, "line", lambda text: next(
        year for year, v in RATE.items() if v == limits(text)[0])),
    ("next_value", RATES, "line", lambda text: f"{RATE[str(int(years(text)[0]) + 1)]:.1f}"),
    ("number_above", RATES, "line", lambda text: count_of(RATE, text)),
    ("number_below", RATES, "line", lambda text: count_of(RATE, text)),
    ("number_between", RATES, "line", lambda text: count_of(RATE, text)),
    ("higher_row", RANKING, "vertical bar", one_of(EMISSION, max)),
    ("lower_row", RANKING, "vertical bar", one_of(EMISSION, min)),
    ("highest_of_three", RANKING, "vertical bar", one_of(EMISSION, max)),
    ("closest_row", RATES, "line", nearest),
    ("difference_of_rows", RANKING, "vertical bar", apart(EMISSION, 1)),
    ("change_over_time", RATES, "line", lambda text: (
        f"{abs(RATE[years(text)[0]] - RATE[years(text)[1]]):.1f}")),
    ("relative_change", RATES, "line", percent_of_change),
    ("sum_of_two_rows", SHARES, "pie", lambda text: str(
        sum(SHARE[name] for name in named_in(text, SHARE)))),
    ("sum_of_top", SHARES, "pie", lambda text: "72"),
    ("remaining_share", SHARES, "pie", lambda text: str(100 - SHARE[named_in(text, SHARE)[0]])),
    ("mean_of_two_rows", RANKING, "vertical bar", lambda text: (
        f"{sum(EMISSION[name] for name in named_in(text, EMISSION)) / 2:.2f}")),
    ("direction", RATES, "line", increase_or_decrease),
    ("first_beyond", RATES, "line", first_time),
    ("rank_of_row", RANKING, "vertical bar", rank_among_all),
    ("mean_exceeds", RATES, "line", lambda text: "Yes" if limits(text)[0] < 6.2 else "No"),
    ("any_above", RATES, "line", lambda text: "Yes" if limits(text)[0] < 8 else "No"),
    ("all_above", RATES, "line", lambda text: "Yes" if limits(text)[0] < 4.4 else "No"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "table", "kind", "expected"), COMPUTED)
def test_answers_that_follow_from_the_question(
    name: str, table: Table, kind: ChartKind, expected: Callable[[str], str]
) -> None:
    found = list(asked(name, table, layout_of(table, kind)))
    assert found
    for text, answer in found:
        assert answer == expected(text), text


def test_mean_without_one_row() -> None:
    for text, answer in asked("mean_without_one", RANKING, layout_of(RANKING, "vertical bar")):
        assert float(answer) == pytest.approx(float(without(text)), abs=0.0051)


LINE = {
    "Castle": {"2018": 30, "2019": 34, "2020": 41, "2021": 47, "2022": 55},
    "Gallery": {"2018": 50, "2019": 48, "2020": 45, "2021": 40, "2022": 31},
    "Zoo": {"2018": 12, "2019": 18, "2020": 22, "2021": 21, "2022": 26},
}


def test_answers_on_several_series() -> None:
    layout = layout_of(LINES, "multi line")
    for text, answer in asked("value_of_cell", LINES, layout):
        (name,) = named_in(text, dict.fromkeys(LINE, 0.0))
        assert answer == str(LINE[name][years(text)[0]])
    for text, answer in asked("difference_of_series", LINES, layout):
        a, b = named_in(text, dict.fromkeys(LINE, 0.0))
        year = years(text)[0]
        assert answer == str(abs(LINE[a][year] - LINE[b][year]))
    for text, answer in asked("sum_of_row", LINES, layout):
        assert answer == str(sum(values[years(text)[0]] for values in LINE.values()))
    for text, answer in asked("highest_series_in_row", LINES, layout):
        year = years(text)[0]
        assert answer == max(LINE, key=lambda name: LINE[name][year])
    for text, answer in asked("number_of_wins", LINES, layout):
        a, b = named_in(text, dict.fromkeys(LINE, 0.0))
        assert answer == str(sum(LINE[a][year] > LINE[b][year] for year in LINE[a]))
    assert {answer for _, answer in asked("crossing", LINES, layout)} == {"2021"}
    assert {answer for _, answer in asked("fastest_series", LINES, layout)} == {"Castle", "Gallery"}
    assert {answer for _, answer in asked("series_of_highest_mean", LINES, layout)} == {
        "Gallery", "Zoo",
    }  # fmt: skip
    for text, answer in asked("value_of_record", LINES, layout):
        assert answer == ("55" if "highest" in text else "12")
    for text, answer in asked("number_of_rising_series", LINES, layout):
        assert answer == ("2" if "higher" in text else "1")


def test_colours() -> None:
    pie = layout_of(SHARES, "pie")
    colours = {"Coal": "blue", "Gas": "orange", "Wind": "green", "Solar": "red"}
    for text, answer in asked("colour_of_row", SHARES, pie):
        assert answer == colours[named_in(text, SHARE)[0]]
    for text, answer in asked("row_of_colour", SHARES, pie):
        assert colours[answer] in text
    for text, answer in asked("value_of_coloured_row", SHARES, pie):
        (name,) = (name for name, colour in colours.items() if colour in text)
        assert answer == str(SHARE[name])
    odd = layout_of(RANKING, "vertical bar", colours=("red", *("grey",) * 4), by_row=True)
    assert {answer for _, answer in asked("odd_colour", RANKING, odd)} == {"Norway"}


def test_colours_that_could_be_confused_are_not_asked_for() -> None:
    same = layout_of(SHARES, "pie", colours=("blue", "blue", "green", "red"))
    alike = layout_of(SHARES, "pie", colours=("blue", "dark blue", "green", "red"))
    for layout in (same, alike):
        for name in ("colour_of_row", "row_of_colour", "value_of_coloured_row"):
            assert not list(asked(name, SHARES, layout))


def test_positions() -> None:
    bars = layout_of(RANKING, "vertical bar")
    order = list(EMISSION)
    for text, answer in asked("neighbour_of_bar", RANKING, bars):
        (name,) = named_in(text, EMISSION)
        step = -1 if "left of" in text else 1
        assert answer == order[order.index(name) + step]
    lying = layout_of(RANKING, "horizontal bar")
    for text, answer in asked("neighbour_of_bar", RANKING, lying):
        (name,) = named_in(text, EMISSION)
        assert answer == order[order.index(name) + (-1 if "above" in text else 1)]
    stacks = layout_of(LINES, "stacked bar")
    for text, answer in asked("end_of_stack", LINES, stacks):
        assert answer == ("Zoo" if "uppermost" in text else "Castle")
    lines = layout_of(LINES, "multi line")
    for text, answer in asked("outer_line", LINES, lines):
        top = "Castle" if "right" in text else "Gallery"
        assert answer == (top if "on top" in text else "Zoo")


def test_ties_are_not_asked_for() -> None:
    layout = layout_of(TIED, "vertical bar")
    for name in ("highest_row", "second_highest_row", "lead"):
        assert not list(asked(name, TIED, layout))
    assert {answer for _, answer in asked("lowest_row", TIED, layout)} == {"Peru"}
    # 5.0 to 6.5 and 6.5 to 8.0 are equally large steps.
    assert not list(asked("largest_rise", RATES, layout_of(RATES, "line")))
    later = Table("T", "Year", ("Rate",), ("2001", "2002", "2003"), ((1,), (2,), (5,)), "time")
    assert {a for _, a in asked("largest_rise", later, layout_of(later, "line"))} == {"2003"}
    assert all("9 " not in text for text, _ in asked("row_of_value", TIED, layout))


def test_what_the_picture_does_not_tell_is_not_asked_for() -> None:
    close = Table(
        "T", "Country", ("Rate",), ("A", "B", "C"), ((90.1,), (90.0,), (1.0,)), decimals=1
    )
    printed, plain = (
        layout_of(close, "vertical bar", labelled=labelled) for labelled in (True, False)
    )
    assert list(asked("highest_row", close, printed))
    assert not list(asked("highest_row", close, plain))
    assert {a for _, a in asked("value_of_row", close, plain)} == {"90.1", "90.0"}
    assert not list(asked("value_of_row", SHARES, layout_of(SHARES, "pie", labelled=False)))


def test_no_ratio_of_zero_or_negative_values() -> None:
    zero = Table("T", "Country", ("Rate",), ("A", "B", "C"), ((4,), (0,), (-3,)))
    for name in ("ratio_of_rows", "ratio_of_extremes", "share_of_total", "more_than_twice"):
        assert not list(asked(name, zero, layout_of(zero, "vertical bar")))


def test_rounding_is_that_of_the_printed_numbers() -> None:
    thirds = Table(
        "T", "Country", ("Rate",), ("A", "B", "C"), ((0.1,), (0.2,), (0.35,)), decimals=2
    )
    layout = layout_of(thirds, "vertical bar")
    assert {answer for _, answer in asked("sum_of_series", thirds, layout)} == {"0.65"}
    assert {answer for _, answer in asked("mean_of_series", thirds, layout)} == {"0.217"}


def test_asking_is_deterministic_balanced_and_without_repetition() -> None:
    for table, layout in EXAMPLES:
        first = ask(table, layout, Random(3), 12)
        assert first == ask(table, layout, Random(3), 12)
        assert len({question.text for question in first}) == len(first) == 12
        assert max(Counter(question.family for question in first).values()) <= 3
    assert ask(*EXAMPLES[0], Random(3), 12) != ask(*EXAMPLES[0], Random(4), 12)
    assert ask(*EXAMPLES[0], Random(3), 0) == []


def test_names_that_are_used_twice_are_not_asked_about() -> None:
    twice = Table("T", "Country", ("Rate",), ("A", "A", "C"), ((4,), (1,), (3,)))
    assert ask(twice, layout_of(twice, "vertical bar"), Random(0), 5) == []


AWKWARD = re.compile(
    r"\b(?:nan|inf|None)\b|-0(?:\.0+)?(?![.\d])|[{}]|  |\bthe the\b|\.\.|(?<![\d.])1 hours"
)


def test_random_tables_give_clean_questions() -> None:
    rng = Random(0)
    for _ in range(700):
        table, layout = random_chart(rng)
        for question in ask(table, layout, rng, 8):
            both = f"{question.text} | {question.answer}"
            assert not AWKWARD.search(both), both
            assert question.answer == question.answer.strip() != ""
            assert question.text[0] == question.text[0].upper()
            assert question.text.endswith(("?", "Give a whole number.", "Answer with a number."))
            assert question.text.count("?") == 1


def test_extremes_of_random_tables() -> None:
    rng = Random(1)
    for _ in range(400):
        table, layout = random_chart(rng)
        found = BY_NAME["highest_row"](table, layout, rng)
        if found is None or len(table.columns) > 1:
            continue
        shown = [float(table.number(v)) for v in table.column(0)]
        assert shown.count(max(shown)) == 1
        assert found[1] == table.rows[shown.index(max(shown))]
