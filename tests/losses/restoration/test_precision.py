"""Half types are computed in single precision: the losses of images take them and stay near."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nearfar.losses.dense import attended_regions as regions
from nearfar.losses.dense import points
from nearfar.losses.depth import geometry, mutual, photometric
from nearfar.losses.restoration import (
    adversarial,
    diffusion,
    editing,
    erasing,
    features,
    fidelity,
    flow,
    heads,
    patch_contrast,
    structure,
    variational,
)

Images = Callable[[Tensor, Tensor], Tensor]
LOSSES: dict[str, Images] = {
    **{
        f"critic {kind}": lambda a, b, kind=kind: adversarial.critic(a, b, kind=kind)
        for kind in adversarial.KINDS
    },
    "generator": lambda a, b: adversarial.generator(a, b, kind="rasgan"),
    "gram": lambda a, b: features.gram(a).sum() + features.gram(b).sum(),
    "psnr": structure.psnr,
    "ssim": structure.ssim,
    "ms_ssim": lambda a, b: structure.ms_ssim(a, b, window=3, weights=(0.5, 0.5)),
    "charbonnier": fidelity.charbonnier,
    "gradient_l1": fidelity.gradient_l1,
    "edge": fidelity.edge,
    "spectrum_l1": fidelity.spectrum_l1,
    "dice": fidelity.dice,
    "mixture": fidelity.mixture,
    "best_of_heads": lambda a, b: heads.best_of_heads(a[:, None], b),
    "map_similarity": lambda a, b: patch_contrast.map_similarity(a, b).sum(),
    "gaussian_kl": lambda a, b: variational.gaussian_kl(a[:, 0, 0], b[:, 0, 0]),
    "flow_warp": lambda a, b: flow.flow_warp(a, b[:, :2]).mean(),
    "noise_prediction": diffusion.noise_prediction,
    "flow_matching": lambda a, b: diffusion.flow_matching(a, b, b.flip(3)),
    "answer_loss": lambda a, b: editing.answer_loss(a[:, 0], b[:, 0, :, 0] > 0.5, 1, 2),
    "erasure_triplet": lambda a, b: erasing.erasure_triplet(a, b, b.flip(3)),
    "photometric": lambda a, b: photometric.photometric_error(a, b).mean(),
    "smoothness": lambda a, b: photometric.smoothness(a[:, :1], b),
    "disparity": lambda a, b: geometry.disparity_to_depth(a)[1].mean(),
    "masked_log_l1": lambda a, b: mutual.masked_log_l1(a[:, :1], b[:, :1], b[:, :1]),
    "chamfer": lambda a, b: points.chamfer(a[:, 0], b[:, 0]),
    "altered": lambda a, b: regions.altered_patches(a[:, 0], b[:, 0], b[:, 0, :, 0], b[0, 0, 0]),
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("key", LOSSES)
def test_half_types_give_the_single_precision_value(key: str, dtype: torch.dtype) -> None:
    first, second = torch.rand(2, 2, 3, 12, 12, generator=torch.Generator().manual_seed(4)).to(
        dtype
    )
    moving = first.clone().requires_grad_()
    found = LOSSES[key](moving, second)
    expected = LOSSES[key](first.float(), second.float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)
    (slope,) = torch.autograd.grad(found, moving, allow_unused=True)
    assert slope is None or bool(torch.isfinite(slope).all())
