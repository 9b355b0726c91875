"""``report.json`` for programs and ``report.md`` for people."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from belvedere.runs.figures import draw_positions, write_figures

METRICS = {
    "loss": ("loss", "{:.3f}"),
    "perplexity": ("perplexity", "{:.2f}"),
    "kl_to_full": ("KL to full", "{:.4f}"),
    "agreement": ("agreement", "{:.1%}"),
    "exact_match": ("exact match", "{:.1%}"),
    "exact_match_official": ("official EM", "{:.1%}"),
    "f1": ("F1", "{:.1%}"),
    "rouge_l": ("ROUGE-L", "{:.1%}"),
}
"""How tables call and show each metric that a report may have."""

CHANGES = ("loss", "exact_match", "f1", "rouge_l")
"""What is said of a full model beside the one that it is measured against."""


def write_report(
    report: dict[str, Any],
    run_dir: Path,
    samples: dict[str, list[str]],
    drawn: Mapping[str, Figure],
) -> None:
    """Write the report and its figures into the run's folder, and print the table.

    Args:
        report: of the run.
        run_dir: its folder.
        samples: texts of the sub-models, by prompt.
        drawn: figures of its sub-models, by name.
    """
    positions = report.get("kl_by_position")
    if positions:
        drawn = {**drawn, "kl_by_position": draw_positions(positions["submodels"])}
    figures = write_figures(drawn, run_dir / "figures")
    lines = [
        *table(report["submodels"]),
        "",
        *(f"![{figure.stem.replace('_', ' ')}](figures/{figure.name})" for figure in figures),
        "",
        *facts(report),
        *against_reference(report),
        "",
        *(["## Samples", "", *sample_lines(samples)] if samples else []),
    ]
    publish(report, run_dir, lines, [*table(report["submodels"]), *against_reference(report)])


def publish(report: dict[str, Any], run_dir: Path, lines: list[str], shown: list[str]) -> None:
    """Write ``report.json`` and, under a heading, ``report.md``; print what is to be shown."""
    (run_dir / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    trained = f" ({report['scale']}, seed {report['seed']})" if "scale" in report else ""
    text = "\n".join([f"# {report['experiment']}{trained}", "", *lines])
    (run_dir / "report.md").write_text(text + "\n", encoding="utf-8")
    print("\n".join(["", *shown, "", f"report: {run_dir / 'report.md'}"]))


def table(submodels: list[dict[str, Any]]) -> list[str]:
    """The sub-models as lines of a Markdown table, exits beside the baselines of their depth."""
    shown = [metric for metric in METRICS if metric in submodels[0]["metrics"]]
    titles = [METRICS[metric][0] for metric in shown]
    speeds = ["decode tok/s", "speed-up", "prefill speed-up"]
    cells = [["sub-model", "method", "layers", *titles, *speeds, "trained"]]
    for row in submodels:
        cells.append(
            [
                row["name"],
                row["method"],
                str(row["layers"]),
                *(METRICS[metric][1].format(row["metrics"][metric]) for metric in shown),
                f"{row['tokens_per_second']:.0f}",
                f"{row['speedup']:.2f}x",
                f"{row['prefill_speedup']:.2f}x",
                f"{row['trained_parameters']:,}",
            ]
        )
    return aligned(cells)


def aligned(cells: list[list[str]]) -> list[str]:
    """Rows of cells, the first of them headings, as lines of a Markdown table."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |"
        for line in cells
    ]
    return [lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]]


def steps_of(report: dict[str, Any]) -> str:
    """The steps of a run, with those that it ended before and that it passed over."""
    steps, planned, skipped = (report[f"{key}steps"] for key in ("", "planned_", "skipped_"))
    told = f"{steps} steps"
    if steps < planned:
        told += f" of {planned}, ended by Ctrl-C"
    if skipped:
        told += f" ({skipped} without effect, as the loss was no finite number)"
    return told


def loop_line(report: dict[str, Any]) -> str:
    """How well the training used its time, and its packed rows where there were any."""
    told = f"- {report['waiting']:.1%} of the training time was waiting for data"
    if packing := report["packing"]:
        told += (
            f"; {packing['tokens']:.1%} of the places in packed rows held a token, "
            f"{packing['learned']:.1%} carried a loss"
        )
    return told


def facts(report: dict[str, Any]) -> list[str]:
    """What was trained on what, and whether the backbone stayed as it was."""
    backbone, data = report["backbone"], report["data"]
    same = backbone["sha256_before"] == backbone["sha256_after"]
    return [
        f"- {steps_of(report)}, {report['tokens_seen']:,} tokens in "
        f"{report['training_seconds']:.0f} s of training, "
        f"{report['seconds']:.0f} s since it was last started, precision {report['precision']}",
        loop_line(report),
        f"- data: {data['name']}, {data['test_tokens']:,} test tokens; "
        f"{data['truncated']} documents cut, {data['empty']} empty, "
        + (f"{data['too_long']} with a prompt longer than a row, " if "too_long" in data else "")
        + f"{data['padding']:.2%} padding",
        *(
            [
                f"- {data['answered']} prompts answered by every sub-model, greedily: `answers/`; "
                f"{data['prompts_too_long']} were too long for the context"
            ]
            if data.get("answered")
            else []
        ),
        f"- backbone: {backbone['name']}, {backbone['layers']} layers, "
        f"{backbone['parameters']:,} parameters, "
        + ("unchanged bit for bit" if same else "changed by this run")
        + f" (sha256 {backbone['sha256_after'][:16]}…)",
    ]


def against_reference(report: dict[str, Any]) -> list[str]:
    """How the full model differs from that of the run it is measured against, as one line."""
    reference = report.get("reference")
    if not reference:
        return []
    if reference["metrics"] is None:
        return [
            f"- full model against {reference['experiment']}: not trained yet, "
            f"`python train.py experiment={reference['experiment']}`"
        ]
    if any(report["data"].get(key) != value for key, value in reference["data"].items()):
        return [f"- full model against {reference['run']}: not compared, its data are others"]
    (full,) = [row["metrics"] for row in report["submodels"] if row["name"] == "full"]
    changes = []
    for metric in CHANGES:
        if metric in full and metric in reference["metrics"]:
            title, form = METRICS[metric]
            gain = change(metric, full, reference["metrics"])
            changes.append(f"{title} {form.format(full[metric])} ({gain})")
    return [
        f"- full model against {reference['run']} (seed {reference['seed']}): {', '.join(changes)}"
    ]


def change(metric: str, ours: dict[str, float], theirs: dict[str, float]) -> str:
    """The difference of a metric with its sign, in the form of tables."""
    return METRICS[metric][1].replace("{:", "{:+").format(ours[metric] - theirs[metric])


def sample_lines(samples: dict[str, list[str]]) -> list[str]:
    """What each sub-model wrote, prompt by prompt."""
    lines = []
    for name, texts in samples.items():
        lines.append(f"- **{name}**: " + " / ".join(f"`{text.strip()[:120]!r}`" for text in texts))
    return lines
