"""Loads what a run has trained: a full model with exits, or one whose prefixes are sub-models."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from belvedere.errors import BadInput
from belvedere.submodels.backbone import num_layers_of, sha256_of_weights
from belvedere.submodels.exits import ExitConfig, Exits, build_exits
from belvedere.submodels.loading import Backbone, safetensors_header
from belvedere.submodels.published import load_nested, nested_config
from belvedere.submodels.views import submodel

EXITS = "exits.safetensors"
CHART_READER = "chart_model.json"
"""The file by which a folder is known to hold a chart reader, and no language model."""
ELSEWHERE = "checkpoint_backbone"
"""The verbs' setting for a backbone that was moved since its exits were trained."""


@dataclass(frozen=True)
class Checkpoint:
    """A full model and its sub-models.

    Attributes:
        model: the full model, in eval mode.
        exits: its exits; None where its prefixes are the sub-models.
        tokenizer: of both.
        folder: that the weights came from.
        backbone: the name of the model that exits were trained on, else of this one.
        report: of the run that trained it; None where there is none.
    """

    model: PreTrainedModel
    exits: Exits | None
    tokenizer: PreTrainedTokenizerBase
    folder: Path
    backbone: str
    report: dict[str, Any] | None = None

    @property
    def depths(self) -> tuple[int, ...]:
        """The depths of the sub-models below the full one."""
        if self.exits is not None:
            return self.exits.depths
        return tuple(range(1, num_layers_of(self.model)))

    @property
    def trained_depths(self) -> tuple[int, ...]:
        """Those of them that the run trained, as far as its report says; else all."""
        rows = (self.report or {}).get("submodels", [])
        names = {row.get("name") for row in rows if row.get("kind") == "exit"}
        return tuple(d for d in self.depths if self.name_of(d) in names) or self.depths

    @property
    def layers(self) -> int:
        """Of the full model."""
        return num_layers_of(self.model)

    def row(self, depth: int) -> dict[str, Any] | None:
        """What the report says of the sub-model of a depth, if anything."""
        rows: list[dict[str, Any]] = (self.report or {}).get("submodels", [])
        return next((row for row in rows if row.get("name") == self.name_of(depth)), None)

    def name_of(self, depth: int) -> str:
        """What reports call the sub-model of a depth."""
        return "full" if depth == self.layers else f"exit_{depth}"

    def submodel(self, depth: int) -> PreTrainedModel:
        """The sub-model of a depth, as a view.

        Raises:
            BadInput: there is none; says which there are.
        """
        if depth == self.layers:
            return submodel(self.model, depth)
        exit = None if self.exits is None else self.exits.at(depth)
        return submodel(self.model, depth, exit)


def load_checkpoint(
    where: str, load: Backbone | None = None, backbone: str | None = None
) -> Checkpoint:
    """A checkpoint by its run, folder or file, or by its name on the hub.

    Args:
        where: a run's folder, its ``checkpoints/model``, the ``exits.safetensors`` there, or any
            folder or hub name of a causal language model.
        load: dtype and attention implementation; its name and weights have no meaning here.
        backbone: where exits' backbone is now, if it was moved since they were trained.

    Raises:
        BadInput: there is no such checkpoint, it is damaged, it belongs to another backbone, or it
            has adapters.
    """
    how = load or Backbone("")
    run = Path(where)
    folder = run / "checkpoints" / "model" if (run / "checkpoints" / "model").is_dir() else run
    if run.suffix == ".ckpt" and run.is_file():
        raise BadInput(
            "a checkpoint for resuming has no configuration of its model",
            where=where,
            remedy="give the folder of the run",
        )
    if run.name == EXITS:
        folder = run.parent
    if (folder / CHART_READER).is_file():
        raise BadInput("is a reader of charts", where=where, remedy="give a picture as image=FILE")
    report = report_of(folder)
    if not (folder / EXITS).is_file():
        named = replace(how, name=str(folder) if folder.exists() else where)
        if (nested := nested_config(named.name)) is not None:
            model, exits = load_nested(named, nested)
            return Checkpoint(model, exits, named.tokenizer(), folder, where, report)
        return Checkpoint(
            named.load(), None, named.tokenizer(), folder, backbone=where, report=report
        )
    facts = safetensors_header(folder / EXITS)
    name = backbone or facts.get("backbone", "")
    named = replace(how, name=name, remedy=f"say where the backbone is now: {ELSEWHERE}=FOLDER")
    trained_in = facts.get("backbone_dtype", named.dtype)
    # The hash is that of the weights as they were in training.
    model = replace(named, dtype=trained_in).load()
    check_backbone(facts.get("backbone_sha256", ""), sha256_of_weights(model), ELSEWHERE)
    if trained_in != named.dtype:
        model = named.load()
    exits = load_exits(folder / EXITS, model)
    tokenizer = replace(named, name=str(folder)).tokenizer()
    return Checkpoint(model, exits, tokenizer, folder, backbone=name, report=report)


def load_exits(file: Path, backbone: PreTrainedModel) -> Exits:
    """The exits in a file, built on the backbone that they were trained on.

    Args:
        file: that a run of Balcony or of intermediate classifier tuning wrote.
        backbone: the right one, as `check_backbone` tells, in the dtype that it is to have; one
            that was trained too gets its weights.

    Raises:
        BadInput: a damaged file, or one with adapters.
    """
    facts = safetensors_header(file)
    trained = facts.get("trained", "exits")
    if trained == "lora":
        raise BadInput(
            "its exits read a backbone with adapters, whose full model is without them",
            where=str(file),
            remedy="give a run of model.trained=exits or unfrozen",
        )
    try:
        config = ExitConfig(**json.loads(facts["exits"]))
    except (KeyError, ValueError, TypeError) as error:
        raise damaged(file, "does not say what its exits are") from error
    exits = build_exits(backbone, config, dtype=torch.float32)
    parts = {"exits.": exits, "backbone.": backbone} if trained == "unfrozen" else {"exits.": exits}
    state = load_file(file)
    for prefix, module in parts.items():
        part = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        try:  # a tied head of the backbone is stored once
            module.load_state_dict(part, strict=prefix == "exits.")
        except RuntimeError as error:
            raise damaged(file, "does not fit the exits that it names") from error
    return exits.eval()


def damaged(file: Path, what: str) -> BadInput:
    """What to raise for a file of exits that cannot be used."""
    return BadInput(what, where=str(file), remedy="give a whole checkpoint")


def check_backbone(trained_on: str, present: str, key: str = "backbone.name") -> None:
    """Raise `BadInput` if exits were trained on a backbone of another hash.

    Args:
        trained_on: the hash of that backbone.
        present: of the one that is there.
        key: the setting that names it.
    """
    if trained_on != present:
        raise BadInput(
            f"the exits belong to another backbone (sha256 {trained_on[:12] or 'not given'}…, "
            f"this one has {present[:12]}…)",
            where="checkpoint",
            remedy=f"give the backbone that they were trained on: {key}=FOLDER",
        )


def report_of(folder: Path) -> dict[str, Any] | None:
    """The report of the run that a folder of weights belongs to, if there is a whole one."""
    if folder.parts[-2:] != ("checkpoints", "model"):
        return None
    try:
        text = (folder.parent.parent / "report.json").read_text(encoding="utf-8")
        found: Any = json.loads(text)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
