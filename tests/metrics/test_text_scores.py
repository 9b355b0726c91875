import json

import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st

from belvedere.errors import BadInput
from belvedere.metrics.answers import rouge_l
from belvedere.metrics.text_scores import TextScores, TextsRead, bleu, bleu_counts, bleu_from_counts

WORDS = ["Sales", "sales", "rose", "fell", "in", "May", "2015", ",", "5", "%", "the", "most."]

sentences = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)
texts = st.lists(
    st.tuples(sentences, st.lists(sentences, min_size=1, max_size=3)), min_size=1, max_size=6
)


def sacrebleus(written, references):
    longest = max(map(len, references))
    streams = [[some[i] if i < len(some) else None for some in references] for i in range(longest)]
    return sacrebleu.corpus_bleu(written, streams).score


@settings(max_examples=50)
@given(texts, st.integers(0, 6))
def test_bleu_is_sacrebleus_also_in_two_parts(rows, cut):
    written, references = [row[0] for row in rows], [row[1] for row in rows]
    expected = sacrebleus(written, references)
    assert bleu(written, references) == pytest.approx(expected)
    first = bleu_counts(written[:cut], references[:cut])
    second = bleu_counts(written[cut:], references[cut:])
    joint = [a + b for a, b in zip(first, second, strict=True)]
    assert bleu_from_counts(joint) == pytest.approx(expected)


def test_both_scores_on_real_texts(shared_data):
    rows = json.loads((shared_data / "alpaca/alpaca_en.json").read_text())[:60]
    references = [[row["output"]] for row in rows if row["output"]]
    written = [" ".join(some[0].split()[1:]) for some in references]
    scores = TextScores()
    for start in range(0, len(written), 7):
        scores.update(written[start : start + 7], references[start : start + 7])
    found = scores.compute()
    assert found["bleu"] == pytest.approx(sacrebleus(written, references))
    assert 50 < found["bleu"] < 100
    mean = sum(map(rouge_l, written, references)) / len(written)
    assert found["rouge_l"] == pytest.approx(mean)
    assert 0.5 < found["rouge_l"] < 1


def test_equal_texts_score_fully_and_others_nothing():
    text = "In 2019, most of them used it daily."
    same, other = TextScores(), TextScores()
    same.update([text], [["Something else.", text]])
    other.update(["Zebras!", ""], [[text], [text]])
    assert same.compute() == pytest.approx({"bleu": 100, "rouge_l": 1})
    assert other.compute() == {"bleu": 0, "rouge_l": 0}


def test_bleu_is_of_the_corpus_and_no_mean():
    written, references = ["a b c d e", "x"], [["a b c d e"], ["y"]]
    assert bleu(written, references) != pytest.approx(50)
    assert bleu(written, references) == pytest.approx(sacrebleus(written, references))


def test_a_text_without_a_reference_is_refused():
    scores = TextScores()
    with pytest.raises(BadInput, match="no reference"):
        scores.update(["a", "b"], [["a"], []])
    assert scores.texts == 0
    assert not scores.counts.any()


def test_texts_are_read_letter_for_letter_in_any_order_and_as_often_as_they_stand_there():
    read = TextsRead()
    read.update(["10 | 20 | 10", "In 1999 \\| more"], [["20 | 10"], ["Sales | In 1999 \\| more"]])
    found = read.compute()
    assert found["texts_precision"] == pytest.approx(3 / 4)
    assert found["texts_recall"] == pytest.approx(3 / 4)
    assert found["texts_f1"] == pytest.approx(3 / 4)
    assert TextsRead().compute() == {"texts_f1": 0, "texts_precision": 0, "texts_recall": 0}
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        read.update(["10", "20"], [["10"]])
