"""Texts: ``Tokens``."""

from __future__ import annotations

from nearfar.data.spec import Spec
from nearfar.modalities.modality import Modality, Network

MODALITY = Modality(
    axes=1,
    plain="nearfar.views.text:plain_text",
    views="nearfar.views.text:text_views",
    strengths="nearfar.views.text:TextViewSettings",
    raw="nearfar.evaluation.features:token_counts",
    toy=Spec(
        "toy texts",
        "text",
        (6,),
        12,
        vocabulary=20,
        context=6,
        classes=("a", "b", "c"),
        target="class",
    ),
    toy_samples="nearfar.testing.toys:tokens_of",
    tiny={
        "any": (
            "nearfar.networks.text_transformer:TextTransformer",
            {"width": 12, "depth": 1, "heads": 2},
        ),
    },
    networks={
        "text-transformer": Network(
            summary="bidirectional transformer over tokens, mean of the tokens",
            home="nearfar.networks.text_transformer:TextTransformer",
        ),
    },
    model_input="input_ids",
    encoders={"any": "text-transformer"},
    # A word less can turn a true caption into a wrong one, and the other part has views enough.
    beside="plain",
)
