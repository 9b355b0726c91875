import pandas as pd
import pytest

from belvedere.analysis import agreement
from belvedere.analysis.agreement import FEWEST


def tokens(exit, raw, **columns):
    """Test tokens of one exit and the raw one, each row `FEWEST` times."""
    table = pd.DataFrame({"exit_2_agrees": exit, "raw_exit_2_agrees": raw, **columns})
    return table.loc[table.index.repeat(FEWEST)].reset_index(drop=True)


def test_agreement_is_told_for_each_group():
    found = agreement.by_kind(
        tokens([True, False, True], [False, False, True], kind=["digits", "digits", "word"])
    )
    assert list(found.index) == ["digits", "word"]
    assert found.loc["digits"].tolist() == [2 * FEWEST, 0.5, 0]
    assert found.loc["word"].tolist() == [FEWEST, 1, 1]


def test_groups_of_few_tokens_are_not_shown():
    table = tokens([True], [True], kind=["word"])
    few = pd.DataFrame([{"exit_2_agrees": True, "raw_exit_2_agrees": True, "kind": "digits"}])
    assert list(agreement.by_kind(pd.concat([table, few])).index) == ["word"]


@pytest.mark.parametrize(
    ("number", "begin"), [(1, 1), (2, 2), (3, 2), (4, 4), (7, 4), (8, 8), (1023, 512), (1024, 1024)]
)
def test_octaves_begin_at_powers_of_two(number, begin):
    assert agreement.octave(pd.Series([number])).tolist() == [begin]


def test_tokens_that_training_never_showed_have_no_rank_to_group_by():
    found = agreement.by_rank(tokens([True, False], [True, False], rank=[3, 0]))
    assert found["exit_2"].to_dict() == {2: 1.0}


@pytest.mark.parametrize(
    ("sure", "middle"), [(0.0, 0.1), (0.2, 0.3), (0.95, 0.945), (0.99, 0.995), (1.0, 0.995)]
)
def test_tokens_are_grouped_by_how_sure_the_full_model_is(sure, middle):
    found = agreement.by_sureness(tokens([True], [True], sure=[sure]))
    assert found.index.tolist() == pytest.approx([middle])


def test_kl_is_the_mean_of_its_group():
    table = tokens([True, True], [True, True], sure=[0.95, 0.95])
    table = table.assign(exit_2_kl=[1.0, 3.0] * FEWEST, raw_exit_2_kl=4.0)
    found = agreement.kl_by_sureness(table)
    assert found.iloc[0].tolist() == [2 * FEWEST, 2.0, 4.0]
    assert agreement.said_of_kl(found) == (
        "Exit 2: the mean KL is highest, 2.00 nats, where the full model's highest probability is "
        "near 0.945."
    )


def test_each_token_has_one_of_four_outcomes():
    found = agreement.repairs(tokens([True, True, False, False], [True, False, True, False]))
    assert found.loc["exit_2"].to_dict() == dict.fromkeys(agreement.OUTCOMES, 0.25)
    assert agreement.said_of_repairs(found) == (
        "Exit 2 repairs 50.0% of the tokens at which the raw early exit differs from the full "
        "model; of all tokens it breaks 25.0%."
    )


def test_the_tokens_that_are_repaired_most_often_come_first():
    table = tokens([True, True, False], [False, False, True], text=[" is", "\n", ""])
    found = agreement.repaired_tokens(pd.concat([table, table[table["text"] == " is"]]), "exit_2")
    assert found["repaired"].tolist() == ["␣is  100 of 100", "⏎  50 of 50"]
    assert found["still differs"].tolist() == ["end of text  50 of 50", ""]


def test_prose_names_the_best_and_the_worst_group():
    kinds = tokens([True, False], [True, True], kind=["word", "digits"])
    assert agreement.said_of_groups(agreement.by_kind(kinds), "kind:") == (
        "Exit 2: least 0.0% (kind: digits), most 100.0% (kind: word)."
    )
