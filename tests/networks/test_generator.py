"""The small generator: it learns the images, varies them with the noise level, repeats itself, and
takes any size.
"""

from __future__ import annotations

import pytest
import torch

from nearfar.data import load
from nearfar.networks.foreground import Foreground
from nearfar.networks.generator import VariationalGenerator


def _images(count: int) -> torch.Tensor:
    return load("digits").train.take(torch.arange(count))


def _fitted(images: torch.Tensor, steps: int, seed: int = 0) -> VariationalGenerator:
    made = VariationalGenerator(tuple(images.shape[1:]), width=16, latent=16)
    made.fit(
        lambda source: images[torch.randint(len(images), (64,), generator=source)], steps, seed=seed
    )
    return made


def test_variations_leave_the_image_with_the_level_and_stay_images() -> None:
    images = _images(256)
    made = _fitted(images, 150)
    noise = torch.Generator().manual_seed(0)
    errors = []
    for level in (0, 200, 400, 1000):
        found = made.generate(images, torch.full((256,), level), noise)
        assert found.shape == images.shape
        assert found.dtype == torch.uint8
        errors.append(((found.float() - images.float()) / 255).square().mean().item())
    assert errors == sorted(errors)
    assert errors[0] < 0.5 * (images.float() / 255).var(0).mean()
    levels = torch.tensor([0, 1000]).repeat(128)
    mixed = (
        ((made.generate(images, levels, noise).float() - images.float()) / 255)
        .square()
        .mean((1, 2, 3))
    )
    assert mixed[0::2].mean() < mixed[1::2].mean()


def test_the_seed_decides_and_global_randomness_is_left_alone() -> None:
    images = _images(64)
    before = torch.get_rng_state()
    first = _fitted(images, 3)
    assert torch.equal(_images(64), images)
    second = VariationalGenerator((1, 8, 8), width=16, latent=16)
    state = torch.get_rng_state()
    second.fit(lambda source: images[torch.randint(64, (64,), generator=source)], 3, seed=0)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(before, state)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    assert not any(p.requires_grad for p in first.parameters())
    level = torch.full((64,), 400)
    made = [first.generate(images, level, torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 30, 45), (3, 100, 80)], ids=str)
def test_any_size_is_taken(shape: tuple[int, ...]) -> None:
    images = torch.randint(0, 256, (5, *shape), dtype=torch.uint8)
    made = VariationalGenerator(shape, width=4, latent=4)
    made.fit(lambda source: images, 2, seed=0)
    assert made.generate(images, torch.tensor([0, 100, 200, 300, 400])).shape == images.shape


def test_the_foreground_is_what_lies_in_the_middle() -> None:
    images = torch.zeros(50, 6, 8, 8)
    images[:, 0, 3:6, 3:6] = 2.0
    images[:, 1] = 0.1 * torch.randn(50, 8, 8)
    images[25:, 0, 3:6, 3:6] = 1.5
    found = Foreground(6)
    found.fit(images)
    assert found.axis[0].item() == pytest.approx(1.0, abs=0.01)
    share = found.share(found.tokens(images))
    assert found.tokens(images).mean((0, 1)).abs().max() < 1e-6
    torch.testing.assert_close(share, torch.full((50,), 9 / 64))
