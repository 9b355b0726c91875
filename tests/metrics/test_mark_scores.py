import random
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belvedere.metrics.marks import (
    ElementQuality,
    MarkCounts,
    ReadMark,
    mark_counts,
    mark_scores,
)

BAR = ReadMark("bar", "Peru", 40.0, (0.1, 0.2, 0.2, 0.8))
POINT = ReadMark("point", "May", 40.0, (0.5, 0.5, 0.5, 0.5))

sides = st.floats(0, 1)
marks = st.builds(
    ReadMark,
    kind=st.sampled_from(["bar", "point", "line"]),
    label=st.text("ab C", max_size=3),
    value=st.none() | st.floats(-100, 100),
    box=st.tuples(sides, sides, sides, sides),
)
charts = st.lists(marks, max_size=5)


def moved(mark, right=0.0, down=0.0):
    a, b, c, d = mark.box
    return replace(mark, box=(a + right, b + down, c + right, d + down))


def one(predicted, gold, **options):
    return mark_counts([predicted], [gold], **options)[:2]


def random_chart(source, count):
    def mark():
        left, top = source.uniform(0, 0.5), source.uniform(0, 0.5)
        box = (left, top, left + source.uniform(0.1, 0.4), top + source.uniform(0.1, 0.4))
        return ReadMark(source.choice(["bar", "wedge"]), source.choice("ab"), 1.0, box)

    return [mark() for _ in range(count)]


def plain_iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)) - shared)


@pytest.mark.parametrize("seed", range(25))
def test_hits_are_those_of_the_best_of_all_matchings(seed):
    source = random.Random(seed)
    few = random_chart(source, source.randint(0, 4))
    many = random_chart(source, source.randint(4, 5))

    def pairs(ways):
        return [
            (plain_iou(few[i].box, many[j].box), few[i].label == many[j].label)
            for i, j in enumerate(ways)
            if few[i].kind == many[j].kind
        ]

    outcomes = [pairs(ways) for ways in permutations(range(len(many)), len(few))]
    best = max(outcomes, key=lambda found: sum(iou for iou, _ in found))
    hits, strict = sum(iou >= 0.5 for iou, _ in best), sum(i >= 0.5 and same for i, same in best)
    assert mark_counts(few, many) == (hits, strict, len(few), len(many))
    assert mark_counts(many, few) == (hits, strict, len(many), len(few))


def test_a_hit_needs_half_the_union_and_the_kind():
    assert one(BAR, BAR) == (1, 1)
    assert one(moved(BAR, down=0.19), BAR) == (1, 1)  # 0.41 / 0.79
    assert one(moved(BAR, down=0.21), BAR) == (0, 0)  # 0.39 / 0.81
    assert one(replace(BAR, kind="wedge"), BAR) == (0, 0)


@pytest.mark.parametrize(
    ("label", "value", "strict"),
    [
        ("peru", 40.0, 1),
        (" PERU ", 42.0, 1),
        ("Peru", 38.0, 1),
        ("Peru", 42.1, 0),
        ("Peru", None, 0),
        ("Peru", float("nan"), 0),
        ("Chile", 40.0, 0),
    ],
)
def test_the_strict_hit_needs_label_and_value(label, value, strict):
    assert one(replace(BAR, label=label, value=value), BAR) == (1, strict)


def test_marks_without_a_value_and_of_value_0():
    nothing, zero = replace(BAR, value=None), replace(BAR, value=0.0)
    assert one(nothing, nothing) == one(zero, zero) == (1, 1)
    assert one(replace(BAR, value=0.1), zero) == one(zero, nothing) == (1, 0)


def test_thin_marks_have_a_place_too():
    assert one(moved(POINT, right=0.009), POINT) == (1, 1)
    assert one(moved(POINT, right=0.011), POINT) == (0, 0)
    flat = ReadMark("line", "a", None, (0.1, 0.5, 0.9, 0.5))
    assert one(moved(flat, down=-0.009), flat) == (1, 1)
    assert one(moved(flat, down=-0.02), flat) == (0, 0)
    assert one(POINT, moved(POINT, right=0.2), min_side=0.0) == (0, 0)
    pixels = replace(POINT, box=(100, 80, 100, 80))
    assert one(moved(pixels, right=4), pixels, min_side=15) == (1, 1)
    assert one(moved(pixels, right=4), pixels) == (0, 0)


def test_boxes_that_a_model_may_write():
    left, top, right, bottom = BAR.box
    assert one(replace(BAR, box=(right, bottom, left, top)), BAR) == (1, 1)
    for broken in (float("nan"), float("inf"), 1e300):
        assert one(replace(BAR, box=(broken, top, right, bottom)), BAR) == (0, 0)
        assert one(replace(BAR, box=(broken,) * 4), BAR) == (0, 0)


def test_marks_on_one_another_are_told_apart_by_label_and_kind():
    stack = [replace(POINT, label=label, kind=kind) for label in "abc" for kind in ("point", "bar")]
    assert mark_counts(stack[::-1], stack) == (6, 6, 6, 6)


@given(charts, st.data())
def test_equal_marks_score_fully_in_any_order(chart, data):
    counts = mark_counts(data.draw(st.permutations(chart)), chart)
    assert counts == (len(chart),) * 4
    assert set(mark_scores(counts).values()) == {1.0}


@given(charts, charts)
def test_bounds_and_symmetry(one, other):
    counts, back = mark_counts(one, other), mark_counts(other, one)
    scores, reverse = mark_scores(counts), mark_scores(back)
    assert 0 <= counts.strict_hits <= counts.hits <= min(len(one), len(other))
    low, high = sorted([scores["element_precision"], scores["element_recall"]])
    if one and other:
        assert low - 1e-9 <= scores["element_f1"] <= high + 1e-9
    assert 0 <= scores["element_f1_strict"] <= scores["element_f1"] <= 1
    if counts.hits == back.hits:
        assert scores["element_precision"] == reverse["element_recall"]


def test_pixels_score_as_shares_do():
    source = random.Random(3)
    gold = random_chart(source, 6)
    seen = [moved(mark, right=source.uniform(-0.1, 0.1)) for mark in gold]

    def in_pixels(chart):
        return [replace(mark, box=tuple(512 * side for side in mark.box)) for mark in chart]

    counts = mark_counts(seen, gold)
    assert mark_counts(in_pixels(seen), in_pixels(gold), min_side=0.03 * 512) == counts
    assert 0 < counts.hits < 6


def test_scores_of_nothing_are_those_of_tables():
    def plain(hits, predicted, gold):
        scores = mark_scores(MarkCounts(hits, hits, predicted, gold))
        return tuple(scores[f"element_{name}"] for name in ("precision", "recall", "f1"))

    assert plain(0, 0, 0) == (1, 1, 1)
    assert plain(0, 2, 0) == (0, 1, 0)
    assert plain(0, 0, 2) == (1, 0, 0)


def test_every_mark_counts_the_same_whatever_its_chart():
    quality = ElementQuality()
    quality.update([[BAR], []], [[BAR], [POINT, moved(POINT, 0.2), moved(POINT, 0.4)]])
    assert quality.compute() == pytest.approx(
        {
            "element_precision": 1,
            "element_recall": 0.25,
            "element_f1": 0.4,
            "element_f1_strict": 0.4,
        }
    )
