"""Memory and time of the fused losses against the plain formula that holds all logits.

``python benchmarks/losses.py`` does one training step of a teacher and three exits over 2,048
tokens and a vocabulary of 128,256: losses, agreement and the gradients of the exits' hidden states.
With ``--objective ce --students 8 --vocabulary 32000`` it is that of sorted fine-tuning:
cross-entropies without a teacher, and the gradient of the head, which is trained. Memory is the
peak above what stands before the step: weights and hidden states.
"""

import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from paired import compare
from torch import Tensor

from belvedere.submodels.losses import head_losses
from belvedere.submodels.speed import peak_bytes


def plain(students: list[Tensor], head: Tensor, labels: Tensor, teacher: Tensor | None) -> Tensor:
    """The mean loss and the figures that are logged with it, written down as they are defined."""
    if teacher is None:
        logits = [(student @ head.T).float() for student in students]
        return torch.stack([F.cross_entropy(one, labels) for one in logits]).mean()
    with torch.no_grad():
        teacher_logits = (teacher @ head.T).float()
        log_p = teacher_logits.log_softmax(-1)
        top = teacher_logits.argmax(-1)
        F.cross_entropy(teacher_logits, labels)
    losses = []
    for student in students:
        logits = (student @ head.T).float()
        log_q = logits.log_softmax(-1)
        losses.append(F.kl_div(log_q, log_p, reduction="batchmean", log_target=True))
        with torch.no_grad():
            F.nll_loss(log_q, labels)
            (logits.argmax(-1) == top).float().mean()
    return torch.stack(losses).mean()


def fused(students: list[Tensor], head: Tensor, labels: Tensor, teacher: Tensor | None) -> Tensor:
    """The same by the suite's losses."""
    kl = float(teacher is not None)
    return head_losses(students, head, labels, teacher=teacher, kl_weight=kl, ce_weight=1 - kl).loss


VARIANTS: dict[str, Callable[..., Tensor]] = {"plain": plain, "fused": fused}


def step(variant: str, args: argparse.Namespace) -> dict[str, float]:
    """One step in this process: seconds, bytes above what stood before, and the loss."""
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # In place: a temporary copy would hide memory of the step below the peak of the set-up.
    head = torch.randn(args.vocabulary, args.hidden, device=device).mul_(args.hidden**-0.5)
    states = [
        torch.randn(args.tokens, args.hidden, device=device) for _ in range(1 + args.students)
    ]
    labels = torch.randint(args.vocabulary, (args.tokens,), device=device)
    students = [state.requires_grad_() for state in states[1:]]
    teacher = states[0] if args.objective == "kl" else None
    head.requires_grad_(args.objective == "ce")
    torch.ones(256, 256, device=device) @ torch.ones(256, 256, device=device)  # start the threads
    before = peak_bytes(device)
    start = time.perf_counter()
    loss = VARIANTS[variant](students, head, labels, teacher)
    loss.backward()
    value = float(loss.detach())  # waits for a GPU
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "bytes": peak_bytes(device) - before, "loss": value}


def main() -> None:
    """Measure both and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vocabulary", type=int, default=128_256)
    parser.add_argument("--tokens", type=int, default=2_048)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--students", type=int, default=3)
    parser.add_argument("--objective", choices=("kl", "ce"), default="kl")
    compare(parser, list(VARIANTS), step, [("fused", "plain")], "memory above the weights")


if __name__ == "__main__":
    main()
