"""Exports a sub-model of a run: a language model's, or a chart reader's."""

from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from belvedere.errors import BadInput, unwritable
from belvedere.runs.training import quiet
from belvedere.submodels.checkpoints import load_checkpoint, report_of
from belvedere.submodels.export import CARD, card_text, check_output, export, training_facts
from belvedere.submodels.gguf_file import check_gguf, write_gguf
from belvedere.unichart.hub import to_hub
from belvedere.unichart.loading import SHAPE, Reader, load_reader, reader_folder
from belvedere.unichart.model import ChartModel


def export_checkpoint(config: DictConfig) -> None:
    """Write the sub-model that the configuration names."""
    quiet()
    output = Path(config.output)
    check_output(output)
    if (Path(reader_folder(config.checkpoint)) / SHAPE).exists():
        if config.gguf is not None:
            raise BadInput("chart readers have no GGUF file", where="gguf", remedy="leave it out")
        export_reader(config.checkpoint, config.exit, output)
    else:
        checkpoint = load_checkpoint(
            config.checkpoint, instantiate(config.backbone), config.checkpoint_backbone
        )
        if config.gguf is not None:
            check_gguf(checkpoint.model.config, checkpoint.tokenizer, Path(config.gguf))
        export(checkpoint, depth_of(config.exit, checkpoint.layers), output, config.shard_size)
        if config.gguf is not None:
            write_gguf(output, Path(config.gguf))
            print(f"wrote {config.gguf}")
    print(f"wrote {output}")


def depth_of(exit: Any, layers: int) -> int:
    """The depth that ``exit`` names: a number, or "full"."""
    if exit == "full":
        return layers
    if isinstance(exit, bool) or not isinstance(exit, int):
        raise BadInput(f"{exit!r} is no exit", where="exit", remedy="give a depth, or full")
    return exit


def export_reader(checkpoint: str, exit: Any, output: Path) -> None:
    """Write a chart reader, or one whose decoder is cut, in the hub's VisionEncoderDecoder layout.

    Raises:
        BadInput: no such depth, or an encoder that the layout does not have.
    """
    folder = Path(reader_folder(checkpoint))
    reader = load_reader(folder)
    tokenizer = Reader(checkpoint).tokenizer()
    layers = reader.config.decoder.layers
    depth = depth_of(exit, layers)
    if depth != layers:
        reader = reader.cut(depth)
    card = reader_card(reader, layers, checkpoint, report_of(folder) or {})
    try:
        to_hub(reader, output)
        tokenizer.save_pretrained(output)
        (output / CARD).write_text(card, encoding="utf-8")
    except OSError as error:
        raise unwritable(output, error, "free some space or choose another folder") from error


def reader_card(reader: ChartModel, layers: int, source: str, report: dict[str, Any]) -> str:
    """What the folder says of the chart reader that is in it.

    Args:
        reader: that is exported.
        layers: of the decoder that it was cut from.
        source: the reader that it was exported from.
        report: of its run; empty where there is none.
    """
    depth = reader.config.decoder.layers
    row: dict[str, Any] = next(
        (row for row in report.get("submodels", []) if row["layers"] == depth), {}
    )
    height, width = reader.config.image_size
    title = f"The chart reader {Path(source).name}"
    return card_text(
        "image-text-to-text",
        title if depth == layers else f"{title}, cut at depth {depth}",
        [
            "A reader of charts in the layout of Donut and UniChart, exported by belvedere:",
            "",
            '    VisionEncoderDecoderModel.from_pretrained("THIS FOLDER")',
        ],
        {
            "method": row.get("method"),
            "started from": report.get("reader", {}).get("name"),
            "decoder layers": f"{depth} of {layers}" if depth != layers else depth,
            "parameters": f"{sum(p.numel() for p in reader.parameters()):,}",
            "pictures": f"{width} x {height} pixels",
            **training_facts(report),
        },
        ["A prompt is the token of a task, the question and `<s_answer>`."],
        {
            f"{task}, {measure}": value
            for task, measures in row.get("tasks", {}).items()
            for measure, value in measures.items()
            if measure != "n"
        },
    )
