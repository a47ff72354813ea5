"""Every colour operator equals torchvision's for the same parameters, sample by sample."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as reference

from nearfar.views.image import colour as ours
from nearfar.views.image.blur import gaussian_blur, kernel_size
from nearfar.views.rows import change_rows

FACTORS = torch.tensor([0.0, 0.2, 0.7, 1.0, 1.3, 1.8, 3.0, 0.5])
SHIFTS = torch.tensor([-0.5, -0.21, -0.1, 0.0, 0.05, 0.2, 0.37, 0.5])


def hard_images(channels: int = 3) -> Tensor:
    """Eight images with greys, blacks, whites, pure and nearly grey colours among random ones."""
    images = torch.rand(8, channels, 12, 10, generator=torch.Generator().manual_seed(0))
    images[:, :, 0] = images[:, :1, 0]
    images[:, :, 1] = images[:, :, 1].round()
    images[:, :, 2, 0], images[:, :, 2, 1] = 0.0, 1.0
    images[:, 1:, 3] = images[:, :1, 3]
    images[:, 0, 4] = images[:, -1, 4]
    images[:, :, 5] = 0.5 + 1e-3 * images[:, :, 5]
    return (images * 255).round() / 255


OPERATORS: list[tuple[Callable[..., Tensor], Callable[..., Tensor], Tensor]] = [
    (ours.adjust_brightness, reference.adjust_brightness, FACTORS),
    (ours.adjust_contrast, reference.adjust_contrast, FACTORS),
    (ours.adjust_saturation, reference.adjust_saturation, FACTORS),
    (ours.adjust_hue, reference.adjust_hue, SHIFTS),
]


@pytest.mark.parametrize(
    ("operator", "expected", "parameters"),
    OPERATORS,
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.parametrize("channels", [3, 1])
def test_operators_are_torchvisions(
    operator: Callable[..., Tensor],
    expected: Callable[..., Tensor],
    parameters: Tensor,
    channels: int,
) -> None:
    images = hard_images(channels)
    before = images.clone()
    changed = operator(images, parameters)
    one_by_one = torch.stack(
        [expected(image, float(value)) for image, value in zip(images, parameters, strict=True)]
    )
    torch.testing.assert_close(changed, one_by_one, rtol=0, atol=2e-6)
    assert torch.equal(images, before)


@pytest.mark.parametrize(
    "operator", [ours.adjust_brightness, ours.adjust_contrast, ours.adjust_saturation]
)
def test_a_factor_of_one_changes_nothing(operator: Callable[..., Tensor]) -> None:
    assert torch.equal(operator(hard_images(), torch.ones(8)), hard_images())


def test_hue_turns_red_into_green_into_blue() -> None:
    red, green, blue = torch.eye(3).view(3, 1, 3, 1, 1)
    third = torch.tensor([1 / 3])
    torch.testing.assert_close(ours.adjust_hue(red, third), green, rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.adjust_hue(green, third), blue, rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.adjust_hue(blue, third), red, rtol=0, atol=1e-6)


def test_greyscale_is_torchvisions() -> None:
    images = hard_images()
    assert torch.equal(
        ours.greyscale(images), reference.rgb_to_grayscale(images, num_output_channels=3)
    )
    assert torch.equal(ours.greyscale(images[:, :1]), images[:, :1])


def test_solarise_is_torchvisions() -> None:
    images = hard_images()
    assert torch.equal(ours.solarise(images), reference.solarize(images, 0.5))


@pytest.mark.parametrize("size", [(12, 10), (40, 33), (64, 224)], ids=str)
def test_blur_is_torchvisions(size: tuple[int, int]) -> None:
    images = torch.rand(5, 3, *size)
    sigma = torch.tensor([0.1, 0.3, 1.0, 1.5, 2.0])
    length = kernel_size(size)
    blurred = gaussian_blur(images, sigma, length)
    for image, width, one in zip(images, sigma, blurred, strict=True):
        torch.testing.assert_close(
            one,
            reference.gaussian_blur(image, [length, length], [float(width)] * 2),
            rtol=0,
            atol=1e-6,
        )
    torch.testing.assert_close(
        gaussian_blur(images[:1], sigma[:1], length), blurred[:1], rtol=0, atol=1e-6
    )


def test_the_kernel_is_a_tenth_of_the_side() -> None:
    assert [kernel_size((side, 300)) for side in (16, 32, 96, 224, 256)] == [3, 3, 9, 23, 25]


def test_jitter_has_an_order_for_each_sample() -> None:
    orders = torch.tensor(list(permutations(range(4))))
    count = len(orders)
    images = torch.rand(count + 2, 3, 9, 9)
    random = torch.Generator().manual_seed(1)
    factors = torch.cat(
        (2 * torch.rand(count, 3, generator=random), torch.rand(count, 1, generator=random) - 0.5),
        dim=1,
    )
    steps = [
        reference.adjust_brightness,
        reference.adjust_contrast,
        reference.adjust_saturation,
        reference.adjust_hue,
    ]
    expected = images.clone()
    for number in range(count):
        for step in orders[number].tolist():
            expected[number] = steps[step](expected[number], float(factors[number, step]))
    untouched = torch.zeros(2, 4)
    jittered = images.clone()
    ours.colour_jitter(
        jittered,
        torch.arange(count),
        torch.cat((factors, untouched)),
        torch.cat((orders, untouched.long())),
    )
    torch.testing.assert_close(jittered, expected, rtol=0, atol=5e-6)
    assert torch.equal(jittered[count:], images[count:])


def test_rows_are_changed_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nearfar.views.rows._CACHED_VALUES", 2 * 3 * 4 * 4)
    monkeypatch.setattr("nearfar.views.rows._LEAST_ROWS", 1)
    images = torch.zeros(7, 3, 4, 4)
    rows = torch.tensor([6, 1, 2, 4, 0])
    seen = []

    def number(part: Tensor, index: Tensor) -> Tensor:
        seen.append(len(index))
        return part + index[:, None, None, None]

    change_rows(images, rows, number)
    assert seen == [2, 2, 1]
    assert images[:, 0, 0, 0].tolist() == [0, 1, 2, 0, 4, 0, 6]
