"""What a reader has to beat: an answer that it would give without looking at the chart."""

from collections.abc import Sequence
from random import Random

from belvedere.charts.tasks import Example, TaskName
from belvedere.metrics.chart_tasks import HEADLINE, Answered, task_scores

CANDIDATES, JUDGES = 60, 40
"""How many training answers are tried as the typical one, and on how many others."""


def typical_answers(examples: Sequence[Example], seed: int = 0) -> dict[TaskName, str]:
    """For each task the training answer that scores best as the answer to all others.

    Found among a sample by the measure of `HEADLINE`; for questions that is about the most frequent
    answer.
    """
    rng = Random(seed)
    found: dict[TaskName, str] = {}
    for task, measure in HEADLINE.items():
        answers = [example.answer for example in examples if example.task == task]
        if not answers:
            continue
        judges = rng.sample(answers, min(JUDGES, len(answers)))
        candidates = sorted(set(rng.sample(answers, min(CANDIDATES, len(answers)))))
        scores = {
            candidate: task_scores([Answered(task, "", "", candidate, (gold,)) for gold in judges])
            for candidate in candidates
        }
        found[task] = max(candidates, key=lambda one: scores[one][task][measure])
    return found


def answered_blindly(answered: Sequence[Answered], answers: dict[TaskName, str]) -> list[Answered]:
    """The same questions with the typical answer to each."""
    return [
        Answered(one.task, one.kind, one.question, answers.get(one.task, ""), one.accepted)
        for one in answered
    ]
