"""Sub-models as models of lm-evaluation-harness, and its tasks in the layout of Balcony's table.

The harness asks for log-likelihoods of continuations. It asks all sub-models the same, so one pass
through the backbone answers for all of them; what the others say is kept until they are asked.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stderr
from io import StringIO
from itertools import groupby
from pathlib import Path
from typing import Any

import lightning
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from belvedere.errors import BadInput, first_line
from belvedere.runs.report import aligned, publish
from belvedere.runs.training import link_latest, open_run, quiet
from belvedere.runs.writing import Writer, device_of, loaded
from belvedere.submodels.checkpoints import Checkpoint
from belvedere.submodels.decoding import encoded_prompt
from belvedere.submodels.engine.choices import decoding_of
from belvedere.submodels.engine.sampling import Chooser, Sampling
from belvedere.submodels.exits import read_submodels

try:
    from lm_eval import simple_evaluate
    from lm_eval.api.model import TemplateLM
    from lm_eval.tasks import TaskManager
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
except ImportError as error:
    raise BadInput(
        "lm-evaluation-harness is not installed", where="data",
        remedy="pip install -e '.[harness]'",
    ) from error  # fmt: skip

Score = tuple[float, bool]
"""The log-likelihood of a continuation, and whether greedy decoding would write it."""
Request = tuple[tuple[str, str], list[int], list[int]]
PLACES = 256
"""Places whose logits are there at once."""
NEW_TOKENS = 256
"""Of an answer whose task sets no limit."""


class SharedScores:
    """What all sub-models of a checkpoint say to continuations, from one pass for each.

    Args:
        checkpoint: the model and its sub-models.
        depths: of the sub-models, ascending, the full one last.
        batch_size: continuations in a pass.

    Attributes:
        passes: how many batches went through the backbone.
    """

    def __init__(self, checkpoint: Checkpoint, depths: Sequence[int], batch_size: int) -> None:
        self.checkpoint, self.depths, self.batch_size = checkpoint, tuple(depths), batch_size
        self.known: dict[tuple[tuple[int, ...], tuple[int, ...]], list[Score]] = {}
        self.passes = 0
        config = checkpoint.model.config
        self.longest = int(getattr(config, "max_position_embeddings", 2048))

    def of(self, depth: int, pairs: Sequence[tuple[list[int], list[int]]]) -> list[Score]:
        """The scores by the sub-model of a depth.

        Args:
            depth: its depth.
            pairs: token ids of contexts, none empty, and of their continuations.
        """
        keys = [(tuple(context), tuple(continuation)) for context, continuation in pairs]
        new = sorted(
            {key for key in keys if key not in self.known}, key=lambda key: -sum(map(len, key))
        )
        for begin in range(0, len(new), self.batch_size):
            part = new[begin : begin + self.batch_size]
            self.known |= dict(zip(part, self._scores(part), strict=True))
            self.passes += 1
        number = self.depths.index(depth)
        return [self.known[key][number] for key in keys]

    @torch.no_grad()
    def _scores(
        self, pairs: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]
    ) -> list[list[Score]]:
        """For each pair the scores of all depths."""
        model = self.checkpoint.model
        # The last token is only asked for; of what is too long, the end is kept, as in the harness.
        rows = [[*context, *continuation][-self.longest - 1 :] for context, continuation in pairs]
        length = max(map(len, rows)) - 1
        ids = torch.zeros(len(rows), length, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for number, row in enumerate(rows):
            ids[number, : len(row) - 1] = torch.tensor(row[:-1])
            mask[number, : len(row) - 1] = 1
        counts = [
            min(len(continuation), len(row) - 1)
            for row, (_, continuation) in zip(rows, pairs, strict=True)
        ]
        at = [
            (number, place)
            for number, (row, count) in enumerate(zip(rows, counts, strict=True))
            for place in range(len(row) - 1 - count, len(row) - 1)
        ]
        places = tuple(torch.tensor(at, device=model.device).reshape(-1, 2).T)
        wanted = torch.tensor(
            [rows[row][place + 1] for row, place in at], dtype=torch.long, device=model.device
        )
        read = read_submodels(
            model, self.depths[:-1], self.checkpoint.exits,
            input_ids=ids.to(model.device), attention_mask=mask.to(model.device),
        )  # fmt: skip
        found = [likelihoods(head, states[places], wanted) for states, head in read]
        by_depth = [
            [
                (float(logs.sum()), bool(greedy.all()))
                for logs, greedy in zip(each.split(counts), best.split(counts), strict=True)
            ]
            for each, best in found
        ]
        return [list(scores) for scores in zip(*by_depth, strict=True)]


def likelihoods(head: Any, states: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The log-probability of each wanted token, and whether it is the likeliest; both [places].

    Args:
        head: states to logits.
        states: [places, hidden], normed.
        wanted: [places].
    """
    logs, best = [], []
    for part, aims in zip(states.split(PLACES), wanted.split(PLACES), strict=True):
        logits = head(part).float()
        own = logits.gather(1, aims[:, None])[:, 0]
        logs.append(own - logits.logsumexp(-1))
        best.append(logits.argmax(-1) == aims)
    return torch.cat(logs).cpu(), torch.cat(best).cpu()


class SubModelLM(TemplateLM):
    """One sub-model as a model of the harness.

    Args:
        scores: of all sub-models.
        depth: of this one.
        add_bos: whether the begin token goes in front of contexts; the harness leaves it out.
    """

    def __init__(self, scores: SharedScores, depth: int, *, add_bos: bool = False) -> None:
        super().__init__()
        self.scores, self.depth, self.add_bos = scores, depth, add_bos
        self.tokenizer = scores.checkpoint.tokenizer
        self._device = scores.checkpoint.model.device

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        found = self.tokenizer.eos_token_id
        if found is None:
            raise BadInput("the tokenizer has no end token", where="checkpoint")
        return int(found)

    @property
    def prefix_token_id(self) -> int:
        """What stands for an empty context."""
        begin = self.tokenizer.bos_token_id
        return self.eot_token_id if begin is None else int(begin)

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **kwargs: Any
    ) -> list[int]:
        """Text to token ids."""
        begin = self.add_bos if add_special_tokens is None else add_special_tokens
        return encoded_prompt(self.tokenizer, string, begin=begin)

    def _loglikelihood_tokens(self, requests: list[Request], **kwargs: Any) -> list[Score]:
        return self.scores.of(self.depth, [(context, rest) for _, context, rest in requests])

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
        """The log-likelihood of whole texts, in windows as long as the model's context."""
        found = []
        for request in requests:
            windows = get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0], add_special_tokens=False),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.scores.longest,
                context_len=1,
            )
            pairs = [make_disjoint_window(window) for window in windows]
            found.append(sum(score for score, _ in self.scores.of(self.depth, pairs)))
        return found

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        """Answers, greedy or drawn as the task asks, up to one of its stops."""
        checkpoint = self.scores.checkpoint
        full = self.depth == checkpoint.layers
        decoding = decoding_of(checkpoint, *(("full",) if full else ("exit", self.depth)))
        found: list[str] = []
        for options, group in groupby((request.args for request in requests), lambda args: args[1]):
            stops = options.get("until") or []
            drawn = options.get("do_sample", False)
            # Of a context that is too long, the end is kept, as in the harness.
            new = min(int(options.get("max_gen_toks", NEW_TOKENS)), self.scores.longest - 1)
            writer = Writer(
                checkpoint,
                decoding,
                Chooser(Sampling(float(options.get("temperature", 1.0)) if drawn else 0.0)),
                new,
                [stops] if isinstance(stops, str) else list(stops),
            )
            ids = [self.tok_encode(text)[-(self.scores.longest - new) :] for text, _ in group]
            for begin in range(0, len(ids), self.scores.batch_size):
                found += writer.texts(ids[begin : begin + self.scores.batch_size])
        return found


def evaluate(config: DictConfig) -> dict[str, Any]:
    """Ask all sub-models of a checkpoint the tasks that ``config`` names, and write the report."""
    quiet()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    lightning.seed_everything(config.seed, verbose=False)
    checkpoint = loaded(config, device_of(config.device))
    scores = SharedScores(
        checkpoint, [*checkpoint.trained_depths, checkpoint.layers], config.batch_size
    )
    tasks = [task_of(one) for one in config.harness]
    names = [task["name"] for task in tasks]
    # Looking for the harness's own tasks takes long: only where one is asked for, and once.
    manager = TaskManager(include_defaults=any(isinstance(name, str) for name in names))
    run_dir = open_run(config)
    start = time.perf_counter()
    rows = []
    for depth in reversed(scores.depths):  # the full model first, as in the paper
        lm = SubModelLM(scores, depth, add_bos=config.add_bos)
        rows.append(
            {
                "name": checkpoint.name_of(depth),
                "layers": checkpoint.submodel(depth).config.num_hidden_layers,
                "scores": dict(asked(lm, tasks, manager, config)),
            }
        )
    report = {
        "experiment": config.name,
        "checkpoint": str(config.checkpoint),
        "seed": config.seed,
        "seconds": round(time.perf_counter() - start, 1),
        "passes": scores.passes,
        "limit": config.limit,
        "submodels": rows,
        "published": OmegaConf.to_container(config.published) if config.published else [],
    }
    lines = aligned(cells_of(report, [task["title"] for task in tasks]))
    publish(report, run_dir, lines, lines)
    link_latest(config)
    return report


def task_of(raw: Any) -> dict[str, Any]:
    """A task of the configuration: ``task``, ``shots``, ``metric`` and ``title``; and as ``name``
    what the harness takes: its own name for the task, or what a file says."""
    found: Any = OmegaConf.to_container(raw, resolve=True) if OmegaConf.is_config(raw) else raw
    if not isinstance(found, dict) or "task" not in found:
        raise BadInput(
            f"{found!r} is no task", where="harness",
            remedy="give {task: NAME_OR_FILE, shots: 0, metric: acc, title: NAME}",
        )  # fmt: skip
    task = str(found["task"])
    name = local_task(Path(task)) if task.endswith((".yaml", ".yml")) else task
    return {"shots": 0, "metric": "acc", "title": Path(task).stem, "name": name} | found


def asked(
    lm: SubModelLM,
    tasks: Sequence[Mapping[str, Any]],
    manager: TaskManager,
    config: DictConfig,
) -> Iterator[tuple[str, float]]:
    """The score of a sub-model on each task, from 0 to 1, by the task's title."""
    for task in tasks:
        name = task["name"]
        try:
            with redirect_stderr(StringIO()):  # a bar for each step of each sub-model
                found = simple_evaluate(
                    lm, tasks=[name], num_fewshot=task["shots"], limit=config.limit,
                    task_manager=manager, bootstrap_iters=0, log_samples=False,
                    random_seed=config.seed, numpy_random_seed=config.seed,
                    torch_random_seed=config.seed, fewshot_random_seed=config.seed,
                )  # fmt: skip
        except (KeyError, ConnectionError, OSError) as error:
            raise BadInput(
                f"the harness cannot open {task['task']} ({first_line(error)})",
                where="harness",
                remedy="connect to the hub, or use data=harness, which ships",
            ) from error
        title = name["task"] if isinstance(name, dict) else name
        measured = found["results"][title]
        key = f"{task['metric']},none"
        if key not in measured:
            there = sorted(one.split(",")[0] for one in measured if one.endswith(",none"))
            raise BadInput(
                f"{title} has no {task['metric']}", where="harness",
                remedy=f"choose one of {', '.join(there)}",
            )  # fmt: skip
        yield task["title"], float(measured[key])


def local_task(file: Path) -> dict[str, Any]:
    """A task of the harness from a file, whose data lie beside it.

    Raises:
        BadInput: the file is missing or no task.
    """
    import yaml

    try:
        found: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
        files = found["dataset_kwargs"]["data_files"]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise BadInput(
            "no task of the harness", where=str(file),
            remedy="give dataset_path: json and dataset_kwargs: {data_files: {test: FILE}}",
        ) from error  # fmt: skip
    found["dataset_kwargs"]["data_files"] = {
        split: str(file.parent / name) for split, name in files.items()
    }
    return found


def cells_of(report: Mapping[str, Any], titles: Sequence[str]) -> list[list[str]]:
    """The scores of sub-models in per cent, their mean, and its distance to the full model's.

    Published rows come below the measured ones, whatever they say.
    """
    cells = [["sub-model", "layers", *titles, "average (drop)"]]
    for source, factor in (("submodels", 100), ("published", 1)):
        full = None
        for row in report[source]:
            values = [row["scores"].get(title) for title in titles]
            known = [value * factor for value in values if value is not None]
            whole = len(known) == len(titles)
            mean = sum(known) / len(known) if whole else 0.0
            full = mean if row.get("full", full is None) else full
            drop = f" ({mean - full:+.1f})" if full is not None and mean != full else ""
            shown = [f"{value * factor:.1f}" if value is not None else "" for value in values]
            average = f"{mean:.1f}{drop}" if whole else ""
            cells.append([row["name"], str(row["layers"]), *shown, average])
    return cells
