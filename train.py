"""Train: ``python train.py experiment=NAME [scale=...] [any Hydra override]``."""

from omegaconf import DictConfig

from belvedere.runs.entry import run_verb


def train(config: DictConfig) -> None:
    """Train, evaluate and report the experiment that ``config`` describes."""
    from belvedere.runs import training  # after Hydra has accepted the command line

    training.train(config)


if __name__ == "__main__":
    run_verb(train, "train")
