from belvedere.submodels.speed import in_turn


def test_measurements_take_turns_and_the_first_round_is_not_counted():
    calls = []

    def measure(name):
        calls.append(name)
        return len(calls)

    found = in_turn({"a": lambda: measure("a"), "b": lambda: measure("b")}, repeats=2)
    assert calls == ["a", "b"] * 3
    assert found == {"a": [3, 5], "b": [4, 6]}
