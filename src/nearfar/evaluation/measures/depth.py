"""How good depth and camera motion are: the measures of the KITTI protocols."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.ranges import above, checked

__all__ = [
    "DEPTH_MEASURES",
    "depth_errors",
    "flip_post_process",
    "garg_crop",
    "scale_ratio",
    "trajectory_error",
]

DEPTH_MEASURES = ("abs_rel", "sq_rel", "rmse", "rmse_log", "a1", "a2", "a3")
"""Names of the numbers that ``depth_errors`` gives; the errors first, then the shares."""


def depth_errors(
    made: Tensor,
    truth: Tensor,
    *,
    least: float = 1e-3,
    most: float = 80.0,
    scale: bool = True,
) -> dict[str, float]:
    """The errors of one image's depth over the pixels whose depth is known.

    The depth that was made is first multiplied by ``scale_ratio`` and cut to [least, most]. Then,
    with g the truth and p what was made:

        abs_rel mean |g - p| / g;  sq_rel mean (g - p)^2 / g;  rmse;  rmse_log of logarithms
        a_k: share of pixels with max(g / p, p / g) < 1.25^k

    Args:
        made: (M,) depths of M pixels, above 0.
        truth: (M,) known depths of the same pixels, above 0.
        least: Least depth that counts, above 0.
        most: Largest depth that counts, above ``least``.
        scale: Whether the median is made that of the truth.

    Returns:
        A number for each of ``DEPTH_MEASURES``.

    Raises:
        UserError: If shapes differ, nothing is known, or a depth is not above 0.

    Example:
        >>> import torch
        >>> from nearfar.evaluation.measures.depth import depth_errors
        >>> truth = torch.tensor([1.0, 2.0, 4.0])
        >>> errors = depth_errors(truth / 3, truth)
        >>> round(errors["abs_rel"], 6), errors["a1"]
        (0.0, 1.0)

    Source: Eigen et al. 2014; Zhou et al. 2017 (median scaling).
    """
    checked(Annotated[float, above(0)], "least", least)
    checked(Annotated[float, above(least)], "most", most)
    _expect_depths(made, truth)
    made, truth = made.double(), truth.double()
    if scale:
        made = made * scale_ratio(made, truth)
    made = made.clamp(least, most)
    ratio = torch.maximum(truth / made, made / truth)
    difference = truth - made
    found = [
        (difference.abs() / truth).mean(),
        (difference.square() / truth).mean(),
        difference.square().mean().sqrt(),
        (truth.log() - made.log()).square().mean().sqrt(),
        *((ratio < 1.25**power).double().mean() for power in (1, 2, 3)),
    ]
    return {name: float(value) for name, value in zip(DEPTH_MEASURES, found, strict=True)}


def scale_ratio(made: Tensor, truth: Tensor) -> float:
    """median(truth) / median(made), the median of an even number being the mean of the two middle.

    Example:
        >>> import torch
        >>> from nearfar.evaluation.measures.depth import scale_ratio
        >>> scale_ratio(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 6.0]))
        3.0

    Source: Zhou et al. 2017.
    """
    _expect_depths(made, truth)
    return _median(truth) / _median(made)


def _median(values: Tensor) -> float:
    ordered = values.double().flatten().sort().values
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return float(ordered[middle])
    return float(ordered[middle - 1] + ordered[middle]) / 2


def _expect_depths(made: Tensor, truth: Tensor) -> None:
    if made.ndim != 1 or made.shape != truth.shape:
        raise UserError(
            f"Expected made (M,) and truth (M,); found {tuple(made.shape)}, {tuple(truth.shape)}."
        )
    if not len(made):
        raise UserError("No depth is known: the errors of no pixel cannot be measured.")
    for name, values in (("made", made), ("truth", truth)):
        if not bool((values > 0).all()) or not bool(values.isfinite().all()):
            raise UserError(f"{name} holds depths that are not above 0 or not finite.")


def garg_crop(height: int, width: int) -> Tensor:
    """Which pixels of a KITTI image count, (height, width) bool.

    Rows [0.40810811 H, 0.99189189 H) and columns [0.03594771 W, 0.96405229 W), cut to whole ones.

    Example:
        >>> from nearfar.evaluation.measures.depth import garg_crop
        >>> int(garg_crop(10, 10).sum())
        45

    Source: Garg et al. 2016.
    """
    if height < 1 or width < 1:
        raise UserError(f"An image has at least 1 pixel a side; found {height} x {width}.")
    mask = torch.zeros(height, width, dtype=torch.bool)
    rows = slice(int(0.40810811 * height), int(0.99189189 * height))
    columns = slice(int(0.03594771 * width), int(0.96405229 * width))
    mask[rows, columns] = True
    return mask


def flip_post_process(left: Tensor, right: Tensor) -> Tensor:
    """The disparity of an image and of its mirror image in one: each gives the side it sees better.

        l(x) = 1 - clip(20 (x - 0.05), 0, 1), r its mirror;  r left + l right + (1 - l - r) mean

    Args:
        left: (N, H, W) disparity of the image.
        right: (N, H, W) disparity of the mirrored image, mirrored back.

    Returns:
        (N, H, W).

    Example:
        >>> import torch
        >>> from nearfar.evaluation.measures.depth import flip_post_process
        >>> flip_post_process(torch.zeros(1, 1, 3), torch.ones(1, 1, 3))
        tensor([[[1.0000, 0.5000, 0.0000]]])

    Source: Godard et al. 2017, section 4.
    """
    if left.ndim != 3 or left.shape != right.shape or 0 in left.shape:
        raise UserError(
            f"Expected left (N, H, W) and right (N, H, W), none of them empty;"
            f" found {tuple(left.shape)}, {tuple(right.shape)}."
        )
    x = torch.linspace(0, 1, left.shape[2], dtype=torch.float64, device=left.device).to(left)
    at_left = 1 - (20 * (x - 0.05)).clamp(0, 1)
    at_right = at_left.flip(0)
    return at_right * left + at_left * right + (1 - at_left - at_right) * (left + right) / 2


def trajectory_error(made: Tensor, truth: Tensor) -> float:
    """The absolute error of a short path, up to its start and its scale.

        s = sum(truth made) / sum(made^2);  error = sqrt( sum (s made - truth)^2 ) / frames

    Both paths are first moved so that they begin at the truth's first place. The number of frames
    divides outside the root.

    Args:
        made: (F, 3) places of F frames.
        truth: (F, 3).

    Example:
        >>> import torch
        >>> from nearfar.evaluation.measures.depth import trajectory_error
        >>> path = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
        >>> trajectory_error(3 * path + 1, path)
        0.0

    Source: Zhou et al. 2017; as evaluated by Godard et al. 2019.
    """
    if made.ndim != 2 or made.shape != truth.shape or made.shape[1] != 3 or not len(made):
        raise UserError(
            f"Expected made (F, 3) and truth (F, 3); found {tuple(made.shape)},"
            f" {tuple(truth.shape)}."
        )
    made, truth = made.double(), truth.double()
    made = made + (truth[0] - made[0])
    length = made.square().sum()
    scale = (truth * made).sum() / length if float(length) > 0 else 1.0
    return float((scale * made - truth).square().sum().sqrt()) / len(made)
