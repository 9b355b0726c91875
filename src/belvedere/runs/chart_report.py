"""The report of a run of a chart reader, for programs and for people."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from belvedere.metrics.chart_tasks import HEADLINE
from belvedere.runs.chart_figures import write_depth_figures
from belvedere.runs.report import aligned, loop_line, publish, steps_of

SHOWN = {
    "texts_f1": ("texts read, F1", "{:.1%}"),
    "rms_f1": ("RMS-F1", "{:.1f}"),
    "rnss": ("RNSS", "{:.1f}"),
    "element_f1": ("element F1", "{:.1%}"),
    "element_f1_strict": ("with value", "{:.1%}"),
    "relaxed_accuracy": ("relaxed accuracy", "{:.1%}"),
    "relaxed_accuracy_strict": ("strict", "{:.1%}"),
    "bleu": ("BLEU", "{:.1f}"),
    "rouge_l": ("ROUGE-L", "{:.1%}"),
}
"""How tables call and show each measure."""

BESIDE: dict[str, tuple[str, ...]] = {"table": ("rnss",)}
"""What the table of kinds shows beside a task's headline measure."""
CAPTIONS = {
    "charts": "charts that were read",
    "elements": "visual elements that were found, over those that are there",
    "learning_curves": "losses while it was trained",
    "quality_against_depth": "quality against depth",
    "quality_against_speed": "quality against speed",
}
"""What stands for each figure where it cannot be seen, by the name of its file."""

BASELINES = {
    "blank image": "the same reader before a white page",
    "another chart": "the same reader before the picture of another one",
    "typical answer": "the training answer that fits most questions of the task",
}
"""What the columns of baselines are."""


def write_report(report: dict[str, Any], run_dir: Path, pictures: list[Path]) -> None:
    """Write ``report.json`` and ``report.md`` of a training run, and print the table of tasks."""
    submodels = report["submodels"]
    several = len(submodels) > 1
    if several:
        pictures = [*pictures, *write_depth_figures(submodels, run_dir / "figures")]
    tasks = task_table({"test": report})
    depths = ["", *depth_table(submodels)] if several else []
    lines = [
        *tasks,
        *kind_table({"test": report}),
        *abstention_table(report["abstention"]),
        *depths,
        "",
        *picture_lines(pictures, run_dir),
        f"- {steps_of(report)}, {report['images_seen']:,} pictures and "
        f"{report['tokens_seen']:,} tokens in {report['training_seconds']:.0f} s of training, "
        f"{report['seconds']:.0f} s since it was last started, precision {report['precision']}",
        loop_line(report),
        data_line(report["data"]),
        *_losses(report["validation_losses"]),
        *_letters(report["letters_read"]),
        *_too_long(report),
        reader_line(report["reader"]),
        baseline_line(report),
        *(
            [
                "- sub-models: the decoder's first layers with its norm and head; answers per "
                "second of generation alone, the median of rounds in which the depths take turns"
            ]
            if several
            else []
        ),
    ]
    publish(report, run_dir, lines, [*tasks, *depths])


def write_evaluation(report: dict[str, Any], run_dir: Path, pictures: list[Path]) -> None:
    """Write ``report.json`` and ``report.md`` of an evaluation, and print its tables."""
    splits = report["splits"]
    parts = splits | {"all": report} if len(splits) > 1 else splits
    tables = [
        *task_table(parts),
        *kind_table(parts),
        *abstention_table(report["abstention"]),
    ]
    notes = [f"- {note}" for note in report["notes"]]
    beams = report["beams"]
    lines = [
        *tables,
        "",
        *picture_lines(pictures, run_dir),
        f"- answered {'greedily' if beams == 1 else f'by beam search of {beams}'} in "
        f"{report['seconds']:.0f} s, precision {report['precision']}: `answers.jsonl`",
        *(data_line(data, split) for split, found in splits.items() for data in found["data"]),
        *notes,
        *_too_long(report),
        reader_line(report["reader"]),
        *(reader_line(facts, name) for name, facts in report["rivals"].items()),
        baseline_line(report),
    ]
    publish(report, run_dir, lines, [*tables, *([""] if notes else []), *notes])


def picture_lines(pictures: list[Path], run_dir: Path) -> list[str]:
    """The figures of a report, and a blank line."""
    return [*(f"![{CAPTIONS[file.stem]}]({file.relative_to(run_dir)})" for file in pictures), ""]


def data_line(data: dict[str, Any], split: str = "") -> str:
    """The data with their sizes and what was left out; nothing of splits that were not opened."""
    parts = [f"{data['name']}, {split}" if split else data["name"]]
    for key, what in (
        ("charts", "training charts"),
        ("test_charts", "test charts"),
        ("without_answer", "records without an answer left out"),
        ("truncated", "texts cut in training at the decoder's limit"),
        ("test_pictures_in_train", "test pictures that were trained on"),
    ):
        if data.get(key):
            parts.append(f"{data[key]:,} {what}")
    return f"- data: {', '.join(parts)}"


def reader_line(reader: dict[str, Any], name: str = "reader") -> str:
    """A reader with its size and that of its pages."""
    height, width = reader["image_size"]
    return (
        f"- {name}: {reader['name']}, {reader['parameters']:,} parameters, pictures of "
        f"{width} x {height} pixels"
    )


def _losses(losses: Mapping[str, float]) -> list[str]:
    told = ", ".join(f"{task} {loss:.3f}" for task, loss in losses.items())
    return [f"- validation loss a token at the end: {told}"] if told else []


def baseline_line(scores: Mapping[str, Any]) -> str:
    """What the baselines that were measured are."""
    told = [f"*{name}*: {what}" for name, what in BASELINES.items() if name in scores["baselines"]]
    return f"- {'; '.join(told)}"


def _too_long(scores: Mapping[str, Any]) -> list[str]:
    lines = {
        "unfinished": "answers did not come to their end within `model.new_tokens`",
        "cut": "questions were cut, as the decoder takes no longer ones",
    }
    return [f"- {scores[key]:,} {what}" for key, what in lines.items() if scores[key]]


def _letters(share: float | None) -> list[str]:
    return [] if share is None else [f"- {share:.1%} of the letters of the test charts are read"]


def task_table(parts: Mapping[str, dict[str, Any]]) -> list[str]:
    """Each task's measures beside those of the baselines.

    Args:
        parts: scores (see `belvedere.runs.chart_answers.Outcome`) by the name of their split, which
            is told where there are several.
    """
    baselines = _baselines(parts)
    cells = [["split", "task", "measure", "reader", *baselines, "asked"]]
    for split, scores in parts.items():
        others = [scores["baselines"].get(name, {}) for name in baselines]
        for task, measures in scores["tasks"].items():
            for measure, (title, _) in SHOWN.items():
                if measure in measures:
                    found = [_cell(one, task, measure) for one in (scores["tasks"], *others)]
                    cells.append([split, task, title, *found, str(measures["n"])])
    return aligned(cells if len(parts) > 1 else [row[1:] for row in cells])


def kind_table(parts: Mapping[str, dict[str, Any]]) -> list[str]:
    """Each task's headline measure, and both of tables, for each kind of chart or questions.

    Args:
        parts: as of `task_table`.

    Returns:
        A table after a line that says what its brackets are; nothing where there are no kinds.
    """
    baselines = _baselines(parts)
    named = [(split, kind) for split, scores in parts.items() for kind in scores["kinds"]]
    tasks = [task for task in HEADLINE if any(task in parts[s]["kinds"][kind] for s, kind in named)]
    shown = [(task, one) for task in tasks for one in (HEADLINE[task], *BESIDE.get(task, ()))]
    titles = [f"{task}, {SHOWN[measure][0]}" for task, measure in shown]
    cells = [["split", "charts", *titles]]
    for split, kind in named:
        scores = parts[split]
        others = [scores["baselines_by_kind"].get(name, {}).get(kind, {}) for name in baselines]
        row = [split, kind]
        for task, measure in shown:
            own, *rest = (_cell(one, task, measure) for one in (scores["kinds"][kind], *others))
            row.append(f"{own} ({', '.join(rest)})")
        cells.append(row)
    if not named:
        return []
    table = aligned(cells if len(parts) > 1 else [row[1:] for row in cells])
    return ["", f"By kind, in brackets {' and '.join(baselines)}:", "", *table]


def abstention_table(abstentions: Mapping[str, dict[str, float]]) -> list[str]:
    """How often the reader says ``no chart``, and how sure it is of its answers.

    Args:
        abstentions: of `belvedere.runs.chart_answers.Outcome`.

    Returns:
        A blank line and a table; no line where nothing was measured.
    """
    if not abstentions:
        return []
    cells = [["pictures", 'answered "no chart"', "mean confidence", "asked"]]
    for kind, found in abstentions.items():
        share, sure = f"{found['no_chart']:.0%}", f"{found['confidence']:.2f}"
        cells.append([kind, share, sure, f"{found['n']:.0f}"])
    return ["", *aligned(cells)]


def _baselines(parts: Mapping[str, dict[str, Any]]) -> list[str]:
    """The names of all baselines, in order."""
    return list(dict.fromkeys(name for scores in parts.values() for name in scores["baselines"]))


def _cell(scores: Mapping[str, Mapping[str, float]], task: str, measure: str) -> str:
    """A measure in its form, or a dash where the task was not asked."""
    return SHOWN[measure][1].format(scores[task][measure]) if task in scores else "-"


def depth_table(submodels: list[dict[str, Any]]) -> list[str]:
    """The reader of each depth: the headline measure of each task beside size and speed."""
    tasks = [task for task in HEADLINE if task in submodels[0]["tasks"]]
    titles = [f"{task}, {SHOWN[HEADLINE[task]][0]}" for task in tasks]
    cells = [["sub-model", "layers", "decoder", *titles, "answers/s", "range", "speed-up"]]
    for row in submodels:
        measures = [(HEADLINE[task], row["tasks"][task][HEADLINE[task]]) for task in tasks]
        cells.append(
            [
                row["name"],
                str(row["layers"]),
                f"{row['parameters']:,}",
                *(SHOWN[measure][1].format(value) for measure, value in measures),
                f"{row['answers_per_second']:.1f}",
                "{:.1f} to {:.1f}".format(*row["answers_range"]),
                f"{row['speedup']:.2f}x",
            ]
        )
    return aligned(cells)
