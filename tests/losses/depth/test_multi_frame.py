"""ManyDepth and ProDepth: reference values, what is missing, limits, wrong inputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from nearfar.errors import UserError
from nearfar.losses.depth.cost_volume import (
    cost_volume,
    depth_bins,
    depths_agree,
    tracked_range,
)
from nearfar.losses.depth.fusion import fused_cost, gaussian_depth, static_weight
from nearfar.losses.depth.geometry import disparity_to_depth
from nearfar.losses.depth.multi_frame import (
    fusion_student,
    single_frame_teacher,
    student_mask,
    two_frame_student,
)
from nearfar.losses.depth.photometric import photometric_error, smoothness
from tests.losses.cases import close, leaves, named

SIDES = ("m1", "p1")


@pytest.mark.parametrize("name", named("f-many-costvolume-*"))
def test_the_volume_equals_the_reference(golden: Any, name: str) -> None:
    """Linear bins; reference volumes of frames in a row."""
    case = golden(name)
    near, far = float(case["hp_min_depth_bin"]), float(case["hp_max_depth_bin"])
    bins = depth_bins(near, far, int(case["hp_num_bins"]), "linear")
    close(bins, case["out_depth_bins"], rtol=1e-7)
    found = cost_volume(
        case["in_current_feats"],
        case["in_lookup_feats"],
        case["in_relative_poses"],
        case["in_K"],
        case["in_invK"],
        case["out_depth_bins"],
    )
    close(found.cost, case["out_cost_volume"])
    assert torch.equal(found.missing.double(), case["out_missing_mask"].double())
    assert torch.equal(found.confident.double(), case["out_confidence_mask"].double())
    close(found.disparity, case["out_lowest_cost_disp"])
    close(found.trusted, case["out_masked_cost_volume"])


@pytest.mark.parametrize("name", named("f-many-matchingmask-*"))
def test_agreement_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    found = depths_agree(case["in_mono_depth"][:, 0], 1 / case["in_lowest_cost_disp"])
    assert torch.equal(found, case["out_mask"].bool())


def errors_of(case: Any, key: str) -> Tensor:
    target = case["in_color_0"]
    return torch.cat([photometric_error(case[f"{key}_{side}"], target) for side in SIDES], 1)


def warped_errors(case: Any, made: dict[str, Tensor], scale: int) -> Tensor:
    target = case["in_color_0"]
    return torch.cat([photometric_error(made[f"{side}{scale}"], target) for side in SIDES], 1)


@pytest.mark.parametrize("name", named("f-many-losses-*"))
def test_manydepths_losses_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    made = {
        f"{side}{scale}": case[f"in_warped_{side}_s{scale}"].clone().requires_grad_()
        for side in SIDES
        for scale in (0, 1)
    }
    still = errors_of(case, "in_color")
    depths = leaves(case, "multi_depth_0", "multi_depth_1")
    everywhere = torch.ones_like(case["in_consistency_mask"])
    mask = student_mask(case["in_consistency_mask"], everywhere, case["in_augmentation_mask"])
    multi, single = 0, 0
    for scale, image in enumerate((case["in_color_0"], case["in_color_0_scale1"])):
        errors = warped_errors(case, made, scale)
        smooth = 1e-3 / 2**scale * smoothness(case[f"in_disp_{scale}"], image)
        teacher = single_frame_teacher(errors, still)
        reprojection, elsewhere = two_frame_student(
            errors, mask, depths[scale], case[f"in_mono_depth_{scale}"]
        )
        if scale == 0:
            close(teacher, case["out_single_reproj_0"])
            close(reprojection, case["out_multi_reproj_0"])
            close(elsewhere, case["out_multi_consistency_0"])
        single = single + (teacher + smooth) / 2
        multi = multi + (reprojection + elsewhere + smooth) / 2
    close(single, case["out_single_loss"])
    close(multi, case["out_multi_loss"])
    multi.backward()
    close(made["m10"].grad, case["out_grad_warped_m1_s0"])
    close(depths[0].grad, case["out_grad_multi_depth_0"])


@pytest.mark.parametrize("name", named("f-prodepth-pcvm-*"))
def test_fusion_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    cost = case["in_cost_volume"]
    size = cost.shape[2:]
    single, volume, sigma = (
        interpolate(x, size=size, mode="bilinear", align_corners=False)
        for x in (case["in_mono_disp"], case["in_cv_disp"][:, None], case["in_sigma"])
    )
    near, far = float(case["hp_min_depth_bin"]), float(case["hp_max_depth_bin"])
    bins = depth_bins(near, far, cost.shape[1], "log")
    close(bins, case["out_depth_bins"], rtol=1e-7)
    weight = static_weight(single, volume)
    assert torch.equal((weight > 0.4).double(), case["out_static_mask"].double())
    density = gaussian_depth(case["out_depth_bins"], disparity_to_depth(single)[1], sigma)
    close(fused_cost(cost, density, weight), case["out_refined_cost_volume"])


@pytest.mark.parametrize("name", named("f-prodepth-losses-*"))
def test_prodepths_losses_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    outputs = leaves(case, "disp_0", "disp_1")
    made = {f"{s}{k}": case[f"in_warped_{s}_s{k}"] for s in SIDES for k in (0, 1)}
    weight = static_weight(case["in_mono_disp"], case["in_cv_disp"][:, None])
    weight = weight * (weight > 0.4)
    close(weight[:, 0], case["out_weight_map"])
    kept = 1 - case["in_augmentation_mask"]
    mask = weight * kept
    disparity = disparity_to_depth(outputs[0])[0]
    teacher = disparity_to_depth(case["in_mono_disp"])[0]
    multi = 0
    for scale, image in enumerate((case["in_color_0"], case["in_color_0_scale1"])):
        errors = warped_errors(case, made, scale)
        reprojection, elsewhere = fusion_student(errors, mask, disparity, teacher)
        if scale == 0:
            close(reprojection, case["out_reproj_0"])
            close(elsewhere, case["out_consistency_0"])
        smooth = 1e-3 / 2**scale * smoothness(outputs[scale], image)
        multi = multi + (reprojection + elsewhere + smooth) / 2
    errors = errors_of(case, "in_cv_warped")
    auxiliary, _ = fusion_student(errors, kept.expand_as(mask), disparity, teacher)
    close(multi, case["out_multi_loss"])
    close(auxiliary, case["out_aux_loss"])
    total = multi + 0.3 * auxiliary
    close(total, case["out_total"])
    total.backward()
    close(outputs[0].grad, case["out_grad_disp_0"])


def test_a_missing_frame_leaves_the_volume_empty() -> None:
    maps, eye = torch.rand(1, 4, 8, 8), torch.eye(4)[None]
    bins = depth_bins(1.0, 4.0, 3)
    empty = cost_volume(maps, maps[None], torch.zeros(1, 1, 4, 4), eye, eye, bins)
    assert not empty.cost.any()
    assert empty.missing.all()
    assert not empty.confident.any()
    other = cost_volume(maps, torch.rand(1, 1, 4, 8, 8), eye[None], eye, eye, bins)
    assert other.confident[0, 3, 3]
    assert not other.confident[0, 0].any()


def test_bins_ascend_and_are_even_in_their_measure() -> None:
    for spacing, measure in (
        ("linear", lambda d: d),
        ("inverse", lambda d: 1 / d),
        ("log", torch.log),
    ):
        bins = depth_bins(0.5, 8.0, 6, spacing)
        assert bins.diff().min() > 0
        assert bins[[0, -1]].tolist() == pytest.approx([0.5, 8.0])
        steps = measure(bins).diff()
        torch.testing.assert_close(steps, steps[:1].expand_as(steps))


def test_where_the_scene_stands_still_the_order_of_costs_is_kept() -> None:
    cost = torch.rand(1, 6, 2, 2, dtype=torch.float64)
    single = torch.rand(1, 6, 2, 2, dtype=torch.float64)
    still = fused_cost(cost, single, torch.ones(1, 1, 2, 2).double())
    assert torch.equal(still.argsort(1), cost.argsort(1))
    moving = fused_cost(cost, single, torch.zeros(1, 1, 2, 2).double())
    assert torch.equal(moving.argmin(1), single.argmax(1))


def test_the_range_follows_the_teacher() -> None:
    depth = torch.tensor([2.0, 20.0]).view(1, 1, 1, 2)
    low, high = (0.1, 10.0)
    for _ in range(2000):
        low, high = tracked_range((low, high), depth)
    assert (low, high) == (pytest.approx(1.8), pytest.approx(22.0))


def test_wrong_inputs_are_refused_in_a_sentence() -> None:
    maps, eye = torch.rand(2, 4, 8, 8), torch.eye(4).expand(2, 4, 4)
    with pytest.raises(UserError, match="spacing is 'even'"):
        depth_bins(1.0, 2.0, 4, "even")
    with pytest.raises(UserError, match="far is 1"):
        depth_bins(2.0, 1.0, 4)
    with pytest.raises(ValueError, match="Expected features"):
        cost_volume(maps, maps, eye, eye, eye, torch.ones(2))
    with pytest.raises(UserError, match="Expected single"):
        static_weight(maps, maps)
    with pytest.raises(UserError, match="consistency is -1"):
        fusion_student(maps, maps[:, :1], maps[:, :1], maps[:, :1], consistency=-1)
