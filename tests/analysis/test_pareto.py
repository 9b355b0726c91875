from belvedere.analysis.pareto import front, listed, said_of_front, without_copies


def row(method, layers, speedup, agreement, kind="exit", runs=1):
    return {
        "name": f"exit_{layers}", "method": method, "layers": layers, "kind": kind, "runs": runs,
        "speedup": speedup, "metrics": {"agreement": agreement, "kl_to_full": 1 - agreement},
        "spread": {"agreement": 0.01, "kl_to_full": 0.0},
    }  # fmt: skip


ROWS = [
    row("full", 10, 1.0, 1.0, "full"),
    row("original", 10, 1.1, 1.0, "baseline"),
    row("a", 7, 1.2, 0.9),
    row("a", 3, 3.0, 0.8),
    row("b", 6, 1.5, 0.7),
    row("b", 2, 4.0, 0.6),
]


def test_what_is_beaten_in_speed_and_quality_is_not_on_the_front():
    shown = without_copies(ROWS)
    best = [r["speedup"] for r in front(shown, "agreement", low=False)]
    assert best == [1.0, 1.2, 3.0, 4.0]
    assert best == [r["speedup"] for r in front(shown, "kl_to_full", low=True)]


def test_of_two_that_are_as_fast_the_better_one_is_on_the_front():
    rows = [row("a", 2, 2.0, 0.5), row("b", 2, 2.0, 0.6)]
    assert [r["method"] for r in front(rows, "agreement", low=False)] == ["b"]


def test_prose_names_the_front_without_full_models():
    assert said_of_front(ROWS) == (
        "No sub-model is both faster and in closer agreement than these (layers): "
        "a with 7, 3; b with 2."
    )


def test_a_single_run_is_listed_without_a_spread():
    found = listed([row("a", 7, 1.2, 0.9), row("b", 6, 1.5, 0.7, runs=3)], ["agreement", "f1"])
    assert found["agreement"].tolist() == ["90.0%", "70.0% ± 1.0%"]
    assert found["F1"].tolist() == ["-", "-"]
    assert found["speed-up"].tolist() == ["1.20x", "1.50x"]
