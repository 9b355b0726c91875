"""What is measured of tokens and exits, on a tiny random model with exits that were changed."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from belvedere.analysis.exit_layers import SOURCES, measure_exits, weight_changes
from belvedere.analysis.tokens import measure_tokens, ranks
from belvedere.data.text import TextDataModule
from belvedere.submodels.backbone import decoder_inputs, head_weight_of
from belvedere.submodels.checkpoints import Checkpoint
from belvedere.submodels.exits import ExitConfig, build_exits, read_submodels
from belvedere.submodels.loading import Backbone
from belvedere.submodels.losses import IGNORED, head_losses

ALL = 10**9


@pytest.fixture(scope="module")
def checkpoint(backbone_folder, tokenizer):
    model = Backbone(str(backbone_folder)).load()
    exits = build_exits(model, ExitConfig((1, 3))).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in exits.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.05)
    return Checkpoint(model, exits, tokenizer, backbone_folder, str(backbone_folder))


@pytest.fixture(scope="module")
def data(tmp_path_factory, sentences, tokenizer):
    folder = tmp_path_factory.mktemp("text")
    for split, texts in (("train", sentences[:300]), ("test", sentences[300:])):
        (folder / f"{split}.txt").write_text("\n\n".join(texts))
    found = TextDataModule(
        tokenizer, "sentences", path=str(folder), sequence_length=64, cache_dir=str(folder / "c")
    )
    found.setup("test")
    return found


@pytest.fixture(scope="module")
def measured(checkpoint, data):
    return measure_tokens(checkpoint, data, ALL)


def test_means_over_tokens_are_what_reports_say(checkpoint, data, measured):
    count, kl, agreement, loss = 0, 0.0, 0.0, 0.0
    for batch in data.test_dataloader():
        with torch.no_grad():
            *exits, (full, _) = read_submodels(
                checkpoint.model, (1, 3), checkpoint.exits, **decoder_inputs(batch)
            )
            head = head_weight_of(checkpoint.model)
            found = head_losses([s for s, _ in exits], head, batch["labels"], teacher=full)
        count += int(found.tokens)
        kl, agreement = kl + found.kl * found.tokens, agreement + found.agreement * found.tokens
        loss += float(found.teacher_ce * found.tokens)
    assert len(measured) == count
    names = ["exit_1", "exit_3"]
    ours = [measured[f"{name}_kl"].astype(float).mean() for name in names]
    assert_close(torch.tensor(ours), (kl / count).double(), rtol=2e-3, atol=1e-6)
    ours = [measured[f"{name}_agrees"].mean() for name in names]
    assert_close(torch.tensor(ours), (agreement / count).double(), rtol=1e-6, atol=1e-6)
    assert measured["loss"].astype(float).mean() == pytest.approx(loss / count, rel=1e-3)


def test_positions_count_within_documents(measured):
    first = measured["position"] == 1
    assert first.sum() > 10
    steps = measured["position"].diff()[~first]
    assert (steps == 1).all()


def test_the_most_frequent_token_of_the_training_text_has_rank_1(data, measured):
    rows = data.rows["train"]
    counts: Counter[int] = Counter()
    for start, length in zip(rows.plan.starts, rows.plan.lengths, strict=True):
        counts.update(rows.ids[start : start + length].tolist())
    found = ranks(data)
    (most, _), *_ = counts.most_common(1)
    assert found[most] == 1
    assert set(np.flatnonzero(found == 0)) == set(range(len(found))) - set(counts)
    assert (measured["rank"] == found[measured["token"]]).all()


def test_no_more_tokens_than_asked_for_are_measured(checkpoint, data):
    assert len(measure_tokens(checkpoint, data, 100)) == 100


def test_raw_early_exits_stand_beside_exits_and_prefixes_have_none(checkpoint, data, measured):
    assert {"raw_exit_1_agrees", "raw_exit_3_agrees"} <= set(measured)
    plain = Checkpoint(
        checkpoint.model, None, checkpoint.tokenizer, checkpoint.folder, checkpoint.backbone
    )
    prefixes = measure_tokens(plain, data, 100)
    assert [name for name in prefixes if name.endswith("_agrees")] == [
        "exit_1_agrees", "exit_2_agrees", "exit_3_agrees",
    ]  # fmt: skip
    same = prefixes["exit_1_agrees"] == measured["raw_exit_1_agrees"][:100]
    assert same.all()


def test_exits_that_were_not_trained_have_not_moved(checkpoint, data):
    fresh = build_exits(checkpoint.model, checkpoint.exits.config).eval()
    untrained = Checkpoint(
        checkpoint.model, fresh, checkpoint.tokenizer, checkpoint.folder, checkpoint.backbone
    )
    found = measure_exits(untrained, data.test_dataloader(), 500)
    assert all(value == 0 for row in found.changes.values() for value in row.values())
    for row in found.directions.values():
        assert row["layer before training"] == pytest.approx(row["trained layer"], abs=1e-6)


def test_the_change_of_a_weight_is_relative_to_its_length(checkpoint):
    before = build_exits(checkpoint.model, checkpoint.exits.config)
    after = build_exits(checkpoint.model, checkpoint.exits.config)
    with torch.no_grad():
        after.at(3).layer.mlp.up_proj.weight.mul_(1.25)
    found = weight_changes(before, after)
    assert found["exit_3"]["layer.mlp.up_proj"] == pytest.approx(0.25)
    assert found["exit_1"]["layer.mlp.up_proj"] == 0


def test_directions_of_a_state_are_cosines_to_the_last_layers(checkpoint, data):
    batch = next(iter(data.test_dataloader()))
    found = measure_exits(checkpoint, [batch], ALL)
    decoder = checkpoint.model.model
    last: list[torch.Tensor] = []  # transformers gives it normed
    handle = decoder.norm.register_forward_pre_hook(lambda _, args: last.append(args[0]))
    with torch.no_grad():
        inputs = decoder_inputs(batch) | {"use_cache": False, "output_hidden_states": True}
        states = decoder(**inputs).hidden_states
    handle.remove()
    keep = batch["labels"] != IGNORED
    cosine = torch.cosine_similarity(states[3][keep], last[0][keep], -1).mean()
    assert found.directions["exit_3"][SOURCES[0]] == pytest.approx(float(cosine), abs=1e-5)


def test_exits_of_random_weights_have_no_distance_to_tell(checkpoint, data):
    exits = build_exits(checkpoint.model, ExitConfig((2,), init="random")).eval()
    random = Checkpoint(
        checkpoint.model, exits, checkpoint.tokenizer, checkpoint.folder, checkpoint.backbone
    )
    assert measure_exits(random, data.test_dataloader(), 100).changes == {}
