"""Train: ``python train.py experiment=NAME [scale=...] [any Hydra override]``."""

import hydra
from omegaconf import DictConfig

from belvedere.runs.entry import run_verb


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def main(config: DictConfig) -> None:
    """Train, evaluate and report the experiment that ``config`` describes."""
    from belvedere.runs.training import train  # after Hydra has accepted the command line

    train(config)


if __name__ == "__main__":
    run_verb(main)
