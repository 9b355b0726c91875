from collections import Counter

import pytest

from belvedere.errors import BadInput
from belvedere.soft import Sorting

DEPTHS = [2, 4, 6, 8]


def test_the_published_loss_is_the_plain_mean_of_all():
    sorting = Sorting()
    chosen = sorting.chosen(DEPTHS, 3, 5)
    assert chosen == DEPTHS
    assert sorting.weights_of(chosen, DEPTHS) == [0.25] * 4


def test_weights_sum_to_one_and_favour_what_they_say():
    assert Sorting(weights="linear").weights_of(DEPTHS, DEPTHS) == pytest.approx(
        [0.1, 0.2, 0.3, 0.4]
    )
    assert Sorting(weights="mean_last").weights_of(DEPTHS, DEPTHS) == pytest.approx(
        [0.125, 0.125, 0.125, 0.625]
    )
    assert Sorting(weights="linear").weights_of([4, 8], DEPTHS) == pytest.approx([1 / 3, 2 / 3])


def test_rotation_takes_the_early_ones_in_turn_beside_the_last():
    sorting = Sorting(schedule="rotating")
    assert [sorting.chosen(DEPTHS, step, 0) for step in range(4)] == [
        [2, 8], [4, 8], [6, 8], [2, 8],
    ]  # fmt: skip


def test_samples_are_even_and_the_same_for_every_process():
    sorting = Sorting(schedule="sampled", seed=1)
    drawn = [sorting.chosen(DEPTHS, step, step) for step in range(2000)]
    assert drawn == [sorting.chosen(DEPTHS, step, step) for step in range(2000)]
    counts = Counter(depth for (depth,) in drawn)
    assert all(400 < counts[depth] < 600 for depth in DEPTHS)
    assert drawn != [Sorting(schedule="sampled", seed=2).chosen(DEPTHS, s, s) for s in range(2000)]


def test_full_is_ordinary_fine_tuning():
    assert Sorting(schedule="full").chosen(DEPTHS, 7, 7) == [8]


@pytest.mark.parametrize(
    "options",
    [
        {"schedule": "some"},
        {"weights": "heavy"},
        {"schedule": "sampled", "distillation": 1.0},
        {"schedule": "full", "weights": "linear"},
        {"distillation": -1.0},
        {"temperature": 0.0},
    ],
)
def test_what_does_not_exist_is_refused(options):
    with pytest.raises(BadInput):
        Sorting(**options)
