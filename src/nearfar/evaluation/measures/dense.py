"""Dense evaluation of feature maps: do the same places of two views match, and does a linear map
segment the image?

Maps are (N, C, h, w), pixel labels (N, H, W) int64; a map's cell covers a rectangle of pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate, normalize, one_hot

from nearfar.errors import UserError
from nearfar.evaluation.features import BATCH, Labelled, Samples, View
from nearfar.evaluation.kernels.principal import Affine
from nearfar.evaluation.probes.linear import linear_probes
from nearfar.losses.dense.pixels import pixel_pairs

MATCHING = "pixel-matching-v1"
SEGMENTATION = "linear-segmentation-v1"
DENSE_PROTOCOLS = {
    MATCHING: "share of the map cells of one view with a positive in the other (centres closer "
    "than 0.7 cell diagonals in the image) "
    "whose nearest neighbour by cosine among the other view's cells is a positive; mean over both "
    "directions",
    SEGMENTATION: "linear-v1 on the cells of the last feature map, labelled by the commonest class "
    "of their pixels (at most 20,000 "
    "training cells); logits resized bilinearly to pixels; mean over the classes of intersection "
    "over union on all test pixels",
}
MOST_CELLS = 20_000
"""Training cells of a probe; more change its result little and its time much."""


@dataclass(frozen=True)
class Segmented:
    """How well pixels were labelled, all in [0, 1].

    Attributes:
        mean_iou: mean of ``iou`` over the classes that occur, in truth or prediction.
        accuracy: share of pixels.
        iou: by class, NaN where it does not occur.
    """

    mean_iou: float
    accuracy: float
    iou: tuple[float, ...]


@torch.no_grad()
def feature_maps(
    encode: Callable[[Any], Tensor],
    samples: Samples,
    view: View,
    *,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Maps of all samples, (N, C, h, w) float32; ``encode`` is an encoder's ``feature_map``, in
    evaluation mode.

    Raises:
        UserError: if what ``encode`` gives is not a map, or is not finite.
    """
    found = list(_maps(encode, samples, view, device))
    return torch.cat(found)


def _maps(
    encode: Callable[[Any], Tensor], samples: Samples, view: View, device: torch.device | str
) -> Iterator[Tensor]:
    for start in range(0, len(samples), BATCH):
        made = encode(
            view(samples.take(torch.arange(start, min(start + BATCH, len(samples)))).to(device))
        )
        if made.ndim != 4:
            raise UserError(
                "A dense evaluation needs maps (N, C, h, w); the encoder gives the shape "
                f"{tuple(made.shape)}."
            )
        if not bool(made.isfinite().all()):
            raise UserError(
                "Some feature maps are NaN or infinite; training has probably diverged, so lower "
                "the learning rate."
            )
        yield made.float()


@torch.no_grad()
def pixel_matching(
    first: Tensor, second: Tensor, box1: Tensor, box2: Tensor, *, ratio: float = 0.7
) -> float:
    """Share of cells whose nearest neighbour in the other view shows the same place; mean of both
    directions.

    Args:
        first: (N, C, h, w) maps of one view.
        second: of the other, same shape.
        box1: (N, 4) corners x0, y0, x1, y1 of the first crops, relative to their images.
        box2: of the second.
        ratio: largest distance of two cell centres that are one place, in units of the larger cell
            diagonal.

    Returns:
        In [0, 1]; NaN where no two crops overlap.

    Source: the positives are those of Xie et al. 2021 (PixPro), section 3.1.
    """
    pairs = pixel_pairs(box1, box2, *first.shape[2:], ratio=ratio)
    unit1, unit2 = (normalize(maps.flatten(2), dim=1) for maps in (first, second))
    similar = torch.einsum("nci,ncj->nij", unit1, unit2)
    return (_matched(similar, pairs) + _matched(similar.mT, pairs.mT)) / 2


def _matched(similar: Tensor, pairs: Tensor) -> float:
    right = pairs.gather(2, similar.argmax(2, keepdim=True)).squeeze(2)
    return float(right[pairs.any(2)].double().mean())


def commonest(regions: Tensor, size: tuple[int, int], classes: int) -> Tensor:
    """The commonest class of each cell's pixels, of equals the lowest: (N, H, W) int64 to (N,
    *size) int64.
    """
    shares = adaptive_avg_pool2d(one_hot(regions, classes).permute(0, 3, 1, 2).float(), size)
    return shares.argmax(1)


def segment(
    train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], classes: int, *, seed: int = 0
) -> Segmented:
    """A linear segmentation of frozen feature maps, ``linear-segmentation-v1``.

    Args:
        train: maps (N, C, h, w) and pixel labels (N, H, W) in [0, classes).
        test: likewise.
        classes: number of classes, at least 2.
        seed: of the draw of training cells and of the validation split.

    Raises:
        UserError: for shapes or labels that do not fit, or training cells of one class alone.
    """
    for maps, regions in (train, test):
        _check(maps, regions, classes)
    maps, regions = train
    cells = maps.permute(0, 2, 3, 1).flatten(0, 2)
    labels = commonest(regions, (maps.shape[2], maps.shape[3]), classes).flatten()
    drawn = torch.randperm(len(cells), generator=torch.Generator().manual_seed(seed))[
        :MOST_CELLS
    ].to(cells.device)
    (probe,) = linear_probes(Labelled(cells[drawn], labels[drawn], classes), seeds=(seed,))
    return overlap(_predicted(probe.model, *test), test[1], classes)


def _predicted(model: Affine, maps: Tensor, regions: Tensor) -> Tensor:
    blocks = []
    for start in range(0, len(maps), BATCH):
        block = maps[start : start + BATCH]
        logits = model(block.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        blocks.append(interpolate(logits, size=regions.shape[1:], mode="bilinear").argmax(1))
    return torch.cat(blocks)


def overlap(predicted: Tensor, regions: Tensor, classes: int) -> Segmented:
    """Intersection over union of predicted and true pixel labels, both (N, H, W) int64, over all
    pixels at once.
    """
    counts = (
        torch.bincount((regions * classes + predicted).flatten(), minlength=classes**2)
        .view(classes, classes)
        .double()
    )
    both = counts.diagonal()
    either = counts.sum(0) + counts.sum(1) - counts.diagonal()
    iou = torch.where(either > 0, both / either, torch.nan)
    return Segmented(float(iou.nanmean()), float(both.sum() / counts.sum()), tuple(iou.tolist()))


def _check(maps: Tensor, regions: Tensor, classes: int) -> None:
    if maps.ndim != 4 or regions.ndim != 3 or len(maps) != len(regions):
        shapes = f"Maps have the shape {tuple(maps.shape)} and pixel labels {tuple(regions.shape)}"
        raise UserError(f"{shapes}; expected (N, C, h, w) and (N, H, W).")
    low = int(regions.min())
    high = int(regions.max())
    if regions.dtype != torch.int64 or low < 0 or high >= classes:
        raise UserError(
            f"Pixel labels are {regions.dtype} from {low} to {high}; expected int64 from 0 to "
            f"{classes - 1}."
        )
