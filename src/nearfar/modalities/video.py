"""Clips: uint8 (C, F, H, W)."""

from __future__ import annotations

from nearfar.data.spec import Spec
from nearfar.modalities.modality import Modality, Network

MODALITY = Modality(
    axes=4,
    plain="nearfar.views.video:plain_video",
    views="nearfar.views.video:video_views",
    pictures="nearfar.reports.pictures.samples:strips",
    toy=Spec(
        "toy clips",
        "video",
        (3, 2, 8, 8),
        12,
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        classes=("a", "b", "c"),
        target="class",
    ),
    toy_samples="nearfar.testing.toys:bytes_of",
    tiny={"any": ("nearfar.networks.frame_convnet:FrameConvNet", {"widths": (4, 8)})},
    networks={
        "frame-convnet": Network(
            summary="small-convnet on frames, their mean and change, 0.4 M parameters",
            home="nearfar.networks.frame_convnet:FrameConvNet",
        ),
    },
    encoders={"any": "frame-convnet"},
    scale=255,
)
