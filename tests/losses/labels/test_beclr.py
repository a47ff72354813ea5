"""BECLR: loss, memory and transport against golden values; loops; errors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.evaluation.probes.transport import (
    standardised,
    transport_plan,
    transported_prototypes,
)
from nearfar.losses.kernels.sinkhorn import sinkhorn
from nearfar.losses.labels.beclr import beclr, beclr_terms
from nearfar.targets.dynamic_clusters import DynamicClusters, cluster_scores, enhanced
from tests.losses.cases import close, leaves, named
from tests.references import ReferenceCase

Golden = Callable[[str], ReferenceCase]
F64 = torch.float64


def views(z: Tensor) -> Tensor:
    return z.view(2, -1, z.shape[1])


@pytest.mark.parametrize("name", named("e-beclr-loss-*"))
def test_loss_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    p, student = leaves(case, "p_student", "z_student")
    sides = "".join("S" if int(case[f"hp_view{v}_is_student"]) else "T" for v in (1, 2))
    given = views(p), views(student), views(case["in_z_teacher"])
    how = {"temperature": case["hp_temperature"].item(), "sides": sides}
    terms = beclr_terms(*given, **how)
    close(terms["positive"], case["out_loss_pos"])
    close(terms["negative"], case["out_loss_neg"])
    loss = beclr(*given, weight=case["hp_lambda_neg"].item(), **how)
    close(loss, case["out_loss"])
    slopes = torch.autograd.grad(loss, (p, student), allow_unused=True)
    close(slopes[0], case["out_grad_p"])
    close(torch.zeros_like(student) if slopes[1] is None else slopes[1], case["out_grad_z_student"])


@pytest.mark.parametrize("name", named("e-beclr-sinkhorn-*"))
def test_assignment_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    outs = {"cosine": "cosine", "far": "distance_code", "near": "distance"}
    for score, key in outs.items():
        scores = cluster_scores(case["in_z"], case["in_prototypes"], score)
        found = sinkhorn(
            scores, epsilon=case["hp_epsilon"].item(), iterations=int(case["hp_iterations"])
        )
        close(found, case[f"out_q_{key}"])


@pytest.mark.parametrize("name", named("e-beclr-dyce-*"))
def test_one_step_of_the_memory_reference(golden: Golden, name: str) -> None:
    """The reference with Euclidean scores has the released code's sign."""
    case = golden(name)
    memory = DynamicClusters(
        case["in_bank"].shape[1],
        len(case["in_bank"]),
        len(case["in_prototypes"]),
        momentum=case["hp_momentum"].item(),
    ).double()
    memory.rows.copy_(case["in_bank"].T)
    memory.label.copy_(case["in_bank_labels"])
    memory.prototypes.copy_(case["in_prototypes"])
    memory.place.fill_(case["hp_pointer"])
    memory.step(
        case["in_z"],
        epsilon=case["hp_epsilon"].item(),
        iterations=int(case["hp_sinkhorn_iterations"]),
        score="far" if int(case["hp_metric_is_euclidean"]) else "cosine",
    )
    close(memory.rows.T, case["out_bank"])
    assert torch.equal(memory.label, case["out_bank_labels"])
    assert int(memory.place) == int(case["out_pointer"])
    close(memory.prototypes, case["out_prototypes"])
    parts = [
        enhanced(half, memory.neighbours(half, int(case["hp_topk"])))
        for half in case["in_z"].chunk(2)
    ]
    close(torch.cat(parts), case["out_enhanced"])


@pytest.mark.parametrize("name", named("e-beclr-opta-*"))
def test_transport_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    support, queries = case["in_support"], case["in_queries"]
    prototypes = support.mean(dim=1)
    close(prototypes, case["out_prototypes_before"])
    how = {
        "regularisation": case["hp_regularisation"].item(),
        "iterations": int(case["hp_max_iter"]),
        "tolerance": case["hp_tol"].item(),
    }
    distance = torch.cdist(prototypes, queries).square()
    close(transport_plan(distance / distance.max(), **how), case["out_plan_first"])
    close(transported_prototypes(prototypes, queries, **how), case["out_prototypes_first"])
    passes = int(case["hp_passes"])
    last = transported_prototypes(prototypes, queries, passes=passes, **how)
    close(last, case["out_prototypes_last"])
    share = 1.0 if support.shape[1] == 1 else case["hp_ratio"].item()
    final = transported_prototypes(prototypes, queries, passes=passes, share=share, **how)
    close(final, case["out_prototypes_final"])


def test_the_spread_equals_the_loop() -> None:
    z = torch.randn(2, 3, 4, dtype=F64)
    u = (z / z.norm(dim=2, keepdim=True)).flatten(0, 1)
    total = []
    for i in range(6):
        others = [j for j in range(6) if j % 3 != i % 3]
        total.append(sum(torch.exp(u[i] @ u[j] / 2) for j in others) / 4)
    close(beclr_terms(z, z, z)["negative"], torch.stack(total).mean().log())
    assert beclr_terms(z[:, :1], z[:, :1], z[:, :1])["negative"].item() == 0


def test_a_memory_fills_clusters_and_gives_neighbours_of_a_kind() -> None:
    centres = 5 * torch.eye(3)
    kind = torch.arange(60) % 3
    z = centres[kind] + 0.1 * torch.randn(60, 3)
    memory = DynamicClusters(61, 3, 3)
    memory.write(z)
    assert not memory.full
    memory.write(centres[:2])
    assert memory.full
    assert int(memory.place) == 0
    memory.cluster(seed=0)
    there = memory.step(z[:6])
    found = memory.neighbours(z[:6], 4, exclude=there)
    assert torch.equal(found.argmax(dim=2), kind[:6, None].expand(-1, 4))
    assert not torch.isin(found, z[:6]).all(dim=2).any()


def test_standardised_rows_have_mean_nought_and_deviation_one() -> None:
    rows = standardised(torch.randn(4, 9, dtype=F64))
    close(rows.std(dim=1), torch.ones(4, dtype=F64))


def test_wrong_inputs_get_one_sentence() -> None:
    z = torch.zeros(2, 2, 2)
    with pytest.raises(ValueError, match="sides of S and T"):
        beclr(z, z, z, sides="SX")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 0"):
        beclr(z, z, z, weight=-1)
    with pytest.raises(UserError, match="'near', 'far' or 'cosine'"):
        cluster_scores(z[0], z[0], "close")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="a row for each cluster"):
        DynamicClusters(2, 3, 4)
    with pytest.raises(UserError, match="A plan needs costs"):
        transport_plan(torch.zeros(0, 2))
    with pytest.raises(UserError, match="expected 0 to 1"):
        transported_prototypes(z[0], z[0], share=2.0)
