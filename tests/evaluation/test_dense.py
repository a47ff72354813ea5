"""Dense evaluation: matching and segmentation of maps whose answer is known, the measures by hand,
and what is refused.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from nearfar.data import load
from nearfar.data.made.embedded import cluttered_digit_regions
from nearfar.errors import UserError
from nearfar.evaluation.measures.dense import (
    commonest,
    feature_maps,
    overlap,
    pixel_matching,
    segment,
)
from nearfar.views import plain_view


def _places(box: Tensor, side: int) -> Tensor:
    """Maps whose cells say where they lie in the image: their Fourier features, (N, 16, side,
    side).
    """
    across = (
        box[:, 0, None] + (torch.arange(side) + 0.5) * ((box[:, 2] - box[:, 0]) / side)[:, None]
    )
    down = box[:, 1, None] + (torch.arange(side) + 0.5) * ((box[:, 3] - box[:, 1]) / side)[:, None]
    waves = torch.tensor([1.0, 2.0, 3.0, 4.0])[:, None, None]
    x = across[:, None, None, :].expand(-1, -1, side, -1)
    y = down[:, None, :, None].expand(-1, -1, -1, side)
    return torch.cat([f(waves * axis) for f in (torch.sin, torch.cos) for axis in (x, y)], dim=1)


def test_maps_that_know_their_place_match_and_shifted_ones_do_not() -> None:
    box1 = torch.tensor([[0.0, 0.0, 0.6, 0.6], [0.6, 0.2, 0.1, 0.7]])
    box2 = torch.tensor([[0.2, 0.1, 0.8, 0.7], [0.2, 0.2, 0.9, 0.8]])
    first = _places(box1, 6)
    second = _places(box2, 6)
    assert pixel_matching(first, second, box1, box2) == 1.0
    assert pixel_matching(first, second.flip(0), box1, box2) < 0.7
    assert math.isnan(pixel_matching(first, second, box1, box1 + 1))


def test_matching_equals_a_loop() -> None:
    random = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 4, 5, 3, 3, generator=random)
    box1, box2 = torch.rand(2, 4, 4, generator=random)
    directions = []
    for a, b, boxa, boxb in ((first, second, box1, box2), (second, first, box2, box1)):
        hits = 0
        count = 0
        for n in range(4):
            cells = [(u, v) for v in range(3) for u in range(3)]

            def centre(box: Tensor, cell: tuple[int, int]) -> Tensor:
                return box[:2] + (torch.tensor(cell) + 0.5) * (box[2:] - box[:2]) / 3

            diagonal = max(((box[2:] - box[:2]) / 3).norm() for box in (boxa[n], boxb[n]))
            for cell in cells:
                near = [
                    (centre(boxa[n], cell) - centre(boxb[n], other)).norm() / diagonal < 0.7
                    for other in cells
                ]
                cosine = [
                    torch.cosine_similarity(a[n, :, cell[1], cell[0]], b[n, :, v, u], dim=0)
                    for u, v in cells
                ]
                hits += any(near) and bool(near[int(torch.stack(cosine).argmax())])
                count += any(near)
        directions.append(hits / count)
    assert pixel_matching(first, second, box1, box2) == pytest.approx(sum(directions) / 2)


def test_overlap_is_intersection_over_union_by_hand() -> None:
    truth = torch.tensor([[[0, 0, 1], [1, 1, 2]]])
    found = overlap(torch.tensor([[[0, 1, 1], [1, 1, 1]]]), truth, 4)
    assert found.iou[:3] == pytest.approx((1 / 2, 3 / 5, 0.0))
    assert math.isnan(found.iou[3])
    assert found.mean_iou == pytest.approx((1 / 2 + 3 / 5) / 3)
    assert found.accuracy == pytest.approx(4 / 6)


def test_a_cell_takes_the_commonest_class_of_its_pixels() -> None:
    regions = torch.tensor([[[0, 0, 1, 1], [0, 2, 1, 0], [2, 2, 0, 1], [2, 0, 1, 0]]])
    assert commonest(regions, (2, 2), 3).tolist() == [[[0, 1], [2, 0]]]


def test_maps_that_hold_the_classes_segment_and_noise_does_not() -> None:
    random = torch.Generator().manual_seed(0)
    regions = (
        torch.randint(0, 3, (40, 4, 4), generator=random)
        .repeat_interleave(8, 1)
        .repeat_interleave(8, 2)
    )
    maps = torch.randn(3, 5, generator=random)[commonest(regions, (4, 4), 3)].permute(0, 3, 1, 2)
    maps = maps + 0.1 * torch.randn(maps.shape, generator=random)
    noise = torch.randn(maps.shape, generator=random)
    known = segment((maps[:30], regions[:30]), (maps[30:], regions[30:]), 3)
    unknown = segment((noise[:30], regions[:30]), (noise[30:], regions[30:]), 3)
    assert known.accuracy > 0.85 > 0.5 > unknown.accuracy
    assert known.mean_iou > 0.7 > 0.3 > unknown.mean_iou


def test_pixels_of_cluttered_digits_segment_the_drawn_from_the_background() -> None:
    """Averages of 2 x 2 pixels know what is drawn but not what is a digit."""
    source = load("cluttered-digits", limit=200)
    view = plain_view(source.spec)
    parts = []
    for samples in (source.train, source.test):
        maps = feature_maps(lambda x: torch.nn.functional.avg_pool2d(x, 2), samples, view)
        parts.append((maps, torch.from_numpy(cluttered_digit_regions(samples.ids))))
    found = segment(*parts, 3)
    assert found.iou[0] > 0.7
    assert found.iou[2] < 0.1


def test_what_is_no_map_or_no_label_is_refused() -> None:
    source = load("cluttered-digits", limit=20)
    with pytest.raises(
        UserError, match=r"needs maps \(N, C, h, w\); the encoder gives the shape \(20, 1024\)"
    ):
        feature_maps(lambda x: x.flatten(1), source.train, plain_view(source.spec))
    maps = torch.ones(2, 3, 4, 4)
    with pytest.raises(UserError, match="int64 from 0 to 3; expected int64 from 0 to 2"):
        segment((maps, torch.tensor([0, 3]).view(2, 1, 1)), (maps, torch.zeros(2, 1, 1).long()), 3)
    with pytest.raises(UserError, match=r"pixel labels \(3, 8, 8\)"):
        segment((maps, torch.zeros(3, 8, 8).long()), (maps, torch.zeros(2, 8, 8).long()), 3)
