"""View synthesis: reference values, slow forms, who receives gradient, and wrong inputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.losses.depth.geometry import disparity_to_depth, pose_matrix, view
from nearfar.losses.depth.photometric import (
    dissimilarity,
    masked_mean,
    minimum_reprojection,
    monodepth2,
    photometric_error,
    smoothness,
)
from tests.losses.cases import close, leaves, named


@pytest.mark.parametrize("name", named("f-depth-ssim-*"))
def test_dissimilarity_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (x,) = leaves(case, "x")
    found = dissimilarity(x, case["in_y"])
    close(found, case["out_map"])
    close(found.mean(), case["out_mean"])
    found.mean().backward()
    if "out_grad_x" in case:
        close(x.grad, case["out_grad_x"])


@pytest.mark.parametrize("name", named("f-depth-photometric-*"))
def test_the_error_map_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (made,) = leaves(case, "pred")
    found = photometric_error(made, case["in_target"])
    close(found, case["out_map"])
    found.sum().backward()
    close(made.grad, case["out_grad_pred"])


@pytest.mark.parametrize("name", named("f-depth-smooth-*"))
def test_smoothness_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (disparity,) = leaves(case, "disp")
    close(smoothness(disparity, case["in_img"], normalise=False), case["out_raw_loss"])
    loss = smoothness(disparity, case["in_img"])
    loss.backward()
    close(loss, case["out_loss"])
    close(disparity.grad, case["out_grad_disp"])


@pytest.mark.parametrize("name", named("f-depth-monodepth2loss-*"))
def test_the_whole_loss_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    outputs = leaves(case, "disp_0", "disp_1")
    turns = leaves(case, "axisangle_m1", "axisangle_p1")
    shifts = leaves(case, "translation_m1", "translation_p1")
    motions = [
        pose_matrix(turn[:, 0], shift[:, 0], invert=earlier)
        for turn, shift, earlier in zip(turns, shifts, (True, False), strict=True)
    ]
    images = [case["in_color_0"], case["in_color_0_scale1"]]
    sources = [case["in_color_m1"], case["in_color_p1"]]
    camera = case["in_K"], case["in_invK"]
    given = {
        "smooth": float(case["hp_disparity_smoothness"]),
        "automask": bool(case["hp_automask"]),
        "average": bool(case["hp_avg_reprojection"]),
    }
    depth = disparity_to_depth(outputs[0])[1]
    for source, motion, word in zip(sources, motions, ("m1", "p1"), strict=True):
        close(view(source, depth, *camera, motion), case[f"out_warped_{word}"])
    loss = monodepth2(outputs, images, sources, motions, *camera, **given)
    loss.backward()
    close(loss, case["out_loss"])
    close(outputs[0].grad, case["out_grad_disp_0"])
    close(outputs[1].grad, case["out_grad_disp_1"])
    close(turns[0].grad, case["out_grad_axisangle_m1"])
    close(turns[1].grad, case["out_grad_axisangle_p1"])
    close(
        monodepth2(outputs[:1], images[:1], sources, motions, *camera, **given),
        case["out_loss_scale0"],
    )
    if given["automask"] and not given["average"]:
        errors, still = (
            torch.cat([photometric_error(image, images[0]) for image in made], 1)
            for made in (
                [
                    view(source, depth, *camera, motion)
                    for source, motion in zip(sources, motions, strict=True)
                ],
                sources,
            )
        )
        won = minimum_reprojection(errors, still)[1]
        assert torch.equal(won.float(), case["out_identity_selection_0"])


def test_the_average_over_sources_competes_with_the_average_as_they_are() -> None:
    errors, still = torch.rand(2, 2, 3, 4, 5)
    found, won = minimum_reprojection(errors, still, average=True)
    torch.testing.assert_close(found, torch.minimum(errors.mean(1), still.mean(1)))
    assert torch.equal(won, errors.mean(1) < still.mean(1))
    noise = torch.full_like(still, 10.0)
    assert minimum_reprojection(errors, still, noise=noise)[1].all()


def test_pixels_that_do_not_move_receive_no_gradient() -> None:
    errors = torch.tensor([1.0, 4.0]).view(1, 1, 1, 2).requires_grad_()
    least, _ = minimum_reprojection(errors, torch.full((1, 1, 1, 2), 2.0))
    least.mean().backward()
    assert errors.grad.flatten().tolist() == [0.5, 0.0]


def slow_smoothness(disparity: Tensor, image: Tensor) -> Tensor:
    total = []
    for d, i in zip(disparity[:, 0], image, strict=True):
        d = d / (d.mean() + 1e-7)
        across, down = [], []
        for y in range(d.shape[0]):
            for x in range(d.shape[1]):
                if x + 1 < d.shape[1]:
                    edge = (i[:, y, x + 1] - i[:, y, x]).abs().mean()
                    across.append((d[y, x + 1] - d[y, x]).abs() * (-edge).exp())
                if y + 1 < d.shape[0]:
                    edge = (i[:, y + 1, x] - i[:, y, x]).abs().mean()
                    down.append((d[y + 1, x] - d[y, x]).abs() * (-edge).exp())
        total.append(torch.stack(across).mean() + torch.stack(down).mean())
    return torch.stack(total)


def test_smoothness_equals_its_slow_form() -> None:
    disparity = torch.rand(2, 1, 4, 5, dtype=torch.float64)
    image = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    found = smoothness(disparity, image, reduction="none")
    torch.testing.assert_close(found, slow_smoothness(disparity, image))


def test_losses_of_single_images_average_to_the_whole() -> None:
    images = [torch.rand(3, 3, 8, 8), torch.rand(3, 3, 4, 4)]
    outputs = [torch.rand(3, 1, 8, 8), torch.rand(3, 1, 4, 4)]
    sources = [torch.rand(3, 3, 8, 8)]
    eye = torch.eye(4).expand(3, 4, 4)
    each = monodepth2(outputs, images, sources, [eye], eye, eye, reduction="none")
    assert each.shape == (3,)
    torch.testing.assert_close(each.mean(), monodepth2(outputs, images, sources, [eye], eye, eye))
    assert masked_mean(torch.ones(3), torch.zeros(3)) == 0


def test_wrong_inputs_are_refused_in_a_sentence() -> None:
    image, eye = torch.rand(2, 3, 8, 8), torch.eye(4).expand(2, 4, 4)
    with pytest.raises(UserError, match="found 1, 1, 1 and 0"):
        monodepth2([image[:, :1]], [image], [image], [], eye, eye)
    with pytest.raises(ValueError, match="Expected disparity"):
        smoothness(image, image)
    with pytest.raises(UserError, match="structure is 2"):
        photometric_error(image, image, structure=2)
    with pytest.raises(UserError, match="found uint8"):
        dissimilarity(image.byte(), image.byte())
