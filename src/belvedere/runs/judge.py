"""Lets a judge compare the answers of two runs, and draws the heat map of the Sorted LLaMA paper.

The command is ``python -m belvedere.runs.judge RUN RIVAL [--judge NAME] [--output DIR]``. The judge
is ``reference``, which compares with the right answers, or a causal language model: a folder, or a
name on the hub such as ``WeOpenML/PandaLM-7B-v1``.
"""

import argparse
from pathlib import Path
from typing import Any

from belvedere.errors import BadInput, told_in_one_line
from belvedere.runs.answers import read_answers
from belvedere.runs.figures import draw_heat_map, save
from belvedere.runs.report import aligned
from belvedere.soft.judge import Judge, ModelJudge, Pair, ReferenceJudge, judge_score

Answered = dict[str, list[dict[str, Any]]]


def pairs_of(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> list[Pair]:
    """The answers of two sub-models to the same prompts, side by side.

    Raises:
        BadInput: they answered other prompts.
    """
    prompts = [[(a["question"], a["input"]) for a in answers] for answers in (ours, theirs)]
    if prompts[0] != prompts[1]:
        raise BadInput(
            "the two runs answered different prompts", remedy="give runs on the same data"
        )
    return [
        Pair(a["question"], a["input"], tuple(a["accepted"]), a["answer"], b["answer"])
        for a, b in zip(ours, theirs, strict=True)
    ]


def scores_of(judge: Judge, ours: Answered, theirs: Answered) -> dict[str, dict[str, float]]:
    """The judge's score of each of our sub-models against each of theirs, shallow ones first."""
    return {
        name: {rival: judge_score(judge, pairs_of(ours[name], theirs[rival]))
               for rival in in_order(theirs)}
        for name in in_order(ours)
    }  # fmt: skip


def in_order(answered: Answered) -> list[str]:
    """Sub-models by their number, the full model last; raw early exits are left out."""
    names = [name for name in answered if name.startswith("exit_")]
    names.sort(key=lambda name: int(name.removeprefix("exit_")))
    return [*names, *(["full"] if "full" in answered else [])]


def add_judge_options(parser: argparse.ArgumentParser) -> None:
    """The options that choose a judge."""
    parser.add_argument("--judge", default="reference", help="reference, or a model's name")
    parser.add_argument("--metric", default="rouge_l", help="of the reference judge")
    parser.add_argument("--margin", type=float, default=0.05, help="what is still a tie")
    parser.add_argument("--device", default="cpu", help="of a model that judges")


def chosen_judge(args: argparse.Namespace) -> Judge:
    """The judge of the command line. Raises `BadInput` if there is no such metric."""
    if args.judge == "reference":
        return ReferenceJudge(args.metric, args.margin)
    return ModelJudge(args.judge, device=args.device)


@told_in_one_line()
def main() -> None:
    """Compare the answers of two runs in pairs."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("rival", type=Path)
    parser.add_argument("--output", type=Path, default=Path("runs/judged"))
    add_judge_options(parser)
    args = parser.parse_args()
    judge = chosen_judge(args)
    found = [read_answers(place) for place in (args.run, args.rival)]
    for place, answered in zip((args.run, args.rival), found, strict=True):
        if not answered:
            raise BadInput(
                "no answers here", where=str(place), remedy="give the folder of a run with them"
            )
    scores = scores_of(judge, *found)
    args.output.mkdir(parents=True, exist_ok=True)
    names = args.run.parent.name, args.rival.parent.name
    figure = draw_heat_map(scores, *names, judge.name)
    save(figure, args.output / "heat_map.png")
    rivals = list(next(iter(scores.values())))
    cells = [[judge.name, *rivals]]
    cells += [[name, *(f"{row[rival]:+.3f}" for rival in rivals)] for name, row in scores.items()]
    lines = aligned(cells)
    (args.output / "judged.md").write_text(
        "\n".join([*lines, "", "![heat map](heat_map.png)"]) + "\n", encoding="utf-8"
    )
    print("\n".join(lines))


if __name__ == "__main__":
    main()
