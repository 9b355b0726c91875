"""``report.json`` for programs and ``report.md`` for people."""

import json
from pathlib import Path
from typing import Any

from belvedere.runs.figures import write_figures

HEADINGS = (
    "sub-model", "method", "layers", "loss", "perplexity", "KL to full", "agreement",
    "decode tok/s", "speed-up", "prefill speed-up", "trained",
)  # fmt: skip


def write_report(report: dict[str, Any], run_dir: Path, samples: dict[str, list[str]]) -> None:
    """Write the report and its figures into the run's folder, and print the table."""
    (run_dir / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    figures = write_figures(report["submodels"], run_dir / "figures")
    text = "\n".join(
        [
            f"# {report['experiment']} ({report['scale']}, seed {report['seed']})",
            "",
            *table(report["submodels"]),
            "",
            *(f"![{figure.stem.replace('_', ' ')}](figures/{figure.name})" for figure in figures),
            "",
            *facts(report),
            "",
            *(["## Samples", "", *sample_lines(samples)] if samples else []),
        ]
    )
    (run_dir / "report.md").write_text(text + "\n", encoding="utf-8")
    print("\n".join(["", *table(report["submodels"]), "", f"report: {run_dir / 'report.md'}"]))


def table(submodels: list[dict[str, Any]]) -> list[str]:
    """The sub-models as lines of a Markdown table, exits beside the baselines of their depth."""
    cells = [list(HEADINGS)]
    for row in submodels:
        metrics = row["metrics"]
        cells.append(
            [
                row["name"],
                row["method"],
                str(row["layers"]),
                f"{metrics['loss']:.3f}",
                f"{metrics['perplexity']:.2f}",
                f"{metrics['kl_to_full']:.4f}",
                f"{metrics['agreement']:.1%}",
                f"{row['tokens_per_second']:.0f}",
                f"{row['speedup']:.2f}x",
                f"{row['prefill_speedup']:.2f}x",
                f"{row['trained_parameters']:,}",
            ]
        )
    widths = [max(len(line[i]) for line in cells) for i in range(len(HEADINGS))]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |"
        for line in cells
    ]
    return [lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]]


def facts(report: dict[str, Any]) -> list[str]:
    """What was trained on what, and whether the backbone stayed as it was."""
    backbone, data = report["backbone"], report["data"]
    same = backbone["sha256_before"] == backbone["sha256_after"]
    return [
        f"- {report['steps']} steps, {report['tokens_seen']:,} tokens in "
        f"{report['training_seconds']:.0f} s of training, {report['seconds']:.0f} s in all, "
        f"precision {report['precision']}",
        f"- data: {data['name']}, {data['test_tokens']:,} test tokens; "
        f"{data['truncated']} documents cut, {data['empty']} empty, "
        f"{data['padding']:.2%} padding",
        f"- backbone: {backbone['name']}, {backbone['layers']} layers, "
        f"{backbone['parameters']:,} parameters, "
        + ("unchanged bit for bit" if same else "CHANGED by this run")
        + f" (sha256 {backbone['sha256_after'][:16]}…)",
    ]


def sample_lines(samples: dict[str, list[str]]) -> list[str]:
    """What each sub-model wrote, prompt by prompt."""
    lines = []
    for name, texts in samples.items():
        lines.append(f"- **{name}**: " + " / ".join(f"`{text.strip()[:120]!r}`" for text in texts))
    return lines
