"""A frame that is made from its neighbours."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, interpolate, pad

from nearfar.batch import Batch

from .formulas import plain_form


def _unlike(a: Tensor, b: Tensor) -> Tensor:
    """0.85 (1 - SSIM) / 2 + 0.15 |a - b| of each pixel, (N, H, W)."""

    def mean(x: Tensor) -> Tensor:
        return avg_pool2d(pad(x, (1, 1, 1, 1), mode="reflect"), 3, 1)

    ma, mb = mean(a), mean(b)
    va, vb = mean(a * a) - ma * ma, mean(b * b) - mb * mb
    both = mean(a * b) - ma * mb
    ssim = (2 * ma * mb + 1e-4) * (2 * both + 9e-4)
    ssim = ssim / ((ma * ma + mb * mb + 1e-4) * (va + vb + 9e-4))
    return (0.85 * ((1 - ssim) / 2).clamp(0, 1) + 0.15 * (a - b).abs()).mean(1)


def _motion(turn: Tensor, shift: Tensor, invert: bool) -> tuple[Tensor, Tensor]:
    """Rotation (N, 3, 3) and translation (N, 3, 1) of a motion or its inverse."""
    angle = turn.norm(dim=1)
    x, y, z = (turn / (angle[:, None] + 1e-7)).unbind(1)
    none = torch.zeros_like(x)
    cross = torch.stack([none, -z, y, z, none, -x, -y, x, none], 1).view(-1, 3, 3)
    axis = torch.stack([x, y, z], 1)
    cosine, sine = angle.cos().view(-1, 1, 1), angle.sin().view(-1, 1, 1)
    rotation = cosine * torch.eye(3) + sine * cross
    rotation = rotation + (1 - cosine) * axis[:, :, None] * axis[:, None, :]
    if invert:
        return rotation.mT, -rotation.mT @ shift[:, :, None]
    return rotation, shift[:, :, None]


def _made(source: Tensor, depth: Tensor, camera: Tensor, motion: tuple[Tensor, Tensor]) -> Tensor:
    """The frame as its neighbour shows it: each pixel is looked up where its point is seen."""
    n, _, height, width = source.shape
    v, u = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([u, v, torch.ones_like(u)]).double().view(3, -1)
    points = depth.view(n, 1, -1) * (camera.inverse() @ pixels)
    seen = camera @ (motion[0] @ points + motion[1])
    spots = seen[:, :2] / (seen[:, 2:] + 1e-7)
    sides = torch.tensor([width - 1, height - 1]).view(1, 2, 1)
    grid = (2 * (spots / sides - 0.5)).mT.view(n, height, width, 2)
    return grid_sample(source, grid, padding_mode="border", align_corners=True)


@plain_form
def monodepth2(method: Any, batch: Batch) -> dict[str, Tensor]:
    s = method.settings
    statistics = [torch.tensor(x).view(1, -1, 1, 1, 1) for x in (method.spec.mean, method.spec.std)]
    clip, seen = (view * statistics[1] + statistics[0] for view in batch.views)
    before, frame, after = clip.unbind(2)
    height, width = frame.shape[2:]
    camera = torch.zeros(len(frame), 3, 3).double()
    camera[:, 0, 0] = camera[:, 1, 1] = s.focal * width
    camera[:, 0, 2] = torch.where(batch.extra["mirrored"], width / 2 - 1, width / 2)
    camera[:, 1, 2] = height / 2
    camera[:, 2, 2] = 1
    motions = [
        _motion(*method.pose(seen[:, :, 0], seen[:, :, 1]), True),
        _motion(*method.pose(seen[:, :, 1], seen[:, :, 2]), False),
    ]
    unmoved = torch.stack([_unlike(one, frame) for one in (before, after)])
    ties = 1e-5 * batch.extra["ties"].movedim(1, 0)
    if s.neighbours == "mean":
        unmoved, ties = unmoved.mean(0, keepdim=True), ties[:1]
    scales = []
    for scale, output in enumerate(method.decoder(method.encoder.pyramid(seen[:, :, 1]))):
        full = interpolate(output, size=(height, width), mode="bilinear")
        depth = 1 / (1 / s.far + (1 / s.near - 1 / s.far) * full)
        errors = torch.stack(
            [
                _unlike(_made(one, depth, camera, motion), frame)
                for one, motion in zip((before, after), motions, strict=True)
            ]
        )
        errors = errors.mean(0, keepdim=True) if s.neighbours == "mean" else errors
        all_errors = torch.cat([unmoved + ties, errors]) if s.still else errors
        even = output / (output.mean((2, 3), keepdim=True) + 1e-7)
        image = interpolate(frame, size=output.shape[2:], mode="area")
        smooth = 0.0
        for axis in (2, 3):
            edges = image.diff(dim=axis).abs().mean(1, keepdim=True)
            smooth = smooth + (even.diff(dim=axis).abs() * (-edges).exp()).mean()
        scales.append(all_errors.min(0).values.mean() + s.smooth / 2**scale * smooth)
    return {"photometric": torch.stack(scales).mean()}
