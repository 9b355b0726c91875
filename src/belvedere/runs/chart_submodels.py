"""The sub-models of a chart reader in its report: quality beside measured speed at each depth."""

import statistics
from functools import partial
from itertools import islice
from typing import Any

import torch

from belvedere.data.charts import ChartDataModule
from belvedere.metrics.chart_tasks import task_scores
from belvedere.submodels.speed import in_turn, now
from belvedere.unichart.model import ChartModel
from belvedere.unichart.module import UniChartModule

TIMED_BATCHES = 2
"""Test batches whose questions are answered again and again to measure speed."""


def submodel_rows(
    module: UniChartModule, datamodule: ChartDataModule, repeats: int
) -> list[dict[str, Any]]:
    """The report's row for the reader of each depth, the full one last; after testing.

    Args:
        module: that has answered the test split.
        datamodule: of that split.
        repeats: counted rounds of the measurement of speed.
    """
    names = {module.name_of(depth): depth for depth in module.depths}
    speeds = answer_speeds(module, datamodule, repeats)
    full = statistics.median(answers for answers, _ in speeds["full"])
    return [row_of(module, depth, speeds[name], full) for name, depth in names.items()]


def speed_in_test(module: UniChartModule) -> tuple[float, float]:
    """Answers and tokens a second of the full reader in the test of this process."""
    seconds = module.seconds_by_depth[module.layers]
    return len(module.answered) / seconds, sum(one.tokens for one in module.answered) / seconds


def row_of(
    module: UniChartModule, depth: int, speeds: list[tuple[float, float]], full: float
) -> dict[str, Any]:
    """The report's row for the reader of a depth; after testing.

    Args:
        module: that has answered the test split.
        depth: of the decoder.
        speeds: answers and tokens a second, of each time that they were measured.
        full: answers a second of the full reader.
    """
    answers, tokens = zip(*speeds, strict=True)
    reader = module.reader(depth)
    whole = depth == module.layers
    return {
        "name": module.name_of(depth),
        "kind": "full" if whole else "exit",
        "method": "soft" if module.early else "unichart",
        "layers": depth,
        "parameters": decoder_parameters(reader),
        "trained_parameters": sum(p.numel() for p in reader.parameters() if p.requires_grad),
        "tasks": task_scores(module.answered_by_depth[depth]),
        "answers_per_second": round(statistics.median(answers), 2),
        "answers_range": [round(min(answers), 2), round(max(answers), 2)],
        "tokens_per_second": round(statistics.median(tokens), 1),
        "speedup": round(statistics.median(answers) / full, 3),
        "test_seconds": round(module.seconds_by_depth[depth], 2),
    }


def decoder_parameters(reader: ChartModel) -> int:
    """How many parameters the text decoder uses, embedding and head included, tied ones once."""
    return sum(parameter.numel() for parameter in reader.decoder.parameters())


@torch.no_grad()
def answer_speeds(
    module: UniChartModule, datamodule: ChartDataModule, repeats: int
) -> dict[str, list[tuple[float, float]]]:
    """Answers and answers' tokens per second of each depth, one pair for each counted round.

    Only generation is timed, given the encoder's states, of which all depths have the same. The
    depths take turns, so that a machine's slow moments hit all alike.
    """
    module.eval()
    batches = []
    for batch in islice(datamodule.test_dataloader(), TIMED_BATCHES):
        moved = datamodule.transfer_batch_to_device(batch, module.device, 0)
        states = module.encoded(moved)
        batches += [(asked, states) for asked in module.asked(moved)]

    def once(reader: ChartModel) -> tuple[float, float]:
        start = now(module.device)
        found = [module.generate(asked, reader, states) for asked, states in batches]
        seconds = now(module.device) - start
        answers = sum(len(one.ids) for one in found)
        tokens = sum(int(one.mask.sum()) for one in found)
        return answers / seconds, tokens / seconds

    readers = {module.name_of(depth): module.reader(depth) for depth in module.depths}
    return in_turn({name: partial(once, reader) for name, reader in readers.items()}, repeats)
