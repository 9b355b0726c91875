"""Time and memory of a step of sorted fine-tuning against ordinary fine-tuning at equal batch.

``python benchmarks/sorted.py`` takes whole training steps (forward, losses, backward, AdamW) of a
model of 40 layers and a vocabulary of 32,000 with 8 sub-models, 12 to 40 layers by 4:

- ``sft``: the full model's loss alone, by the suite's losses,
- ``soft``: the mean loss of all sub-models, by the suite's losses,
- ``plain``: the same by the formula that holds the logits of all sub-models.

By default the layers are so wide that the head has the share of all parameters that it has in
LLaMA-2-13B (1.3 %); with ``--intermediate 691`` they are as narrow as the hidden size suggests,
and the head weighs far more.
"""

import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from paired import compare
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from belvedere.submodels.backbone import head_weight_of, read_prefixes
from belvedere.submodels.losses import head_losses
from belvedere.submodels.speed import peak_bytes

LAYERS = 40
DEPTHS = list(range(12, LAYERS + 1, 4))


def fused(model: LlamaForCausalLM, batch: dict[str, Tensor], depths: list[int]) -> Tensor:
    """The mean cross-entropy of the prefixes, by the suite's losses."""
    states = read_prefixes(model, depths, batch)
    return head_losses(
        states, head_weight_of(model), batch["labels"], kl_weight=0.0, ce_weight=1.0
    ).loss


def plain(model: LlamaForCausalLM, batch: dict[str, Tensor]) -> Tensor:
    """The same, written down as it is defined."""
    states = read_prefixes(model, DEPTHS, batch)
    labels = batch["labels"].flatten()
    return torch.stack(
        [F.cross_entropy(model.lm_head(s).flatten(0, 1).float(), labels) for s in states]
    ).mean()


VARIANTS: dict[str, Callable[..., Tensor]] = {
    "sft": lambda model, batch: fused(model, batch, [LAYERS]),
    "soft": lambda model, batch: fused(model, batch, DEPTHS),
    "plain": plain,
}


def measure(variant: str, args: argparse.Namespace) -> dict[str, float]:
    """The second of two steps in this process: its seconds, the peak of memory, and the loss."""
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = LlamaConfig(
        hidden_size=args.hidden, intermediate_size=args.intermediate, num_hidden_layers=LAYERS,
        num_attention_heads=args.hidden // 64, vocab_size=32_000, tie_word_embeddings=False,
    )  # fmt: skip
    with torch.device(device):
        model = LlamaForCausalLM(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, foreach=False)
    ids = torch.randint(32_000, (1, args.tokens), device=device)
    labels = ids.roll(-1, 1)
    labels[:, : int(args.tokens * (1 - args.learned))] = -100
    positions = torch.arange(args.tokens, device=device)[None]
    batch = {"input_ids": ids, "position_ids": positions, "labels": labels}
    for _ in range(2):
        start = time.perf_counter()
        loss = VARIANTS[variant](model, batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        value = float(loss.detach())
        seconds = time.perf_counter() - start
    return {"seconds": seconds, "bytes": peak_bytes(device), "loss": value}


def main() -> None:
    """Measure the variants in turn and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--intermediate", type=int, default=20_300)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--learned", type=float, default=1.0, help="share of tokens with a loss")
    pairs = [("soft", "sft"), ("plain", "sft"), ("soft", "plain")]
    compare(parser, list(VARIANTS), measure, pairs, "peak memory of the process")


if __name__ == "__main__":
    main()
