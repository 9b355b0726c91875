"""Train: ``python train.py experiment=NAME [scale=...] [any Hydra override]``."""

from belvedere.runs.entry import run_configured, run_verb

if __name__ == "__main__":
    run_verb(run_configured, "train")
