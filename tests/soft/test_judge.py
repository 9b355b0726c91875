import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from belvedere.errors import BadInput
from belvedere.soft import judge as judges
from belvedere.soft.judge import ModelJudge, Pair, ReferenceJudge, judge_score, verdict_of


def pair(first, second, accepted=("the right words",)):
    return Pair("question", "", accepted, first, second)


RIGHT, NEAR, WRONG = "the right words", "the right", "nonsense"


def test_the_reference_judge_prefers_the_nearer_answer():
    judge = ReferenceJudge()
    pairs = [pair(RIGHT, WRONG), pair(WRONG, NEAR), pair(RIGHT, RIGHT), pair(WRONG, "rubbish")]
    assert judge.verdicts(pairs) == [1, -1, 0, 0]
    assert "reference judge" in judge.name
    assert ReferenceJudge("f1", margin=0.5).verdicts([pair(RIGHT, NEAR)]) == [0]


def test_scores_are_wins_less_losses_and_mirror_when_swapped():
    pairs = [pair(RIGHT, WRONG), pair(RIGHT, WRONG), pair(WRONG, RIGHT), pair(RIGHT, RIGHT)]
    assert judge_score(ReferenceJudge(), pairs) == pytest.approx(1 / 4)
    swapped = [one.swapped() for one in pairs]
    assert judge_score(ReferenceJudge(), swapped) == pytest.approx(-1 / 4)


class FirstIsBest:
    name = "prefers what it reads first"

    def verdicts(self, pairs):
        return [1] * len(pairs)


def test_a_judge_that_prefers_a_place_says_nothing():
    assert judge_score(FirstIsBest(), [pair(RIGHT, WRONG)] * 3) == 0


def test_the_reference_judge_needs_references():
    with pytest.raises(BadInput, match="no right answer"):
        ReferenceJudge().verdicts([pair(RIGHT, WRONG, ())])
    with pytest.raises(BadInput, match="no metric 'taste'"):
        ReferenceJudge("taste")


@pytest.mark.parametrize(
    ("text", "verdict"), [("1\n\n### Reason", 1), ("2", -1), ("Tie", 0), ("", 0), ("Both.", 0)]
)
def test_verdicts_of_a_model(text, verdict):
    assert verdict_of(text) == verdict


def test_a_model_judges_from_a_filled_prompt(backbone_folder, monkeypatch):
    judge = ModelJudge(str(backbone_folder), dtype="float32", batch_size=2)
    shown = []
    monkeypatch.setattr(
        judges, "complete", lambda _, __, prompts, n: shown.extend(prompts) or ["2"] * len(prompts)
    )
    pairs = [Pair("do {second}", "in", (), "one {input}", "two")] * 2
    pairs.append(Pair("do it", "", (), "one", "two"))
    assert judge.verdicts(pairs) == [-1, -1, -1]
    assert "provides further context" in shown[0]
    assert "### Input:\nin\n" in shown[0]
    assert "Input" not in shown[2]
    assert "### Instruction:\ndo {second}\n" in shown[0]
    assert "### Response 1:\none {input}\n" in shown[0]
    assert "### Response 2:\ntwo\n" in shown[0]


def test_a_device_that_is_not_there_is_one_line(backbone_folder):
    with pytest.raises(BadInput, match="cannot run on cuda"):
        ModelJudge(str(backbone_folder), dtype="float32", device="cuda").verdicts([pair("a", "b")])


def test_a_real_model_is_loaded_and_asked(backbone_folder):
    AutoTokenizer.from_pretrained(backbone_folder)
    AutoModelForCausalLM.from_pretrained(backbone_folder)
    judge = ModelJudge(str(backbone_folder), prompt="{first} {second}", dtype="float32")
    assert set(judge.verdicts([pair("paris", "euro")] * 3)) <= {1, 0, -1}
