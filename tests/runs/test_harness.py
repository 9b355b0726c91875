"""Sub-models as models of lm-evaluation-harness."""

import json
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from belvedere.errors import BAD_INPUT
from belvedere.runs.harness import SharedScores, SubModelLM, cells_of
from belvedere.submodels.checkpoints import Checkpoint
from belvedere.submodels.exits import ExitConfig, build_exits

PAIRS = [
    ("the capital", " of the"),
    ("the", " capital is of the capital"),
    ("the capital of the", " is"),
    ("of ", "the"),  # a space that belongs to the continuation
    ("", "the capital"),
    ("the capital " * 60, "of the"),  # longer than the context
]


def asked(pairs):
    return [SimpleNamespace(args=pair) for pair in pairs]


@pytest.fixture
def checkpoint(backbone_folder, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(backbone_folder).eval()
    torch.manual_seed(0)
    exits = build_exits(model, ExitConfig((1, 3), init="random")).eval()
    tokenizer = AutoTokenizer.from_pretrained(backbone_folder)
    return Checkpoint(model, exits, tokenizer, tmp_path, "backbone")


@pytest.mark.parametrize("depth", [1, 3, 4])
def test_a_sub_model_says_what_the_harness_would_measure_of_it(checkpoint, depth):
    from lm_eval.models.huggingface import HFLM

    theirs = HFLM(
        pretrained=checkpoint.submodel(depth), tokenizer=checkpoint.tokenizer, batch_size=2,
        max_length=128,
    )  # fmt: skip
    ours = SubModelLM(SharedScores(checkpoint, (1, 3, 4), batch_size=2), depth)
    wanted = theirs.loglikelihood(asked(PAIRS), disable_tqdm=True)
    found = ours.loglikelihood(asked(PAIRS), disable_tqdm=True)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in wanted]
    assert [score for score, _ in found] == pytest.approx([score for score, _ in wanted], abs=1e-3)
    texts = asked([("the capital of the " * 40,), ("is",)])
    wanted = theirs.loglikelihood_rolling(texts, disable_tqdm=True)
    assert ours.loglikelihood_rolling(texts) == pytest.approx(wanted, abs=1e-2)


def test_answers_are_those_of_the_sub_model_alone(checkpoint):
    ours = SubModelLM(SharedScores(checkpoint, (1, 3, 4), batch_size=2), 3)
    view, tokenizer = checkpoint.submodel(3), checkpoint.tokenizer
    ids = torch.tensor([tokenizer("the capital", add_special_tokens=False).input_ids])
    made = view.generate(ids, max_new_tokens=9, do_sample=False)[0, ids.shape[1] :]
    text = tokenizer.decode(made, skip_special_tokens=True)
    options = {"until": [], "max_gen_toks": 9}
    (found,) = ours.generate_until(asked([("the capital", options)]))
    assert found == text
    stop = text.strip()[2:5]
    (found,) = ours.generate_until(asked([("the capital", options | {"until": [stop]})]))
    assert found == text.partition(stop)[0]


def test_what_has_no_room_or_no_tokens_is_answered(checkpoint):
    scores = SharedScores(checkpoint, (1, 3, 4), batch_size=2)
    assert scores.of(1, [([5, 6], []), ([5], [7, 8])])[0] == (0.0, True)
    lm = SubModelLM(scores, 3)
    options = {"until": [], "max_gen_toks": scores.longest + 5}
    texts = ["the capital of the", "of", "the capital"]
    found = lm.generate_until(asked([(text, options) for text in texts]))
    short = lm.generate_until(asked([(text, {"max_gen_toks": 4}) for text in texts]))
    assert len(found) == len(short) == 3
    assert all(short)


def test_one_pass_serves_all_sub_models(checkpoint):
    scores = SharedScores(checkpoint, (1, 3, 4), batch_size=4)
    calls = []
    checkpoint.model.model.layers[0].register_forward_hook(lambda *_: calls.append(1))
    for depth in (4, 1, 3):
        SubModelLM(scores, depth).loglikelihood(asked(PAIRS), disable_tqdm=True)
    assert len(calls) == scores.passes == 2


@pytest.fixture
def task(tmp_path):
    """A task of the harness in a file."""
    records = [
        {"question": "the capital", "choices": [" of", " is"], "answer": n % 2} for n in range(6)
    ]
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    (tmp_path / "asked.yaml").write_text(
        "task: asked\ndataset_path: json\ndataset_kwargs: {data_files: {test: asked.jsonl}}\n"
        "test_split: test\noutput_type: multiple_choice\ndoc_to_text: question\n"
        "doc_to_choice: choices\ndoc_to_target: answer\n"
        "metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]\n"
    )
    return tmp_path / "asked.yaml"


def test_tasks_are_asked_of_all_sub_models(evaluate, run, task, capsys):
    folder = run("balcony_llama3", "model.exits.depths=[1, 2]")
    capsys.readouterr()
    tasks = f"harness=[{{task: {task}, title: asked}}]"
    found = evaluate(folder, "harness", tasks, "device=cpu", "batch_size=4")
    report = json.loads((found / "report.json").read_text())
    assert [row["name"] for row in report["submodels"]] == ["full", "exit_2", "exit_1"]
    assert [row["layers"] for row in report["submodels"]] == [4, 3, 2]
    # The choices are the same for each question, so half of the answers are right.
    assert all(row["scores"]["asked"] == 0.5 for row in report["submodels"])
    out = capsys.readouterr().out
    assert "| full      | 4      | 50.0  | 50.0" in out
    assert "it/s" not in out


def test_shipped_tasks_need_no_network(evaluate, backbone_folder):
    found = evaluate(backbone_folder, "harness", "limit=3", "device=cpu")
    report = json.loads((found / "report.json").read_text())
    assert set(report["submodels"][0]["scores"]) == {"facts", "endings"}


@pytest.mark.parametrize(
    ("tasks", "says"),
    [
        ("[{task: TASK, metric: f1}]", "harness: asked has no f1; choose one of acc"),
        ("[3]", "harness: 3 is no task; give {task: NAME_OR_FILE"),
        ("[{task: gone.yaml}]", "gone.yaml: no task of the harness"),
        ("[{task: no_such_task}]", "harness: the harness cannot open no_such_task"),
    ],
)
def test_what_is_no_task_is_told(evaluate, backbone_folder, task, capsys, tasks, says):
    with pytest.raises(SystemExit) as stopped:
        evaluate(
            backbone_folder, "harness", f"harness={tasks.replace('TASK', str(task))}", "device=cpu"
        )
    assert stopped.value.code == BAD_INPUT
    assert says in capsys.readouterr().err


def test_published_rows_stand_below_whatever_they_say():
    report = {
        "submodels": [
            {"name": "full", "layers": 4, "scores": {"a": 0.5, "b": 0.7}},
            {"name": "exit_1", "layers": 2, "scores": {"a": 0.4, "b": 0.6}},
        ],
        "published": [
            {"name": "theirs", "layers": 32, "full": True, "scores": {"a": 80.0, "b": 90.0}},
            {"name": "theirs S", "layers": "", "full": False, "scores": {"a": 85.0, "b": 91.0}},
        ],
    }
    assert [row[-1] for row in cells_of(report, ["a", "b"])] == [
        "average (drop)", "60.0", "50.0 (-10.0)", "85.0", "88.0 (+3.0)",
    ]  # fmt: skip
