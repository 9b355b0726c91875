"""Train: ``python train.py experiment=NAME [scale=...] [any Hydra override]``."""

from omegaconf import DictConfig

from belvedere.runs.entry import run_verb


def train(config: DictConfig) -> None:
    """Train, evaluate and report the experiment that ``config`` describes."""
    from hydra.utils import get_method  # after Hydra has accepted the command line

    get_method(config.run)(config)


if __name__ == "__main__":
    run_verb(train, "train")
