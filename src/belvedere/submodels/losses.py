"""Losses of many sub-models through a language-model head, without ever holding the logits.

The logits of one model over 2,048 tokens and 128,256 words take a gigabyte, and a distillation step
needs those of the teacher and of every student. Here one pass goes over the tokens in chunks: it
makes the chunk's logits, adds up the losses, forms the gradients of the hidden states (and of the
head, where it is trained) and forgets the logits again. (ours; the loss is that of arXiv
2503.05005, section 3, as a mean over real tokens)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from belvedere.errors import BadInput

IGNORED = -100
CHUNK_ELEMENTS = 2**21
FEWEST_TOKENS = 64
"""A product of fewer rows spends its time on reading the head."""
FEWEST_TOKENS_TRAINED = 256
"""Likewise where the head is trained: each chunk also adds to the gradient of the whole head."""


@dataclass(frozen=True)
class HeadLosses:
    """Losses of several students, means over the tokens whose label is not -100.

    Attributes:
        loss: scalar, differentiable: the weighted sum over students of
            ``kl_weight * kl + ce_weight * ce``.
        kl: [students], KL(teacher || student) in nats, times the squared temperature; 0 without a
            teacher. Detached, as are all that follow.
        ce: [students], cross-entropy with the labels in nats.
        agreement: [students], share of tokens whose most probable word is the teacher's.
        teacher_ce: the teacher's cross-entropy, or None.
        tokens: how many tokens were counted.
    """

    loss: Tensor
    kl: Tensor
    ce: Tensor
    agreement: Tensor
    teacher_ce: Tensor | None
    tokens: Tensor


def head_losses(
    students: Sequence[Tensor],
    head: Tensor | Sequence[Tensor],
    labels: Tensor,
    *,
    teacher: Tensor | None = None,
    teacher_head: Tensor | None = None,
    kl_weight: float = 1.0,
    ce_weight: float = 0.0,
    weights: Sequence[float] | None = None,
    temperature: float = 1.0,
    chunk_tokens: int | None = None,
) -> HeadLosses:
    """KL to a teacher and cross-entropy of several students, in one pass over the tokens.

    Args:
        students: hidden states after the norm, each [batch, length, hidden] or [tokens, hidden].
        head: weight [vocabulary, hidden], one for all students or one for each.
        labels: [batch, length] or [tokens], the token that follows each; -100 is left out of
            everything.
        teacher: hidden states of the full model, same shape; no gradient flows to it.
        teacher_head: its head; by default the (first) students' one.
        kl_weight: of the KL in ``loss``.
        ce_weight: of the cross-entropy in ``loss``.
        weights: of the students; by default their mean is formed.
        temperature: divides all logits in the KL, which is scaled back by its square.
        chunk_tokens: tokens whose logits are held at once; by default so many that a chunk's logits
            have about two million elements, but not fewer than `FEWEST_TOKENS`, or
            `FEWEST_TOKENS_TRAINED` where a head is trained.
    """
    heads = [head] * len(students) if isinstance(head, Tensor) else list(head)
    if len(heads) != len(students) or not students:
        raise BadInput(f"{len(students)} students have {len(heads)} heads")
    if teacher is None and kl_weight:
        raise BadInput("a KL needs a teacher", remedy="set kl_weight=0 or give one")
    keep = labels.reshape(-1) != IGNORED
    if not bool(keep.all()):
        index = keep.nonzero().squeeze(1)
        flat = [s.reshape(-1, s.shape[-1]).index_select(0, index) for s in students]
        aim = labels.reshape(-1).index_select(0, index)
        if teacher is not None:
            teacher = teacher.reshape(-1, teacher.shape[-1]).index_select(0, index)
    else:
        flat = [s.reshape(-1, s.shape[-1]) for s in students]
        aim = labels.reshape(-1)
        teacher = None if teacher is None else teacher.reshape(-1, teacher.shape[-1])
    trained = torch.is_grad_enabled() and any(one.requires_grad for one in heads)
    fewest = FEWEST_TOKENS_TRAINED if trained else FEWEST_TOKENS
    options = _Options(
        kl_weight=kl_weight,
        ce_weight=ce_weight,
        weights=tuple(weights or [1 / len(students)] * len(students)),
        temperature=temperature,
        chunk=chunk_tokens or max(fewest, CHUNK_ELEMENTS // heads[0].shape[0]),
        dtype=_matmul_dtype(flat[0]),
        grad=torch.is_grad_enabled(),
    )
    final = None if teacher is None else teacher.detach()
    final_head = heads[0] if teacher_head is None else teacher_head
    loss, metrics = _Fused.apply(options, aim, final, final_head.detach(), *flat, *heads)
    kl, ce, agreement, teacher_ce = metrics.split([len(students)] * 3 + [1])
    return HeadLosses(
        loss=loss,
        kl=kl,
        ce=ce,
        agreement=agreement,
        teacher_ce=None if teacher is None else teacher_ce[0],
        tokens=torch.tensor(len(aim), device=aim.device),
    )


@dataclass(frozen=True)
class _Options:
    kl_weight: float
    ce_weight: float
    weights: tuple[float, ...]
    temperature: float
    chunk: int
    dtype: torch.dtype
    grad: bool


def _matmul_dtype(hidden: Tensor) -> torch.dtype:
    """The dtype of the logits' matrix product: autocast's where it is on."""
    kind = hidden.device.type
    if torch.is_autocast_enabled(kind) and hidden.dtype != torch.float64:
        return torch.get_autocast_dtype(kind)
    return hidden.dtype


class _Fused(torch.autograd.Function):
    """Forward computes the losses and the gradients; backward only scales them."""

    @staticmethod
    def forward(
        ctx: Any,
        options: _Options,
        labels: Tensor,
        teacher: Tensor | None,
        teacher_head: Tensor,
        *tensors: Tensor,
    ) -> tuple[Tensor, Tensor]:
        n = len(tensors) // 2
        students, heads = tensors[:n], tensors[n:]
        wanted = [options.grad and t for t in ctx.needs_input_grad[4:]]
        exact = torch.float64 if students[0].dtype == torch.float64 else torch.float32
        # One accumulator for each head: a shared one adds up the gradients of all students.
        head_grads = {
            id(h): torch.zeros_like(h, dtype=exact)
            for h, want in zip(heads, wanted[n:], strict=True)
            if want
        }
        grads = [
            torch.empty_like(s) if want or (options.grad and id(h) in head_grads) else None
            for s, h, want in zip(students, heads, wanted[:n], strict=True)
        ]
        sums = torch.zeros(3 * n + 1, dtype=exact, device=labels.device)
        cast = {id(h): h.detach().to(options.dtype) for h in (*heads, teacher_head)}
        with torch.autocast(labels.device.type, enabled=False):
            for start in range(0, len(labels), options.chunk):
                part = slice(start, start + options.chunk)
                _chunk(
                    options, part, labels, teacher, teacher_head, students, heads, cast, grads,
                    head_grads, sums,
                )  # fmt: skip
        sums /= max(1, len(labels))
        kl, ce = sums[:n], sums[n : 2 * n]
        weights = torch.tensor(options.weights, dtype=exact, device=labels.device)
        loss = (weights * (options.kl_weight * kl + options.ce_weight * ce)).sum()
        ctx.grads = [g if w else None for g, w in zip(grads, wanted[:n], strict=True)]
        given: set[int] = set()
        ctx.head_grads = []
        for h, want in zip(heads, wanted[n:], strict=True):
            first = want and id(h) not in given
            given.add(id(h))
            ctx.head_grads.append(head_grads[id(h)].to(h.dtype) if first else None)
        ctx.mark_non_differentiable(sums)
        return loss, sums

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        scaled = [None if g is None else g * grad.to(g.dtype) for g in ctx.grads + ctx.head_grads]
        return (None, None, None, None, *scaled)


def _chunk(
    options: _Options,
    part: slice,
    labels: Tensor,
    teacher: Tensor | None,
    teacher_head: Tensor,
    students: Sequence[Tensor],
    heads: Sequence[Tensor],
    cast: dict[int, Tensor],
    grads: Sequence[Tensor | None],
    head_grads: dict[int, Tensor],
    sums: Tensor,
) -> None:
    """Add one chunk of tokens to the sums of losses, and write its gradients."""
    n, total, aim = len(students), len(labels), labels[part]
    t, exact = options.temperature, sums.dtype
    rows = torch.arange(len(aim), device=aim.device)
    probs = top = entropy = None
    if teacher is not None:
        logits = _logits(teacher[part], cast[id(teacher_head)], exact)
        top = logits.argmax(-1)
        log_z = logits.logsumexp(-1)
        sums[3 * n] += (log_z - logits[rows, aim]).sum()
        if t != 1:
            log_z = logits.div_(t).logsumexp(-1)
        logits.sub_(log_z[:, None])
        probs = logits.exp()
        entropy = torch.linalg.vecdot(probs, logits).sum()
        del logits
    for i, (student, head) in enumerate(zip(students, heads, strict=True)):
        scale = options.weights[i] / total
        kl, ce = options.kl_weight * scale * t, options.ce_weight * scale
        logits = _logits(student[part], cast[id(head)], exact)
        picked, peak = logits[rows, aim], logits.amax(-1)
        if probs is not None:
            # Cheaper than a second argmax: the teacher's choice has the student's highest logit.
            sums[2 * n + i] += (logits[rows, top] == peak).sum()
            cross = torch.linalg.vecdot(probs, logits).sum() / t
        soft, log_soft = (
            (logits, None) if t == 1 or probs is None else _softmax(logits / t, peak / t)
        )
        logits, log_z = _softmax(logits, peak)
        sums[n + i] += (log_z - picked).sum()
        if probs is not None:
            # KL = sum p log p - sum p z + log Z, with z the student's logits over temperature.
            normaliser = log_z if log_soft is None else log_soft
            sums[i] += (entropy - cross + normaliser.sum()) * t * t
        grad = grads[i]
        if grad is None:
            continue
        if log_soft is None:
            slope = logits.mul_(ce if probs is None else kl + ce)
        else:
            slope = logits.mul_(ce).add_(soft, alpha=kl)
        if probs is not None:
            slope.sub_(probs, alpha=kl)
        if ce:
            slope[rows, aim] -= ce
        slope = slope.to(options.dtype)
        grad[part] = slope @ cast[id(head)]
        if id(head) in head_grads:
            head_grads[id(head)] += slope.T @ student[part].to(options.dtype)


def _softmax(logits: Tensor, peak: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities, in place of the logits, and the logarithm of their normaliser."""
    logits.sub_(peak[:, None]).exp_()
    total = logits.sum(-1)
    return logits.mul_(total.reciprocal()[:, None]), peak + total.log()


def _logits(hidden: Tensor, head: Tensor, exact: torch.dtype) -> Tensor:
    return (hidden.to(head.dtype) @ head.T).to(exact)
