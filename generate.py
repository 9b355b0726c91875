"""Write: ``python generate.py checkpoint=RUN_OR_FOLDER prompt="…" [decoding=speculative]``."""

from omegaconf import DictConfig

from belvedere.runs.entry import run_verb


def generate(config: DictConfig) -> None:
    """Answer the prompts that ``config`` names."""
    from hydra.utils import get_method  # after Hydra has accepted the command line

    get_method(config.run)(config)


if __name__ == "__main__":
    run_verb(generate, "generate", interrupted="nothing more was written", texts=("prompt",))
