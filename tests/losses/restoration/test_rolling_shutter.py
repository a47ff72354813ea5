"""Flows and rolling shutter: reference values, slow forms, a scene in motion, and wrong inputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.losses.restoration.flow import flow_warp, reversed_flows, splat
from nearfar.losses.restoration.rolling_shutter import (
    SCANS,
    cycle_charbonnier,
    rebuilt,
    row_encoding,
    time_maps,
    two_part_rebuilt,
)
from tests.losses.cases import close, leaves, named

SHORT = {"down": "t2b", "up": "b2t"}


@pytest.mark.parametrize("name", named("g-selfdrsc-warp-*"))
def test_warping_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    close(flow_warp(case["in_x"], case["in_flow"]), case["out_aligned"])


@pytest.mark.parametrize("name", named("g-selfdrsc-flowreversal-*"))
def test_reversed_flows_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    forward, backward = leaves(case, "flow01", "flow10")
    time = case["in_time"]
    sums, weights = splat(forward, time * forward)
    close(sums, case["out_splat_flow01"])
    close(weights.expand_as(sums), case["out_splat_norm"])
    to_first, to_second = reversed_flows(forward, backward, time)
    close(to_first, case["out_ft0"])
    close(to_second, case["out_ft1"])
    (to_first.square().sum() + to_second.sum()).backward()
    close(forward.grad, case["out_grad_flow01"])
    close(backward.grad, case["out_grad_flow10"])


@pytest.mark.parametrize("name", named("g-selfdrsc-timemaps-*"))
def test_times_of_rows_equal_the_reference(golden: Any, name: str) -> None:
    """The stored maps are numbers of single precision."""
    case = golden(name)
    height, reference = int(case["hp_h"]), float(case["hp_ref_row"])
    for scan, short in SHORT.items():
        close(row_encoding(height, reference, scan), case[f"out_dist_{short}"])
        _, before, after, mask = time_maps(height, reference, scan)
        close(before.float(), case[f"out_time_before_{short}"], rtol=1e-6)
        close(mask.float(), case[f"out_mask_before_{short}"])
        if f"out_time_after_{short}" in case:
            close(after.float(), case[f"out_time_after_{short}"], rtol=1e-6)


@pytest.mark.parametrize("name", named("g-selfdrsc-bdwarp-*"))
def test_rebuilt_images_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    first, last = case["in_gs0"], case["in_gs2"]
    (middle,) = leaves(case, "gs1")
    flows = {key: case[f"in_flow{key}"] for key in ("02", "20", "01", "10", "12", "21")}
    height = first.shape[2]
    reference = int(case["hp_k"]) * (height - 1) / 8
    made, taken = [], []
    for scan, short in SHORT.items():
        whole = rebuilt(
            first, last, flows["02"], flows["20"], time_maps(height, reference, scan)[0]
        )
        parts = two_part_rebuilt(
            (first, middle, last),
            (flows["01"], flows["10"]),
            (flows["12"], flows["21"]),
            reference,
            scan,
        )
        close(whole, case[f"out_{short}"])
        close(parts, case[f"out_{short}_mid"])
        made += [whole, parts]
        taken += [case[f"in_rs_{short}"]] * 2
    loss = cycle_charbonnier(tuple(made), tuple(taken))
    close(loss, case["out_loss_cycle_charbonnier"])
    loss.backward()
    close(middle.grad, case["out_grad_gs1"])


def slow_splat(values: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    sums, weights = torch.zeros_like(values), torch.zeros_like(values[:, :1])
    _, _, height, width = values.shape
    for y in range(height):
        for x in range(width):
            u, v = x + flow[0, 0, y, x], y + flow[0, 1, y, x]
            for q in (int(u.floor()), int(u.floor()) + 1):
                for r in (int(v.floor()), int(v.floor()) + 1):
                    if 0 <= q < width and 0 <= r < height:
                        weight = (-((u - q) ** 2) - (v - r) ** 2).exp()
                        sums[0, :, r, q] += weight * values[0, :, y, x]
                        weights[0, 0, r, q] += weight
    return sums, weights


def test_spreading_equals_its_slow_form_also_by_whole_pixels() -> None:
    values = torch.randn(1, 2, 5, 6, dtype=torch.float64)
    flow = torch.randn(1, 2, 5, 6, dtype=torch.float64) * 2
    flow[0, :, 0] = flow[0, :, 0].round()
    for found, expected in zip(splat(values, flow), slow_splat(values, flow), strict=True):
        torch.testing.assert_close(found, expected)


def test_no_flow_changes_nothing_and_a_shift_moves() -> None:
    image = torch.rand(2, 3, 5, 6, dtype=torch.float64)
    still = torch.zeros(2, 2, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(flow_warp(image, still), image)
    moved = flow_warp(image, still + torch.tensor([2.0, 1.0]).view(1, 2, 1, 1))
    torch.testing.assert_close(moved[:, :, :-1, :-2], image[:, :, 1:, 2:])
    assert not moved[:, :, -1].any()


def test_the_right_motion_rebuilds_a_scene_best() -> None:
    """A texture moves by 4 pixels along columns during the exposure."""
    texture = torch.rand(1, 1, 9, 40, dtype=torch.float64)
    for _ in range(3):
        texture[..., 1:-1] = (texture[..., :-2] + texture[..., 1:-1] + texture[..., 2:]) / 3

    def frame(time: float) -> Tensor:
        shift = torch.zeros(1, 2, 9, 40, dtype=torch.float64)
        shift[:, 0] = -4 * time
        return flow_warp(texture, shift)

    rows = torch.linspace(0, 1, 9, dtype=torch.float64)
    taken = torch.stack([frame(float(t))[0, :, y] for y, t in enumerate(rows)], 1)[None]
    errors = {}
    for speed in (0.0, 2.0, 4.0, 6.0):
        flow = torch.zeros(1, 2, 9, 40, dtype=torch.float64)
        flow[:, 0] = speed
        made = rebuilt(frame(0), frame(1), flow, -flow, rows)
        errors[speed] = float((made - taken)[..., 10:-10].abs().mean())
    assert min(errors, key=lambda speed: errors[speed]) == 4.0


def test_wrong_inputs_are_refused_in_a_sentence() -> None:
    image, flow = torch.rand(1, 3, 4, 4), torch.zeros(1, 2, 4, 4)
    with pytest.raises(UserError, match=r"Expected image \(N, C, H, W\), flow \(N, 2, H, W\)"):
        flow_warp(image, image)
    with pytest.raises(UserError, match="scan is 'left'"):
        row_encoding(4, 1.0, "left")
    with pytest.raises(UserError, match="expected from 0 to 3"):
        row_encoding(4, 5.0)
    with pytest.raises(UserError, match="no time lies before it"):
        time_maps(4, 0.0)
    with pytest.raises(UserError, match="expected between 0 and 3"):
        two_part_rebuilt((image,) * 3, (flow,) * 2, (flow,) * 2, 3.0, SCANS[0])
    with pytest.raises(UserError, match="one time for each of 4 rows"):
        rebuilt(image, image, flow, flow, torch.ones(3))
    with pytest.raises(UserError, match="found 1, 2"):
        cycle_charbonnier((image,), (image, image))
