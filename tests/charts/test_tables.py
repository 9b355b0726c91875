from hypothesis import given
from hypothesis import strategies as st

from belvedere.charts.tables import Table, linearise, parse

SPAIN = Table(
    "Exports", "Year", ("Spain", "R&D | Italy"), ("2019", "2020"), ((1.25, 2), (3, 4.5)), decimals=1
)

words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=8)
cells = st.lists(st.lists(words, min_size=1, max_size=4), min_size=1, max_size=4)


def test_a_table_is_one_line_header_first() -> None:
    assert linearise(SPAIN.cells()) == (
        r"Year | Spain | R\&D \| Italy & 2019 | 1.2 | 2.0 & 2020 | 3.0 | 4.5"
    )


def test_escaped_cells_come_back() -> None:
    assert parse(linearise(SPAIN.cells())) == SPAIN.cells()


@given(cells)
def test_every_table_comes_back_but_for_needless_blanks(rows: list[list[str]]) -> None:
    cleaned = [[" ".join(cell.split()) for cell in row] for row in rows]
    if cleaned == [[""]]:  # nothing at all is told from one empty cell by nobody
        assert parse(linearise(rows)) == []
    else:
        assert parse(linearise(rows)) == cleaned


def test_a_models_ragged_or_broken_line_is_read_as_it_stands() -> None:
    assert parse("a|b & c & ") == [["a", "b"], ["c"], [""]]
    assert parse("a | b\\") == [["a", "b\\"]]
    assert parse("R&D | 1 & AT&T | 2 &c&d| 3& 4") == [
        ["R&D", "1"], ["AT&T", "2"], ["c&d", "3"], ["4"],
    ]  # fmt: skip
    assert parse("  ") == []
