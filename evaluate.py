"""Evaluate: ``python evaluate.py checkpoint=RUN_OR_FOLDER data=NAME [any Hydra override]``."""

from omegaconf import DictConfig

from belvedere.runs.entry import run_verb


def evaluate(config: DictConfig) -> None:
    """Measure the checkpoint on the data that ``config`` names."""
    from hydra.utils import get_method  # after Hydra has accepted the command line

    get_method(config.run)(config)


if __name__ == "__main__":
    run_verb(evaluate, "evaluate", interrupted="nothing was measured; start again")
