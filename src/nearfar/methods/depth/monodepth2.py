"""Monodepth2: depth of one frame, learned by making it from its neighbours in a film.

A network says how far away each pixel of the middle frame is, another how the camera moved. With
both, the frames before and after are warped onto the middle one. Where a pixel is hidden in one
neighbour the other shows it, so the least error counts; pixels that fit best when nothing is warped
stand still and teach nothing.

    pe(a, b) = 0.85 (1 - SSIM(a, b)) / 2 + 0.15 |a - b|
    loss = mean over scales of mean min_f { pe(warp_f, I), pe(I_f, I) } + w smoothness / 2^s
Source: Godard et al. 2019, sections 3.1 to 3.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from nearfar.errors import UserError
from nearfar.losses.depth.geometry import disparity_to_depth, pose_matrix
from nearfar.losses.depth.photometric import monodepth2
from nearfar.methods.facets import Facets
from nearfar.methods.method import Batch, Method, Outputs, Paper, Recipe, Spec
from nearfar.networks.dense.depth import DepthDecoder, PoseNetwork
from nearfar.networks.dense.frame_pyramid import FramePyramid
from nearfar.ranges import above, at_least, check_order, whole_number
from nearfar.results.depth import Depth
from nearfar.views.samples import denormalise
from nearfar.views.video.clips import Triplet

_LEAST_SIDE = 4
_TIES = 1e-5
"""Size of the noise that breaks ties between neighbours that do not move."""


class Monodepth2(Method):
    """A frame with its neighbours, a pyramid over frames, a depth decoder and a pose network, the
    frame itself, photometric error.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of Monodepth2.

        Attributes:
            near: least depth.
            far: largest depth.
            smooth: w, weight of the smoothness of disparity.
            still: whether pixels that fit best unwarped teach nothing (auto-mask).
            neighbours: "minimum" of the errors over both neighbours, or their "mean".
            pose: channels of the pose network's first map.
            focal: focal length over the width of a frame, where the data do not say.
            jitter: whether the networks see half of the samples in another light.
            mirror: whether half of the samples are mirrored.
        """

        near: Annotated[float, above(0)] = 0.1
        far: Annotated[float, above(0)] = 100.0
        smooth: Annotated[float, at_least(0)] = 1e-3
        still: bool = True
        neighbours: Literal["minimum", "mean"] = "minimum"
        pose: Annotated[int, whole_number(1, 1 << 10)] = 64
        focal: Annotated[float, above(0)] = 0.58
        jitter: bool = True
        mirror: bool = True

    paper = Paper(
        title="Digging Into Self-Supervised Monocular Depth Estimation",
        authors="Godard, Mac Aodha, Firman, Brostow",
        year=2019,
        arxiv="1806.01260",
        departures=(
            "Networks start from random weights, not from ImageNet's.",
            "Warped pixels are taken with corners aligned, as the projection is written; the "
            "authors' code is half a pixel off in today's PyTorch.",
            "Smaller copies of the frame are area averages, not Lanczos.",
            "Where a sample is mirrored, so is the principal point.",
            "Frames of less than 16 pixels have fewer scales than four.",
        ),
    )
    facets = Facets(
        "predictive.geometry_consistency",
        level="frame",
        target="pixels",
        guard="reconstruction",
    )
    recipes = {
        "paper": Recipe(
            optimizer="adam:beta1=0.9,beta2=0.999",
            learning_rate=1e-4,
            scale=False,
            schedule="steps:milestones=0.75",
            weight_decay=0.0,
            batch_size=12,
            epochs=20,
            warmup=0.0,
        ),
        "small": Recipe(
            settings={"pose": 16},
            optimizer="adam:beta1=0.9,beta2=0.999",
            learning_rate=1e-3,
            scale=False,
            weight_decay=0.0,
            batch_size=12,
            epochs=40,
        ),
    }
    modalities = ("video",)
    encoder_kind = "pyramid"
    encoder: FramePyramid
    predicts = Depth
    choices = {
        "views": "a frame with its neighbours, and the same in another light",
        "encoder": "a residual network on the middle frame",
        "head": "a depth decoder, and a pose network",
        "target": "the middle frame",
        "loss": "photometric error of the warped neighbours",
    }

    def __init__(self, encoder: FramePyramid, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        check_order(self.settings, "near", "far")
        height, width = spec.shape[2:]
        if min(height, width) < _LEAST_SIDE or height % 2 or width % 2:
            raise UserError(
                f"The frames of {spec.name} have {height} x {width} pixels; monodepth2 needs even "
                f"sides of at least {_LEAST_SIDE}: choose others with --size."
            )
        scales = min(4, len(encoder.widths), min(height, width).bit_length() - 1)
        self.decoder = DepthDecoder(encoder.widths, scales)
        pose = self.settings.pose
        self.pose = PoseNetwork(spec.shape[0], pose, 4 * pose)

    @property
    def wanted_views(self) -> Triplet:
        return Triplet(jitter=self.settings.jitter, mirror=self.settings.mirror)

    def forward(self, batch: Batch) -> Outputs:
        s = self.settings
        before, frame, after = self._frames(batch.views[0])
        seen_before, seen, seen_after = self._frames(batch.views[1])
        outputs = self.decoder(self.encoder.pyramid(seen))
        motions = [
            pose_matrix(*self.pose(seen_before, seen), invert=True),
            pose_matrix(*self.pose(seen, seen_after)),
        ]
        intrinsics, inverse = self._camera(frame, batch.extra["mirrored"])
        mean = s.neighbours == "mean"
        ties = batch.extra["ties"][:, :1] if mean else batch.extra["ties"]
        error = monodepth2(
            outputs,
            [frame, *(interpolate(frame, size=one.shape[2:], mode="area") for one in outputs[1:])],
            [before, after],
            motions,
            intrinsics,
            inverse,
            near=s.near,
            far=s.far,
            smooth=s.smooth,
            automask=s.still,
            average=mean,
            noise=_TIES * ties.to(frame.dtype),
            reduction="none",
        )
        return {"error": error}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        return {"photometric": outputs["error"].mean()}

    def predict(self, x: Tensor) -> Depth:
        """Depth of the middle frame of clips in plain view, (N, H, W)."""
        frame = denormalise(x[:, :, x.shape[2] // 2], self.spec)
        finest = self.decoder(self.encoder.pyramid(frame))[0]
        s = self.settings
        return Depth(disparity_to_depth(finest, near=s.near, far=s.far)[1][:, 0])

    def _frames(self, clip: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The three frames in [0, 1]."""
        before, frame, after = denormalise(clip, self.spec).unbind(dim=2)
        return before, frame, after

    def _camera(self, frame: Tensor, mirrored: Tensor) -> tuple[Tensor, Tensor]:
        """K and its inverse, (N, 4, 4) each, of frames some of which are mirrored."""
        height, width = frame.shape[2:]
        focal = self.settings.focal
        usual = (focal, focal * width / height, 0.5, 0.5)
        fx, fy, cx, cy = self.spec.extra.get("intrinsics", usual)
        centre = frame.new_full((len(frame),), cx * width)
        centre = torch.where(mirrored, width - 1 - centre, centre)
        intrinsics = torch.eye(4, dtype=frame.dtype, device=frame.device).repeat(len(frame), 1, 1)
        intrinsics[:, 0, 0] = fx * width
        intrinsics[:, 1, 1] = fy * height
        intrinsics[:, 0, 2] = centre
        intrinsics[:, 1, 2] = cy * height
        return intrinsics, torch.linalg.inv(intrinsics)
