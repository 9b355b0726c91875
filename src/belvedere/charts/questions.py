"""Questions for a chart with their answers, from about a hundred templates.

The templates' families follow the numerical and visual reasoning tasks of UniChart's pretraining
(section 3.2); the wordings are our own.
"""

from random import Random

from belvedere.charts import (
    aggregate_questions,
    colour_questions,
    comparison_questions,
    compositional_questions,
    difference_questions,
    position_questions,
    trend_questions,
    value_questions,
    yes_no_questions,
)
from belvedere.charts.elements import Layout
from belvedere.charts.reading import Reading
from belvedere.charts.tables import Table
from belvedere.charts.templates import FAMILIES, Question, Template

__all__ = ["FAMILIES", "TEMPLATES", "Question", "Template", "ask"]

TEMPLATES: tuple[Template, ...] = (
    *value_questions.TEMPLATES,
    *comparison_questions.TEMPLATES,
    *difference_questions.TEMPLATES,
    *aggregate_questions.TEMPLATES,
    *trend_questions.TEMPLATES,
    *colour_questions.TEMPLATES,
    *position_questions.TEMPLATES,
    *yes_no_questions.TEMPLATES,
    *compositional_questions.TEMPLATES,
)
_BY_FAMILY = {f: [t for t in TEMPLATES if t.family == f] for f in FAMILIES}
_ROUNDS = 3  # how often a template is tried at most, in other words or for other rows


def ask(table: Table, layout: Layout, rng: Random, count: int) -> list[Question]:
    """Different questions for a chart.

    The families take turns, in random order, and so do the templates within a family, so that
    neither large families nor often applicable templates crowd out the others. There are fewer
    than ``count`` questions only where the templates give no more.
    """
    reading = Reading(table, layout)
    queues = {
        family: [t for _ in range(_ROUNDS) for t in rng.sample(templates, len(templates))][::-1]
        for family, templates in _BY_FAMILY.items()
    }
    questions: list[Question] = []
    while queues and len(questions) < count:
        for family in rng.sample(sorted(queues), len(queues)):
            question = _next(reading, queues[family], rng, questions)
            if question is None:
                del queues[family]
            else:
                questions.append(question)
            if len(questions) == count:
                break
    return questions


def _next(
    reading: Reading, queue: list[Template], rng: Random, asked: list[Question]
) -> Question | None:
    """A new question of the next template that has one; templates tried leave the queue."""
    while queue:
        template = queue.pop()
        found = template.ask(reading, rng)
        if found is None:
            continue
        text, answer = found
        # The same question in other words is no new one.
        if all(text != q.text and (template.name, answer) != (q.template, q.answer) for q in asked):
            return Question(text, answer, template.family, template.name)
    return None
