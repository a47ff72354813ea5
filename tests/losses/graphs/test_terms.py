"""Shared terms, weighted supervised contrast and pruning: golden values, loops, errors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.losses import nt_xent
from nearfar.losses.graphs.terms import pruning_loss, shared_terms
from nearfar.losses.labels.masked_supcon import masked_supcon
from tests.losses.cases import close, degenerate, finite_with_gradient, leaves, named
from tests.references import ReferenceCase

Golden = Callable[[str], ReferenceCase]
F64 = torch.float64


@pytest.mark.parametrize("name", named("d-heal-ntxent-*"))
def test_graph_vectors_are_contrasted_by_nt_xent(golden: Golden, name: str) -> None:
    case = golden(name)
    z1, z2 = leaves(case, "z1", "z2")
    loss = nt_xent(z1, z2, temperature=case["hp_temperature"].item())
    loss.backward()
    close(loss, case["out_loss"])
    close(z1.grad, case["out_grad_z1"])
    close(z2.grad, case["out_grad_z2"])


@pytest.mark.parametrize("name", named("d-proteinrpn-supcon-*"))
def test_supcon_of_shared_terms_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    (z,) = leaves(case, "z")
    kind = "jaccard" if "jaccard" in name else "any"
    weight = shared_terms(case["in_Y"], kind=kind)
    loss = masked_supcon(z, weight, temperature=case["hp_temperature"].item())
    loss.backward()
    close(loss, case["out_loss"])
    close(z.grad, case["out_grad_z"])


def supcon_loop(z: Tensor, weight: Tensor, tau: float) -> Tensor:
    losses = []
    u = z / z.norm(dim=1, keepdim=True)
    for i in range(len(z)):
        others = [j for j in range(len(z)) if j != i]
        total = sum(weight[i, j] for j in others)
        if total > 0:
            logits = (u[others] @ u[i]) / tau
            losses.append(-(weight[i, others] * logits.log_softmax(0)).sum() / total)
    return torch.stack(losses).mean()


def test_masked_supcon_equals_the_loop() -> None:
    z, weight = torch.randn(6, 4, dtype=F64), torch.rand(6, 6, dtype=F64)
    weight[2] = 0
    close(masked_supcon(z, weight, temperature=0.3), supcon_loop(z, weight, 0.3))


def test_masked_supcon_without_positives_is_nought() -> None:
    z = torch.randn(3, 2, requires_grad=True)
    loss = masked_supcon(z, torch.eye(3))
    loss.backward()
    assert loss.item() == 0
    assert z.grad.abs().sum() == 0
    assert masked_supcon(z[:1], torch.ones(1, 1)).item() == 0


@pytest.mark.parametrize("z", degenerate())
def test_masked_supcon_stays_finite(z: Tensor) -> None:
    z = z.clone().requires_grad_()
    finite_with_gradient(masked_supcon(z, torch.ones(6, 6), temperature=0.01), z)


def test_masked_supcon_has_the_gradient_of_its_differences() -> None:
    z = torch.randn(4, 3, dtype=F64, requires_grad=True)
    weight = torch.rand(4, 4, dtype=F64)
    assert torch.autograd.gradcheck(lambda x: masked_supcon(x, weight), z)


@pytest.mark.parametrize("name", named("d-proteinrpn-pruneloss-*"))
def test_pruning_reference(golden: Golden, name: str) -> None:
    """The reference is in float32."""
    case = golden(name)
    anchor = torch.repeat_interleave(torch.arange(len(case["in_sizes"])), case["in_sizes"])
    logits = torch.logit(case["in_scores"].double())
    loss = pruning_loss(logits, case["in_y"][case["in_nodes"]], anchor)
    close(loss, case["out_loss"].double(), 1e-6)


def test_pruning_equals_the_loop() -> None:
    logits = torch.randn(6, dtype=F64, requires_grad=True)
    target, anchor = torch.tensor([1, 0, 0, 1, 1, 0]), torch.tensor([3, 3, 0, 0, 0, 8])
    p = logits.sigmoid()
    losses = -torch.where(target.bool(), p.log(), (1 - p).log())
    expected = torch.stack([losses[anchor == one].mean() for one in (0, 3, 8)]).mean()
    close(pruning_loss(logits, target, anchor), expected)
    assert torch.autograd.gradcheck(lambda x: pruning_loss(x, target, anchor), logits)


def test_wrong_inputs_get_one_sentence() -> None:
    with pytest.raises(UserError, match="kind of shared terms"):
        shared_terms(torch.ones(2, 2), kind="cosine")
    with pytest.raises(ValueError, match=r"weight \(N, N\)"):
        masked_supcon(torch.zeros(3, 2), torch.zeros(2, 2))
    with pytest.raises(ValueError, match="temperature"):
        masked_supcon(torch.zeros(3, 2), torch.zeros(3, 3), temperature=0)
    with pytest.raises(ValueError, match=r"anchor \(P\)"):
        pruning_loss(torch.zeros(3), torch.zeros(3), torch.zeros(2))
