"""Training throughput as a share of what this machine's matrix product reaches.

``python benchmarks/throughput.py [OVERRIDES]`` takes training steps of ``balcony_llama3``
(forward, losses, backward, clipping, AdamW) in turn with large square matrix products of the same
precision, and prints the floating-point operations of a step, counted by torch, divided by the time
that the matrix product would take for them.
"""

import argparse
import statistics
import warnings
from collections.abc import Callable

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch.utils.flop_counter import FlopCounterMode

from belvedere.runs.entry import CONFIGS, register_resolvers
from belvedere.runs.precision import chosen_precision
from belvedere.submodels.losses import IGNORED
from belvedere.submodels.speed import now, peak_bytes

WARM_UP = 2
SIZE = {"cpu": 2048, "cuda": 8192}
"""Of the matrices, by the type of device."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("overrides", nargs="*", help="of the run's configuration")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument(
        "--side", type=int, help="of the square matrices; default: as the device is"
    )
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    register_resolvers()
    overrides = ["experiment=balcony_llama3", "name=throughput", *args.overrides]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose("train", overrides=overrides)
    torch.manual_seed(config.seed)
    backbone = instantiate(config.backbone)
    data = instantiate(config.data, tokenizer=backbone.tokenizer())
    data.setup()
    batches = iter(data.train_dataloader())
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module = instantiate(config.model, backbone=backbone.load()).to(device).train()
    optimizer = module.optimisation.build(module, 1000)["optimizer"]
    trained = [p for p in module.parameters() if p.requires_grad]
    mixed = chosen_precision(config.trainer.precision) == "bf16-mixed"
    dtype = torch.bfloat16 if mixed else torch.float32

    def step(batch: dict[str, torch.Tensor]) -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
            loss = module.training_step(batch, 0)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    def next_batch() -> dict[str, torch.Tensor]:
        return {name: tensor.to(device) for name, tensor in next(batches).items()}

    def seconds(work: Callable[..., object], *args: object) -> float:
        start = now(device)
        work(*args)
        return now(device) - start

    with FlopCounterMode(display=False) as counter:
        step(next_batch())
    operations = counter.get_total_flops()
    side = args.side or SIZE[device.type]
    left, right = (torch.randn(side, side, dtype=dtype, device=device) for _ in range(2))
    shares, speeds, peaks = [], [], []
    for round_ in range(WARM_UP + args.repeats):
        batch = next_batch()
        product = min(seconds(torch.mm, left, right) for _ in range(3))
        taken = seconds(step, batch)
        if round_ >= WARM_UP:
            peaks.append(2 * side**3 / product)
            speeds.append(int((batch["labels"] != IGNORED).sum()) / taken)
            shares.append(operations / taken / peaks[-1])
    print(f"{dtype}, {torch.get_num_threads()} threads on {device.type}")
    print(f"matrix product: {statistics.median(peaks) / 1e9:,.0f} GFLOP/s")
    print(f"a step: {operations / 1e9:,.1f} GFLOP, {statistics.median(speeds):,.0f} tokens/s")
    print(f"peak of memory: {peak_bytes(device) / 2**30:,.1f} GiB")
    print(
        f"share of the matrix product: {statistics.median(shares):.1%} "
        f"({min(shares):.1%} to {max(shares):.1%})"
    )


if __name__ == "__main__":
    main()
