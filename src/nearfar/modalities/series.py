"""Series of measurements: float32 (C, T)."""

from __future__ import annotations

from nearfar.data.spec import Spec
from nearfar.modalities.modality import Modality, Network

_VIT = "nearfar.networks.patch_transformer:PatchTransformer"
_MICRO = {"width": 96, "depth": 4, "heads": 3}
_TINY_VIT = (_VIT, {"width": 24, "depth": 1, "heads": 3})

MODALITY = Modality(
    axes=2,
    plain="nearfar.views.series:plain_series",
    views="nearfar.views.series:series_views",
    strengths="nearfar.views.series:SeriesViewSettings",
    simple="nearfar.evaluation.simple:log_spectrum",
    pictures="nearfar.reports.pictures.samples:sparklines",
    toy=Spec(
        "toy series",
        "series",
        (2, 32),
        12,
        mean=(0.0, 0.0),
        std=(1.0, 1.0),
        classes=("a", "b", "c"),
        target="class",
    ),
    toy_samples="nearfar.testing.toys:values_of",
    tiny={
        "any": (
            "nearfar.networks.series_convnet:SeriesConvNet",
            {"width": 4, "depth": 1, "dimension": 8},
        ),
        "tokens": _TINY_VIT,
    },
    networks={
        "series-convnet": Network(
            summary="dilated convolutions over time, 0.2 M parameters",
            home="nearfar.networks.series_convnet:SeriesConvNet",
        ),
        "series-perceptron": Network(
            summary="two linear layers on the values, for short series and rows",
            home="nearfar.networks.perceptron:Perceptron",
        ),
        "series-transformer": Network(
            summary="transformer over patches of time, 0.4 M parameters",
            home=_VIT,
            options=_MICRO,
        ),
    },
    model_input="input_values",
    encoders={"any": "series-convnet", "tokens": "series-transformer"},
    one_scale=True,
    query="a .csv file",
)
