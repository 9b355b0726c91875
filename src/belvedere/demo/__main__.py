"""Opens the page: ``python -m belvedere.demo [checkpoint=RUN] [reader=RUN] [port=7860]``."""

import logging
import os
from pathlib import Path

import datasets
import torch
from omegaconf import DictConfig

from belvedere.errors import BadInput
from belvedere.runs.entry import PROJECT, run_verb
from belvedere.runs.training import quiet
from belvedere.runs.writing import device_of, loaded
from belvedere.submodels.checkpoints import EXITS

LATEST = Path("runs/balcony_llama3/latest")
BACKBONE = PROJECT / "data" / "backbone"


def checkpoint_of(given: str | None) -> str:
    """What writes: what is given, else the last run of Balcony, else the shipped backbone."""
    if given is not None:
        return str(given)
    trained = (LATEST / "checkpoints" / "model" / EXITS).is_file()
    return str(LATEST if trained else BACKBONE)


def serve(config: DictConfig) -> None:
    """Load what the configuration names, and show the page until Ctrl-C."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # it is read when gradio is imported
    datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False  # else it tells of each file that it opens
    from belvedere.demo.asking import ChartAsker
    from belvedere.demo.page import opened, page_of
    from belvedere.demo.prompting import Prompter

    quiet()
    logging.getLogger("httpx").setLevel(logging.WARNING)  # gradio asks itself whether it is there
    torch.set_float32_matmul_precision("highest")  # drafts are verified to the last bit
    if not isinstance(config.seed, int):
        raise BadInput("there is no seed", where="seed", remedy="give a number")
    device = device_of(config.device)
    config.checkpoint = checkpoint_of(config.checkpoint)
    prompter = Prompter(loaded(config, device), config.checkpoint, config.seed)
    asker = ChartAsker(config.reader, device)
    page, look = page_of(prompter, asker, Path(config.charts))
    opened(page, look, config.host, config.port)


if __name__ == "__main__":
    run_verb(serve, "demo", interrupted="the page is closed")
