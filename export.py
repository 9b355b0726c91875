"""Export: ``python export.py checkpoint=RUN_OR_FOLDER exit=K|full output=FOLDER``."""

from omegaconf import DictConfig

from belvedere.runs.entry import run_verb


def export(config: DictConfig) -> None:
    """Write the sub-model that ``config`` names."""
    from hydra.utils import get_method  # after Hydra has accepted the command line

    get_method(config.run)(config)


if __name__ == "__main__":
    run_verb(export, "export", interrupted="the folder is not whole; remove it and start again")
