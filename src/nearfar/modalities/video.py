"""Clips: uint8 (C, F, H, W)."""

from __future__ import annotations

from nearfar.data.spec import Spec
from nearfar.modalities.modality import Modality, Network

_PYRAMID = "nearfar.networks.dense.frame_pyramid:FramePyramid"

MODALITY = Modality(
    axes=4,
    plain="nearfar.views.video.presets:plain_video",
    views="nearfar.views.video.presets:video_views",
    strengths="nearfar.views.image.settings:ImageViewSettings",
    pictures="nearfar.reports.pictures.samples:strips",
    toy=Spec(
        "toy clips",
        "video",
        (3, 3, 8, 8),
        12,
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        classes=("a", "b", "c"),
        target="class",
    ),
    toy_samples="nearfar.testing.toys:bytes_of",
    tiny={
        "any": ("nearfar.networks.frame_convnet:FrameConvNet", {"widths": (4, 8)}),
        "pyramid": (_PYRAMID, {"width": 4, "blocks": (1,)}),
    },
    networks={
        "frame-convnet": Network(
            summary="small-convnet on frames, their mean and change, 0.4 M parameters",
            home="nearfar.networks.frame_convnet:FrameConvNet",
        ),
        "frame-pyramid": Network(
            summary="ResNet-18 on the middle frame, with maps of five sizes for depth, 11 M "
            "parameters",
            home=_PYRAMID,
            kind="pyramid",
        ),
        "frame-pyramid-small": Network(
            summary="the same with a quarter of the channels, for laptops, 0.3 M parameters",
            home=_PYRAMID,
            options={"width": 16, "blocks": (1, 1, 1, 1)},
            kind="pyramid",
        ),
    },
    encoders={"any": "frame-convnet", "pyramid": "frame-pyramid-small"},
    scale=255,
)
