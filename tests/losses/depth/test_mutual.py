"""Robust-Depth: reference values, who teaches whom, arrangements undone, and wrong inputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from nearfar.data.degradations.arrangement import swap_rows, tile, unswap_rows, untile
from nearfar.errors import UserError
from nearfar.losses.depth.mutual import (
    better_branch,
    joint_reprojection,
    masked_log_l1,
    mutual_supervision,
    pose_supervision,
    smoothness_of_kept,
)
from nearfar.losses.depth.photometric import photometric_error
from tests.losses.cases import close, leaves, named

SIDES = ("m1", "p1")


def errors_of(case: Any, key: str) -> Tensor:
    return torch.cat(
        [photometric_error(case[key.format(side)], case["in_clear_0"]) for side in SIDES], 1
    )


@pytest.mark.parametrize("name", named("f-robustdepth-loss-*"))
def test_the_whole_loss_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    degraded = leaves(case, "disp_aug_0", "disp_aug_1")
    clear = leaves(case, "disp_clear_0", "disp_clear_1")
    turns = leaves(case, *(f"axisangle_aug_{side}" for side in SIDES))
    weight, smooth = float(case["hp_weighter"]), float(case["hp_disparity_smoothness"])
    joint = bool(case["hp_one_optim"])
    still = errors_of(case, "in_clear_{}")
    total: Any = 0
    for scale, image in enumerate((case["in_clear_0"], case["in_clear_0_scale1"])):
        by_degraded = errors_of(case, f"in_warped_aug_{{}}_s{scale}")
        by_clear = errors_of(case, f"in_warped_clear_{{}}_s{scale}")
        masks = better_branch(still, by_degraded, by_clear)
        if scale == 0:
            close(masks[0], case["out_mask_clear_better"])
            close(masks[1], case["out_mask_aug_better"])
        masks = tuple(interpolate(mask, size=image.shape[2:]) for mask in masks)
        terms = mutual_supervision(
            degraded[scale], clear[scale], *masks, weight=weight, scale=scale
        )
        if scale == 0:
            close(terms[0], case["out_proxy_aug_0"])
            close(terms[1], case["out_proxy_clear_0"])
        loss = sum(terms) + joint_reprojection(still, by_degraded, by_clear, joint=joint)
        for output in (degraded[scale], clear[scale]):
            loss = loss + smooth / 2**scale * smoothness_of_kept(
                output, image, case["in_small"].bool()
            )
        close(loss, case[f"out_loss_scale{scale}"])
        total = total + loss / 2
    poses = [
        pose_supervision(
            torch.stack(given),
            torch.stack([case[f"in_{kind}_clear_{side}"] for side in SIDES]),
            weight=weight,
        )
        for kind, given in (
            ("axisangle", turns),
            ("translation", [case[f"in_translation_aug_{side}"] for side in SIDES]),
        )
    ]
    close(poses[0], case["out_pose_axisangle"])
    close(poses[1], case["out_pose_translation"])
    total = total + poses[0] + poses[1]
    close(total, case["out_loss"])
    total.backward()
    close(degraded[0].grad, case["out_grad_disp_aug_0"])
    close(clear[0].grad, case["out_grad_disp_clear_0"])
    close(turns[0].grad, case["out_grad_axisangle_aug_m1"])


@pytest.mark.parametrize("name", named("f-robustdepth-proxy-*"))
def test_pseudo_supervision_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    close(masked_log_l1(case["in_pred"], case["in_target"], case["in_mask"]), case["out_loss"])


@pytest.mark.parametrize("name", named("f-robustdepth-tile-*"))
def test_tiles_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    given = int(case["hp_rows"]), int(case["hp_cols"]), case["in_order"]
    tiled = tile(case["in_x"], *given)
    assert torch.equal(tiled, case["out_tiled"])
    assert torch.equal(untile(tiled, *given), case["out_restored"])


@pytest.mark.parametrize("name", named("f-robustdepth-vertical-*"))
def test_swaps_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    share = float(case["hp_rand_w"])
    swapped = swap_rows(case["in_x"], share)
    assert torch.equal(swapped, case["out_swapped"])
    assert torch.equal(unswap_rows(swapped, share), case["out_restored_exact"])


@pytest.mark.parametrize("height", [5, 12, 192])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
def test_every_swap_is_undone(height: int, share: float) -> None:
    image = torch.rand(2, 3, height, 2)
    assert torch.equal(unswap_rows(swap_rows(image, share), share), image)


def test_the_loser_is_taught_and_the_winner_is_not() -> None:
    degraded, clear = torch.rand(2, 2, 1, 3, 3).unbind()
    degraded.requires_grad_()
    clear.requires_grad_()
    everywhere, nowhere = torch.ones(2, 1, 3, 3), torch.zeros(2, 1, 3, 3)
    sum(mutual_supervision(degraded, clear, everywhere, nowhere)).backward()
    assert degraded.grad.abs().min() > 0
    assert not clear.grad.any()


def test_wrong_inputs_are_refused_in_a_sentence() -> None:
    image = torch.rand(1, 1, 6, 6)
    with pytest.raises(UserError, match="4 x 2 tiles do not divide 6 x 6"):
        tile(image, 4, 2, torch.arange(8))
    with pytest.raises(UserError, match="a permutation of 4 tiles"):
        tile(image, 2, 2, torch.zeros(4).long())
    with pytest.raises(UserError, match="share is 2"):
        swap_rows(image, 2)
    with pytest.raises(ValueError, match="Expected identity"):
        better_branch(image, image, image[..., 1:])
    with pytest.raises(UserError, match="weight is -1"):
        mutual_supervision(image, image, image, image, weight=-1)
