"""The report of a run of a chart reader, for programs and for people."""

from pathlib import Path
from typing import Any

from belvedere.metrics.chart_tasks import HEADLINE
from belvedere.runs.chart_figures import write_depth_figures
from belvedere.runs.report import aligned, publish

SHOWN = {
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

CAPTIONS = {
    "charts": "charts that were read",
    "quality_against_depth": "quality against depth",
    "quality_against_speed": "quality against speed",
}
"""What stands for each figure where it cannot be seen, by the name of its file."""


def write_report(report: dict[str, Any], run_dir: Path, pictures: list[Path]) -> None:
    """Write ``report.json`` and ``report.md``, and print the table of tasks."""
    reader, data = report["reader"], report["data"]
    submodels = report["submodels"]
    if submodels:
        pictures = [*pictures, *write_depth_figures(submodels, run_dir / "figures")]
    lines = [
        *task_table(report),
        "",
        *([*kind_table(report), ""] if any(report["kinds"]) else []),
        *([*depth_table(submodels), ""] if submodels else []),
        *(f"![{CAPTIONS[file.stem]}]({file.relative_to(run_dir)})" for file in pictures),
        "",
        f"- {report['steps']} steps, {report['images_seen']:,} pictures and "
        f"{report['tokens_seen']:,} tokens in {report['training_seconds']:.0f} s of training, "
        f"{report['seconds']:.0f} s in all, precision {report['precision']}",
        f"- data: {data['name']}, {data['charts']:,} training charts, "
        f"{data['test_charts']:,} test charts",
        *_letters(report["letters_read"]),
        f"- reader: {reader['name']}, {reader['parameters']:,} parameters, pictures of "
        f"{reader['image_size'][1]} x {reader['image_size'][0]} pixels",
        "- *blank image*: the same reader before a white page; *typical answer*: the training "
        "answer that fits most questions of the task",
        *(
            [
                "- sub-models: the decoder's first layers with its norm and head; answers per "
                "second of generation alone, the median of rounds in which the depths take turns"
            ]
            if submodels
            else []
        ),
    ]
    shown = [*task_table(report), *(["", *depth_table(submodels)] if submodels else [])]
    publish(report, run_dir, lines, shown)


def _letters(share: float | None) -> list[str]:
    return [] if share is None else [f"- {share:.1%} of the letters of the test charts are read"]


def task_table(report: dict[str, Any]) -> list[str]:
    """Each task's measures beside those of the baselines."""
    baselines = report["baselines"]
    cells = [["task", "measure", "reader", *baselines, "asked"]]
    for task, scores in report["tasks"].items():
        for measure, (title, form) in SHOWN.items():
            if measure in scores:
                others = [form.format(one[task][measure]) for one in baselines.values()]
                cells.append([task, title, form.format(scores[measure]), *others, str(scores["n"])])
    return aligned(cells)


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


def kind_table(report: dict[str, Any]) -> list[str]:
    """Each task's headline measure for each kind of chart, and the blank image's in brackets."""
    tasks = [task for task in HEADLINE if task in report["tasks"]]
    cells = [["chart", *(f"{task}, {SHOWN[HEADLINE[task]][0]}" for task in tasks)]]
    blank = report["baselines_by_kind"]["blank image"]
    for kind, found in report["kinds"].items():
        row = [kind]
        for task in tasks:
            measure = HEADLINE[task]
            form = SHOWN[measure][1]
            row.append(
                f"{form.format(found[task][measure])} ({form.format(blank[kind][task][measure])})"
                if task in found
                else "-"
            )
        cells.append(row)
    return aligned(cells)
