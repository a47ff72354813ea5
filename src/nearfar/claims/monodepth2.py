"""Monodepth2: the least error over both neighbours finds depth beside edges, where one of them
hides what the other shows.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from nearfar.claims.claim import Claim
from nearfar.evaluation.measures.depth import depth_errors
from nearfar.losses.depth.photometric import monodepth2

LEAST = "the least of both errors"
MEAN = "the mean of both errors"
SIDES = (32, 48)
NEAR = 2.0
FAR = 5.0
STEP = 0.3
"""How far the camera moves sideways between two frames."""
FOCAL = 40.0
"""In pixels."""
PHOTO = 3
"""Pixels of a photograph for each pixel of the scene."""
START = -1.3
"""Of the free map, before the logistic function: a depth of 4."""
BESIDE = 8
"""Columns on either side of the square that are looked at."""


@cache
def photographs() -> Tensor:
    """Scikit-learn's two photographs, (2, 3, 427, 640) in [0, 1]."""
    from sklearn.datasets import load_sample_images

    images = np.stack(load_sample_images().images)
    return torch.from_numpy(images).movedim(3, 1) / 255


def scene(seed: int) -> tuple[Tensor, Tensor]:
    """Three frames (3, 1, 3, 32, 48) of a square before a wall, the camera moving sideways, and the
    depth (32, 48) of the middle one.
    """
    draw = torch.Generator().manual_seed(seed)
    height, width = SIDES
    v, u = torch.meshgrid(
        torch.arange(height, dtype=torch.float32),
        torch.arange(width, dtype=torch.float32),
        indexing="ij",
    )
    corners = torch.rand(2, 2, generator=draw)
    middle = 20 + 8 * torch.rand((), generator=draw)
    frames = []
    depth = torch.full(SIDES, FAR)
    for time in (-1, 0, 1):
        colours = []
        for number, far in enumerate((FAR, NEAR)):
            across = u + time * STEP * FOCAL / far
            place = 2 * PHOTO * torch.stack([across / 640, v / 427], dim=2) + corners[number]
            folded = (place.remainder(2) - 1).abs() * 2 - 1
            photo = photographs()[number][None]
            colours.append(grid_sample(photo, folded[None], align_corners=False))
        place = u + time * STEP * FOCAL / NEAR
        square = ((place - middle).abs() < 7) & ((v - 16).abs() < 8)
        frames.append(torch.where(square, colours[1], colours[0]))
        if time == 0:
            depth = torch.where(square, NEAR, FAR)
    return torch.stack(frames), depth


def measure(arm: str, seed: int) -> dict[str, float]:
    """A free disparity map, fitted to the three frames with the motion known; how wrong its depth
    is of the wall beside the square, and everywhere.
    """
    frames, truth = scene(seed)
    intrinsics = torch.eye(4)[None]
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = FOCAL
    intrinsics[:, 0, 2] = SIDES[1] / 2
    intrinsics[:, 1, 2] = SIDES[0] / 2
    motions = []
    for time in (-1, 1):
        motion = torch.eye(4)[None].clone()
        motion[:, 0, 3] = -time * STEP
        motions.append(motion)
    inverse = torch.linalg.inv(intrinsics)
    start = START + 0.1 * torch.randn(1, 1, 4, 6, generator=torch.Generator().manual_seed(seed))
    free = interpolate(start, size=list(SIDES), mode="bilinear").requires_grad_()
    optimizer = torch.optim.Adam([free], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        monodepth2(
            [free.sigmoid()],
            [frames[1]],
            [frames[0], frames[2]],
            motions,
            intrinsics,
            inverse,
            near=1.0,
            far=20.0,
            smooth=1e-2,
            automask=False,
            average=arm == MEAN,
        ).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    found = 1 / (1 / 20 + (1 - 1 / 20) * free.detach().sigmoid()[0, 0])
    square = truth == NEAR
    rows = square.any(1)
    columns = square.any(0).nonzero().flatten()
    near = torch.zeros(SIDES[1], dtype=torch.bool)
    near[max(0, int(columns[0]) - BESIDE) : int(columns[-1]) + 1 + BESIDE] = True
    beside = rows[:, None] & near[None] & ~square
    wrong = depth_errors(found[beside], truth[beside], scale=False)["abs_rel"]
    whole = depth_errors(found.flatten(), truth.flatten(), scale=False)["abs_rel"]
    return {"rightness beside edges": -wrong, "abs_rel beside edges": wrong, "abs_rel": whole}


CLAIM = Claim(
    statement="The least error over both neighbours gives better depth beside an edge, where one "
    "neighbour hides what the other shows, than the mean of both errors does.",
    first=LEAST,
    second=MEAN,
    metric="rightness beside edges",
    measure=measure,
    setting="A textured square at depth 2 before a wall at 5, 32 x 48 pixels, the camera moving "
    "sideways by known steps; a free disparity map of 400 steps of Adam (0.05, smoothness 0.01, no "
    "auto-mask); rightness is the negative mean of |found - true| / true over the 8 columns of "
    "wall on either side of the square. The paper trains networks on KITTI.",
    tuning="The metric was fixed before any run. On seeds 0 and 1 a free map that began at a depth "
    "of 2 found nothing (error 0.5 everywhere, 0.56 beside edges for the minimum and 0.54 for the "
    "mean on seed 0), so that it begins at 4; of photographs taken at 1.5, 3 and 5 pixels a pixel "
    "the errors beside edges were 0.21 and 0.19, 0.24 and 0.30, 0.25 and 0.30 on seed 0, and 0.24 "
    "and 0.26, 0.22 and 0.28, 0.21 and 0.28 on seed 1 (minimum, mean). 3 was taken, with the least "
    "error of the whole image. Five seeds from 1000 left it open (0.061 better, -0.004 to 0.125; "
    "the minimum was better on each): too few, so that ten others are taken and nothing else is "
    "changed.",
    seeds=10,
    first_seed=2000,
)
