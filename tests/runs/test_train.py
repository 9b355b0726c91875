import json
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from belvedere.runs import compare

EXITS = ["model.exits.depths=[1,2,3]"]


def test_balcony_trains_only_exits_and_reports_them(run):
    folder = run(
        "balcony_llama3", *EXITS, "model.optimisation.lr=1e-2", "trainer.log_every_n_steps=2"
    )  # fmt: skip
    report = json.loads((folder / "report.json").read_text())
    assert report["steps"] == 6
    assert report["tokens_seen"] > 0
    backbone = report["backbone"]
    assert backbone["sha256_before"] == backbone["sha256_after"]
    rows = {row["name"]: row for row in report["submodels"]}
    assert set(rows) == {f"{kind}{k}" for kind in ("exit_", "raw_exit_") for k in (1, 2, 3)} | {
        "full"
    }
    assert rows["full"]["metrics"]["agreement"] == 1
    assert rows["exit_1"]["layers"] == 2
    assert rows["exit_1"]["trained_parameters"] == rows["exit_3"]["trained_parameters"] > 0
    assert rows["full"]["speedup"] == 1
    for row in rows.values():
        assert set(row["metrics"]) == {"loss", "perplexity", "kl_to_full", "agreement"}
        assert row["tokens_per_second"] > 0
    for figure in ("quality_against_depth", "quality_against_speed"):
        assert (folder / "figures" / f"{figure}.png").stat().st_size > 10_000
        assert (folder / "figures" / f"{figure}.pdf").read_bytes().startswith(b"%PDF")
    text = (folder / "report.md").read_text()
    assert text.splitlines()[2].startswith("| sub-model")
    assert "unchanged bit for bit" in text
    events = EventAccumulator(str(folder))
    events.Reload()
    scalars = events.Tags()["scalars"]
    assert {"train/kl_to_full/exit_1", "train/tokens_per_second", "lr-AdamW/matrices"} <= set(
        scalars
    )
    (outcome,) = events.Scalars("outcome/agreement/exit_1")
    assert outcome.value == pytest.approx(rows["exit_1"]["metrics"]["agreement"])
    assert events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content


def test_checkpoints_hold_the_exits_alone(run):
    folder = run("balcony_llama3", *EXITS)
    file = folder / "checkpoints" / "model" / "exits.safetensors"
    names = load_file(file).keys()
    assert all(name.startswith("exits.") for name in names)
    with safe_open(file, "pt") as opened:
        facts = opened.metadata()
    report = json.loads((folder / "report.json").read_text())
    assert facts["backbone_sha256"] == report["backbone"]["sha256_before"]
    saved = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert set(saved["state_dict"]) == set(names)


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(run):
    folder = run("balcony_llama3", *EXITS, "checkpoint_every=4")
    whole = load_file(folder / "checkpoints/model/exits.safetensors")
    last = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    assert last["global_step"] == 6
    (folder / "checkpoints/step=6.ckpt").unlink()  # as if the run had been stopped before
    (folder / "checkpoints/model/exits.safetensors").unlink()
    folder = run("balcony_llama3", *EXITS, "checkpoint_every=4", "resume=true")
    again = load_file(folder / "checkpoints/model/exits.safetensors")
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    gone_on = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    drawn, redrawn = (saved["callbacks"]["LearningCurves"]["curves"] for saved in (last, gone_on))
    assert set(drawn["validation/kl_to_full/exit_1"]) == {3}  # of step 6 it is drawn, but later
    assert redrawn == drawn


@pytest.mark.parametrize(
    "options",
    [
        ["model.exits.kind=attention"],
        ["model.exits.kind=mlp", "model.exits.init=random"],
        ["model.exits.norm=depth", "model.exits.init=depth"],
        ["model.trained=lora"],
        ["model.trained=unfrozen", "model.distillation.ce_weight=1.0"],
    ],
)
def test_variants_run(run, options):
    report = json.loads((run("balcony_llama3", *EXITS, *options) / "report.json").read_text())
    backbone = report["backbone"]
    changed = backbone["sha256_before"] != backbone["sha256_after"]
    assert changed == ("model.trained=unfrozen" in options)


def test_head_only_layerskip_and_pretraining_run(run):
    head_only = json.loads((run("headonly_llama3", *EXITS) / "report.json").read_text())
    assert head_only["submodels"][0]["layers"] == 1
    rival = json.loads((run("layerskip_llama3", "model.depths=[1,2]") / "report.json").read_text())
    rows = {row["name"]: row for row in rival["submodels"]}
    assert rows["original_full"]["metrics"]["agreement"] == 1
    assert rows["full"]["metrics"]["kl_to_full"] > 0
    backbone = rival["backbone"]
    assert backbone["sha256_before"] == backbone["sha256_after"]
    made = run("pretrain_backbone", "model.depths=[1,2]")
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(made / "checkpoints" / "model")
    names = load_file(made / "checkpoints" / "model" / "model.safetensors").keys()
    assert "lm_head.weight" not in names  # tied: written once, as the embedding


def other_backbone(tmp_path, backbone_folder):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(backbone_folder)
    with torch.no_grad():
        model.lm_head.weight[0, 0] += 1
    model.save_pretrained(tmp_path / "other")
    AutoTokenizer.from_pretrained(backbone_folder).save_pretrained(tmp_path / "other")
    return tmp_path / "other"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["model.exits.depths=[0]"], "exit depth 0 is out of range"),
        (["model.exits.depths=[4]"], "exit depth 4 is out of range"),
        (["model.exits.depths=[2,2]"], "exit depth 2 is given twice"),
        (["model.exits.kind=circle"], "exits have no kind 'circle'"),
        (["data.path=/nowhere.jsonl"], "/nowhere.jsonl: there is no such file"),
        (["backbone.name=/nowhere/model"], "no folder /nowhere/model"),
        (["backbone.dtype=float3"], "float3 is no dtype"),
        (["model.exits.depth=[1]"], "depth"),
        (["data=nothing"], "Could not find 'data/nothing'"),
        (["data.batch_size=0"], "data.batch_size: 0 is too small"),
        (["data.held_out=2"], "data.held_out: 2 is no share"),
        (["trainer.max_steps=ten"], "trainer.max_steps: 'ten' is no number of steps"),
        (["trainer.max_steps=0"], "trainer.max_steps: 0 is no number of steps"),
        (["resume=true"], "no run to resume"),
        (["model.trained=all"], "Balcony cannot train 'all'"),
    ],
)
def test_bad_input_is_one_line_and_code_2(run, capfd, options, message):
    with pytest.raises(SystemExit) as stopped:
        run("balcony_llama3", "model.exits.depths=[1]", *options)
    assert stopped.value.code == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_truncated_backbone_and_foreign_exits_are_refused(run, backbone_folder, tmp_path, capfd):
    folder = run("balcony_llama3", *EXITS)
    other = other_backbone(tmp_path, backbone_folder)
    checkpoint = str((folder / "checkpoints" / "last.ckpt").resolve()).replace("=", "\\=")
    with pytest.raises(SystemExit):
        run("balcony_llama3", *EXITS, f"backbone.name={other}", f"resume={checkpoint}")
    assert "belong to another backbone" in capfd.readouterr().err
    weights = other / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(SystemExit) as stopped:
        run("balcony_llama3", *EXITS, f"backbone.name={other}")
    assert stopped.value.code == 2
    assert "cannot be read" in capfd.readouterr().err


def test_exits_load_from_their_file(run, backbone_folder, tmp_path):
    from belvedere.balcony import BalconyModule
    from belvedere.errors import BadInput
    from belvedere.optimisation import Optimisation
    from belvedere.submodels.exits import ExitConfig
    from belvedere.submodels.loading import Backbone

    folder = run("balcony_llama3", *EXITS) / "checkpoints" / "model"
    module = BalconyModule(
        Backbone(str(backbone_folder)).load(), ExitConfig((1, 2, 3)), Optimisation()
    )
    module.load_model(str(folder))
    trained = load_file(folder / "exits.safetensors")
    assert all(torch.equal(trained[k], v) for k, v in module.trained_state().items())
    save_file(trained, folder / "exits.safetensors")
    with pytest.raises(BadInput, match="another backbone"):
        module.load_model(str(folder))


def test_a_sweep_is_compared_in_one_table(run, tmp_path, monkeypatch, capsys):
    runs = tmp_path / "runs"
    run(
        "balcony_llama3", "seed=1,2", "model.exits.kind=layer,norm", "model.exits.depths=[1]",
        "trainer.max_steps=2", "trainer.val_check_interval=2", f"hydra.sweep.dir={runs / 'sweep'}",
        "--multirun",
    )  # fmt: skip
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["compare", str(runs), "--output", str(tmp_path / "out")])
    compare.main()
    rows = capsys.readouterr().out.splitlines()
    for method, count in (("balcony", 2), ("trained norm and head", 2), ("raw early exit", 4)):
        (row,) = [row for row in rows if f"| {method} " in row]
        assert row.split("|")[-2].strip() == str(count)
