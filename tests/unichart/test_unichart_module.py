import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from small_training import trainer
from transformers import PreTrainedTokenizerFast

from belvedere.charts.letters import CLASSES, UNKNOWN
from belvedere.charts.tasks import NO_CHART, says_no_chart
from belvedere.charts.tokenizer import encode, encode_prompt
from belvedere.data.chart_corpus import ChartCorpusDataModule
from belvedere.errors import BadInput
from belvedere.metrics.chart_tasks import abstention, scores_by_kind, task_scores
from belvedere.optimisation import Optimisation
from belvedere.runs.chart_answers import answer_blank
from belvedere.unichart.config import ChartModelConfig, DecoderConfig, EncoderConfig
from belvedere.unichart.generation import Answers
from belvedere.unichart.model import ChartModel
from belvedere.unichart.module import Asked, UniChartModule
from belvedere.unichart.reading import LetterHead

TASKS = {"texts": 1, "table": 1, "elements": 1, "reasoning": 1, "open": 1, "summary": 1}


@pytest.fixture(scope="module")
def data(written: tuple[Path, PreTrainedTokenizerFast]) -> ChartCorpusDataModule:
    folder, tokenizer = written
    made = ChartCorpusDataModule(
        tokenizer, str(folder), TASKS, name="charts", image_size=(192, 256), positions=512,
        batch_size=2, eval_batch_size=2, letters=True,
    )  # fmt: skip
    made.setup()
    return made


def module(
    data: ChartCorpusDataModule,
    positions: Literal["none", "sine"] = "none",
    axial: int = 0,
    **options: Any,
) -> UniChartModule:
    torch.manual_seed(0)
    config = ChartModelConfig(
        name="test",
        image_size=(192, 256),
        vocab_size=len(data.tokenizer),
        encoder=EncoderConfig(
            16,
            (1, 1),
            (2, 2),
            window=8,
            patch_size=8,
            patch_width=4,
            stem="conv",
            drop_path=0.0,
            positions=positions,
            axial=axial,
        ),
        decoder=DecoderConfig(layers=1, d_model=32, heads=2, ffn=64, max_positions=512),
    )
    options = {"letters_weight": 1.0, "beams": 1, "new_tokens": 8, **options}
    return UniChartModule(ChartModel(config), data.tokenizer, Optimisation(lr=3e-3), **options)


def test_training_lowers_the_losses_of_all_tasks(
    data: ChartCorpusDataModule, tmp_path: Path
) -> None:
    reader = module(data)
    runner = trainer(tmp_path, 12)
    runner.validate(reader, datamodule=data, verbose=False)
    before = {k: float(v) for k, v in runner.callback_metrics.items()}
    runner.fit(reader, datamodule=data)
    runner.validate(reader, datamodule=data, verbose=False)
    after = {k: float(v) for k, v in runner.callback_metrics.items() if k in before}
    losses = {f"validation/loss/{task}" for task in TASKS}
    assert set(before) == losses | {"validation/letters_read"}
    assert all(after[key] < before[key] for key in losses)


def test_the_validation_loss_is_the_mean_over_the_answers_tokens(
    data: ChartCorpusDataModule,
) -> None:
    reader = module(data).eval()
    batch = next(iter(data.val_dataloader()))
    with torch.no_grad():
        reader.validation_step(batch, 0)
        found = reader.measured()
        pixels = batch["pixels"].float() / 127.5 - 1
        for task in TASKS:
            losses: list[torch.Tensor] = []
            for i, example in enumerate(batch["examples"]):
                if example.task == task:
                    chart = pixels[batch["picture"][i]][None]
                    length = int(batch["tokens"][i])
                    scores = reader.model(chart, batch["ids"][i, :length][None])[0].log_softmax(-1)
                    labels = batch["labels"][i, :length]
                    learned = labels >= 0
                    losses += list(-scores[learned, labels[learned]])
            assert found[task] == pytest.approx(float(torch.stack(losses).mean()), abs=1e-4)


def test_every_question_is_answered_and_scored(data: ChartCorpusDataModule, tmp_path: Path) -> None:
    reader = module(data)
    trainer(tmp_path, 1).test(reader, datamodule=data, verbose=False)
    batch = next(iter(data.test_dataloader()))
    assert [one.question for one in reader.answered] == [e.question for e in batch["examples"]]
    assert all(one.accepted == (e.answer,) for one, e in
               zip(reader.answered, batch["examples"], strict=True))  # fmt: skip
    assert all(0 <= one.confidence <= 1 for one in reader.answered)
    scores = task_scores(reader.answered)
    assert set(scores) == set(TASKS)
    assert scores["table"]["n"] == 2
    assert set(scores_by_kind(reader.answered)) == set(batch["kinds"])


def test_answers_that_do_not_end_are_told(data: ChartCorpusDataModule) -> None:
    reader = module(data).eval()

    def generate(asked: Asked, *_: Any) -> Answers:
        ids = torch.tensor([[5, data.tokenizer.eos_token_id], [5, 6]])
        ids = ids.repeat(len(asked.texts), 1)[: len(asked.texts)]
        return Answers(ids, torch.ones_like(ids).bool(), torch.zeros(ids.shape))

    reader.generate = generate  # type: ignore[method-assign, assignment]
    found: dict[str, list[bool]] = {}
    for one in reader.answer(next(iter(data.test_dataloader()))):
        found.setdefault(one.task, []).append(one.finished)
    assert all(ended == [i % 2 == 0 for i in range(len(ended))] for ended in found.values())


def test_an_answer_that_begins_with_no_chart_is_none() -> None:
    odds = torch.tensor([[0.5, 0.8, 0.9, 0.1], [0.5, 0.8, 0.9, 0.9]]).log()
    answers = Answers(torch.zeros(2, 4).long(), torch.ones(2, 4).bool(), odds)
    sure, other = answers.sureness(["no chart | 2 | 2", "no charter"], refusal=2)
    assert sure == pytest.approx(1 - 0.5 * 0.8)
    assert other == pytest.approx((0.5 * 0.8 * 0.9 * 0.9) ** 0.25)
    assert says_no_chart(" no chart ")
    assert not says_no_chart("no")


def test_questions_that_are_cut_are_told(data: ChartCorpusDataModule) -> None:
    reader = module(data).eval()
    batch = next(iter(data.test_dataloader()))
    first, *others = batch["examples"]
    long = first._replace(question="How many bars are there? " * 300)
    found = reader.answer(batch | {"examples": [long, *others]})
    assert [one.cut for one in found] == [True] + [False] * len(others)


def test_the_blank_image_is_answered_once_for_all_charts(data: ChartCorpusDataModule) -> None:
    reader = module(data).eval()
    plain = []
    for batch in data.test_dataloader():
        plain += reader.answer({**batch, "pixels": torch.full_like(batch["pixels"], 255)})
    calls = []
    generate = reader.generate
    reader.generate = lambda asked, *rest: calls.extend(asked.prompts) or generate(asked, *rest)
    found = answer_blank(reader, data)
    assert [replace(one, confidence=0, no_chart=0) for one in found] == [
        replace(one, confidence=0, no_chart=0) for one in plain
    ]
    for one, other in zip(found, plain, strict=True):
        assert one.confidence == pytest.approx(other.confidence, rel=1e-4)
        assert one.no_chart == pytest.approx(other.no_chart, rel=1e-4)
    assert len(calls) == len({tuple(prompt) for prompt in calls}) < len(found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beams": 0}, r"model\.beams: 0 is too small"),
        ({"length_groups": 0}, r"model\.length_groups: 0 is too small"),
        ({"new_tokens": 0}, r"model\.new_tokens: 0 is too small"),
        ({"new_tokens": {"table": 511}}, r"model\.new_tokens\.table: .* no room .* 511"),
        ({"guidance_weight": -1}, r"model\.guidance_weight: a weight is negative"),
    ],
)
def test_sizes_and_weights_that_cannot_be_are_refused(
    data: ChartCorpusDataModule, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        module(data, **options)


def test_a_long_question_leaves_room_for_its_answer(data: ChartCorpusDataModule) -> None:
    batch = next(iter(data.test_dataloader()))
    one = batch["examples"][0]._replace(task="reasoning", question="Which bar is it? " * 200)
    batch = {**batch, "examples": [one], "picture": torch.tensor([0])}
    answered = module(data, new_tokens=100).eval().answer(batch)
    assert answered[0].question == one.question


def test_the_letters_loss_is_the_weighted_mean() -> None:
    head = LetterHead(width=3)
    details, letters = torch.randn(1, 3, 2, 2), torch.tensor([[[0, 5], [7, 0]]])
    loss, counts = head.loss(details, letters)
    assert head(details).shape == (1, 2, 2, CLASSES)
    scores = head.scores(details[0].permute(1, 2, 0)).log_softmax(-1)
    parts = [-scores[r, c, letters[0, r, c]] for r in (0, 1) for c in (0, 1)]
    expected = (0.1 * parts[0] + parts[1] + parts[2] + 0.1 * parts[3]) / 2.2
    assert float(loss) == pytest.approx(float(expected), abs=1e-6)
    right = int(scores[0, 1].argmax() == 5) + int(scores[1, 0].argmax() == 7)
    assert counts.tolist() == [right, 2]


def test_letters_that_nobody_knows_do_not_count() -> None:
    head = LetterHead(width=3)
    details, letters = torch.randn(2, 3, 2, 2), torch.tensor([[[0, 5], [7, 0]], [[1, 2], [0, 0]]])
    known, counts = head.loss(details[:1], letters[:1])
    letters[1] = UNKNOWN
    loss, both = head.loss(details, letters)
    assert float(loss) == pytest.approx(float(known), abs=1e-6)
    assert both.tolist() == counts.tolist()
    assert float(head.loss(details, torch.full_like(letters, UNKNOWN))[0]) == 0


def test_guidance_trains_the_attention_and_is_logged(
    data: ChartCorpusDataModule, tmp_path: Path
) -> None:
    reader = module(data, guidance_weight=1.0)
    losses = []
    for _ in range(2):
        runner = trainer(tmp_path, 8)
        runner.fit(reader, datamodule=data)
        losses.append(float(runner.callback_metrics["train/guidance"]))
        assert 0 <= float(runner.callback_metrics["train/looks_right"]) <= 1
    assert losses[1] < losses[0]
    assert "train/pixels_off" not in runner.callback_metrics
    runner = trainer(tmp_path, 1)
    runner.fit(module(data, guidance_weight=1.0, positions="sine", axial=1), datamodule=data)
    assert 0 < float(runner.callback_metrics["train/pixels_off"]) < 8
    assert 0 <= float(runner.callback_metrics["train/phases_right"]) <= 1
    runner = trainer(tmp_path, 1)
    runner.fit(module(data), datamodule=data)
    assert "train/guidance" not in runner.callback_metrics


def test_states_learn_where_letters_and_marks_are(data: ChartCorpusDataModule) -> None:
    reader = module(data, guidance_weight=1.0, positions="sine")
    batch = next(iter(data.train_dataloader()))
    optimiser = torch.optim.Adam(reader.parameters(), lr=3e-3)
    found = []
    for _ in range(40):
        loss, off = reader.place_loss(reader.encoded(batch), batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        found.append(float(off))
    assert 2 < found[0] < 4  # tokens are 16 x 8 pixels, and it begins at their middle
    assert found[-1] < 0.8 * found[0]
    batch["looks"].fill_(-1)
    assert [float(one) for one in reader.place_loss(reader.encoded(batch), batch)] == [0, 0]


def test_states_learn_where_between_the_numbers_of_the_axes_they_are(
    data: ChartCorpusDataModule,
) -> None:
    reader = module(data, guidance_weight=1.0, positions="sine", axial=1)
    head = reader.model.phases
    assert head is not None
    batch = next(iter(data.train_dataloader()))
    optimiser = torch.optim.Adam(reader.parameters(), lr=3e-3)
    losses, shares = [], []
    for _ in range(60):
        loss, share = reader.phase_loss(reader.encoded(batch), batch, head)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss))
        shares.append(float(share))
    assert shares[0] < 0.2  # chance is 0.1
    assert shares[-1] > 0.5
    assert losses[-1] < 0.5 * losses[0]
    batch["steps"].fill_(torch.nan)
    assert [float(one) for one in reader.phase_loss(reader.encoded(batch), batch, head)] == [0, 0]


def test_texts_in_groups_of_like_length_have_the_same_losses(data: ChartCorpusDataModule) -> None:
    batch = next(iter(data.train_dataloader()))
    losses = []
    for groups in (1, 4, 100):
        reader = module(data, guidance_weight=1.0, length_groups=groups).eval()
        noted: dict[str, Any] = {}
        reader.log = lambda name, value, noted=noted, **_: noted.update({name: value})  # type: ignore[method-assign]
        loss = reader.training_step(batch, 0)
        loss.backward()
        parameters = [p.grad for p in reader.model.decoder.parameters() if p.grad is not None]
        norm = float(torch.stack([grad.norm() for grad in parameters]).norm())
        losses.append(
            [float(loss), float(noted["train/loss"]), float(noted["train/guidance"]), norm]
        )
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert losses[2] == pytest.approx(losses[0], rel=1e-4)


def test_points_of_a_page_are_seen_by_their_states(data: ChartCorpusDataModule) -> None:
    reader = module(data)
    assert reader.model.config.encoder.stride == (16, 8)
    points = torch.tensor([[[0.0, 0.0], [255.9, 191.9], [9.0, 15.9], [3.0, 16.0], [-1.0, -1.0]]])
    columns, rows = 256 // 8, 192 // 16
    assert reader.states_at(points).tolist() == [[0, columns * rows - 1, 1, columns, -1]]


def test_no_chart_is_answered_with_the_confidence_that_there_is_one(
    data: ChartCorpusDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = module(data)
    batch = next(iter(data.test_dataloader()))
    ids = torch.tensor(encode(data.tokenizer, NO_CHART))

    def generate(asked: Asked, *_: Any) -> Answers:
        count = len(asked.texts)
        ids_of_all = ids.repeat(count, 1)
        scores = torch.full(ids_of_all.shape, -0.1)
        return Answers(ids_of_all, torch.ones_like(ids_of_all, dtype=torch.bool), scores)

    monkeypatch.setattr(reader, "generate", generate)
    answered = reader.answer(batch)
    assert {one.answer for one in answered} == {NO_CHART}
    assert answered[0].confidence == pytest.approx(1 - math.exp(-0.1 * len(ids)), abs=1e-6)
    assert abstention(answered) == {
        "no_chart": 1.0, "confidence": pytest.approx(answered[0].confidence), "n": len(answered)
    }  # fmt: skip
    assert abstention([]) == {"no_chart": 0.0, "confidence": 0.0, "n": 0}


def test_the_probability_of_no_chart_is_there_whatever_is_answered(
    data: ChartCorpusDataModule,
) -> None:
    reader = module(data, new_tokens=16).eval()
    batch = next(iter(data.test_dataloader()))
    refusal = encode(data.tokenizer, NO_CHART)
    with torch.no_grad():
        states = reader.encoded(batch)
        for i, one in enumerate(reader.answer(batch)):
            prompt = encode_prompt(data.tokenizer, one.task, one.question)
            picture = batch["picture"][i : i + 1]
            logits = reader.model(states[picture], torch.tensor([[*prompt, *refusal]]))
            own = logits[0, len(prompt) - 1 : -1].softmax(-1)
            wanted = math.prod(own[j, token].item() for j, token in enumerate(refusal))
            assert one.no_chart == pytest.approx(wanted, rel=1e-3)
    short = module(data, new_tokens=2).eval().answer(batch)
    assert all(0 < one.no_chart < 1 for one in short)


def test_letters_alone_train_the_stem_and_are_measured(
    data: ChartCorpusDataModule, tmp_path: Path
) -> None:
    alone = ChartCorpusDataModule(
        data.tokenizer, data.path, TASKS, tasks_per_chart=0, name="charts",
        image_size=(192, 256), batch_size=2, eval_batch_size=2, letters=True,
    )  # fmt: skip
    reader = module(data)
    before = {name: p.clone() for name, p in reader.named_parameters()}
    runner = trainer(tmp_path, 15)
    runner.fit(reader, datamodule=alone)
    assert 0 <= float(runner.callback_metrics["train/letters_read"]) <= 1
    runner.validate(reader, datamodule=alone, verbose=False)
    assert 0 <= float(runner.callback_metrics["validation/letters_read"]) < 1
    changed = {name for name, p in reader.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {
        name for name in before if "patch_embed.details" in name or "letters." in name
    }
    runner.test(reader, datamodule=alone, verbose=False)
    assert reader.answered == []
    share = reader.share_of_letters()
    assert share is not None
    assert 0 <= share < 1
    assert reader.share_of_letters() is None


def test_nothing_to_train_on_is_refused(data: ChartCorpusDataModule, tmp_path: Path) -> None:
    alone = ChartCorpusDataModule(
        data.tokenizer, data.path, TASKS, tasks_per_chart=0, name="charts",
        image_size=(192, 256), batch_size=2, eval_batch_size=2,
    )  # fmt: skip
    with pytest.raises(BadInput, match="nothing to train on"):
        trainer(tmp_path, 1).fit(module(data), datamodule=alone)


def test_letters_need_a_convolutional_stem(data: ChartCorpusDataModule) -> None:
    config = ChartModelConfig.named("tiny", vocab_size=len(data.tokenizer))
    plain = replace(config, encoder=replace(config.encoder, stem="patch", patch_width=None))
    with pytest.raises(BadInput, match="letters_weight"):
        UniChartModule(ChartModel(plain), data.tokenizer, Optimisation(), letters_weight=1.0)
