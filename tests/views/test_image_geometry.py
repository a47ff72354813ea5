"""Crop boxes are distributed as torchvision's; the resample equals torchvision's sample by
sample.
"""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as reference

from nearfar.views.image.geometry import crop_boxes, resized_crop

BOXES = torch.tensor(
    [
        [0, 0, 40, 48],
        [3, 5, 20, 17],
        [39, 47, 1, 1],
        [10, 0, 30, 9],
        [0, 20, 5, 28],
        [12, 12, 24, 24.0],
    ]
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(len(BOXES), 3, 40, 48, generator=generator(), dtype=torch.float64)


@pytest.mark.parametrize("size", [(40, 48), (64, 80), (17, 21), (40, 20), (1, 1)], ids=str)
@pytest.mark.parametrize("flip", [False, True])
def test_resized_crop_is_torchvisions(
    images: torch.Tensor, size: tuple[int, int], flip: bool
) -> None:
    ours = resized_crop(images, BOXES, size, flip=torch.full((len(images),), flip))
    for image, box, one in zip(images, BOXES.int().tolist(), ours, strict=True):
        expected = reference.resized_crop(image, *box, list(size), antialias=True)
        expected = reference.horizontal_flip(expected) if flip else expected
        torch.testing.assert_close(one, expected, rtol=0, atol=1e-6)


def test_each_sample_has_its_own_flip(images: torch.Tensor) -> None:
    flip = torch.tensor([True, False] * 3)
    mixed = resized_crop(images, BOXES, (40, 48), flip=flip)
    straight, mirrored = (
        resized_crop(images, BOXES, (40, 48), flip=torch.full((6,), value))
        for value in (False, True)
    )
    assert torch.equal(mixed[1::2], straight[1::2])
    assert torch.equal(mixed[::2], mirrored[::2])
    assert not torch.equal(straight, mirrored)


@pytest.mark.parametrize("sides", [(32, 32), (40, 48), (224, 224)], ids=str)
def test_the_whole_image_at_its_own_size_comes_back(sides: tuple[int, int]) -> None:
    images = torch.rand(2, 3, *sides, dtype=torch.float64)
    whole = torch.tensor([[0.0, 0.0, *sides]]).expand(2, 4)
    torch.testing.assert_close(resized_crop(images, whole, sides), images, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        resized_crop(images, whole, sides, angle=torch.zeros(2)), images, rtol=0, atol=1e-12
    )


def test_rotation_is_torchvisions(images: torch.Tensor) -> None:
    whole = torch.tensor([[0.0, 0.0, 40.0, 48.0]]).expand(6, 4)
    angle = torch.tensor([10.0, -33.0, 90.0, 180.0, 0.5, -120.0])
    flip = torch.tensor([True, False] * 3)
    ours = resized_crop(images, whole, (40, 48), flip=flip, angle=angle)
    for image, mirrored, degrees, one in zip(images, flip, angle, ours, strict=True):
        image = reference.horizontal_flip(image) if mirrored else image
        expected = reference.rotate(
            image, float(degrees), interpolation=v2.InterpolationMode.BILINEAR
        )
        torch.testing.assert_close(one, expected, rtol=0, atol=1e-5)


def test_a_rotated_crop_shows_the_image_beyond_its_box() -> None:
    images = torch.ones(1, 1, 40, 40)
    box = torch.tensor([[12.0, 12.0, 16.0, 16.0]])
    assert resized_crop(images, box, (40, 40), angle=torch.tensor([45.0])).min() > 0.999
    assert (
        resized_crop(
            images, torch.tensor([[0.0, 0.0, 40.0, 40.0]]), (40, 40), angle=torch.tensor([45.0])
        ).min()
        == 0
    )


@pytest.mark.parametrize(
    ("sides", "scale"),
    [
        ((32, 32), (0.08, 1.0)),
        ((224, 224), (0.2, 1.0)),
        ((40, 90), (0.3, 0.9)),
        ((90, 30), (0.05, 0.4)),
    ],
    ids=str,
)
def test_boxes_are_distributed_as_torchvisions(
    sides: tuple[int, int], scale: tuple[float, float]
) -> None:
    count = 4000
    ratio = (3 / 4, 4 / 3)
    boxes = crop_boxes(count, sides, scale, ratio, generator())
    image = torch.zeros(1, *sides)
    crop = v2.RandomResizedCrop(sides, scale=scale, ratio=ratio)
    drawn = [crop.make_params([image]) for _ in range(count)]
    expected = torch.tensor(
        [[one["top"], one["left"], one["height"], one["width"]] for one in drawn],
        dtype=torch.float32,
    )
    assert torch.equal(boxes, boxes.round())
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] >= 1).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= torch.tensor(sides)).all()
    # Two samples of 4000: mean and standard deviation differ by more than five standard errors once
    # in a million runs.
    error = 5 * (2 / count) ** 0.5 * expected.std(0)
    assert ((boxes.mean(0) - expected.mean(0)).abs() <= error).all()
    assert ((boxes.std(0) - expected.std(0)).abs() <= error).all()
    quantiles = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95])
    assert (
        (boxes.quantile(quantiles, 0) - expected.quantile(quantiles, 0)).abs()
        <= 0.06 * torch.tensor(sides * 2)
    ).all()


@pytest.mark.parametrize(
    ("sides", "central"), [((10, 200), (0, 93, 10, 13)), ((200, 10), (93, 0, 13, 10))], ids=str
)
def test_a_box_that_never_fits_is_the_largest_central_one(
    sides: tuple[int, int], central: tuple[int, ...]
) -> None:
    boxes = crop_boxes(50, sides, (0.9, 1.0), (3 / 4, 4 / 3), generator())
    expected = v2.RandomResizedCrop(sides, scale=(0.9, 1.0)).make_params([torch.zeros(1, *sides)])
    assert central == (expected["top"], expected["left"], expected["height"], expected["width"])
    assert torch.equal(boxes, torch.tensor([central], dtype=torch.float32).expand(50, 4))
