"""Writes a sub-model as an ordinary checkpoint of its family, with all that its users need."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.hub import convert_file_size_to_int

from belvedere.errors import BadInput, unwritable
from belvedere.submodels.backbone import head_of
from belvedere.submodels.checkpoints import Checkpoint

CARD = "README.md"


def export(checkpoint: Checkpoint, depth: int, output: Path, shard_size: str = "5GB") -> None:
    """Write the sub-model of a depth: weights, configuration, tokenizer, and a model card.

    ``AutoModelForCausalLM.from_pretrained(output)`` then loads it, as do the tools for its family.

    Args:
        checkpoint: the model and its sub-models.
        depth: of the sub-model; the number of layers for the full model.
        output: a folder that is not there, or empty.
        shard_size: the largest file of weights.

    Raises:
        BadInput: no such sub-model, half an exit's layer (which the family's class does not have),
            or a folder that holds something.
    """
    check_output(output)
    try:
        convert_file_size_to_int(shard_size)
    except ValueError as error:
        raise BadInput(
            f"{shard_size!r} is no size", where="shard_size", remedy="give one like 5GB"
        ) from error
    model = standalone(checkpoint, depth)
    try:
        output.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(output, max_shard_size=shard_size)
        checkpoint.tokenizer.save_pretrained(output)
        (output / CARD).write_text(card(checkpoint, depth, model), encoding="utf-8")
    except OSError as error:
        raise unwritable(output, error, "free some space or choose another folder") from error


def check_output(output: Path) -> None:
    """Raise `BadInput` if the folder holds something, which is never overwritten."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise BadInput(
            "there is something already", where=str(output), remedy="name a new or empty folder"
        )


def standalone(checkpoint: Checkpoint, depth: int) -> PreTrainedModel:
    """The sub-model of a depth, in one dtype.

    Raises:
        BadInput: there is none, or its exit has only half a layer.
    """
    exits = checkpoint.exits
    if exits is not None and depth in exits.depths and exits.config.kind in ("attention", "mlp"):
        raise BadInput(
            f"the exit at depth {depth} has half a layer, which no class of its family has",
            where="exit",
            remedy="export exits of kind layer or norm",
        )
    model = checkpoint.submodel(depth)
    dtype = head_of(model).weight.dtype
    if any(p.dtype != dtype for p in model.parameters()):
        # A float32 exit on a bfloat16 backbone; a copy, as the view shares its parent's tensors.
        state = {key: tensor.to(dtype) for key, tensor in model.state_dict().items()}
        copy: PreTrainedModel = type(model).from_pretrained(
            None, config=model.config, state_dict=state, dtype=dtype
        )
        copy.generation_config = model.generation_config
        return copy.eval()
    return model


def begins(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether texts get their begin token, if there is one, from the tokenizer."""
    begin = tokenizer.bos_token_id
    return begin is None or tokenizer("a").input_ids[:1] == [begin]


def card(checkpoint: Checkpoint, depth: int, model: PreTrainedModel) -> str:
    """What the folder says of the model that is in it."""
    row = checkpoint.row(depth) or {}
    report = checkpoint.report or {}
    layers = model.config.num_hidden_layers
    name = "The full model" if depth == checkpoint.layers else f"The sub-model of depth {depth}"
    backbone = report.get("backbone", {}).get("name") or checkpoint.backbone
    notes = []
    if not begins(checkpoint.tokenizer):
        notes.append(
            f"Prompts begin with `{checkpoint.tokenizer.bos_token}`, which the tokenizer does not "
            "add by itself."
        )
    return card_text(
        "text-generation",
        f"{name} of {Path(str(backbone)).name}",
        [
            f"{name} as a {type(model).__name__} of its own, exported by belvedere:",
            "",
            '    AutoModelForCausalLM.from_pretrained("THIS FOLDER")',
        ],
        {
            "method": row.get("method"),
            "backbone": backbone,
            "layers": f"{layers} of {checkpoint.layers}" if layers != checkpoint.layers else layers,
            "parameters": f"{sum(p.numel() for p in model.parameters()):,}",
            "trained parameters": row.get("trained_parameters"),
            **training_facts(report),
        },
        notes,
        row.get("metrics") or {},
    )


def training_facts(report: Mapping[str, Any]) -> dict[str, Any]:
    """What cards say of the run that a report is of; all None for an empty one."""
    names = ("experiment", "scale", "steps")
    return {
        **{name: report.get(name) for name in names},
        "data": (report.get("data") or {}).get("name"),
        "seed": report.get("seed"),
    }


def card_text(
    task: str,
    title: str,
    use: Sequence[str],
    facts: Mapping[str, Any],
    notes: Sequence[str],
    metrics: Mapping[str, float],
) -> str:
    """A model card in the hub's form.

    Args:
        task: the hub's name of what the model does.
        title: its heading.
        use: lines that say what it is and how it is loaded.
        facts: of its training; those that are None are left out.
        notes: paragraphs for its users.
        metrics: its quality on the test split; empty where nothing was measured.
    """
    lines = [
        "---",
        "library_name: transformers",
        f"pipeline_tag: {task}",
        "---",
        f"# {title}",
        "",
        *use,
        "",
        "| | |",
        "|---|---|",
        *(f"| {key} | {value} |" for key, value in facts.items() if value is not None),
    ]
    for note in notes:
        lines += ["", note]
    if metrics:
        lines += ["", "Measured on the test split of its data:", "", "| metric | value |"]
        lines += ["|---|---|", *(f"| {key} | {value:.4g} |" for key, value in metrics.items())]
    else:
        lines += ["", "Its quality was not measured."]
    return "\n".join(lines) + "\n"
