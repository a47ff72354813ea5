"""CACR in its three forms: against the authors' numbers, plain loops, and what its weights must
do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.losses.instance.cacr import (
    attraction,
    cacr,
    moco_v3_cacr,
    moco_v3_key,
    queue_attraction,
    queue_repulsion,
    repulsion,
)
from nearfar.losses.kernels import blocks
from nearfar.losses.kernels.similarity import unit
from nearfar.targets.queue import Queue
from tests.losses.cases import close, degenerate, finite_with_gradient, leaves, named
from tests.losses.precision import agrees_in_lower_precision, saved_sizes


def views(count: int = 3, samples: int = 5, dimension: int = 4) -> Tensor:
    return unit(torch.randn(count, samples, dimension, dtype=torch.float64))


@pytest.mark.parametrize("name", named("a-cacr-small-case*"))
def test_small_form_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (z,) = leaves(case, "z")
    uniform = bool(case["hp_uniform_weights"])
    attract = attraction(
        z, temperature=float(case["hp_tau_pos"]), weight=float(case["hp_alpha"]), uniform=uniform
    )
    debias = float(case["hp_tau_plus"]) * int(case["hp_debiased"])
    repel = repulsion(
        z,
        temperature=float(case["hp_tau_neg"]),
        weight=float(case["hp_beta"]),
        uniform=uniform,
        debias=debias,
    )
    close(attract, case["out_loss_attract"])
    close(repel, case["out_loss_repel"])
    close(attract + repel, case["out_loss"])
    close(torch.autograd.grad(attract + repel, z)[0], case["out_grad_z"])


@pytest.mark.parametrize("name", named("a-cacr-queue-case*"))
def test_queue_form_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (z,) = leaves(case, "views")
    queue = case["in_queue"].T
    tau = float(case["hp_tau_neg"])
    within = bool(case["hp_intra_batch"])
    attract = queue_attraction(z, z, temperature=float(case["hp_tau_pos"]))
    repel = queue_repulsion(z, queue, temperature=tau, within_batch=within, as_coded=True)
    close(attract, case["out_loss_attract"])
    close(repel, case["out_loss_repel_as_coded"])
    close(attract + repel, case["out_loss"])
    close(torch.autograd.grad(attract + repel, z)[0], case["out_grad_views_as_coded"])
    close(
        queue_repulsion(z, queue, temperature=tau, within_batch=within),
        case["out_loss_repel_intended"],
    )
    stored = Queue(*queue.shape).double()
    stored.rows.copy_(queue)
    stored.push(unit(z[-1]).detach())
    close(stored.rows.T, case["out_queue_after"])


@pytest.mark.parametrize("name", named("a-cacr-mocov3-case*"))
def test_moco_v3_form_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (q,) = leaves(case, "q")
    tau = float(case["hp_temperature"])
    rbf = moco_v3_key(q, case["in_k"], temperature=tau)
    close(rbf, case["out_loss_rbf"])
    close(torch.autograd.grad(rbf, q)[0], case["out_grad_q_rbf"])
    euclidean = moco_v3_key(
        q, case["in_k"], temperature=tau, euclidean=True, reduction="none"
    ).sum()
    close(euclidean, case["out_loss_euclidean"])
    close(torch.autograd.grad(euclidean, q)[0], case["out_grad_q_euclidean"])


def looped_repulsion(
    z: Tensor,
    temperature: float,
    weight: float,
    uniform: bool,
    debias: float,
    kernel_width: float | None,
) -> Tensor:
    """One anchor at a time, with differences of vectors."""
    pairs = []
    for x in range(len(z)):
        for y in range(x + 1, len(z)):
            rows = []
            for n in range(z.shape[1]):
                cost = torch.stack(
                    [(z[x, n] - z[y, m]).square().sum() for m in range(z.shape[1]) if m != n]
                )
                w = (
                    torch.full_like(cost, 1 / len(cost))
                    if uniform
                    else torch.softmax(-temperature * cost, dim=0)
                )
                if kernel_width is not None:
                    rows.append((w * torch.exp(-kernel_width * cost)).sum())
                    continue
                row = -weight * (w * cost).sum()
                if debias and not uniform:
                    row = (row - debias * (z[x, n] - z[y, n]).square().sum()) / (1 - debias)
                rows.append(row)
            mean = torch.stack(rows).mean()
            pairs.append(mean if kernel_width is None else weight * mean.log())
    return torch.stack(pairs).mean()


@pytest.mark.parametrize("shape", [(2, 2, 3), (4, 5, 4)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 2.0, "weight": 0.7},
        {"uniform": True},
        {"debias": 0.1, "weight": 1.3},
        {"uniform": True, "debias": 0.1},
        {"kernel_width": 2.0},
        {"kernel_width": 2.0, "uniform": True, "weight": 0.5},
    ],
    ids=str,
)
def test_repulsion_equals_its_loop(shape: tuple[int, int, int], options: dict[str, Any]) -> None:
    z = views(*shape).requires_grad_()
    complete = {
        "temperature": 0.9,
        "weight": 1.0,
        "uniform": False,
        "debias": 0.0,
        "kernel_width": None,
    } | options
    found = repulsion(z, **options)
    expected = looped_repulsion(z, **complete)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(loss, z)[0] for loss in (found, expected)))


@pytest.mark.parametrize("uniform", [False, True])
def test_attraction_equals_its_loop(uniform: bool) -> None:
    z = views(4).requires_grad_()
    terms = []
    for x in range(4):
        for n in range(5):
            cost = torch.stack([(z[x, n] - z[y, n]).square().sum() for y in range(4) if y != x])
            w = torch.full_like(cost, 1 / 3) if uniform else torch.softmax(1.7 * cost, dim=0)
            terms.append((w * cost).sum())
    expected = 0.8 * torch.stack(terms).mean()
    found = attraction(z, temperature=1.7, weight=0.8, uniform=uniform)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(loss, z)[0] for loss in (found, expected)))


@pytest.mark.parametrize("within_batch", [False, True])
@pytest.mark.parametrize("as_coded", [False, True])
def test_queue_form_equals_its_loop(within_batch: bool, as_coded: bool) -> None:
    """Weights of the queue's keys are softmax logits without gradient; those of the batch keep
    theirs.
    """
    z = torch.randn(3, 4, 5, dtype=torch.float64, requires_grad=True)
    queue = views(1, 7, 5)[0]
    q = unit(z)
    terms = []
    for x in range(3):
        for n in range(4):
            far = 2 - 2 * queue @ q[0 if as_coded else x, n]
            near = [(q[x, n] - q[x, m]).square().sum() for m in range(4) if m != n and within_batch]
            logits = torch.stack([*far.detach(), *near])
            terms.append(-(torch.softmax(-1.5 * logits, dim=0) * torch.stack([*far, *near])).sum())
    expected = torch.stack(terms).mean()
    found = queue_repulsion(z, queue, temperature=1.5, within_batch=within_batch, as_coded=as_coded)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(loss, z)[0] for loss in (found, expected)))


@pytest.mark.parametrize("euclidean", [False, True])
def test_moco_v3_form_equals_its_loop(euclidean: bool) -> None:
    q, k = (torch.randn(count, 4, 5, dtype=torch.float64) for count in (3, 2))
    tau = 0.7
    total = 0.0
    for i in range(2):
        others = [unit(q[j]) for j in range(3) if j != i]
        key = unit(k[i])
        for n in range(4):
            share = torch.softmax(
                torch.stack([(o[n] - key[n]).square().sum() for o in others]) / tau, dim=0
            )
            for p, o in zip(share, others, strict=True):
                cosine = key @ o[n]
                if euclidean:
                    rest = [m for m in range(4) if m != n]
                    w = torch.softmax(-(1 - cosine[rest]) / tau, dim=0)
                    loss = (1 - cosine[n]) - (w * (1 - cosine[rest])).sum()
                else:
                    loss = 2 * tau * (torch.logsumexp(cosine / tau, dim=0) - cosine[n] / tau)
                total += p * loss / 4 / 2
    torch.testing.assert_close(moco_v3_cacr(q, k, temperature=tau, euclidean=euclidean), total)
    none = moco_v3_cacr(q, k, temperature=tau, euclidean=euclidean, reduction="none")
    torch.testing.assert_close(none.mean(), total)


def test_two_views_attract_with_the_mean_squared_distance() -> None:
    z = views(2)
    torch.testing.assert_close(
        attraction(z, temperature=3.0), (z[0] - z[1]).square().sum(dim=1).mean()
    )


def test_uniform_weights_are_plain_averages() -> None:
    z = views(3)
    distances = (z[:, None, :, None] - z[None, :, None]).square().sum(-1)
    own = distances.diagonal(dim1=2, dim2=3)
    torch.testing.assert_close(attraction(z, uniform=True), own.sum() / (3 * 2 * 5))
    upper = [distances[x, y] for x, y in ((0, 1), (0, 2), (1, 2))]
    others = ~torch.eye(5, dtype=torch.bool)
    torch.testing.assert_close(
        repulsion(z, uniform=True), -torch.stack([d[others].mean() for d in upper]).mean()
    )


def test_farther_positives_and_nearer_negatives_weigh_more() -> None:
    z = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]], dtype=torch.float64)
    weighted, plain = (attraction(z[:, None], uniform=uniform) for uniform in (False, True))
    assert weighted > plain
    spread = views(2, 6)
    assert repulsion(spread) > repulsion(spread, uniform=True)
    steps = [repulsion(spread, temperature=t).item() for t in (0.0, 1.0, 4.0, 16.0, 1000.0)]
    assert steps == sorted(steps)
    nearest = (
        (spread[0][:, None] - spread[1])
        .square()
        .sum(-1)
        .fill_diagonal_(math.inf)
        .amin(dim=1)
        .mean()
    )
    assert steps[-1] == pytest.approx(-nearest.item(), rel=1e-3)


def test_keys_and_queue_get_no_gradient() -> None:
    query = torch.randn(3, 4, 5)
    key = torch.randn(3, 4, 5, requires_grad=True)
    queue = torch.randn(6, 5, requires_grad=True)
    query.requires_grad_()
    loss = queue_attraction(query, key) + queue_repulsion(query, queue)
    loss = loss + moco_v3_cacr(query, key) + moco_v3_cacr(query, key, euclidean=True)
    assert torch.autograd.grad(loss, (key, queue), allow_unused=True, retain_graph=True) == (
        None,
        None,
    )
    assert torch.autograd.grad(loss, query)[0].abs().sum() > 0


@pytest.mark.parametrize("kernel_width", [None, 2.0])
def test_blocks_change_nothing_and_bound_memory(
    monkeypatch: pytest.MonkeyPatch, kernel_width: float | None
) -> None:
    z = views(3, 40, 4).requires_grad_()
    queue = views(1, 9, 4)[0]

    def both() -> tuple[Tensor, Tensor, int]:
        with saved_sizes() as sizes:
            loss = repulsion(z, debias=0.1, kernel_width=kernel_width) + queue_repulsion(z, queue)
        return loss, torch.autograd.grad(loss, z)[0], max(sizes)

    whole = both()
    monkeypatch.setattr(blocks, "block_height", lambda columns, device: 7)
    blocked = both()
    torch.testing.assert_close(blocked[0], whole[0])
    torch.testing.assert_close(blocked[1], whole[1])
    assert whole[2] >= 3 * 40 * 40
    assert blocked[2] <= 3 * 40 * 9


FORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "small": cacr,
    "debiased": lambda z: repulsion(z, debias=0.1),
    "kernel": lambda z: repulsion(z, kernel_width=2.0),
    "queue": lambda z: queue_attraction(z, z.flip(1)),
    "queue repulsion": lambda z: queue_repulsion(z, z[0].flip(0)),
    "v3": lambda z: moco_v3_cacr(z, z.flip(1)),
    "v3 euclidean": lambda z: moco_v3_cacr(z, z.flip(1), euclidean=True),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("z", degenerate())
def test_degenerate_embeddings_stay_finite(form: str, z: Tensor) -> None:
    for rows in (z, z[1:3]):
        three = torch.stack([rows, rows.roll(1, 0), rows]).requires_grad_()
        finite_with_gradient(FORMS[form](three), three)


@pytest.mark.parametrize("form", FORMS)
def test_lower_precision(form: str) -> None:
    agrees_in_lower_precision(FORMS[form], views(3, 12, 8))


def test_gradcheck() -> None:
    z = views(3, 3, 3).requires_grad_()
    assert torch.autograd.gradcheck(cacr, z)
    assert torch.autograd.gradcheck(lambda z: repulsion(z, kernel_width=2.0), z)


@pytest.mark.parametrize("loss", [cacr, attraction, repulsion])
def test_one_view_is_too_few(loss: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(ValueError, match=r"V at least 2 .* found \(1, 4, 3\)"):
        loss(torch.randn(1, 4, 3))


def test_one_sample_has_no_negatives() -> None:
    with pytest.raises(ValueError, match="N at least 2"):
        repulsion(torch.randn(2, 1, 3))
