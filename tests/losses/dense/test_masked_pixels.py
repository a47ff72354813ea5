"""SiT and Uni4Eye: reference values, plain forms, and wrong inputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from nearfar.errors import UserError
from nearfar.losses import moco_v3, nt_xent
from nearfar.losses.dense.masked_pixels import (
    dual_reconstruction,
    gradient_map,
    gradient_volume,
    masked_pixel_l1,
    patches_of,
)
from nearfar.losses.dense.uncertainty import log_variance_weighted, scale_weighted
from tests.losses.cases import close, leaves, named


@pytest.mark.parametrize("name", named("f-sit-contrast-*"))
def test_sits_contrast_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (student,) = leaves(case, "student")
    loss = moco_v3(
        *student.chunk(2), *case["in_teacher"].chunk(2), temperature=float(case["hp_temperature"])
    )
    loss.backward()
    close(loss, case["out_loss"])
    close(student.grad, case["out_grad_student"])


@pytest.mark.parametrize("name", named("f-sit-recon-*"))
def test_sits_reconstruction_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (made,) = leaves(case, "recon")
    loss = masked_pixel_l1(made, case["in_clean"], case["in_mask"])
    loss.backward()
    close(loss, case["out_loss"])
    close(made.grad, case["out_grad_recon"])


@pytest.mark.parametrize("name", named("f-sit-v1contrast-*"))
def test_the_first_versions_contrast_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    first, second = leaves(case, "z1", "z2")
    loss = nt_xent(first, second, temperature=float(case["hp_temperature"]))
    loss.backward()
    close(loss, case["out_loss"])
    close(first.grad, case["out_grad_z1"])


@pytest.mark.parametrize("name", named("f-sit-v2contrast-*"))
def test_the_second_versions_contrast_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (features,) = leaves(case, "features")
    loss = nt_xent(*features.chunk(2), temperature=float(case["hp_temperature"]))
    loss.backward()
    close(loss, case["out_loss"])
    close(features.grad, case["out_grad"])


@pytest.mark.parametrize("name", named("f-sit-v1mtl-*"))
def test_weighted_tasks_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (learned,) = leaves(case, "log_var")
    rotation = cross_entropy(case["in_rot_logits"], case["in_rot_labels"])
    contrast = nt_xent(case["in_z1"], case["in_z2"], temperature=0.5)
    rebuilt = (case["in_recon"] - case["in_images"]).abs().mean()
    close(rotation, case["out_rot"])
    close(contrast, case["out_contrast"])
    close(rebuilt, case["out_recon"])
    loss = log_variance_weighted(
        torch.stack([rotation, contrast, rebuilt]), learned, (1.0, 1.0, 0.5)
    )
    loss.backward()
    close(loss, case["out_loss"][0])
    close(learned.grad, case["out_grad_log_var"])


@pytest.mark.parametrize("name", named("f-sit-v2uncert-*"))
def test_scaled_losses_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    close(scale_weighted(case["in_loss"], case["in_s"]), case["out"])


@pytest.mark.parametrize("name", named("f-uni4eye-loss2d-*"))
def test_the_dual_loss_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    made, slopes = leaves(case, "pred_image", "pred_grad")
    size = int(case["hp_patch"])
    close(patches_of(case["in_gradmap"], size), case["out_target_grad"])
    if not case["hp_norm_pix"]:
        close(patches_of(case["in_image"], size), case["out_target_image"])
    loss = dual_reconstruction(
        case["in_image"],
        case["in_gradmap"],
        made,
        slopes,
        case["in_mask"],
        patch=size,
        normalise=bool(case["hp_norm_pix"]),
    )
    loss.backward()
    close(loss, case["out_loss"])
    close(made.grad, case["out_grad_pred_image"])
    close(slopes.grad, case["out_grad_pred_grad"])


@pytest.mark.parametrize("name", named("f-uni4eye-gradmap-*"))
def test_gradient_maps_equal_the_reference(golden: Any, name: str) -> None:
    """The image and its grey copy are stored in single precision."""
    case = golden(name)
    image = case["in_image"].double().permute(2, 0, 1)[None]
    grey = case["out_gray"].double()[None, None]
    close(gradient_map(grey)[0, 0], case["out_gradmap_float"])
    close(gradient_map(image)[0, 0], case["out_gradmap_float"], rtol=1e-6)
    assert torch.equal(gradient_map(grey, rounding="bytes")[0, 0].byte(), case["out_gradmap_uint8"])


def test_patches_of_volumes_keep_their_content_together() -> None:
    volume = torch.arange(2 * 4 * 6 * 2).view(1, 2, 4, 6, 2).double()
    patches = patches_of(volume, 2)
    assert patches.shape == (1, 6, 16)
    corner = volume[0, :, 2:4, 4:6, 0:2].permute(1, 2, 3, 0).flatten()
    assert torch.equal(patches[0, 5], corner)


def test_dual_reconstruction_takes_volumes_and_hidden_patches_only() -> None:
    volume, slopes = torch.rand(2, 2, 1, 4, 4, 4).double().unbind()
    made, steep = torch.rand(2, 2, 8, 8).double().unbind()
    mask = (torch.rand(2, 8) > 0.5).double()
    found = dual_reconstruction(volume, slopes, made, steep, mask, patch=2)
    errors = ((made - patches_of(volume, 2)) ** 2).mean(2)
    errors = errors + ((steep - patches_of(slopes, 2)) ** 2).mean(2)
    torch.testing.assert_close(found, errors[mask.bool()].mean())
    assert dual_reconstruction(volume, slopes, made, steep, 0 * mask, patch=2) == 0


def test_a_step_is_steep_along_its_own_axis() -> None:
    volume = torch.zeros(1, 1, 6, 6, 6)
    volume[:, :, 3:] = 1
    steep = gradient_volume(volume)
    assert steep[0, 0, 2].min() > 100
    assert steep[0, 0, 0, 3, 3] < 1e-3


def test_wrong_inputs_are_refused_in_a_sentence() -> None:
    image = torch.rand(1, 3, 6, 6)
    with pytest.raises(UserError, match="Patches of 4 do not divide"):
        patches_of(image, 4)
    with pytest.raises(UserError, match="needs 1 or 3 channels; found 2"):
        gradient_map(image[:, :2])
    with pytest.raises(UserError, match="rounding is 'up'"):
        gradient_map(image, rounding="up")
    with pytest.raises(UserError, match="as many losses as learned numbers"):
        scale_weighted(torch.ones(2), torch.ones(3))
    with pytest.raises(UserError, match="need as many factors; found 1"):
        log_variance_weighted(torch.ones(2), torch.ones(2), (1.0,))
    with pytest.raises(ValueError, match="Expected made"):
        masked_pixel_l1(image, image, image[:, :1, :2])
