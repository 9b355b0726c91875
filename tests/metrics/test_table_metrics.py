import csv
from functools import cache
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from belvedere.charts.tables import linearise
from belvedere.errors import BadInput
from belvedere.metrics.table_metrics import (
    RMS,
    TableQuality,
    anls,
    data_points,
    match_points,
    rms,
    rnss,
    value_similarity,
)

TARGET = "year | a | b & 1999 | 200 | 158"
PREDICTION = "year | a | b & 1999 | 202 | 0"

names = st.text("abcdef01", min_size=1, max_size=5)
values = st.one_of(
    st.integers(-50, 50).map(str),
    st.floats(-100, 100).map("{:.2f}".format),
    st.integers(0, 100).map("{}%".format),
    st.sampled_from(["n/a", "", "nan", "high", "0.0"]),
)


@st.composite
def tables(draw, cells=values, most=4):
    """Tables whose rows and columns all have names of their own."""
    columns = draw(st.lists(names, min_size=1, max_size=most, unique=True))
    rows = draw(st.lists(names, min_size=1, max_size=most, unique=True))
    body = [[row, *(draw(cells) for _ in columns)] for row in rows]
    return [["name", *columns], *body]


@st.composite
def pairs_with_the_same_names(draw):
    """Two tables that differ in their values alone, so that only one matching is the best."""
    table = draw(tables())
    other = [table[0], *([row[0], *(draw(values) for _ in row[1:])] for row in table[1:])]
    return table, other


def transposed(cells):
    return [list(column) for column in zip(*cells, strict=True)]


@st.composite
def shuffled(draw, cells):
    """The same table with its rows and columns in another order."""
    body = draw(st.permutations(cells[1:]))
    order = [0, *draw(st.permutations(range(1, len(cells[0]))))]
    return [[row[i] for i in order] for row in (cells[0], *body)]


@cache
def edits(a, b):
    if not a or not b:
        return len(a) + len(b)
    return min(edits(a[1:], b) + 1, edits(a, b[1:]) + 1, edits(a[1:], b[1:]) + (a[0] != b[0]))


def plain_anls(a, b):
    longer = max(len(a), len(b), 1)
    return 1 - edits(a, b) / longer if 2 * edits(a, b) <= longer else 0


def injections(few, many):
    """All ways to give each of ``few`` places another of ``many``."""
    return permutations(range(many), few)


def test_the_published_check_value():
    assert rms(PREDICTION, TARGET) == pytest.approx((49.5, 49.5, 49.5))
    flagged = rms(PREDICTION, TARGET, empty_title=True)
    assert [round(value, 2) for value in flagged] == [66.33, 66.33, 66.33]


def test_a_title_is_a_point_of_its_own():
    def with_title(title, line):
        return f"title | {title} & {line}"

    target, prediction = with_title("My table", TARGET), with_title("my TABLE", PREDICTION)
    expected = pytest.approx(RMS(*[100 * 1.99 / 3] * 3))
    assert rms(prediction, target, title_row=True) == expected
    turned = "country | 1999 & a | 200 & b | 158"
    assert rms(prediction, with_title("my table", turned), title_row=True) == expected
    # Neither side lacks a title, so the flag for empty ones changes nothing.
    assert rms(prediction, target, title_row=True, empty_title=True) == expected
    wrong = rms(with_title("zzzzzzzz", TARGET), target, title_row=True)
    assert wrong == pytest.approx((200 / 3,) * 3)
    missing = rms(TARGET, target, title_row=True)
    assert missing == pytest.approx((100, 200 / 3, 80))


def test_a_table_of_titles_keeps_its_header():
    books = "Title | Sales & Dune | 20 & Emma | 5"
    assert rms(books, books) == (100, 100, 100)
    assert "title" not in data_points([["Title", "Sales"], ["Dune", "20"]])


def test_points_on_neither_or_one_side():
    points = {"1999 a": "5"}
    assert match_points({}, {}) == (100, 100, 100)
    assert match_points(points, {}) == (0, 100, 0)
    assert match_points({}, points) == (100, 0, 0)
    assert match_points({"zzzz yyyy": "5"}, points) == (0, 0, 0)
    for nothing in ("", "one cell", "a | b | c", "a & b & c", [], [[]], [["a"], []]):
        assert rms(nothing, TARGET) == (100, 0, 0)


@pytest.mark.parametrize(
    "target", ["", "year ; a ; b / 1999 ; 200 ; 158", "year | a | b", "year & 1999", [], [[]]]
)
def test_a_target_without_a_point_is_refused(target):
    with pytest.raises(BadInput, match="no data point"):
        rms(PREDICTION, target)
    with pytest.raises(BadInput, match="no data point"):
        rms(target, target, empty_title=True)
    quality = TableQuality()
    with pytest.raises(BadInput):
        quality.update([TARGET, PREDICTION], [TARGET, target])
    assert quality.count == 0


def test_a_title_alone_is_no_data_point():
    with pytest.raises(BadInput):
        rms("title | A", "title | A", title_row=True)


@pytest.mark.parametrize(
    ("prediction", "target", "score"),
    [
        ("200", "200", 1),
        ("202", "200", 0.99),
        ("198", "200", 0.99),
        ("219", "200", 0.905),
        ("220", "200", 0),
        ("-200", "200", 0),
        ("5%", "0.05", 1),
        ("5%", "5", 0),
        ("0", "0", 1),
        ("0.0", "0", 0),
        ("0", "5", 0),
        ("high", "high", 1),
        ("high", "hugh", 0.75),
        ("high", "low", 0),
        ("nan", "nan", 1),
        ("", "", 1),
        ("", "5", 0),
        ("12 m", "12", 0.5),
    ],
)
def test_value_similarity(prediction, target, score):
    assert value_similarity(prediction, target) == pytest.approx(score)


@given(names, names)
def test_anls_is_that_of_a_plain_edit_distance(one, other):
    assert anls(one, other) == pytest.approx(plain_anls(one, other))


def test_case_and_ragged_rows():
    target = [["Year", "A", "B"], ["May", "1", "2"], ["June", "3", "4"]]
    shouted = [[cell.upper() for cell in row] for row in target]
    assert rms(shouted, target) == (100, 100, 100)
    ragged = [["Year", "A", "B"], ["May", "1"], ["June", "3", "4", "5"], []]
    assert rms(ragged, target) == pytest.approx((100, 75, 600 / 7))
    assert data_points(ragged) == {"may a": "1", "june a": "3", "june b": "4"}


@pytest.mark.parametrize(
    ("prediction", "target", "score"),
    [
        ("0.5 | foo | 0.6", "baz | foo | 0.4", 87.5),
        ("baz | foo | 0.4", "0.5 | foo | 0.6", 90),
        ("0.5 | foo | 0.6", "0.5 | foo | 0.6", 100),
        ("a | b", "c | d", 100),
        ("a | 1", "c | d", 0),
        ("a | b", "c | 1", 0),
        ("", "", 100),
        ("0", "0", 100),
        ("1", "0", 0),
        ("0", "1", 0),
        ("2010 | 5 & 7 | x", "5 | 7 & y | 2010", 100),
        ("5%", "5", 0),
        ("1 | 2 | 3 | 4", "1", 100),
        ("1 | 2 | 3 | 5", "4", 93.75),
        ("nan | 3", "nan | 3", 100),
        ("nan | 3", "3 | 4", 50),
        ("inf", "inf", 100),
        ("inf | 1", "-inf | 1", 50),
        ("1e400", "3", 0),
    ],
)
def test_rnss(prediction, target, score):
    assert rnss(prediction, target) == pytest.approx(score)


@given(tables(), st.data())
def test_a_table_scores_fully_against_itself_in_any_order(table, data):
    for same in (table, transposed(table), data.draw(shuffled(table))):
        assert rms(same, table) == pytest.approx((100, 100, 100))
        assert rms(table, same) == pytest.approx((100, 100, 100))
        assert rnss(same, table) == pytest.approx(100)


@given(pairs_with_the_same_names(), st.data())
def test_order_and_direction_do_not_matter(pair, data):
    # Among equally near names the order decides: let none be near the other reading's.
    table, other = (
        [
            [(20 * "z" if i == 0 else "" if j else 20 * "a") + cell for j, cell in enumerate(row)]
            for i, row in enumerate(cells)
        ]
        for cells in pair
    )
    scores, numbers = rms(other, table), rnss(other, table)
    for same in (transposed(other), data.draw(shuffled(other))):
        assert rms(same, table).f1 == pytest.approx(scores.f1)
        assert rnss(same, table) == pytest.approx(numbers)


@given(tables(), tables())
def test_bounds_and_the_harmonic_mean(one, other):
    precision, recall, f1 = rms(one, other)
    assert 0 <= min(precision, recall) <= f1 + 1e-9
    assert f1 <= max(precision, recall) + 1e-9 <= 100 + 2e-9
    assert 0 <= rnss(one, other) <= 100
    assert rms(linearise(one), linearise(other)) == (precision, recall, f1)
    assert rnss(linearise(one), linearise(other)) == rnss(one, other)


@given(st.lists(st.integers(-9, 9), max_size=5), st.lists(st.integers(-9, 9), max_size=5))
def test_rnss_is_the_best_of_all_matchings(ours, theirs):
    def distance(p, t):
        return min(1, abs(p - t) / abs(t)) if t else float(p != 0)

    if ours and theirs:
        turn = len(ours) > len(theirs)
        few, many = (theirs, ours) if turn else (ours, theirs)
        least = min(
            sum(
                distance(many[j], few[i]) if turn else distance(few[i], many[j])
                for i, j in enumerate(ways)
            )
            for ways in injections(len(few), len(many))
        )
        expected = 100 * (1 - least / len(many))
    else:
        expected = 0 if ours or theirs else 100
    assert rnss([[str(p) for p in ours]], [[str(t) for t in theirs]]) == pytest.approx(expected)


@settings(max_examples=60)
@given(tables(most=2), tables(most=2))
def test_rms_is_that_of_one_of_the_best_matchings(one, other):
    ours, theirs = list(data_points(one).items()), list(data_points(other).items())
    turn = len(ours) > len(theirs)
    few, many = (theirs, ours) if turn else (ours, theirs)

    def outcome(ways):
        likeness = total = 0
        for (key, value), (name, content) in ((few[i], many[j]) for i, j in enumerate(ways)):
            similarity = plain_anls(key, name)
            likeness += similarity
            given, right = (content, value) if turn else (value, content)
            total += similarity * value_similarity(given, right)
        return round(likeness, 9), total

    outcomes = [outcome(ways) for ways in injections(len(few), len(many))]
    best = max(likeness for likeness, _ in outcomes)
    f1s = [200 * total / (len(few) + len(many)) for likeness, total in outcomes if likeness == best]
    found = match_points(dict(ours), dict(theirs)).f1
    assert any(found == pytest.approx(f1) for f1 in f1s)


def test_values_play_no_part_in_the_matching():
    target, prediction = {"1999 a": "1", "1999 b": "2"}, {"1999 a": "2", "1999 b": "1"}
    assert match_points(prediction, target) == (0, 0, 0)


def test_the_class_takes_cells_and_lines_and_hands_its_options_on():
    plain, flagged = TableQuality(), TableQuality(empty_title=True)
    cells = [line.split(" | ") for line in TARGET.split(" & ")]
    for quality in (plain, flagged):
        quality.update([PREDICTION, cells], [cells, TARGET])
    assert plain.compute()["rms_f1"] == pytest.approx((49.5 + 100) / 2)
    assert flagged.compute()["rms_f1"] == pytest.approx((199 / 3 + 100) / 2)
    titled = TableQuality(title_row=True)
    titled.update([f"title | X & {PREDICTION}"], [f"title | X & {TARGET}"])
    assert titled.compute()["rms_f1"] == pytest.approx(199 / 3)


def test_real_tables_score_fully_against_themselves(shared_data):
    files = sorted((shared_data / "charts/chartqa").glob("*/tables/*.csv"))[:200]
    if not files:
        pytest.skip("no ChartQA tables on this machine")
    for file in files:
        with file.open(encoding="utf-8", newline="") as lines:
            cells = list(csv.reader(lines))
        for same in (cells, transposed(cells), linearise(cells), cells[:1] + cells[:0:-1]):
            assert rms(same, cells) == pytest.approx((100, 100, 100)), file.name
            assert rnss(same, cells) == pytest.approx(100), file.name
        assert rms(cells[:-1], cells).recall < 100
