"""Export: ``python export.py checkpoint=RUN_OR_FOLDER exit=K|full output=FOLDER``."""

from belvedere.runs.entry import run_configured, run_verb

if __name__ == "__main__":
    run_verb(
        run_configured, "export", interrupted="the folder is not whole; remove it and start again"
    )
