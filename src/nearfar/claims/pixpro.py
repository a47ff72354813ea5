"""PixPro: learning on pixels makes maps that find the same place in another crop, learning on whole
images does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch

from nearfar.claims.claim import Claim
from nearfar.claims.harness import Training, pretrained, tiny_convnet
from nearfar.data.content.arrays import in_memory
from nearfar.data.samples import Source
from nearfar.data.spec import Spec
from nearfar.evaluation.measures.dense import pixel_matching
from nearfar.networks.encoder import Encoder
from nearfar.views import ImageViewSettings, WantedViews, make_views

SIDE = 48
WINDOWS = 512
LOOKED_AT = 64
VIEWS = ImageViewSettings(
    scale=(0.37, 1.0), flip=0.5, jitter=0.8, brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1
)
TRAINING = Training(steps=150, batch_size=16, encoder=tiny_convnet, views=VIEWS)
HEADS = {"hidden": 64, "projection": 32, "momentum": 0.99}
ARMS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "PixContrast": ("pixpro", HEADS | {"form": "pixcontrast"}),
    "BYOL": ("byol", HEADS),
}


@cache
def photographs(seed: int) -> Source:
    """Windows of 48 x 48 pixels of scikit-learn's two sample photographs, at two fifths of their
    size.
    """
    from sklearn.datasets import load_sample_images

    random = np.random.RandomState(seed)
    images = [
        torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None]
        for image in load_sample_images().images
    ]
    small = [
        torch.nn.functional.interpolate(image, (170, 256), mode="bilinear", antialias=True)[0]
        for image in images
    ]
    windows = []
    for _ in range(WINDOWS + LOOKED_AT):
        top = random.randint(0, 170 - SIDE + 1)
        left = random.randint(0, 256 - SIDE + 1)
        windows.append(small[random.randint(2)][:, top : top + SIDE, left : left + SIDE])
    found = torch.stack(windows).round().to(torch.uint8)
    values = found.float() / 255
    mean, std = (tuple(v.tolist()) for v in (values.mean((0, 2, 3)), values.std((0, 2, 3))))
    spec = Spec("photographs", "image", (3, SIDE, SIDE), WINDOWS, mean=mean, std=std)
    return Source(spec, in_memory(found[:WINDOWS]), in_memory(found[WINDOWS:]))


def matching(encoder: Encoder, source: Source, *, seed: int) -> float:
    """Share of cells whose nearest neighbour in another crop of a new window shows the same
    place.
    """
    assert source.test is not None
    views = make_views(source.spec, WantedViews(boxes=True), settings=VIEWS)
    first, second, boxes = views(
        source.test.take(torch.arange(LOOKED_AT)), torch.Generator().manual_seed(seed)
    )
    with torch.no_grad():
        return pixel_matching(
            encoder.feature_map(first), encoder.feature_map(second), boxes[:, 0], boxes[:, 1]
        )


def measure(arm: str, seed: int) -> Mapping[str, float]:
    name, settings = ARMS[arm]
    source = photographs(seed)
    method = pretrained(name, source, TRAINING, seed=seed, settings=settings)
    torch.manual_seed(seed)
    untrained = tiny_convnet(source.spec).eval()
    return {
        "matching": matching(method.encoder, source, seed=seed),
        "untrained": matching(untrained, source, seed=seed),
    }


CLAIM = Claim(
    statement="Learning on pixels gives feature maps that find the same place in another crop; "
    "learning on whole images does not.",
    first="PixContrast",
    second="BYOL",
    metric="matching",
    measure=measure,
    setting="Windows of 48 x 48 of scikit-learn's two photographs, three convolutions with maps of "
    "12 x 12, 150 steps of 16; nearest"
    " neighbours by cosine across two crops of windows not trained on. PixPro's own maps, smooth "
    "by its loss, match less well than an"
    " untrained network's here.",
    tuning=(
        "PixPro's own propagated maps matched less than an untrained network's (seeds from 0); "
        "PixContrast "
        "carries the claim."
    ),
)
