"""Clouds of points: float32 (3, K)."""

from __future__ import annotations

from nearfar.data.spec import Spec
from nearfar.modalities.modality import Modality, Network

MODALITY = Modality(
    axes=2,
    plain="nearfar.views.points:plain_points",
    views="nearfar.views.points:point_views",
    strengths="nearfar.views.points:PointViewSettings",
    pictures="nearfar.reports.pictures.samples:side_views",
    toy=Spec(
        "toy points",
        "points",
        (3, 20),
        12,
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
        classes=("a", "b", "c"),
        target="class",
    ),
    toy_samples="nearfar.testing.toys:values_of",
    tiny={"any": ("nearfar.networks.point_net:PointNet", {"widths": (4, 8)})},
    networks={
        "point-net": Network(
            summary="PointNet without alignment, 0.04 M parameters",
            home="nearfar.networks.point_net:PointNet",
        ),
    },
    encoders={"any": "point-net"},
    wide=False,
)
