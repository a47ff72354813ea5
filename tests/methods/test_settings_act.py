"""Every setting of every method acts: changing it changes views, batches, shapes, terms, weights or
features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from nearfar import networks
from nearfar.methods import registry
from nearfar.methods.momentum.cacr_moco_v3 import CACRMoCoV3
from nearfar.methods.paired.mcl_clip import MCLClip
from nearfar.testing.settings import idle_settings
from nearfar.testing.toys import spec_for, toy, toy_samples
from nearfar.training.training_set import LoadedTrainingSet

CONTEXTS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "conr": {"bandwidth": {"density": "inverse"}},
    "dcl": {"sigma": {"weighted": True}},
    "distill": {"dense": {"level": "both"}},
    "dino": {
        "temperature_warmup": {"first_teacher_temperature": 0.06},
        "centre_momentum": {"sinkhorn": False},
    },
    "dinov2": {"temperature_warmup": {"first_teacher_temperature": 0.06}},
    "directpred": {"power": {"predictor": "set"}, "norm": {"predictor": "copy"}},
    "hallucinator": {
        "bottleneck": {"host": "simsiam"},
        "momentum": {"host": "moco-v2"},
        "queue": {"host": "moco-v2"},
    },
    "hard-contrastive": {"weight": {"loss": "simple"}, "bank_momentum": {"bank": True}},
    "mcl-clip": {"lock_texts": {"restart": "same"}, "image_layers": {"restart": "same"}},
    "protein-rpn": {"keep": {"threshold": 0.3}},
    "pixpro": {"temperature": {"form": "pixcontrast"}},
    "sla": {"temperature": {"distillation": True}},
    "swav": {"queue_start": {"queue": 6}},
}
"""Settings that act only together with others."""

_QUEUE = {"queue": 7}  # the toys' twelve samples bound longer queues
VALUES: Mapping[str, Mapping[str, Any]] = {
    **dict.fromkeys(
        (
            "amcl-moco",
            "cacr-queue",
            "feature-transformation",
            "moco-v2",
            "nnclr",
            "hallucinator",
            "ressl",
            "seed",
        ),
        _QUEUE,
    ),
    "clip": {"largest_scale": 5.0},
    "i-jepa": {"least": 0.01},
    "isogclr": {"bounds": (0.2, 0.2001)},
    "isogclr-pairs": {"bounds": (0.05, 0.05001)},
    "mochi": {**_QUEUE, "hardest": 3},
    "srgan": {"crop": 4},
    "srresnet": {"crop": 4},
    "supremix": {"window": 0.5},
}
"""Values that the toys' few samples can tell from the default."""

UNSEEN: Mapping[str, Mapping[str, str]] = {
    "cacr-moco-v3": {
        "transformer": "needs a transformer encoder: "
        "test_cacr_moco_v3_has_the_heads_for_transformers"
    },
    "moco-v3": {
        "transformer": "needs a transformer encoder: "
        "test_moco_v3_for_transformers_has_their_heads_and_fixed_patches"
    },
    "mcl-clip": {
        "unit_stages": "acts where pairs are compared, in embed_part: "
        "test_stages_of_unit_length_count_alike"
    },
}
"""Settings that cannot be seen on toys, each with the test that sees them."""


@pytest.mark.parametrize("name", registry.names())
def test_every_setting_acts(name: str) -> None:
    idle = idle_settings(registry.get(name), contexts=CONTEXTS.get(name), values=VALUES.get(name))
    assert idle == sorted(UNSEEN.get(name, {}))


def test_cacr_moco_v3_has_the_heads_for_transformers() -> None:
    spec = spec_for(CACRMoCoV3)
    encoder = networks.build("vit-micro", spec)
    settings = {"hidden": 16, "projection": 8}
    method = CACRMoCoV3(encoder, spec, CACRMoCoV3.Settings(**settings, transformer=True))
    assert [type(layer) for layer in method.projector].count(nn.Linear) == 3
    assert isinstance(method.predictor[-1], nn.BatchNorm1d)
    assert not encoder.embedding.weight.requires_grad
    plain = CACRMoCoV3(networks.build("vit-micro", spec), spec, CACRMoCoV3.Settings(**settings))
    assert [type(layer) for layer in plain.projector].count(nn.Linear) == 2
    assert plain.encoder.embedding.weight.requires_grad


def test_stages_of_unit_length_count_alike() -> None:
    """Without, a stage with longer embeddings decides alone."""
    for unit in (True, False):
        method, batch = toy(MCLClip, settings={"unit_stages": unit})
        for epoch, method.progress in ((10, 0.4), (20, 0.8)):
            method.float().before_epoch(
                epoch, LoadedTrainingSet(toy_samples(method.spec), method, seed=0)
            )
        method.double().eval()
        with torch.no_grad():
            stages = method.embeddings("image", batch.views[0].image)
            found = method.embed_part("image", batch.views[0].image)
        parts = [normalize(stage, dim=1) for stage in stages] if unit else stages
        torch.testing.assert_close(found, normalize(torch.cat(parts, dim=1), dim=1))
