"""How a verb starts and ends: the configuration's resolvers, one line and code 2 for bad input."""

import errno
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from belvedere.errors import BAD_INPUT, BadInput

PROJECT = Path(__file__).resolve().parents[3]
CONFIGS = PROJECT / "configs"
INTERRUPTED = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""What ends a program from outside."""
OF_THE_DISK = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EFBIG: "free some space",
    errno.EROFS: "choose another folder",
    errno.EACCES: "choose another folder",
}
"""What to do about errors that any file may meet with."""
GO_ON = "continue with the same command and resume=true"


def run_verb(
    verb: Callable[[DictConfig], object],
    config_name: str,
    interrupted: str = GO_ON,
    texts: Sequence[str] = (),
) -> None:
    """Run a verb on the configuration of the command line; bad input ends with exit code 2.

    It is then told in one line on stderr; with ``HYDRA_FULL_ERROR=1`` in the environment the
    traceback is shown instead.

    Args:
        verb: what to do.
        config_name: the file in ``configs/`` that the command line completes.
        interrupted: what to do after Ctrl-C.
        texts: keys whose values are free text: no need to escape it for Hydra on the command line.
    """
    register_resolvers()
    sys.argv[1:] = [quoted(argument, texts) for argument in sys.argv[1:]]
    full_error = os.environ.get("HYDRA_FULL_ERROR", "") not in ("", "0")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises what it would print and swallow

    # Errors of the verb are met within the job: outside, Hydra has added a line of its own.
    def job(config: DictConfig) -> None:
        with one_line(full_error, interrupted):
            verb(config)

    main = hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=config_name)
    with one_line(full_error, interrupted):
        main(job)()


def run_configured(config: DictConfig) -> None:
    """Run what the configuration names as ``run``."""
    from hydra.utils import get_method  # after Hydra has accepted the command line

    get_method(config.run)(config)


def quoted(argument: str, texts: Sequence[str]) -> str:
    """An argument of the command line, ``key=value``, with free text as Hydra wants it."""
    key, equals, value = argument.partition("=")
    if not equals or key not in texts or value == "null":
        return argument
    # Backslashes mean themselves, but before a quote.
    value = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + found[2].replace("'", "\\'"), value)
    value = value.replace("${", "\\${")
    return f"{key}='{value}'"


@contextmanager
def one_line(full_error: bool, interrupted: str) -> Iterator[None]:
    """End the program with one line and a code for bad input, a full disk, or Ctrl-C.

    What listens to signals within is not listening any more afterwards.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    usual, threading.excepthook = threading.excepthook, _told_later
    try:
        yield
    except (BadInput, HydraException, OmegaConfBaseException) as error:
        if full_error:
            raise
        print(f"error: {explain(error)}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except KeyboardInterrupt:
        print(f"interrupted: {interrupted}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except OSError as error:
        remedy = OF_THE_DISK.get(error.errno or 0)
        if full_error or remedy is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror}; {remedy}; {interrupted}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    finally:
        threading.excepthook = usual
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


def _told_later(args: threading.ExceptHookArgs) -> None:
    """Say nothing of a full disk in a thread: TensorBoard's writer raises it again where it is
    written to."""
    if not (isinstance(args.exc_value, OSError) and args.exc_value.errno in OF_THE_DISK):
        threading.__excepthook__(args)


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
    """Make ``${project:PATH}``, ``${run_dir:RUNS,NAME,RESUME}`` and ``${if_new:INIT,A,B}`` known to
    the configuration."""
    OmegaConf.register_new_resolver("project", lambda path: str(PROJECT / path), replace=True)
    OmegaConf.register_new_resolver("run_dir", choose_run_dir, replace=True, use_cache=True)
    OmegaConf.register_new_resolver("if_new", if_new, replace=True)


def if_new(init: str, new: Any, trained: Any) -> Any:
    """``new`` for a chart reader that begins with random weights, else ``trained``."""
    from belvedere.unichart.config import SIZES  # with torch, which most configurations never need

    return new if init in SIZES else trained


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
