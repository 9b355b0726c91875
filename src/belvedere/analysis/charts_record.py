"""Keeps what the charts' notebook needs of a run as small files that ship.

The command is ``python -m belvedere.analysis.charts_record RUN FOLDER``.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from belvedere.analysis.charts import read_answers
from belvedere.analysis.record import without_paths
from belvedere.errors import told_in_one_line
from belvedere.metrics.chart_tasks import Answered
from belvedere.runs.chart_answers import ANSWERS, WITHOUT

REPORT = "report.json"


def record(run: Path, folder: Path) -> list[Path]:
    """Write a run's answers as Parquet files, and its report beside them.

    Args:
        run: the folder of a run of train.py or evaluate.py with charts.
        folder: made if it is not there; its files are written over.

    Returns:
        The files.

    Raises:
        BadInput: the run has no answers, or broken ones.
    """
    answers = read_answers(run)
    folder.mkdir(parents=True, exist_ok=True)
    files = [
        _write(found, (folder / name).with_suffix(".parquet"))
        for name, found in ((ANSWERS, answers.charts), (WITHOUT, answers.without))
    ]
    report = folder / REPORT
    text = (run / REPORT).read_text(encoding="utf-8")
    report.write_text(without_paths(text), encoding="utf-8")
    return [*files, report]


def _write(answered: Sequence[Answered], file: Path) -> Path:
    pq.write_table(
        pa.Table.from_pylist([asdict(one) for one in answered]), file, compression="zstd"
    )
    return file


@told_in_one_line()
def main() -> None:
    """Keep what a notebook needs of a run of a chart reader."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    for file in record(args.run, args.folder):
        print(f"{file}: {file.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
