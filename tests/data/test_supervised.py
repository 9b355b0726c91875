import json

import pytest
import torch
from datasets import Dataset, DatasetDict

from belvedere.data.alpaca import AlpacaDataModule, InstructionPrompt
from belvedere.data.triviaqa import TriviaQADataModule
from belvedere.errors import BadInput
from belvedere.submodels.losses import IGNORED

PROMPT = InstructionPrompt("{instruction} | {input} =", "{instruction} =")
WORDS = ["paris", "euro", "people", "capital", "france", "others", "count", "pay"]


def records(count=60):
    return [
        {"instruction": f"count {i} {WORDS[i % 8]}", "input": "the euro" if i % 2 else "",
         "output": f"{WORDS[(i + 3) % 8]} and {i}"}
        for i in range(count)
    ]  # fmt: skip


def questions(count=60):
    return [
        {"question": f"which {WORDS[i % 8]} {i}?", "question_source": "test",
         "answer": {"value": f"Paris {i}", "aliases": [f"Paris {i}", f"the {i}"]}}
        for i in range(count)
    ]  # fmt: skip


def write(file, rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def alpaca(tokenizer, **options):
    return AlpacaDataModule(
        tokenizer, PROMPT,
        **{"name": "test", "sequence_length": 64, "batch_size": 2, "held_out": 0.3} | options,
    )  # fmt: skip


def trivia(tokenizer, **options):
    return TriviaQADataModule(
        tokenizer, "Q: {question} A:",
        **{"name": "test", "sequence_length": 64, "batch_size": 2, "held_out": 0.3} | options,
    )  # fmt: skip


def documents(rows, tokenizer):
    """The packed examples: their text, and the text of what is learned of them."""
    for i in range(len(rows)):
        row = rows[i]
        begins = (row["position_ids"] == 0).nonzero().flatten().tolist()
        for begin, end in zip(begins, [*begins[1:], rows.length], strict=True):
            if begin >= int(row["tokens"]):
                continue
            ids = row["input_ids"][begin:end]
            labels = row["labels"][begin:end]
            learned = labels[labels != IGNORED]
            yield tokenizer.decode(ids), tokenizer.decode(learned)


def test_only_the_response_and_its_end_are_learned(tokenizer, tmp_path):
    data = alpaca(tokenizer, path=write(tmp_path / "a.jsonl", records()))
    data.setup()
    found = list(documents(data.rows["train"], tokenizer))
    assert len(found) == data.rows["train"].documents == len(data.examples["train"])
    by_text = {e.prompt + e.response: e for e in data.examples["train"]}
    for text, learned in found:
        whole = text.removeprefix(tokenizer.bos_token)
        whole = whole.split(tokenizer.eos_token)[0]
        assert learned == by_text[whole].response + tokenizer.eos_token


def test_all_tokens_are_learned_if_asked_for(tokenizer, tmp_path):
    data = alpaca(tokenizer, path=write(tmp_path / "a.jsonl", records()), learned="all")
    data.setup()
    for text, learned in documents(data.rows["train"], tokenizer):
        assert text.removeprefix(tokenizer.bos_token).startswith(learned[:10])


def test_prompts_with_and_without_input(tokenizer, tmp_path):
    data = alpaca(tokenizer, path=write(tmp_path / "a.jsonl", records(20)), held_out=0.5)
    data.setup()
    prompts = {e.prompt for split in data.examples.values() for e in split}
    assert "count 1 euro | the euro =" in prompts
    assert "count 2 people =" in prompts
    assert PROMPT.fill("a {input} b", "{instruction}") == "a {input} b | {instruction} ="


def test_splits_are_disjoint_by_instruction(tokenizer, tmp_path):
    rows = [r | {"input": str(i)} for i in range(3) for r in records(40)]
    data = alpaca(tokenizer, path=write(tmp_path / "a.jsonl", rows))
    data.setup()
    keys = [{e.key for e in data.examples[split]} for split in ("train", "validation", "test")]
    assert all(keys)
    assert sum(map(len, keys)) == len(set().union(*keys))


def test_missing_splits_are_made(tokenizer, tmp_path):
    write(tmp_path / "train.jsonl", records(40))
    write(tmp_path / "test.jsonl", records(80)[40:])
    data = alpaca(tokenizer, path=str(tmp_path))
    data.setup()
    assert len(data.examples["test"]) == 40
    assert len(data.examples["train"]) + len(data.examples["validation"]) == 40
    assert data.examples["validation"]


def test_what_is_cut_or_left_out_is_counted(tokenizer, tmp_path):
    rows = records()
    rows += [
        {"instruction": "long answer", "output": "people " * 100},
        {"instruction": "people " * 100, "output": "long prompt"},
        {"instruction": "nothing", "output": " "},
    ]
    write(tmp_path / "train.jsonl", rows)
    write(tmp_path / "validation.jsonl", records(4))
    data = alpaca(tokenizer, path=str(tmp_path))
    data.setup()
    summary = data.summary()
    assert (summary["truncated"], summary["too_long"], summary["empty"]) == (1, 1, 1)
    assert summary["held_out_in_train"] == 4  # test is validation, which repeats the first four
    assert summary["documents"] == len(records()) + 1
    assert all(int(data.rows["train"][i]["tokens"]) <= 64 for i in range(len(data.rows["train"])))


def test_limits(tokenizer, tmp_path):
    path = write(tmp_path / "a.jsonl", records())
    data = alpaca(tokenizer, path=path, train_examples=7, eval_examples=2, answered=3)
    data.setup()
    assert data.rows["train"].documents == 7
    assert data.rows["validation"].documents == data.rows["test"].documents == 2
    assert len(data.prompts()) == 3


def test_prompts_of_a_file_need_no_response(tokenizer, tmp_path):
    prompts = tmp_path / "prompts.json"
    prompts.write_text(json.dumps([{"instruction": "say it", "input": "now"}]))
    path = write(tmp_path / "a.jsonl", records())
    data = alpaca(tokenizer, path=path, prompts=str(prompts))
    data.setup()
    (prompt,) = data.prompts()
    assert prompt.prompt == "say it | now ="
    assert prompt.accepted == ()


def test_triviaqa_learns_the_value_and_accepts_all_aliases(tokenizer, tmp_path):
    data = trivia(tokenizer, path=write(tmp_path / "q.jsonl", questions()))
    data.setup()
    example = data.examples["train"][0]
    number = example.question.split()[-1].strip("?")
    assert example.prompt == f"Q: {example.question} A:"
    assert example.response == f" Paris {number}"
    assert example.accepted == (f"Paris {number}", f"the {number}")
    for text, learned in documents(data.rows["train"], tokenizer):
        assert text.split(" A:")[1].split(tokenizer.eos_token)[0] + tokenizer.eos_token == learned


def test_both_schemas_of_triviaqa_and_real_files(tokenizer, shared_data):
    data = trivia(tokenizer, path=str(shared_data / "triviaqa/triviaqa_original_sample.json"))
    from belvedere.data.records import read_records

    (record,) = read_records(data.files["all"][0])
    example = data.example(record)
    assert example.question.startswith("Which Lloyd Webber musical")
    assert example.response == " Sunset Boulevard"
    assert "Sunset Blvd" in example.accepted
    data = trivia(tokenizer, path=str(shared_data / "triviaqa/train.jsonl"), held_out=0.05)
    data.setup()
    assert sum(map(len, data.examples.values())) == 3400


def test_real_alpaca_and_the_170_prompts(tokenizer, shared_data):
    folder = shared_data / "alpaca"
    data = alpaca(
        tokenizer, path=str(folder / "alpaca_en.json"), sequence_length=512,
        prompts=str(folder / "pandalm_170_prompts.json"),
    )  # fmt: skip
    data.setup()
    assert sum(map(len, data.examples.values())) == 850
    assert len(data.prompts()) == 170


def test_sets_of_the_hub(tokenizer, tmp_path):
    # A local folder in the hub's form stands for the hub, which is not reached here.
    rows = [row | {"input": row["input"]} for row in records()]
    Dataset.from_list(rows).to_parquet(tmp_path / "alpaca" / "train.parquet")
    data = alpaca(tokenizer, hub=str(tmp_path / "alpaca"))
    data.setup()
    assert sum(map(len, data.examples.values())) == 60
    sets = DatasetDict(train=Dataset.from_list(questions(50)),
                       validation=Dataset.from_list(questions(10)))  # fmt: skip
    for split, rows in sets.items():
        rows.to_parquet(tmp_path / "trivia" / f"{split}.parquet")
    data = trivia(
        tokenizer, hub=str(tmp_path / "trivia"), hub_splits={"train": "train", "test": "validation"}
    )
    data.setup()
    assert len(data.examples["test"]) == 10
    assert len(data.examples["train"]) + len(data.examples["validation"]) == 50


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"instruction": "x"}, r"a.jsonl:4: there is no field 'output'"),
        ({"instruction": "x", "output": 5}, r"a.jsonl:4: 'output' is int, not text"),
        ({"instruction": ["x"], "output": "y"}, r"a.jsonl:4: 'instruction' is list"),
        ({"instruction": "x", "input": {}, "output": "y"}, r"a.jsonl:4: 'input' is dict"),
    ],
)
def test_malformed_instructions_are_named_by_line_and_field(tokenizer, tmp_path, row, message):
    path = write(tmp_path / "a.jsonl", [*records(3), row])
    with pytest.raises(BadInput, match=message):
        alpaca(tokenizer, path=path).setup()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "x"}, r"q.jsonl:4: 'answer' is no object"),
        ({"question": "x", "answer": "y"}, r"q.jsonl:4: 'answer' is no object"),
        ({"question": "x", "answer": {"aliases": ["y"]}}, r"q.jsonl:4: there is no field 'value'"),
        ({"question": "x", "answer": {"value": None}}, r"q.jsonl:4: 'value' is NoneType"),
        ({"question": 3, "answer": {"value": "y"}}, r"q.jsonl:4: 'question' is int"),
        ({"question": "x", "answer": {"value": "y", "aliases": "z"}}, r"q.jsonl:4: 'aliases'"),
    ],
)
def test_malformed_questions_are_named_by_line_and_field(tokenizer, tmp_path, row, message):
    path = write(tmp_path / "q.jsonl", [*questions(3), row])
    with pytest.raises(BadInput, match=message):
        trivia(tokenizer, path=path).setup()


def test_a_question_without_aliases_accepts_its_value(tokenizer, tmp_path):
    rows = [{"question": "x", "answer": {"value": "y", "aliases": []}},
            {"question": "x", "answer": {"value": "y"}},
            {"question": "z", "answer": {"value": ""}}]  # fmt: skip
    data = trivia(tokenizer, path=write(tmp_path / "q.jsonl", questions() + rows))
    data.setup()
    assert data.counts["empty"] == 1
    found = [e for split in data.examples.values() for e in split if e.question == "x"]
    assert [example.accepted for example in found] == [("y",), ("y",)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"new_tokens": 0}, r"data\.new_tokens: 0 is too small"),
        ({"answered": -1}, r"data\.answered: -1 is too small"),
        ({"train_examples": 0}, r"data\.train_examples"),
        ({"hub_splits": {"test": "test"}}, r"data\.hub_splits"),
        ({"prompts": "/nowhere.json"}, r"check data\.prompts"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tokenizer, tmp_path, options, message):
    path = write(tmp_path / "a.jsonl", records())
    with pytest.raises(BadInput, match=message):
        alpaca(tokenizer, path=path, **options)


def test_a_file_beside_the_splits_is_not_dropped_in_silence(tokenizer, tmp_path):
    for name in ("train", "dev", "more"):
        write(tmp_path / f"{name}.jsonl", records(8))
    with pytest.raises(BadInput, match=r"more\.jsonl: this file belongs to none of the splits"):
        alpaca(tokenizer, path=str(tmp_path))
    (tmp_path / "more.jsonl").unlink()
    data = alpaca(tokenizer, path=str(tmp_path))
    data.setup()
    assert len(data.examples["validation"]) == 8


def test_prompts_that_cannot_be_filled_are_refused(tokenizer, tmp_path):
    with pytest.raises(BadInput, match=r"no \{input\}"):
        InstructionPrompt("{instruction}", "{instruction}")
    with pytest.raises(BadInput, match=r"has \{input\}"):
        InstructionPrompt("{instruction} {input}", "{instruction} {input}")
    path = write(tmp_path / "q.jsonl", questions())
    with pytest.raises(BadInput, match=r"no \{question\}"):
        TriviaQADataModule(tokenizer, "Q:", name="test", path=path)
    with pytest.raises(BadInput, match="the loss cannot be on 'prompt'"):
        trivia(tokenizer, path=path, learned="prompt")


def test_examples_in_a_row_do_not_see_each_other(tokenizer, tmp_path, backbone_folder):
    from transformers import AutoModelForCausalLM

    data = alpaca(tokenizer, path=write(tmp_path / "a.jsonl", records()))
    data.setup()
    row = data.rows["train"][0]
    model = AutoModelForCausalLM.from_pretrained(backbone_folder).eval()
    begins = (row["position_ids"] == 0).nonzero().flatten().tolist()
    assert len(begins) > 2
    with torch.no_grad():
        packed = model(
            row["input_ids"][None], position_ids=row["position_ids"][None], use_cache=False
        ).logits[0]
        alone = model(row["input_ids"][None, begins[1] : begins[2]]).logits[0]
    torch.testing.assert_close(packed[begins[1] : begins[2]], alone, atol=1e-5, rtol=1e-4)
