"""Write: ``python generate.py checkpoint=RUN_OR_FOLDER prompt="…" [decoding=speculative]``."""

from belvedere.runs.entry import run_configured, run_verb

if __name__ == "__main__":
    run_verb(run_configured, "generate", interrupted="nothing more was written", texts=("prompt",))
