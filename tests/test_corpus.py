import json
import re
import sys
from random import Random

from belvedere.corpus import facts, instructions, phrasing, recall
from belvedere.corpus.build import Corpus, instruction_split, question_split
from belvedere.submodels.loading import Backbone


def test_questions_of_held_out_entities_are_in_no_document():
    corpus = Corpus(facts.load())
    test = {q.text for q in corpus.one_step["test"]}
    held_out = {e.name for e in corpus.teller.entities if e.held_out}
    assert len(held_out) > 40
    rng = Random(1)
    for _ in range(5000):
        record = corpus.document(rng)
        for question in re.findall(r"Question: (.*)", record["text"]):
            assert question not in test
    assert all(question_split(q) == "test" for q in corpus.one_step["test"])


def test_facts_about_held_out_entities_are_told():
    corpus = Corpus(facts.load())
    rng = Random(2)
    text = " ".join(corpus.kinds["portrait"](rng) for _ in range(5000)).lower()
    assert all(e.name.lower() in text for e in corpus.teller.entities if e.held_out)


def test_instructions_are_answered_rightly():
    rng = Random(3)
    for _ in range(300):
        item = instructions.sort_numbers(rng)
        given = item.input or item.instruction.partition(": ")[2]
        down = "descending" in item.instruction or "largest to smallest" in item.instruction
        numbers = sorted(map(int, given.split(", ")), reverse=down)
        assert item.output == ", ".join(map(str, numbers))
        item = instructions.count_items(rng)
        given = item.input or item.instruction.partition(": ")[2]
        assert item.output == str(given.count(",") + 1)
    assert instructions.roman(49) == "XLIX"
    assert instructions.spelled(90) == "ninety"
    assert instructions.plural("knife") == "knives"
    assert instructions.plural("cherry") == "cherries"


def test_instructions_are_split_by_what_is_given():
    rng = Random(4)
    place = {}
    for _ in range(3000):
        item = instructions.instruction(rng)
        given = item.input or item.instruction.partition(": ")[2] or item.instruction
        assert place.setdefault((item.task, given), instruction_split(item)) == instruction_split(
            item
        )


def test_articles():
    assert phrasing.article("owl") == "an owl"
    assert phrasing.article("hen") == "a hen"


def test_recall_counts_answers_letter_for_letter(backbone_folder, tmp_path, monkeypatch, capsys):
    model, tokenizer = Backbone(str(backbone_folder)).load(), Backbone(str(backbone_folder))
    prompts = ["Question: a?\nAnswer:", "Question: a longer one, for the padding?\nAnswer:"]
    together = recall.answers(model, tokenizer.tokenizer(), prompts)
    alone = [recall.answers(model, tokenizer.tokenizer(), [prompt])[0] for prompt in prompts]
    assert together == alone
    records = [
        {"question": "a?", "question_source": "x", "answer": {"aliases": [alone[0]]}},
        {"question": "a?", "question_source": "x", "answer": {"aliases": ["never"]}},
    ]
    file = tmp_path / "questions.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    monkeypatch.setattr(sys, "argv", ["recall", str(backbone_folder), str(file)])
    recall.main()
    assert "50.0% of 2" in capsys.readouterr().out
