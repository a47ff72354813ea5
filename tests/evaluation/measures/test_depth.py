"""Measures of depth, motion and tasks in a row: reference values, plain forms, wrong inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from nearfar.errors import UserError
from nearfar.evaluation.measures.continual import average_score, forgetting
from nearfar.evaluation.measures.depth import (
    DEPTH_MEASURES,
    depth_errors,
    flip_post_process,
    garg_crop,
    scale_ratio,
    trajectory_error,
)
from tests.losses.cases import close, named


@pytest.mark.parametrize("name", named("f-depth-metrics-*"))
def test_errors_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    made, truth = case["in_pred"], case["in_gt"]
    close(torch.tensor(scale_ratio(made, truth), dtype=torch.float64), case["out_ratio"])
    for scale, most, key in ((True, 80.0, "out_metrics"), (False, 1e9, "out_metrics_unscaled")):
        found = depth_errors(made, truth, scale=scale, most=most)
        assert tuple(found) == DEPTH_MEASURES
        close(torch.tensor(list(found.values()), dtype=torch.float64), case[key])


@pytest.mark.parametrize("name", named("f-depth-postprocess-*"))
def test_post_processing_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    close(flip_post_process(case["in_l_disp"], case["in_r_disp"]), case["out_disp"])


@pytest.mark.parametrize("name", named("f-depth-ate-*"))
def test_the_error_of_a_path_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    found = trajectory_error(case["in_pred_xyz"], case["in_gt_xyz"])
    close(torch.tensor(found, dtype=torch.float64), case["out_ate"])


def test_the_ratio_takes_the_median_of_numpy() -> None:
    for count in (1, 2, 7, 8):
        made, truth = np.random.rand(2, count) + 0.1
        found = scale_ratio(torch.tensor(made), torch.tensor(truth))
        assert found == pytest.approx(float(np.median(truth) / np.median(made)), rel=1e-12)


def test_scale_and_start_do_not_count_and_noise_does() -> None:
    truth = torch.rand(50, dtype=torch.float64) + 1
    assert depth_errors(7 * truth, truth)["rmse"] == pytest.approx(0, abs=1e-12)
    assert depth_errors(7 * truth, truth, scale=False)["a3"] == 0
    path = torch.randn(5, 3, dtype=torch.float64)
    assert trajectory_error(path * 0.2 + 3, path) > 0
    moved = (path - path[0]) * 0.2 + path[0]
    shifted = path - path[0]
    assert trajectory_error(shifted * 0.2, shifted) == pytest.approx(0, abs=1e-12)
    assert trajectory_error(moved, path) > 0
    assert trajectory_error(torch.zeros(3, 3), torch.zeros(3, 3)) == 0


def test_the_crop_of_kitti() -> None:
    mask = garg_crop(375, 1242)
    rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
    assert (rows[0], rows[-1]) == (153, 370)
    assert (columns[0], columns[-1]) == (44, 1196)


def test_forgetting_is_what_was_known_and_is_no_more() -> None:
    scores = torch.tensor([[0.9, 0.0, 0.0], [0.8, 0.7, 0.0], [0.5, 0.6, 0.8]])
    assert average_score(scores).item() == pytest.approx((0.5 + 0.6 + 0.8) / 3)
    assert forgetting(scores).item() == pytest.approx((0.4 + 0.1) / 2)
    assert forgetting(scores, higher_is_better=False).item() == pytest.approx(-0.25)


def test_wrong_inputs_are_refused_in_a_sentence() -> None:
    depth = torch.rand(4) + 1
    with pytest.raises(UserError, match="Expected made"):
        depth_errors(depth, depth[:2])
    with pytest.raises(UserError, match="No depth is known"):
        depth_errors(depth[:0], depth[:0])
    with pytest.raises(UserError, match="made holds depths that are not above 0"):
        depth_errors(depth - 5, depth)
    with pytest.raises(UserError, match=r"most is 0\.0001"):
        depth_errors(depth, depth, most=1e-4)
    with pytest.raises(UserError, match="none of them empty"):
        flip_post_process(depth, depth)
    with pytest.raises(UserError, match="Expected made"):
        trajectory_error(depth, depth)
    with pytest.raises(UserError, match="One task cannot be forgotten"):
        forgetting(torch.rand(1, 1))
    with pytest.raises(UserError, match="Expected scores"):
        average_score(torch.rand(2, 3))
