import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from belvedere.errors import BadInput
from belvedere.submodels.losses import head_losses


def plain(students, heads, labels, teacher, kl_weight, ce_weight, weights, temperature):
    """The loss as the formula says it, with all logits held at once."""
    keep = labels.flatten() >= 0
    total = torch.zeros((), dtype=students[0].dtype)
    rows = []
    for student, head, weight in zip(students, heads, weights, strict=True):
        logits = (student @ head.T).flatten(0, -2)[keep]
        ce = F.cross_entropy(logits, labels.flatten()[keep])
        kl = torch.zeros(())
        if teacher is not None:
            target = (teacher @ heads[0].T).flatten(0, -2)[keep].detach()
            kl = (
                F.kl_div(
                    (logits / temperature).log_softmax(-1),
                    (target / temperature).log_softmax(-1),
                    log_target=True,
                    reduction="batchmean",
                )
                * temperature**2
            )
        total = total + weight * (kl_weight * kl + ce_weight * ce)
        rows.append((kl, ce))
    return total, rows


def problem(vocabulary, hidden=8, shape=(3, 11), students=3, own=False, masked=0.3, dtype=None):
    torch.manual_seed(vocabulary)
    states = [torch.randn(*shape, hidden, dtype=dtype, requires_grad=True) for _ in range(students)]
    head = torch.randn(vocabulary, hidden, dtype=dtype, requires_grad=True)
    heads = [head] * students
    if own:
        heads = [torch.randn(vocabulary, hidden, requires_grad=True) for _ in range(students)]
    labels = torch.randint(0, vocabulary, shape)
    labels[torch.rand(shape) < masked] = -100
    return states, heads, labels, torch.randn(*shape, hidden, dtype=dtype)


@pytest.mark.parametrize("chunk", [1, 7, 1000, None])
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize(
    ("kl", "ce", "temperature"),
    [(1.0, 0.0, 1.0), (1.0, 0.5, 1.0), (0.7, 0.3, 2.0), (0.0, 1.0, 1.0)],
)
def test_losses_and_gradients_are_those_of_the_plain_formula(chunk, own, kl, ce, temperature):
    students, heads, labels, teacher = problem(97, own=own)
    weights = [0.5, 0.2, 0.3]
    got = head_losses(
        students, heads, labels, teacher=teacher, teacher_head=heads[0], kl_weight=kl,
        ce_weight=ce, weights=weights, temperature=temperature, chunk_tokens=chunk,
    )  # fmt: skip
    want, rows = plain(students, heads, labels, teacher, kl, ce, weights, temperature)
    leaves = [*students, *dict.fromkeys(heads)]
    torch.testing.assert_close(got.loss, want, atol=1e-5, rtol=1e-5)
    for i, (row_kl, row_ce) in enumerate(rows):
        torch.testing.assert_close(got.kl[i], row_kl.detach(), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(got.ce[i], row_ce.detach(), atol=1e-5, rtol=1e-5)
    for mine, theirs in zip(
        torch.autograd.grad(got.loss * 3, leaves),
        torch.autograd.grad(want * 3, leaves),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("vocabulary", [17, 1000, 128_256])
def test_every_vocabulary(vocabulary):
    students, heads, labels, teacher = problem(vocabulary, shape=(1, 9))
    got = head_losses(students, heads[0], labels, teacher=teacher, ce_weight=1.0)
    want, _ = plain(students, heads, labels, teacher, 1.0, 1.0, [1 / 3] * 3, 1.0)
    torch.testing.assert_close(got.loss, want, atol=1e-5, rtol=1e-5)
    for mine, theirs in zip(
        torch.autograd.grad(got.loss, students), torch.autograd.grad(want, students), strict=True
    ):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 1.7])
def test_gradcheck(temperature):
    students, heads, labels, teacher = problem(13, shape=(1, 5), students=2, dtype=torch.float64)
    fixed = heads[0].detach().clone()  # gradcheck moves the head in place

    def loss(a, b, head):
        return head_losses(
            [a, b], head, labels, teacher=teacher, teacher_head=fixed, ce_weight=0.4,
            temperature=temperature, chunk_tokens=2,
        ).loss  # fmt: skip

    assert torch.autograd.gradcheck(loss, (*students, heads[0]))


def test_a_model_agrees_with_itself():
    students, heads, labels, _ = problem(50, students=1)
    got = head_losses(students, heads[0], labels, teacher=students[0])
    assert abs(float(got.kl[0])) < 1e-6
    assert float(got.agreement[0]) == 1
    assert got.teacher_ce is not None
    torch.testing.assert_close(got.teacher_ce, got.ce[0])


def test_agreement_counts_equal_choices():
    students, heads, labels, teacher = problem(50, masked=0.5)
    got = head_losses(students, heads[0], labels, teacher=teacher)
    keep = labels >= 0
    for i, student in enumerate(students):
        same = (student @ heads[0].T).argmax(-1) == (teacher @ heads[0].T).argmax(-1)
        torch.testing.assert_close(got.agreement[i], same[keep].float().mean())


def test_all_tokens_masked_gives_zero():
    students, heads, labels, teacher = problem(20)
    got = head_losses(students, heads[0], labels.fill_(-100), teacher=teacher, ce_weight=1.0)
    assert float(got.loss.detach()) == 0
    assert all(float(g.abs().max()) == 0 for g in torch.autograd.grad(got.loss, students))


def test_without_gradients_the_numbers_are_the_same():
    students, heads, labels, teacher = problem(40)
    with torch.no_grad():
        bare = head_losses(students, heads[0], labels, teacher=teacher)
    full = head_losses(students, heads[0], labels, teacher=teacher)
    assert not bare.loss.requires_grad
    torch.testing.assert_close(bare.loss, full.loss.detach())
    torch.testing.assert_close(bare.agreement, full.agreement)


def test_bfloat16_autocast_stays_close():
    students, heads, labels, teacher = problem(200)
    exact = head_losses(students, heads[0], labels, teacher=teacher)
    with torch.autocast("cpu", torch.bfloat16):
        rough = head_losses(students, heads[0], labels, teacher=teacher)
    torch.testing.assert_close(rough.kl, exact.kl, rtol=0.02, atol=0.02)


class Largest(TorchDispatchMode):
    """Notes the number of elements of the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def test_the_logits_are_never_held():
    students, heads, labels, teacher = problem(1000, shape=(2, 100), masked=0)
    with Largest() as seen:
        head_losses(
            students, heads[0].detach(), labels, teacher=teacher, chunk_tokens=10
        ).loss.backward()
    assert seen.elements == 10 * 1000


def test_a_kl_needs_a_teacher():
    students, heads, labels, _ = problem(10)
    with pytest.raises(BadInput, match="teacher"):
        head_losses(students, heads[0], labels)
