"""Pictures composed like scenes, some of them planted twice, and encoders of different spread, for
tests of what an embedded set is good for.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy, grid_sample

SIDE = 32
KINDS = 4
"""Kinds of scenes: they differ in the colours of ground and sky and in the height of the horizon.
"""


def scenes(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Pictures (N, 3, 32, 32) in [0, 1], a sky and a ground with 2 to 6 things of random place,
    size, colour and form, and their kinds (N,).
    """
    draw = torch.Generator().manual_seed(seed)
    kind = torch.randint(0, KINDS, (count,), generator=draw)
    palette = torch.rand(KINDS, 2, 3, generator=torch.Generator().manual_seed(99))
    y, x = torch.meshgrid(torch.linspace(0, 1, SIDE), torch.linspace(0, 1, SIDE), indexing="ij")
    horizon = 0.3 + 0.1 * kind + 0.1 * torch.rand(count, generator=draw)
    tint = palette[kind] + 0.08 * torch.randn(count, 2, 3, generator=draw)
    ground = torch.sigmoid(40 * (y - horizon[:, None, None]))[:, None]
    picture = (1 - ground) * tint[:, 0, :, None, None] + ground * tint[:, 1, :, None, None]
    picture = picture + 0.2 * (y - 0.5) * torch.randn(count, 1, 1, 1, generator=draw)
    for thing in range(6):
        shown = torch.rand(count, generator=draw) < (1.0 if thing < 2 else 0.5)
        place = torch.rand(count, 2, generator=draw)
        size = 0.06 + 0.16 * torch.rand(count, 2, generator=draw)
        colour = torch.rand(count, 3, generator=draw)
        power = torch.where(torch.rand(count, generator=draw) < 0.5, 2.0, 8.0)[:, None, None]
        across = ((x - place[:, 0, None, None]) / size[:, 0, None, None]).abs() ** power
        down = ((y - place[:, 1, None, None]) / size[:, 1, None, None]).abs() ** power
        cover = (torch.sigmoid(8 * (1 - across - down)) * shown[:, None, None])[:, None]
        picture = (1 - cover) * picture + cover * colour[:, :, None, None]
    return (picture + 0.01 * torch.randn(picture.shape, generator=draw)).clamp(0, 1), kind


def copies(pictures: Tensor, seed: int = 1) -> Tensor:
    """Each picture once more as a copy is found in the wild: a little brighter or darker, with the
    noise of another compression, a third of them scaled up by 2 %.
    """
    draw = torch.Generator().manual_seed(seed)
    count = len(pictures)
    gain = 1 + 0.03 * torch.randn(count, 1, 1, 1, generator=draw)
    noise = 0.015 * torch.randn(pictures.shape, generator=draw)
    zoom = torch.where(torch.arange(count) % 3 == 0, 0.98, 1.0)
    turn = torch.zeros(count, 2, 3)
    turn[:, 0, 0] = zoom
    turn[:, 1, 1] = zoom
    grid = nn.functional.affine_grid(turn, list(pictures.shape), align_corners=False)
    moved = grid_sample(pictures, grid, align_corners=False, padding_mode="border")
    return (gain * moved + noise).clamp(0, 1)


def convnet(pictures: Tensor, kind: Tensor, steps: int = 60) -> nn.Module:
    """A small convnet that was trained to tell the kinds."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, 2, 1),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(256, 64),
        )
        head = nn.Linear(64, KINDS)
        optimiser = torch.optim.Adam([*body.parameters(), *head.parameters()], 2e-3)
        for step in range(steps):
            rows = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(step))[:64]
            optimiser.zero_grad()
            cross_entropy(head(body(pictures[rows])), kind[rows]).backward()
            optimiser.step()
    return body.eval()


@torch.no_grad()
def encoded(name: str, pictures: Tensor, train: Tensor, kind: Tensor) -> Tensor:
    """Features (N, D) by one of three encoders: "pixels", "convnet" (trained), "narrow" (all
    cosines near 0.95).
    """
    if name == "pixels":
        return avg_pool2d(pictures, 2).flatten(1)
    with torch.enable_grad():
        body = convnet(train, kind)
    features: Tensor = body(pictures)
    if name == "convnet":
        return features
    features = features - features.mean(dim=0)
    spread = float(features.square().sum(dim=1).mean())
    common = torch.ones(features.shape[1]) / math.sqrt(features.shape[1])
    return features + math.sqrt(19 * spread) * common
