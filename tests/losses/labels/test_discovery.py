"""BaCon: golden values and gradients, loops, class counts, errors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from nearfar.errors import UserError
from nearfar.losses import nt_xent, supcon
from nearfar.losses.kernels.similarity import unit
from nearfar.losses.labels.discovery import (
    class_prior_entropy,
    cross_view_distillation,
    keep_confident,
    soft_contrast,
    soft_labels,
)
from nearfar.targets.labels.class_counts import counts_from_clusters, estimate_class_counts
from tests.losses.cases import close, leaves, named
from tests.references import ReferenceCase

Golden = Callable[[str], ReferenceCase]
F64 = torch.float64


@pytest.mark.parametrize("name", named("e-bacon-con-*"))
def test_three_contrasts_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    supervised = case["hp_tau_sup"].item()
    losses = {
        "infonce": lambda a, b: nt_xent(a, b, temperature=case["hp_tau_unsup"].item()),
        "supcon": lambda a, b: supcon(
            unit(torch.stack([a, b], 1)), case["in_labels"], temperature=supervised
        ),
        "softcon": lambda a, b: soft_contrast(a, b, case["in_soft_labels"], temperature=supervised),
    }
    for key, loss in losses.items():
        (z,) = leaves(case, "z")
        value = loss(*z.chunk(2))
        value.backward()
        close(value, case[f"out_loss_{key}"])
        close(z.grad, case[f"out_grad_{key}"])


@pytest.mark.parametrize("name", named("e-bacon-pseudo-*"))
def test_pseudo_label_branch_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    student = case["hp_student_temperature"].item()
    (logits,) = leaves(case, "logits")
    distilled = cross_view_distillation(
        logits.view(2, -1, logits.shape[1]),
        temperature=student,
        teacher_temperature=case["hp_teacher_temperature"].item(),
    )
    (slope,) = torch.autograd.grad(distilled, logits)
    close(distilled, case["out_loss_distill"])
    close(slope, case["out_grad_distill"])
    power = case["hp_p"].item()
    prior = class_prior_entropy(logits, case["in_est_count"], power=power, temperature=student)
    (slope,) = torch.autograd.grad(prior, logits)
    close(prior, case["out_loss_reg"])
    close(slope, case["out_grad_reg"])


@pytest.mark.parametrize("name", named("e-bacon-softbranch-*"))
def test_soft_branch_reference(golden: Golden, name: str) -> None:
    """Class counts are equal here, so that every sample is kept."""
    case = golden(name)
    (z,) = leaves(case, "z")
    logits = case["in_logits"].view(2, -1, case["in_logits"].shape[1])
    target = soft_labels(logits, case["in_est_count"], strength=case["hp_tro"].item())
    kept = keep_confident(
        case["in_labels"],
        target,
        case["in_is_labelled"].bool(),
        case["in_est_count"],
        alpha=case["hp_alpha"].item(),
        beta=case["hp_beta"].item(),
    )
    first, second = z.chunk(2)
    loss = soft_contrast(first[kept], second[kept], target[kept])
    loss.backward()
    close(loss, case["out_loss"])
    close(z.grad, case["out_grad_z"])


@pytest.mark.parametrize("name", named("e-bacon-distest-*"))
def test_class_counts_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    found = estimate_class_counts(
        case["in_features"],
        case["in_labels"],
        case["in_is_labelled"].bool(),
        classes=int(case["hp_num_classes"]),
        known=int(case["hp_num_known"]),
    )
    close(found, case["out_est_count"].double())
    logits = torch.zeros(1, 1, len(found), dtype=F64)
    adjusted = soft_labels(logits, found, strength=case["hp_tro"].item())
    close(adjusted[0], (-case["out_logit_adjustment"].double()).softmax(0), 1e-6)


def test_ranks_give_known_classes_their_sizes() -> None:
    """The cluster of class 0 is the smaller one, though class 0 has more labels."""
    cluster = np.repeat([0, 1, 2, 3], [2, 6, 9, 4])
    label = np.full(21, -1)
    label[:2] = 0
    label[2] = 1
    counts = counts_from_clusters(cluster, label, classes=4, known=2)
    assert counts.tolist() == [6, 2, 9, 4]


def test_class_prior_entropy_is_nought_at_the_prior_and_its_plain_form_elsewhere() -> None:
    counts = torch.tensor([4.0, 2.0, 1.0], dtype=F64)
    at_prior = (counts.log() * 0.1).expand(5, 3)
    assert class_prior_entropy(at_prior, counts, power=1.0).item() == pytest.approx(0, abs=1e-12)
    logits = torch.randn(5, 3, dtype=F64)
    q = (logits / 0.1).softmax(1).mean(0) / counts**1.1
    q = q / q.sum()
    close(class_prior_entropy(logits, counts), np.log(3) + (q * q.log()).sum())


def test_rare_classes_keep_all_and_common_ones_their_most_confident() -> None:
    target = torch.zeros(40, 2)
    target[:30, 0] = torch.linspace(0.6, 0.9, 30)
    target[30:, 1] = 0.7
    target[:, 1] += 0.1
    known = torch.zeros(40, dtype=torch.bool)
    label = torch.zeros(40, dtype=torch.int64)
    counts = torch.tensor([100.0, 25.0])
    kept = keep_confident(label, target, known, counts, generator=torch.Generator().manual_seed(0))
    assert kept[30:].all()
    count = int(kept[:30].sum())
    assert 8 <= count <= 22
    assert kept[30 - count : 30].all()


def test_wrong_inputs_get_one_sentence() -> None:
    with pytest.raises(ValueError, match="takes 2 views"):
        cross_view_distillation(torch.zeros(3, 2, 2))
    with pytest.raises(ValueError, match=r"counts \(K\)"):
        class_prior_entropy(torch.zeros(3, 2), torch.ones(3))
    with pytest.raises(ValueError, match=r"target \(N, K\)"):
        soft_contrast(torch.zeros(3, 2), torch.zeros(3, 2), torch.zeros(2, 2))
    features, labels = torch.randn(5, 2), torch.zeros(5, dtype=torch.int64)
    flags = torch.ones(5, dtype=torch.bool)
    with pytest.raises(UserError, match="needs a labelled sample"):
        estimate_class_counts(features, labels, flags, classes=3, known=2)
    with pytest.raises(UserError, match="expected known at most classes"):
        estimate_class_counts(features, labels, flags, classes=6, known=2)
