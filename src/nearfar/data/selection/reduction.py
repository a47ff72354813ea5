"""Which of nearly equal images to keep: hashes, structure, information, features, greedy thinning.

Each strategy walks through the images in order: the first one that is left is kept, and all that
are like it are dropped, until none is left.

Source: Wolf et al. 2024, "Less is More: Selective Reduction of CT Data for Self-Supervised
Pre-Training of Deep Learning Models with Contrastive Learning Improves Downstream Classification
Performance". The thresholds of all strategies but the hash are chosen here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d, normalize

from nearfar.errors import UserError, unknown_name

__all__ = [
    "STRATEGIES",
    "difference_hash",
    "hamming",
    "mutual_information",
    "reduce_images",
    "structural_similarity",
    "thinned",
]

STRATEGIES = {"hash": 6.0, "ssim": 0.8, "mi": 0.35, "deep": 0.95}
"""Strategies with a threshold, and its default: a largest distance, or a least similarity."""

Images = NDArray[np.uint8]


def difference_hash(images: Images) -> Tensor:
    """64 bits of each image: whether brightness rises along the rows of its thumbnail.

        bit[r, c] = 1 if small[r, c + 1] > small[r, c],   small = 9 wide, 8 high (Lanczos)

    Args:
        images: (N, H, W) uint8.

    Returns:
        (N, 64) bool, row by row.

    Example:
        >>> ramp = np.arange(90, dtype=np.uint8)[None, None].repeat(8, axis=1)
        >>> difference_hash(ramp).all().item()
        True
    """
    _check(images)
    rows = []
    for image in images:
        small = np.asarray(Image.fromarray(image).resize((9, 8), Image.Resampling.LANCZOS))
        rows.append((small[:, 1:] > small[:, :-1]).ravel())
    return torch.from_numpy(np.stack(rows))


def hamming(bits: Tensor) -> Tensor:
    """Number of different bits of each two rows: (N, B) to (N, N) int64.

    >>> hamming(torch.tensor([[True, False], [True, True]])).tolist()
    [[0, 1], [1, 0]]
    """
    held = bits.bool().double()
    same = held @ held.T + (1 - held) @ (1 - held).T
    return (bits.shape[1] - same).round().long()


def mutual_information(images: Images, *, bins: int = 32) -> tuple[Tensor, Tensor]:
    """Mutual information of each two images' grey values at the same places.

        I(a, b) = H(a) + H(b) - H(a, b) in nats;   normalised: 2 I / (H(a) + H(b))

    Args:
        images: (N, H, W) uint8.
        bins: Grey values in equal bins over 0 to 255.

    Returns:
        (N, N) I and (N, N) its normalised form, 1 for two constant images.

    Example:
        >>> image = np.array([[[0, 255], [0, 255]]], dtype=np.uint8)
        >>> information, share = mutual_information(image)
        >>> round(information.item(), 4), round(share.item(), 4)
        (0.6931, 1.0)
    """
    _check(images)
    if not 2 <= bins <= 256:
        raise UserError(f"Mutual information by {bins} bins was asked for; expected 2 to 256.")
    flat = images.reshape(len(images), -1).astype(np.int64) * bins // 256
    own = np.array([_entropy(np.bincount(one)) for one in flat])
    joint = np.empty((len(flat), len(flat)))
    for place, one in enumerate(flat):
        for other in range(place, len(flat)):
            found = _entropy(np.bincount(one * bins + flat[other]))
            joint[place, other] = joint[other, place] = found
    both = own[:, None] + own
    information = both - joint
    share = np.where(both > 0, 2 * information / np.where(both > 0, both, 1), 1)
    return torch.from_numpy(information), torch.from_numpy(share)


def structural_similarity(images: Images, *, window: int = 7) -> Tensor:
    """Mean structural similarity of each two images.

        (2 m_a m_b + c1) (2 s_ab + c2) / ( (m_a^2 + m_b^2 + c1) (s_a^2 + s_b^2 + c2) )

    Means m and sample covariances s are of uniform windows, and the mean is over all whole windows;
    c1 = (0.01 * 255)^2, c2 = (0.03 * 255)^2.

    Args:
        images: (N, H, W) uint8, at least a window large.
        window: Side of a window, at least 2.

    Returns:
        (N, N), 1 on the diagonal.

    Source: Wang et al. 2004, "Image Quality Assessment: From Error Visibility to Structural
    Similarity", equation 13, with the uniform window of scikit-image.

    Example:
        >>> noise = np.random.default_rng(0).integers(0, 256, (2, 8, 8), dtype=np.uint8)
        >>> structural_similarity(noise).diagonal().tolist()
        [1.0, 1.0]
    """
    _check(images)
    if window < 2 or min(images.shape[1:]) < window:
        found = f"{images.shape[2]} x {images.shape[1]}"
        raise UserError(f"Windows of {window} do not fit into images of {found} pixels.")
    x = torch.from_numpy(images).double()[:, None]
    mean = avg_pool2d(x, window, 1)
    sample = window**2 / (window**2 - 1)
    variance = sample * (avg_pool2d(x.square(), window, 1) - mean.square())
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    rows = []
    for place in range(len(x)):
        both = avg_pool2d(x[place] * x, window, 1)
        covariance = sample * (both - mean[place] * mean)
        top = (2 * mean[place] * mean + c1) * (2 * covariance + c2)
        bottom = (mean[place].square() + mean.square() + c1) * (variance[place] + variance + c2)
        rows.append((top / bottom).mean(dim=(1, 2, 3)))
    return torch.stack(rows)


def thinned(alike: Tensor) -> list[int]:
    """Rows that remain when each kept row drops all later ones that are like it.

    Args:
        alike: (N, N) bool.

    Returns:
        Numbers of the kept rows, in order.

    Example:
        >>> thinned(torch.tensor([[1, 1, 0], [1, 1, 1], [0, 1, 1]]) == 1)
        [0, 2]
    """
    left = torch.ones(len(alike), dtype=torch.bool)
    kept = []
    for place in range(len(alike)):
        if left[place]:
            kept.append(place)
            left &= ~alike[place]
    return kept


def reduce_images(
    images: Images,
    strategy: str = "hash",
    *,
    threshold: float | None = None,
    groups: Sequence[int] | NDArray[np.int64] | None = None,
    every: int = 2,
    features: Tensor | None = None,
) -> NDArray[np.int64]:
    """Which images to keep.

    Args:
        images: (N, H, W) uint8.
        strategy: "all"; "every" n-th; "hash", whose Hamming distance is at most the threshold;
            "ssim", "mi" or "deep", whose similarity is at least the threshold.
        threshold: None for the strategy's default in ``STRATEGIES``.
        groups: (N,) volume of each image, within which images are compared; None compares all.
        every: n.
        features: (N, D) of a trained network, for "deep"; their cosine is compared.

    Returns:
        Numbers of the kept images, sorted.

    Raises:
        UserError: For an unknown strategy, a threshold that is none, or features that do not fit.

    Example:
        >>> images = np.zeros((4, 9, 9), dtype=np.uint8)
        >>> reduce_images(images, groups=[0, 0, 1, 1]).tolist()
        [0, 2]
    """
    known = ["all", "every", *STRATEGIES]
    if strategy not in known:
        raise unknown_name("strategy of reduction", strategy, known)
    _check(images)
    if every < 1:
        raise UserError(f"Every {every}th image was asked for; expected at least 1.")
    if threshold is not None and not np.isfinite(threshold):
        raise UserError(f"The threshold of the reduction is {threshold}; expected a number.")
    place = np.zeros(len(images), np.int64) if groups is None else np.asarray(groups)
    if place.shape != (len(images),):
        raise UserError(f"There are {len(images)} images and groups of {place.shape}.")
    if strategy == "deep" and (features is None or len(features) != len(images)):
        raise UserError("The reduction by deep features needs one row of features for each image.")
    limit = STRATEGIES.get(strategy, 0.0) if threshold is None else threshold
    kept: list[int] = []
    for group in dict.fromkeys(place.tolist()):
        rows = np.flatnonzero(place == group)
        part = features[torch.from_numpy(rows)] if features is not None else None
        kept += rows[_kept(images[rows], strategy, limit, every, part)].tolist()
    return np.sort(np.array(kept, dtype=np.int64))


def _kept(
    images: Images, strategy: str, limit: float, every: int, features: Tensor | None
) -> list[int]:
    if strategy in ("all", "every"):
        return list(range(0, len(images), every if strategy == "every" else 1))
    if strategy == "hash":
        return thinned(hamming(difference_hash(images)) <= limit)
    if features is not None and strategy == "deep":
        rows = normalize(features.double(), dim=1)
        return thinned(rows @ rows.T >= limit)
    measure: Callable[[Images], Tensor] = structural_similarity
    if strategy == "mi":
        return thinned(mutual_information(images)[1] >= limit)
    return thinned(measure(images) >= limit)


def _entropy(counts: NDArray[np.int64]) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())


def _check(images: Images) -> None:
    if images.ndim != 3 or images.dtype != np.uint8 or 0 in images.shape:
        found = f"{images.shape} in {images.dtype}"
        raise UserError(f"Images to be compared must be (N, H, W) uint8; found {found}.")
