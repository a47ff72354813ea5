"""Depth by view synthesis: how well a warped source shows the target, and how smooth depth is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

from nearfar.errors import UserError
from nearfar.losses.depth.geometry import disparity_to_depth, view
from nearfar.losses.kernels.similarity import full_precision
from nearfar.losses.restoration.inputs import expect_number, expect_pictures, per_image
from nearfar.ranges import at_least, unit_interval

__all__ = [
    "dissimilarity",
    "masked_mean",
    "minimum_reprojection",
    "monodepth2",
    "photometric_error",
    "smoothness",
]


@full_precision
def dissimilarity(made: Tensor, truth: Tensor) -> Tensor:
    """A map of (1 - SSIM) / 2, cut to [0, 1], with windows of 3x3 pixels and reflected borders.

    Args:
        made: (N, C, H, W), sides of at least 2.
        truth: (N, C, H, W).

    Returns:
        (N, C, H, W), 0 where both images are alike.

    Example:
        >>> import torch
        >>> from nearfar.losses.depth.photometric import dissimilarity
        >>> image = torch.rand(1, 1, 4, 4)
        >>> bool((dissimilarity(image, image) < 1e-5).all())
        True

    Source: Godard et al. 2017, 2019; Wang et al. 2004.
    """
    expect_pictures(made=(made, "N C H W"), truth=(truth, "N C H W"))
    low, high = 0.01**2, 0.03**2
    x, y = pad(made, (1, 1, 1, 1), "reflect"), pad(truth, (1, 1, 1, 1), "reflect")
    mean_x, mean_y = avg_pool2d(x, 3, 1), avg_pool2d(y, 3, 1)
    variance_x = avg_pool2d(x * x, 3, 1) - mean_x * mean_x
    variance_y = avg_pool2d(y * y, 3, 1) - mean_y * mean_y
    covariance = avg_pool2d(x * y, 3, 1) - mean_x * mean_y
    above = (2 * mean_x * mean_y + low) * (2 * covariance + high)
    below = (mean_x * mean_x + mean_y * mean_y + low) * (variance_x + variance_y + high)
    return ((1 - above / below) / 2).clamp(0, 1)


@full_precision
def photometric_error(made: Tensor, truth: Tensor, *, structure: float = 0.85) -> Tensor:
    """A map of how unlike two images are, by structure and by L1, averaged over channels.

        error = structure mean_c dissimilarity + (1 - structure) mean_c |made - truth|

    Args:
        made: (N, C, H, W) in [0, 1].
        truth: (N, C, H, W).
        structure: Weight of ``dissimilarity``, from 0 to 1.

    Returns:
        (N, 1, H, W).

    Example:
        >>> import torch
        >>> from nearfar.losses.depth.photometric import photometric_error
        >>> photometric_error(torch.ones(1, 3, 4, 4), torch.zeros(1, 3, 4, 4), structure=0.0).mean()
        tensor(1.)

    Source: Godard et al. 2017, equation 1, with alpha 0.85.
    """
    expect_pictures(made=(made, "N C H W"), truth=(truth, "N C H W"))
    expect_number(Annotated[float, unit_interval()], structure=structure)
    absolute = (made - truth).abs().mean(dim=1, keepdim=True)
    unlike = dissimilarity(made, truth).mean(dim=1, keepdim=True)
    return structure * unlike + (1 - structure) * absolute


@full_precision
def smoothness(
    disparity: Tensor, image: Tensor, *, normalise: bool = True, reduction: str = "mean"
) -> Tensor:
    """How uneven disparity is where the image is even.

        loss = mean |d_x d| exp(-mean_c |d_x I|) + mean |d_y d| exp(-mean_c |d_y I|)

    d is the disparity over its own mean (1e-7 added), so that it does not pay to shrink it.

    Args:
        disparity: (N, 1, H, W), sides of at least 2.
        image: (N, C, H, W).
        normalise: Whether the disparity is divided by its mean over the image.
        reduction: "mean" for a scalar, or "none" for (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses.depth.photometric import smoothness
        >>> smoothness(torch.ones(1, 1, 4, 4), torch.rand(1, 3, 4, 4))
        tensor(0.)

    Source: Godard et al. 2019, equation 3.
    """
    expect_pictures(disparity=(disparity, "N 1 H W"), image=(image, "N C H W"))
    if normalise:
        disparity = disparity / (disparity.mean(dim=(2, 3), keepdim=True) + 1e-7)
    across = disparity.diff(dim=3).abs() * _even(image.diff(dim=3))
    down = disparity.diff(dim=2).abs() * _even(image.diff(dim=2))
    return per_image(per_image(across, "none") + per_image(down, "none"), reduction)


def _even(step: Tensor) -> Tensor:
    return (-step.abs().mean(dim=1, keepdim=True)).exp()


@full_precision
def minimum_reprojection(
    errors: Tensor,
    identity: Tensor | None = None,
    *,
    noise: Tensor | None = None,
    average: bool = False,
) -> tuple[Tensor, Tensor]:
    """The least error of each pixel over its sources, warped or (auto-mask) as they are.

    A pixel whose least error is an identity error does not move and receives no gradient; it stays
    in the mean.

    Args:
        errors: (N, F, H, W) ``photometric_error`` of F warped sources.
        identity: (N, F, H, W) of the sources as they are; None for no auto-mask.
        noise: (N, F, H, W) added to the identity errors to break ties; the authors draw
            1e-5 N(0, 1). With ``average`` (N, 1, H, W). None for none.
        average: Take the mean over sources instead of the minimum, before the auto-mask.

    Returns:
        The least errors (N, H, W), and where a warped source won, (N, H, W) bool.

    Example:
        >>> import torch
        >>> from nearfar.losses.depth.photometric import minimum_reprojection
        >>> errors = torch.tensor([3.0, 1.0]).view(1, 2, 1, 1)
        >>> minimum_reprojection(errors)[0], minimum_reprojection(errors, errors / 4)[1]
        (tensor([[[1.]]]), tensor([[[False]]]))

    Source: Godard et al. 2019, equations 4 and 5, with the joint minimum of the authors' code.
    """
    expect_pictures(errors=(errors, "N F H W"))
    if average:
        errors = errors.mean(dim=1, keepdim=True)
    candidates = errors
    still = 0
    if identity is not None:
        expect_pictures(identity=(identity, "N F H W"))
        if average:
            identity = identity.mean(dim=1, keepdim=True)
        if noise is not None:
            identity = identity + noise
        candidates = torch.cat([identity, errors], dim=1)
        still = identity.shape[1]
    least, place = candidates.min(dim=1)
    return least, place >= still


@full_precision
def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """sum(values mask) / (sum mask + 1e-7) over all elements; 0 where nothing counts.

    Example:
        >>> import torch
        >>> from nearfar.losses.depth.photometric import masked_mean
        >>> masked_mean(torch.tensor([1.0, 5.0]), torch.tensor([1.0, 0.0]))
        tensor(1.0000)
    """
    return (values * mask).sum() / (mask.sum() + 1e-7)


@full_precision
def monodepth2(
    outputs: Sequence[Tensor],
    images: Sequence[Tensor],
    sources: Sequence[Tensor],
    motions: Sequence[Tensor],
    intrinsics: Tensor,
    inverse: Tensor,
    *,
    near: float = 0.1,
    far: float = 100.0,
    smooth: float = 1e-3,
    automask: bool = True,
    average: bool = False,
    noise: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Monodepth2's loss: minimum reprojection and smoothness, averaged over scales.

        loss_s = mean min( identity errors, errors of warped sources ) + smooth smoothness_s / 2^s

    Outputs of all scales are enlarged to the full size before sources are warped.

    Args:
        outputs: Network outputs in (0, 1), finest first: (N, 1, H / 2^s, W / 2^s).
        images: The target at the sizes of the outputs, (N, C, H / 2^s, W / 2^s).
        sources: Images (N, C, H, W) before and after the target.
        motions: (N, 4, 4) from the target camera into each source's.
        intrinsics: (N, 4, 4) K at full size.
        inverse: (N, 4, 4) K^-1.
        near: Least depth, above 0.
        far: Largest depth, above ``near``.
        smooth: Weight of ``smoothness``, at least 0.
        automask: Whether sources as they are compete.
        average: Mean over sources in place of the minimum.
        noise: As in ``minimum_reprojection``.
        reduction: "mean" for a scalar, or "none" for (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses.depth.photometric import monodepth2
        >>> image, eye = torch.rand(1, 3, 8, 8), torch.eye(4)[None]
        >>> loss = monodepth2([torch.full((1, 1, 8, 8), 0.5)], [image], [image], [eye], eye, eye)
        >>> bool(loss < 1e-4)
        True

    Source: Godard et al. 2019, "Digging Into Self-Supervised Monocular Depth Estimation".
    """
    expect_number(Annotated[float, at_least(0)], smooth=smooth)
    if not outputs or len(outputs) != len(images) or not sources or len(sources) != len(motions):
        raise UserError(
            f"Expected as many outputs as images and as many sources as motions, at least one;"
            f" found {len(outputs)}, {len(images)}, {len(sources)} and {len(motions)}."
        )
    target = images[0]
    identity = None
    if automask:
        identity = torch.cat([photometric_error(source, target) for source in sources], dim=1)
    total: Tensor | None = None
    for scale, (output, image) in enumerate(zip(outputs, images, strict=True)):
        full = interpolate(output, size=target.shape[2:], mode="bilinear", align_corners=False)
        depth = disparity_to_depth(full, near=near, far=far)[1]
        errors = []
        for source, motion in zip(sources, motions, strict=True):
            made = view(source, depth, intrinsics, inverse, motion)
            errors.append(photometric_error(made, target))
        least, _ = minimum_reprojection(
            torch.cat(errors, dim=1), identity, noise=noise, average=average
        )
        loss = per_image(least, "none")
        loss = loss + smooth / 2**scale * smoothness(output, image, reduction="none")
        total = loss if total is None else total + loss
    assert total is not None
    return per_image(total / len(outputs), reduction)
