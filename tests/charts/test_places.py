from collections.abc import Iterator
from typing import Any

import pytest

from belvedere.charts.build import Recipe, make_record
from belvedere.charts.places import (
    UNSEEN,
    VALUE_LETTERS,
    Look,
    Looks,
    marks_by_cell,
    place_of,
    steps_of,
    table_read,
    texts_read,
)
from belvedere.charts.tables import linearise, parse
from belvedere.charts.tasks import all_examples
from belvedere.charts.tokenizer import encode, encode_looks, train

STACKS = (36, 66)  # stacked bars without labels
RECORDS = [make_record(Recipe(questions=1), "train", i) for i in (*range(24), *STACKS)]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["kind"])
def test_every_letter_of_a_low_level_answer_is_read_in_the_picture_or_nowhere(
    record: dict[str, Any],
) -> None:
    for example in all_examples(record):
        if not example.looks:
            assert example.task in {"reasoning", "open", "summary"}
            continue
        assert len(example.looks) == len(example.answer)
        for place in (place for look in example.looks for place in look.places if place):
            assert -1 <= place[0] <= record["width"] + 1
            assert -1 <= place[1] <= record["height"] + 1


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["kind"])
def test_what_stands_at_a_letters_place_is_that_letter_or_a_mark(record: dict[str, Any]) -> None:
    written: dict[tuple[float, float], set[str]] = {}
    for text in record["texts"]:
        for letter, (x, y) in zip(text["text"], text["characters"], strict=True):
            written.setdefault((x, y), set()).add(letter.replace("−", "-").lower())
    ends = {end.place for end in marks_by_cell(record).values()}
    found = table_read(record)
    assert found.text == record["table"]
    for letter, look in zip(found.text, found.looks, strict=True):
        if look.place is not None and look.place not in ends:
            assert letter.lower() in written[look.place]
            assert look == Look(look.place)
        for tick in filter(None, (look.low, look.high)):
            assert written[tick] & VALUE_LETTERS


def values_of(record: dict[str, Any]) -> Iterator[tuple[str, str, str, Looks]]:
    """Row, column, value and looks of each value of a chart's table."""
    header, *rows = parse(record["table"])
    found, start = table_read(record), len(linearise([header]))
    for label, *values in rows:
        start = found.text.index(label, start) + len(label)
        for column, value in zip(header[1:], values, strict=True):
            start = found.text.index(value, start)
            yield label, column, value, found.looks[start : start + len(value)]
            start += len(value)


def test_a_value_is_read_in_its_label_and_else_off_the_mark_between_two_ticks() -> None:
    seen = set()
    for record in RECORDS:
        labelled = any(text["role"] == "value" for text in record["texts"])
        ends = marks_by_cell(record)
        role, axis = ("x tick", 0) if record["kind"] == "horizontal bar" else ("y tick", 1)
        ticks = [text for text in record["texts"] if text["role"] == role]
        for label, column, value, looks in values_of(record):
            end = ends[label, column]
            if labelled:
                seen.add(looks[0].low is None)
                continue
            assert {look.place for look in looks} == {end.place}
            if looks[0].low is not None and end.length is None:
                middles = [(t["box"][axis] + t["box"][axis + 2]) / 2 for t in ticks]
                nearest = ticks[
                    min(range(len(ticks)), key=lambda i: abs(middles[i] - end.place[axis]))
                ]
                digits = [
                    tuple(place)
                    for letter, place in zip(nearest["text"], nearest["characters"], strict=True)
                    if letter.replace("−", "-") in VALUE_LETTERS
                ]
                at = [min(i, len(digits) - 1) for i in range(len(value))]
                wanted = [digits[i] for i in at]
                assert wanted in ([look.low for look in looks], [look.high for look in looks])
                seen.add("tick")
    assert seen == {True, "tick"}


def number_of(text: dict[str, Any]) -> float:
    return float("".join(c for c in text["text"].replace("−", "-") if c in VALUE_LETTERS))


def test_the_ticks_and_the_share_of_a_value_make_the_value() -> None:
    kinds = set()
    for record in RECORDS:
        role = "x tick" if record["kind"] == "horizontal bar" else "y tick"
        written = {
            tuple(place): number_of(text)
            for text in record["texts"]
            if text["role"] == role and any(c.isdigit() for c in text["text"])
            for place in text["characters"]
        }
        for _, _, value, looks in values_of(record):
            if looks[0].share is None:
                continue
            low, high = written[looks[0].low], written[looks[0].high]
            told = low + looks[0].share * (high - low)
            assert told == pytest.approx(float(value), abs=0.1 * (high - low)), record["id"]
            kinds.add(record["kind"])
    assert kinds >= {"vertical bar", "horizontal bar", "stacked bar", "grouped bar", "multi line"}


def test_the_steps_of_an_axis_make_its_values() -> None:
    kinds = set()
    for record in RECORDS:
        across = record["kind"] == "horizontal bar"
        role, axis = ("x tick", 0) if across else ("y tick", 1)
        step = steps_of(record)[axis]
        ticks = [one for one in record["texts"] if one["role"] == role]
        numbers = sorted(number_of(one) for one in ticks if any(c.isdigit() for c in one["text"]))
        if record["kind"] in {"pie", "donut", "stacked bar"} or step is None:
            continue
        for mark in record["marks"]:
            for i, value in enumerate(mark["values"]):
                steps = (place_of(mark, i, record["kind"])[axis] - step[0]) / (step[1] - step[0])
                told = numbers[0] + steps * (numbers[1] - numbers[0])
                # The middle of a number is up to two pixels from where it stands for on the axis.
                near = 2 * (numbers[1] - numbers[0]) / abs(step[1] - step[0])
                assert told == pytest.approx(value, abs=near), record["id"]
                kinds.add(record["kind"])
    assert kinds >= {"vertical bar", "horizontal bar", "grouped bar", "multi line"}


def test_an_axis_without_even_numbers_has_no_steps() -> None:
    def tick(text: str, x: float) -> dict[str, Any]:
        box = [x - 4, 90.0, x + 4, 98.0]
        return {"text": text, "role": "x tick", "box": box, "characters": [[x, 94.0]] * len(text)}

    even = [tick(str(i), 10 + 20 * i) for i in range(4)]
    assert steps_of({"texts": even}) == ((10, 30), None)
    assert steps_of({"texts": even[:1]}) == (None, None)
    assert steps_of({"texts": [*even[:3], tick("3", 75)]}) == (None, None)
    assert steps_of({"texts": [tick("Spain", 10), tick("Malta", 30)]}) == (None, None)


def test_all_texts_are_read() -> None:
    for record in RECORDS:
        texts = [" ".join(text["text"].split()) for text in record["texts"]]
        assert parse(texts_read(record).text) == [[text for text in texts if text]]


def test_a_token_is_read_as_its_first_letter_is() -> None:
    tokenizer = train(["Spain | 12 & Spain | 15"], 300, 64)
    text = "Spain | 12"
    looks = [Look((float(i), 0.0)) for i in range(5)] + [UNSEEN] * 3
    looks += [Look((8.0, 1.0), (3.0, 3.0)), Look((9.0, 1.0))]
    ids, known = encode_looks(tokenizer, text, looks)
    assert ids == encode(tokenizer, text)
    assert tokenizer.decode(ids[-2:]) == "12"
    assert known[-2:] == looks[-2:]
    assert known[0] == Look((0.0, 0.0))
    assert known[-3] == UNSEEN
    assert encode_looks(tokenizer, text, ()) == (ids, [UNSEEN] * len(ids))
    words = train(["in in in in"], 300, 64)
    looks = [Look((float(i), 0.0)) for i in range(5)]
    ids, known = encode_looks(words, "in in", looks)
    assert words.convert_ids_to_tokens(ids) == ["in", "Ġin"]
    assert known == [looks[0], looks[3]]


def test_separators_and_breaks_in_texts_do_not_shift_the_places() -> None:
    def text(role: str, words: str, y: float) -> dict[str, Any]:
        letters = [[float(x), y] for x in range(len(words))]
        box = [0.0, y - 1, float(len(words)), y + 1]
        return {"role": role, "text": words, "box": box, "characters": letters}

    record = {
        "kind": "vertical bar",
        "table": r"Shop | Share & A \& B | 12 & C D | 34",
        "marks": [
            {
                "kind": "bar", "series": "Share", "labels": [label], "values": [value],
                "box": [x, 20.0, x + 2, 50.0], "points": [],
            }
            for label, value, x in (("A & B", 12.0, 2.0), ("C D", 34.0, 30.0))
        ],
        "texts": [
            text("title", "Shops | Share", 1.0), text("x tick", "A & B", 60.0),
            text("x tick", "C\nD", 61.0), text("value", "A & B: 12", 18.0),
            text("value", "34", 19.0),
        ],
    }  # fmt: skip
    found = table_read(record)
    assert found.text == record["table"]
    places = [look.place for look in found.looks]
    assert places[0] == (0.0, 1.0)
    assert places[7:12] == [(x, 1.0) for x in (8, 9, 10, 11, 12)]
    twelve, label = found.text.index("12"), found.text.index("C D")
    assert places[twelve : twelve + 2] == [(7.0, 18.0), (8.0, 18.0)]
    assert places[label : label + 3] == [(0.0, 61.0), (1.0, 61.0), (2.0, 61.0)]
    assert places[-2:] == [(0.0, 19.0), (1.0, 19.0)]
    assert texts_read(record).text == r"Shops \| Share | A \& B | C D | A \& B: 12 | 34"
