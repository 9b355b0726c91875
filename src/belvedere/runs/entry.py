"""How a verb starts and ends: the configuration's resolvers, one line and code 2 for bad input."""

import os
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from belvedere.errors import BadInput

PROJECT = Path(__file__).resolve().parents[3]
BAD_INPUT = 2
INTERRUPTED = 130


def run_verb(main: Callable[[], None]) -> None:
    """Run a Hydra entry point; bad input ends with one line on stderr and exit code 2.

    With ``HYDRA_FULL_ERROR=1`` in the environment the traceback is shown instead.
    """
    register_resolvers()
    full_error = os.environ.get("HYDRA_FULL_ERROR", "") not in ("", "0")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises what it would print and swallow
    try:
        main()
    except (BadInput, HydraException, OmegaConfBaseException) as error:
        if full_error:
            raise
        print(f"error: {explain(error)}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except KeyboardInterrupt:
        print("interrupted: continue with the same command and resume=true", file=sys.stderr)
        sys.exit(INTERRUPTED)


def explain(error: BaseException) -> str:
    """The error in one line, with the cause that a wrapper hides.

    Hydra wraps what an instantiated class raises: the line that helps is the innermost one.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, BadInput):
        cause = cause.__cause__ or cause.__context__
    text = str(cause or error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "; ".join(line for line in lines if not line.startswith(("provider=", "full_key:")))


def register_resolvers() -> None:
    """Make ``${project:PATH}`` and ``${run_dir:RUNS,NAME,RESUME}`` known to the configuration."""
    OmegaConf.register_new_resolver("project", lambda path: str(PROJECT / path), replace=True)
    OmegaConf.register_new_resolver("run_dir", choose_run_dir, replace=True, use_cache=True)


def choose_run_dir(runs: str, name: str, resume: bool) -> str:
    """``RUNS/NAME/DATE``, or the folder of the latest run where that one is resumed."""
    latest = Path(runs) / name / "latest"
    if resume is True:
        if not latest.exists():
            raise BadInput(
                "there is no run to resume", where=str(latest), remedy="start without resume=true"
            )
        return str(latest.resolve())
    return str(Path(runs) / name / datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f"))
