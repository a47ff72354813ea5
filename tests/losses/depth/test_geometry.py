"""Depth, motion and projection: reference values, plain forms, and wrong inputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nearfar.errors import UserError
from nearfar.losses.depth.geometry import (
    backproject,
    disparity_to_depth,
    pose_matrix,
    project,
    view,
    warp,
)
from tests.losses.cases import close, leaves, named


@pytest.mark.parametrize("name", named("f-depth-disp2depth-*"))
def test_depth_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    near, far = float(case["hp_min_depth"]), float(case["hp_max_depth"])
    disparity, depth = disparity_to_depth(case["in_disp"], near=near, far=far)
    close(disparity, case["out_scaled_disp"])
    close(depth, case["out_depth"])


@pytest.mark.parametrize("name", named("f-depth-pose-*"))
def test_motions_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    given = case["in_axisangle"][:, 0], case["in_translation"][:, 0]
    close(pose_matrix(*given), case["out_T"])
    close(pose_matrix(*given, invert=True), case["out_T_inverted"])


@pytest.mark.parametrize("name", named("f-depth-warp-*"))
def test_warping_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (depth,) = leaves(case, "depth")
    points = backproject(depth, case["in_invK"])
    close(points, case["out_cam_points"])
    grid = project(points, case["in_K"], case["in_T"], *depth.shape[2:])
    close(grid, case["out_grid"])
    made = warp(case["in_source"], grid)
    close(made, case["out_warp"])
    made.square().sum().backward()
    close(depth.grad, case["out_grad_depth"])
    whole = view(case["in_source"], depth, case["in_K"], case["in_invK"], case["in_T"])
    assert torch.equal(whole, made)


def test_a_motion_is_undone_by_its_inverse_and_is_the_exponential() -> None:
    turn, shift = torch.randn(2, 5, 3, dtype=torch.float64)
    there = pose_matrix(turn, shift)
    back = pose_matrix(turn, shift, invert=True)
    still = torch.eye(4).double().expand(5, 4, 4)
    torch.testing.assert_close(back @ there, still, rtol=0, atol=1e-6)
    x, y, z = turn.unbind(1)
    none = torch.zeros_like(x)
    cross = torch.stack([none, -z, y, z, none, -x, -y, x, none], 1).view(5, 3, 3)
    torch.testing.assert_close(there[:, :3, :3], torch.linalg.matrix_exp(cross), rtol=0, atol=1e-6)


def test_no_rotation_has_a_finite_gradient() -> None:
    turn = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    pose_matrix(turn, torch.ones(2, 3).double()).sum().backward()
    assert torch.isfinite(turn.grad).all()


def test_a_crop_sees_the_same_points() -> None:
    depth = torch.rand(1, 1, 6, 7, dtype=torch.float64) + 1
    inverse = torch.linalg.inv(
        torch.tensor([[5.0, 0, 3, 0], [0, 4, 2, 0], [0, 0, 1, 0], [0, 0, 0, 1]]).double()
    )[None]
    whole = backproject(depth, inverse).view(1, 4, 6, 7)
    corner = torch.tensor([[2.0, 1.0]]).double()
    part = backproject(depth[..., 1:, 2:], inverse, corner=corner)
    torch.testing.assert_close(part.view(1, 4, 5, 5), whole[..., 1:, 2:])
    motion = torch.eye(4).double()[None]
    grid = project(part, torch.linalg.inv(inverse), motion, 5, 5, corner=corner)
    torch.testing.assert_close(
        grid[0, 0, 0], torch.tensor([-1.0, -1.0]).double(), atol=1e-6, rtol=0
    )


def test_wrong_inputs_are_refused_in_a_sentence() -> None:
    depth, eye = torch.rand(2, 1, 4, 5), torch.eye(4).expand(2, 4, 4)
    with pytest.raises(UserError, match=r"far is 0\.05"):
        disparity_to_depth(depth, near=0.1, far=0.05)
    with pytest.raises(UserError, match="do not fill 4 x 4 pixels"):
        project(backproject(depth, eye), eye, eye, 4, 4)
    with pytest.raises(UserError, match=r"Expected axis_angle \(N, 3\)"):
        pose_matrix(torch.zeros(1, 4), torch.zeros(1, 4))
    with pytest.raises(ValueError, match="Expected depth"):
        backproject(depth[0], eye)
    with pytest.raises(UserError, match="padding is 'reflection'"):
        warp(depth, torch.zeros(2, 4, 5, 2), padding="reflection")
