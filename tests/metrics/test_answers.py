import json

import pytest
from rouge_score.rouge_scorer import RougeScorer
from torchmetrics.functional.text import squad

from belvedere.metrics.answers import (
    AnswerQuality,
    exact_match,
    exact_match_official,
    normalised,
    rouge_l,
    token_f1,
)

PAIRS = [
    ("Paris", "Paris"),
    ("the Eiffel tower", "Eiffel Tower"),
    ("a big red dog", "the red dog, a big one"),
    ("nothing alike", "something else"),
    ("", "empty"),
    ("one one two", "one two two"),
]


def answers_like(text):
    """Answers as a model might give them: right, shortened, longer, in other words."""
    words = text.split()
    return [text, text.lower() + ".", " ".join(words[:3]), " ".join(words[::2]), f"It is {text}"]


def test_rouge_l_is_googles_on_real_rows(shared_data):
    scorer = RougeScorer(["rougeL"])
    rows = json.loads((shared_data / "alpaca/alpaca_en.json").read_text())[:40]
    for row in rows:
        for answer in answers_like(row["output"]):
            theirs = scorer.score(row["output"], answer)["rougeL"].fmeasure
            assert rouge_l(answer, [row["output"]]) == pytest.approx(theirs, abs=1e-6)


def test_rouge_l_takes_the_best_reference():
    assert rouge_l("a b c", ["x", "a b c d", "a c"]) == pytest.approx(6 / 7)
    assert rouge_l("", ["a"]) == rouge_l("a", []) == 0


@pytest.mark.parametrize(("answer", "gold"), PAIRS)
def test_f1_and_exact_match_are_squads(answer, gold):
    found = squad(
        [{"prediction_text": answer, "id": "1"}],
        [{"answers": {"answer_start": [0], "text": [gold]}, "id": "1"}],
    )
    assert token_f1(answer, [gold]) * 100 == pytest.approx(float(found["f1"]))
    assert exact_match_official(answer, [gold]) * 100 == pytest.approx(float(found["exact_match"]))


def test_f1_and_exact_match_are_squads_on_real_rows(shared_data):
    lines = (shared_data / "triviaqa/validation.jsonl").read_text().splitlines()[:200]
    for line in lines:
        answer = json.loads(line)["answer"]
        gold = answer["value"]
        if any(not (c.isalnum() or c == " ") for c in gold):
            continue  # TriviaQA puts a space where SQuAD removes punctuation
        for given in answers_like(gold):
            found = squad(
                [{"prediction_text": given, "id": "1"}],
                [{"answers": {"answer_start": [0], "text": [gold]}, "id": "1"}],
            )
            assert token_f1(given, [gold]) * 100 == pytest.approx(float(found["f1"]))


def test_normalisation_is_that_of_the_released_aliases(shared_data):
    released = json.loads((shared_data / "triviaqa/triviaqa_original_sample.json").read_text())
    for record in released["Data"]:
        answer = record["Answer"]
        assert normalised(answer["Value"]) == answer["NormalizedValue"]
        ours = {normalised(alias) for alias in answer["Aliases"]}
        assert ours == set(answer["NormalizedAliases"])


def test_published_exact_match_minds_the_case():
    assert exact_match(" Paris ", ["Paris"])
    assert not exact_match("paris", ["Paris"])
    assert exact_match_official("The paris!", ["Lyon", "Paris"])


def test_quality_is_the_mean_over_all_batches():
    whole, parts = AnswerQuality(), AnswerQuality()
    answers = [answer for answer, _ in PAIRS]
    accepted = [[gold, "Paris"] for _, gold in PAIRS]
    whole.update(answers, accepted)
    for answer, right in zip(answers, accepted, strict=True):
        parts.update([answer], [right])
    assert whole.compute() == pytest.approx(parts.compute())
