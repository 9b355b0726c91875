"""How a verb starts and ends: the configuration's resolvers, one line and code 2 for bad input."""

import errno
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from belvedere.errors import BAD_INPUT, BadInput, first_line

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
SWEEPS = "sweeps"
FAILURE = "error.txt"
"""In the folder of a sweep's run that has failed: why, in one line."""


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

    main = hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=config_name)
    with one_line(full_error, interrupted):
        main(Job(verb, full_error, interrupted))()


@dataclass(frozen=True)
class Job:
    """A verb as Hydra calls it, here or in another process, to which a launcher sends it.

    Errors of the verb are met within: outside, Hydra has added a line of its own.
    """

    verb: Callable[[DictConfig], object]
    full_error: bool
    interrupted: str

    def __call__(self, config: DictConfig) -> None:
        """Run the verb, in a sweep as one of many."""
        with one_line(self.full_error, self.interrupted):
            if not in_sweep():
                self.verb(config)
                return
            with fails_alone(self.full_error, self.interrupted), as_command(config):
                self.verb(config)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A process that is sent the job reads the configuration next."""
        register_resolvers()
        self.__dict__.update(state)


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
    except KeyboardInterrupt:
        print(f"interrupted: {interrupted}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        line = line_of(error, interrupted)
        if full_error or line is None:
            raise
        print(f"error: {line}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    finally:
        threading.excepthook = usual
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


def line_of(error: Exception, interrupted: str) -> str | None:
    """The one line for an error that a person can do something about; None for any other."""
    if isinstance(error, BadInput | HydraException | OmegaConfBaseException):
        return explain(error)
    remedy = OF_THE_DISK.get(error.errno or 0) if isinstance(error, OSError) else None
    if not isinstance(error, OSError) or remedy is None:
        return None
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror}; {remedy}; {interrupted}"


def in_sweep() -> bool:
    """Whether this is a run of a sweep that `belvedere.runs.sweeps.Sweep` ends."""
    if not HydraConfig.initialized():
        return False
    chosen = HydraConfig.get()
    return chosen.mode is RunMode.MULTIRUN and "sweep" in chosen.callbacks


@contextmanager
def fails_alone(full_error: bool, interrupted: str) -> Iterator[None]:
    """Let a run of a sweep fail without the others: what is wrong is told, and kept for the end."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    (folder / FAILURE).unlink(missing_ok=True)
    try:
        yield
    except Exception as error:
        line = line_of(error, interrupted)
        if full_error or line is None:
            traceback.print_exc()
        line = line or f"{type(error).__name__}: {first_line(error)}"
        print(f"error: run {folder.name}: {line}", file=sys.stderr)
        (folder / FAILURE).write_text(f"{line}\n", encoding="utf-8")


@contextmanager
def as_command(config: DictConfig) -> Iterator[None]:
    """Let a run of a sweep be as if a command had started it alone.

    By its command line Lightning starts a run's other processes, and takes those that the
    environment tells of for started. What a run leaves of both the next one must not see.
    """
    arguments, environment = sys.argv, dict(os.environ)
    run_dir = quoted(f"run_dir={config.run_dir}", ["run_dir"])
    sys.argv = [arguments[0], *HydraConfig.get().overrides.task, run_dir]
    try:
        yield
    finally:
        sys.argv = arguments
        os.environ.clear()
        os.environ.update(environment)
        distributed = sys.modules.get("torch.distributed")
        if distributed is not None and distributed.is_initialized():
            distributed.destroy_process_group()


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
    if isinstance(error, MissingConfigException) and "/launcher/" in (error.missing_cfg_file or ""):
        lines.append("pip install -e '.[sweeps]' brings the launchers of sweeps")
    return "; ".join(line for line in lines if not line.startswith(("provider=", "full_key:")))


def register_resolvers() -> None:
    """Make ``${project:PATH}``, ``${run_dir:RUNS,NAME,RESUME}``, ``${sweep_dir:RUNS,RESUME}``,
    ``${if_new:INIT,A,B}`` and ``${unless:GIVEN,DEFAULT}`` known to the configuration."""
    OmegaConf.register_new_resolver("project", lambda path: str(PROJECT / path), replace=True)
    OmegaConf.register_new_resolver("run_dir", choose_run_dir, replace=True, use_cache=True)
    OmegaConf.register_new_resolver("sweep_dir", choose_sweep_dir, replace=True, use_cache=True)
    OmegaConf.register_new_resolver("if_new", if_new, replace=True)
    OmegaConf.register_new_resolver("unless", unless, replace=True)


def if_new(init: str, new: Any, trained: Any) -> Any:
    """``new`` for a chart reader that begins with random weights, else ``trained``."""
    from belvedere.unichart.config import SIZES  # with torch, which most configurations never need

    return new if init in SIZES else trained


def unless(given: Any, default: str) -> str | None:
    """``default`` where nothing is given that takes its place, such as a path for a hub's set."""
    return default if given is None else None


def choose_run_dir(runs: str, name: str, resume: bool) -> str:
    """A run's folder: ``RUNS/NAME/DATE``, or of a sweep's run its own one in the sweep's.

    Processes that `torchrun` has started, and starts anew, know no common date, but an id.

    Raises:
        BadInput: `torchrun` was given none, or there is no run to resume.
    """
    if in_sweep():
        return str(HydraConfig.get().runtime.output_dir)
    job = os.environ.get("TORCHELASTIC_RUN_ID")
    if job is None:
        return dated(Path(runs) / name, resume)
    if job == "none":
        raise BadInput(
            "torchrun has no id, by which all processes choose one folder",
            where="run_dir",
            remedy="give torchrun --rdzv_id=ID, or name a run_dir",
        )
    return str(Path(runs) / name / job)


def choose_sweep_dir(runs: str, resume: bool) -> str:
    """A sweep's folder: ``RUNS/sweeps/DATE``."""
    return dated(Path(runs) / SWEEPS, resume)


def dated(folder: Path, resume: bool) -> str:
    """``FOLDER/DATE``, or where ``FOLDER/latest`` points to if that is resumed."""
    latest = folder / "latest"
    if resume is True:
        if not latest.exists():
            raise BadInput(
                "there is no run to resume", where=str(latest), remedy="start without resume=true"
            )
        return str(latest.resolve())
    return str(folder / datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f"))
