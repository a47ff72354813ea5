"""Sound as log-mel bands: float32 (bands, T)."""

from __future__ import annotations

from nearfar.data.spec import Spec
from nearfar.modalities.modality import Modality, Network

MODALITY = Modality(
    axes=2,
    plain="nearfar.views.audio:plain_audio",
    views="nearfar.views.audio:audio_views",
    strengths="nearfar.views.audio:AudioViewSettings",
    simple="nearfar.evaluation.simple:band_statistics",
    pictures="nearfar.reports.pictures.samples:spectrograms",
    toy=Spec(
        "toy sounds",
        "audio",
        (8, 16),
        12,
        mean=(0.0,) * 8,
        std=(1.0,) * 8,
        classes=("a", "b", "c"),
        target="class",
    ),
    toy_samples="nearfar.testing.toys:values_of",
    tiny={"any": ("nearfar.networks.audio_convnet:AudioConvNet", {"widths": (4, 8)})},
    networks={
        "audio-convnet": Network(
            summary="small-convnet over time and frequency, 0.4 M parameters",
            home="nearfar.networks.audio_convnet:AudioConvNet",
        ),
    },
    model_input="input_values",
    encoders={"any": "audio-convnet"},
)
