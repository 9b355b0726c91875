"""Exports a sub-model of a run: a language model's, or a chart reader's."""

from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from belvedere.errors import BadInput, unwritable
from belvedere.runs.training import quiet
from belvedere.submodels.checkpoints import load_checkpoint
from belvedere.submodels.export import check_output, export
from belvedere.submodels.gguf_file import check_gguf, write_gguf
from belvedere.unichart.hub import to_hub
from belvedere.unichart.loading import SHAPE, Reader, load_reader, reader_folder


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
    reader = load_reader(Path(reader_folder(checkpoint)))
    tokenizer = Reader(checkpoint).tokenizer()
    depth = depth_of(exit, reader.config.decoder.layers)
    if depth != reader.config.decoder.layers:
        reader = reader.cut(depth)
    try:
        to_hub(reader, output)
        tokenizer.save_pretrained(output)
    except OSError as error:
        raise unwritable(output, error, "free some space or choose another folder") from error
