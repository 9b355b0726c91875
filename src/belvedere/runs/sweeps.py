"""What a sweep is beside its runs: what each has set, which failed, and one comparison of all."""

import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from belvedere.errors import BAD_INPUT, BadInput
from belvedere.runs.entry import FAILURE, GO_ON, SWEEPS, one_line

HYDRA = ".hydra"
"""In a run's folder: what Hydra keeps of its command line."""
Settings = Mapping[str, str]
NO_SETTINGS = ("seed", "runs", "run_dir", "resume", "launcher")
"""What runs of one kind may differ in: a comparison takes the mean over them."""


def settings_of(folder: Path) -> Settings:
    """What the command line of a run has set, by key; empty where Hydra has kept none."""
    file = folder / HYDRA / "overrides.yaml"
    if not file.exists():
        return {}
    pairs = [str(override).lstrip("+").partition("=") for override in OmegaConf.load(file)]
    return {key: value for key, _, value in pairs}


def varying(settings: Sequence[Settings], ignored: tuple[str, ...] = ()) -> list[str]:
    """The keys that several runs have not all set to the same.

    Args:
        settings: of each run.
        ignored: beginnings of keys that are not looked at.
    """
    keys = dict.fromkeys(key for one in settings for key in one if not key.startswith(ignored))
    return [key for key in keys if len({one.get(key) for one in settings}) > 1]


def told(settings: Settings, keys: Iterable[str]) -> list[str]:
    """What a run has set some keys to, such as ``lr=1e-3``, by the last part of each key."""
    return [f"{key.rpartition('.')[2]}={settings[key]}" for key in keys if key in settings]


@dataclass(frozen=True)
class Failure:
    """A run that has failed in a sweep.

    Attributes:
        run: its number.
        settings: what it has set otherwise than other runs of the sweep.
        line: what was wrong.
    """

    run: str
    settings: list[str]
    line: str


def failures(places: Iterable[Path]) -> list[Failure]:
    """The runs that have failed in the sweeps at or below the given places."""
    found = []
    for file in dict.fromkeys(file for place in places for file in sorted(place.rglob(FAILURE))):
        run = file.parent
        settings = [settings_of(one) for one in run.parent.iterdir() if (one / HYDRA).exists()]
        line = file.read_text(encoding="utf-8").strip()
        found.append(Failure(run.name, told(settings_of(run), varying(settings)), line))
    return found


class Sweep(Callback):
    """What Hydra is to do before and after the runs of a sweep, wherever a launcher runs them."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Refuse what would overwrite another sweep, and let ``latest`` point to this one."""
        from belvedere.runs.checkpoints import link  # with torch, which a sweep needs now only

        with one_line(False, GO_ON):
            folder = Path(config.hydra.sweep.dir)
            if not config.resume and any(folder.glob("*/checkpoints")):
                raise BadInput(
                    "runs are there already",
                    where=str(folder),
                    remedy="choose another hydra.sweep.dir, or resume=true",
                )
            if "Slurm" in config.hydra.launcher._target_ and shutil.which("srun") is None:
                raise BadInput(
                    "there is no Slurm on this machine (no srun)",
                    where="launcher",
                    remedy="start the sweep where sbatch works, or with launcher=joblib",
                )
            link(Path(config.runs) / SWEEPS / "latest", folder)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Compare the runs in the sweep's folder; exit code 2 if any has failed."""
        folder = Path(config.hydra.sweep.dir)
        failed = failures([folder])
        if failed or any(folder.glob("*/report.json")):
            from belvedere.runs.compare import compare_sweep  # with all that draws figures

            with one_line(False, GO_ON):
                compare_sweep(folder)
        if failed:
            numbers = ", ".join(one.run for one in failed)
            print(
                f"error: {len(failed)} of the sweep's runs failed ({numbers}); "
                f"{folder / 'comparison.md'} says why",
                file=sys.stderr,
            )
            sys.exit(BAD_INPUT)
