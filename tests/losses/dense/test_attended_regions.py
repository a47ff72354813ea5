"""GLARE, SEER and clouds of points: reference values, limits, and wrong inputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import normalize

from nearfar.errors import UserError
from nearfar.losses import dino, swav
from nearfar.losses.dense.assignments import balanced_assignment, hard_assignment, power_law
from nearfar.losses.dense.attended_regions import (
    altered_patches,
    attended_regions,
    corresponding_logits,
)
from nearfar.losses.dense.points import chamfer, hidden_features, splatting_loss
from nearfar.targets.sinkhorn import sinkhorn
from tests.losses.cases import close, leaves, named


@pytest.mark.parametrize("name", named("f-glare-dino-*"))
def test_the_global_term_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (student,) = leaves(case, "student")
    crops = int(case["hp_ncrops"])
    loss = dino(
        student.view(crops, -1, student.shape[1]),
        case["in_teacher"].view(2, -1, student.shape[1]),
        case["in_center"],
        student_temperature=float(case["hp_student_temp"]),
        teacher_temperature=float(case["hp_teacher_temp"]),
    )
    loss.backward()
    close(loss, case["out_loss"])
    close(student.grad, case["out_grad_student"])
    centre = 0.9 * case["in_center"] + 0.1 * case["in_teacher"].mean(0)
    close(centre, case["out_center"])


@pytest.mark.parametrize("name", named("f-glare-localregional-*"))
def test_local_and_regional_terms_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    given = {
        "student_temperature": float(case["hp_student_temp"]),
        "teacher_temperature": float(case["hp_teacher_temp"]),
    }
    teacher, centre = case["in_teacher_patch"], case["in_center"]
    (patches, region) = leaves(case, "student_patch", "student_region")
    local = altered_patches(patches, teacher, case["in_patch_mask"], centre, **given)
    close(local, case["out_local"])
    attention, target = corresponding_logits(case["in_region_query"], case["in_keys"], teacher)
    close(attention, case["out_attention"])
    close(target, case["out_region_target_logits"])
    regional = attended_regions(region, target, centre, **given)
    close(regional, case["out_regional"])
    (local + regional).backward()
    untouched = case["in_patch_mask"] == 0
    assert not patches.grad[untouched].any()
    assert region.grad.abs().min() > 0
    assert altered_patches(patches, teacher, 0 * case["in_patch_mask"], centre) == 0


@pytest.mark.parametrize("name", named("f-seer-sinkhorn-*"))
def test_assignments_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    scores = case["in_scores"]
    given = {"epsilon": float(case["hp_epsilon"]), "iterations": int(case["hp_iters"])}
    found = balanced_assignment(scores, **given)
    close(found, case["out_assign"])
    close(hard_assignment(found), case["out_assign_hard"].double())
    wanted = power_law(scores.shape[1], 0.5)
    close(balanced_assignment(scores, wanted=wanted, **given), case["out_assign_powerlaw05"])
    close(sinkhorn(scores, **given), case["out_assign"])


@pytest.mark.parametrize("name", named("f-seer-swavloss-*"))
def test_seers_loss_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    embeddings, prototypes = leaves(case, "embeddings", "prototypes")
    crops = int(case["hp_num_crops"])
    scores = (embeddings @ prototypes.T).view(crops, -1, len(prototypes))
    given = {"epsilon": float(case["hp_epsilon"]), "iterations": int(case["hp_iters"])}
    codes = torch.stack([balanced_assignment(s, **given) for s in scores[:2].detach()])
    loss = swav(scores, codes, temperature=float(case["hp_temperature"]))
    loss.backward()
    close(loss, case["out_loss"])
    close(embeddings.grad, case["out_grad_embeddings"])
    close(prototypes.grad, case["out_grad_prototypes"])


@pytest.mark.parametrize("name", named("f-seer-swavqueue-*"))
def test_a_queue_balances_as_in_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    prototypes = case["in_prototypes"]
    queues = case["in_queue_embeddings"]
    scores = (case["in_embeddings"] @ prototypes.T).view(len(queues), -1, len(prototypes))
    given = {"epsilon": float(case["hp_epsilon"]), "iterations": int(case["hp_iters"])}
    codes = torch.stack(
        [
            balanced_assignment(own, queued=queue @ prototypes.T, **given)
            for own, queue in zip(scores, queues, strict=True)
        ]
    )
    close(swav(scores, codes, temperature=float(case["hp_temperature"])), case["out_loss"])


def test_prototypes_receive_their_wanted_shares() -> None:
    scores = torch.randn(200, 5, dtype=torch.float64)
    wanted = power_law(5, 1.0)
    found = balanced_assignment(scores, epsilon=0.5, iterations=200, wanted=wanted)
    torch.testing.assert_close(found.mean(0), wanted, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(found.sum(1), torch.ones(200).double())


@pytest.mark.parametrize("name", named("f-g2s-chamfer-*"))
def test_distances_of_clouds_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (first,) = leaves(case, "a")
    loss = chamfer(first, case["in_b"])
    loss.backward()
    close(loss, case["out_l2"])
    close(first.grad, case["out_grad_a_l2"])
    close(chamfer(first, case["in_b"], form="l1"), case["out_l1"])


@pytest.mark.parametrize("name", named("f-g2s-3dgsloss-*"))
def test_the_loss_of_splatting_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (made,) = leaves(case, "render")
    given = case["in_target"]
    loss = splatting_loss(made, given, structure=float(case["hp_lambda"]))
    loss.backward()
    close(loss, case["out_loss"])
    close(splatting_loss(made, given, structure=1.0), 1 - case["out_ssim"])
    close(splatting_loss(made, given, structure=0.0), case["out_l1"])
    close(made.grad, case["out_grad_render"])


def test_equal_clouds_have_no_distance_and_a_finite_gradient() -> None:
    cloud = torch.rand(2, 5, 3, requires_grad=True)
    for form in ("l1", "l2"):
        loss = chamfer(cloud, cloud.detach().flip(1), form=form)
        (slope,) = torch.autograd.grad(loss, cloud)
        assert loss.item() == pytest.approx(0, abs=1e-12)
        assert torch.isfinite(slope).all()


def test_hidden_cells_alone_count() -> None:
    predicted, target = torch.randn(2, 6, 4, dtype=torch.float64)
    hidden = torch.tensor([True, False] * 3)
    cosine = (normalize(predicted, dim=1) * normalize(target, dim=1)).sum(1)
    expected = (2 - 2 * cosine)[hidden].mean()
    torch.testing.assert_close(hidden_features(predicted, target, hidden), expected)
    assert hidden_features(predicted, target, ~torch.ones(6, dtype=torch.bool)) == 0


def test_wrong_inputs_are_refused_in_a_sentence() -> None:
    x = torch.rand(2, 4, 3)
    with pytest.raises(ValueError, match="Expected student"):
        altered_patches(x, x, x, torch.zeros(3))
    with pytest.raises(UserError, match="teacher_temperature is 0"):
        attended_regions(x, x, torch.zeros(3), teacher_temperature=0)
    with pytest.raises(UserError, match="form is 'l3'"):
        chamfer(x, x, form="l3")
    with pytest.raises(UserError, match="Expected 3 wanted shares"):
        balanced_assignment(x[0], wanted=torch.ones(4))
    with pytest.raises(UserError, match="epsilon is 0"):
        balanced_assignment(x[0], epsilon=0)
