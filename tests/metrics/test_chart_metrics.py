"""What all measures for charts have in common: examples, batches, ranks, copies."""

import copy
import doctest
import importlib
import pickle

import pytest

from belvedere.metrics.marks import ElementQuality, ReadMark
from belvedere.metrics.relaxed import RelaxedAccuracy
from belvedere.metrics.table_metrics import TableQuality
from belvedere.metrics.text_scores import TextScores, TextsRead

BAR = ReadMark("bar", "Peru", 4.0, (0.1, 0.2, 0.2, 0.8))
POINT = ReadMark("point", "Chile", 7.0, (0.5, 0.5, 0.5, 0.5))

EXAMPLES = [
    (
        RelaxedAccuracy,
        ["2008", "peru", "5%", "red", "1,200"],
        [["2010"], ["Chile", "Peru"], ["0.05"], ["blue"], ["1200"]],
    ),
    (
        TableQuality,
        ["year | a | b & 1999 | 202 | 0", "", "x | n & p | 3", "n | q & x | 7", "nothing"],
        ["year | a | b & 1999 | 200 | 158"] + 4 * ["x | n & q | 7"],
    ),
    (
        TextsRead,
        ["2010 | 2011 | Spam", "", "a | a | b", "Sales", "x"],
        [["2010 | 2011 | Spain | 2012"], ["Sales"], ["a | b | a"], ["Sales | Sales"], ["X"]],
    ),
    (
        TextScores,
        ["Sales rose a lot in May.", "", "Most of them said so in a poll of 2015 .", "No.", "a b"],
        [
            ["Sales rose a lot in June.", "In May sales rose."],
            ["Prices fell."],
            ["Most said so in a poll of 2015 .", "Few did.", "Some say so."],
            ["Yes, they do."],
            ["a b c"],
        ],
    ),
    (
        ElementQuality,
        [[BAR], [BAR, POINT], [], [POINT], [BAR]],
        [[BAR, POINT], [POINT], [BAR], [], [BAR]],
    ),
]

every_measure = pytest.mark.parametrize(("measure", "given", "right"), EXAMPLES)


@pytest.mark.parametrize("name", ["marks", "relaxed", "table_metrics", "text_scores"])
def test_the_examples_in_the_docstrings_hold(name):
    found = doctest.testmod(importlib.import_module(f"belvedere.metrics.{name}"))
    assert found.attempted > 3
    assert not found.failed


@every_measure
def test_batches_give_what_one_batch_gives(measure, given, right):
    whole, parts = measure(), measure()
    whole.update(given, right)
    for one, target in zip(given, right, strict=True):
        parts.update([one], [target])
    assert whole.compute() == pytest.approx(parts.compute())
    assert all(value > 0 for value in whole.compute().values())


@every_measure
def test_two_halves_merge_into_the_whole(measure, given, right):
    whole, first, second = measure(), measure(), measure()
    whole.update(given, right)
    first.update(given[:2], right[:2])
    second.update(given[2:], right[2:])
    first.merge_state(second)
    assert first.compute() == pytest.approx(whole.compute())


@every_measure
def test_ranks_are_summed_unless_told_not_to(measure, given, right):
    seen = []

    def two_alike(state, group=None):
        seen.append(state)
        return [state, state]

    ranks = {"dist_sync_fn": two_alike, "distributed_available_fn": lambda: True}
    alone, together = measure(sync_on_compute=False, **ranks), measure(**ranks)
    alone.update(given, right)
    together.update(given, right)
    scores = alone.compute()
    assert not seen
    assert together.compute() == pytest.approx(scores)
    assert seen
    together.sync(dist_sync_fn=two_alike, distributed_available=lambda: True)
    for name, state in together.metric_state.items():
        assert state.tolist() == (2 * alone.metric_state[name]).tolist()


@every_measure
def test_nothing_scores_nothing_and_reset_starts_anew(measure, given, right):
    metric = measure()
    metric.update(given, right)
    metric.reset()
    metric.update([], [])
    assert set(metric.compute().values()) == {0.0}


@every_measure
def test_a_measure_can_be_copied_and_pickled(measure, given, right):
    metric = measure()
    metric.update(given, right)
    for twin in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        assert twin.compute() == metric.compute()


@every_measure
def test_as_many_right_ones_as_given_ones(measure, given, right):
    with pytest.raises(ValueError, match=r"shorter|longer|references for"):
        measure().update(given, right[:-1])
