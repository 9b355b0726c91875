"""Evaluate: ``python evaluate.py checkpoint=RUN_OR_FOLDER data=NAME [any Hydra override]``."""

from belvedere.runs.entry import run_configured, run_verb

if __name__ == "__main__":
    run_verb(run_configured, "evaluate", interrupted="nothing was measured; start again")
