"""The expected-loss autoencoder, contrast of feature maps, and Haar bands."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import cosine_similarity

from nearfar.errors import UserError
from nearfar.losses.restoration.patch_contrast import map_similarity, patch_contrast
from nearfar.losses.restoration.variational import expected_loss, gaussian_kl, reparametrised
from nearfar.networks.restorers.bands import haar_details
from tests.losses.cases import close, leaves, named


@pytest.mark.parametrize("name", named("g-mssim-elvae-*"))
def test_the_expected_loss_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    mean, spread, distance = leaves(case, "mu", "logvar", "delta")
    close(gaussian_kl(mean, spread, reduction="none"), case["out_kl"])
    loss = expected_loss(mean, spread, distance, weight=float(case["hp_C"]))
    loss.backward()
    close(loss, case["out_loss"])
    close(mean.grad, case["out_grad_mu"])
    close(spread.grad, case["out_grad_logvar"])
    close(distance.grad, case["out_grad_delta"])


def test_the_divergence_is_torchs_and_codes_are_drawn_from_it() -> None:
    mean, spread = torch.randn(2, 3, 4, dtype=torch.float64)
    one = torch.distributions.Normal(mean, (spread / 2).exp())
    other = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    expected = torch.distributions.kl_divergence(one, other).sum(1)
    torch.testing.assert_close(gaussian_kl(mean, spread, reduction="none"), expected)
    noise = torch.randn(20_000, 1, dtype=torch.float64)
    drawn = reparametrised(torch.full_like(noise, 2.0), torch.full_like(noise, 1.0), noise)
    assert drawn.mean().item() == pytest.approx(2.0, abs=0.05)
    assert drawn.std().item() == pytest.approx(float(torch.tensor(0.5).exp()), rel=0.05)


def compared(case: Any, form: str) -> None:
    (made,) = leaves(case, "feat_sr")
    near, far = case["in_feat_pos"], case["in_feat_neg"]
    close(map_similarity(made, near).T, case["out_sim_pos"])
    close(map_similarity(made, far).T, case["out_sim_neg"])
    loss = patch_contrast(made, near, far, form=form)
    loss.backward()
    close(loss, case["out_loss"])
    close(made.grad, case["out_grad_feat_sr"])


@pytest.mark.parametrize("name", ["g-pclsr-nce-0", "g-pclsr-nce-2"])
def test_contrast_equals_the_reference(golden: Any, name: str) -> None:
    compared(golden(name), "infonce")


def test_large_margin_contrast_equals_the_reference(golden: Any) -> None:
    compared(golden("g-pclsr-nce-4"), "lmcl")


def test_contrast_equals_its_slow_form_and_averages_layers() -> None:
    made = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    near, far = torch.randn(2, 2, 2, 3, 4, 5, dtype=torch.float64)
    plain = []
    for n in range(2):
        s = [cosine_similarity(made[n], p[n], dim=0).mean() for p in near]
        t = [cosine_similarity(made[n], f[n], dim=0).mean() for f in far]
        plain += [-(k.exp() / (k.exp() + sum(m.exp() for m in t))).log() for k in s]
    expected = torch.stack(plain).mean()
    torch.testing.assert_close(patch_contrast(made, near, far), expected)
    both = patch_contrast([made, made], [near, near[:1]], [far, far])
    single = patch_contrast(made, near[:1], far)
    torch.testing.assert_close(both, (expected + single) / 2)
    near.requires_grad_()
    patch_contrast(made, near, far).backward()
    assert made.grad is not None
    assert near.grad is None


@pytest.mark.parametrize("name", named("g-pclsr-haar-*"))
def test_bands_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    close(haar_details(case["in_image"]), case["out_bands"])


def test_wrong_inputs_are_refused_in_a_sentence() -> None:
    made = torch.rand(2, 3, 4, 4)
    with pytest.raises(UserError, match="form is 'cosine'"):
        patch_contrast(made, made[None], made[None], form="cosine")
    with pytest.raises(UserError, match="found 1, 2 and 1"):
        patch_contrast([made], [made[None]] * 2, [made[None]])
    with pytest.raises(ValueError, match="Expected made"):
        patch_contrast(made, made, made)
    with pytest.raises(UserError, match="even sides"):
        haar_details(made[..., 1:])
    with pytest.raises(UserError, match="weight is 0"):
        expected_loss(made[:, :, 0, 0], made[:, :, 0, 0], made[:, 0, 0, 0], weight=0)
