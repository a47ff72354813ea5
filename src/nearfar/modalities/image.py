"""Images: uint8 (C, H, W)."""

from __future__ import annotations

from nearfar.data.spec import Spec
from nearfar.modalities.modality import Modality, Network

_VIT = "nearfar.networks.patch_transformer:PatchTransformer"
_MICRO = {"width": 96, "depth": 4, "heads": 3}
_TINY_VIT = (_VIT, {"width": 24, "depth": 1, "heads": 3})

MODALITY = Modality(
    axes=3,
    plain="nearfar.views.image.views:plain_images",
    views="nearfar.views.image.views:image_views",
    pictures="nearfar.reports.pictures.samples:images",
    toy=Spec(
        "toy images",
        "image",
        (3, 8, 8),
        12,
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        classes=("a", "b", "c"),
        target="class",
    ),
    toy_samples="nearfar.testing.toys:bytes_of",
    tiny={
        "any": ("nearfar.networks.convnet:SmallConvNet", {"widths": (4, 8)}),
        "tokens": _TINY_VIT,
    },
    networks={
        "small-convnet": Network(
            summary="four convolutions, 0.4 M parameters; trains in a minute on a laptop",
            home="nearfar.networks.convnet:SmallConvNet",
        ),
        "perceptron": Network(
            summary="two linear layers on the pixels, for tiny images and trials of seconds",
            home="nearfar.networks.perceptron:Perceptron",
        ),
        "resnet18": Network(
            summary="ResNet-18, 11 M parameters; 3x3 stem up to 64 pixels",
            home="nearfar.networks.resnet:ResNet",
            options={"layers": 18},
        ),
        "resnet50": Network(
            summary="ResNet-50, 24 M parameters; 3x3 stem up to 64 pixels",
            home="nearfar.networks.resnet:ResNet",
            options={"layers": 50},
        ),
        **{
            f"scatnet{blocks}": Network(
                summary=f"fixed wavelet scattering and {blocks} residual blocks",
                home="nearfar.networks.scatnet:ScatNet",
                options={"blocks": blocks},
            )
            for blocks in (8, 12, 16, 30, 45)
        },
        "vit-micro": Network(
            summary="vision transformer for small images on a laptop, 0.5 M parameters",
            home=_VIT,
            options=_MICRO,
        ),
        "vit-tiny": Network(
            summary="vision transformer, 5 M parameters",
            home=_VIT,
            options={"width": 192, "depth": 12, "heads": 3},
        ),
        "vit-small": Network(
            summary="vision transformer, 21 M parameters",
            home=_VIT,
            options={"width": 384, "depth": 12, "heads": 6},
        ),
        "vit-base": Network(
            summary="vision transformer, 85 M parameters",
            home=_VIT,
            options={"width": 768, "depth": 12, "heads": 12},
        ),
    },
    # vit-micro, not vit-tiny, is the default for masked methods: forward and backward take it a
    # fifth of the time at 32 pixels, so that it gets five times the updates in the minutes that a
    # laptop has.
    encoders={"any": "small-convnet", "tokens": "vit-micro"},
    scale=255,
    has_boxes=True,
    # Below, three halvings leave no feature map.
    smallest=8,
    channels_last=True,
    exported=True,
    query="an image file",
    wide=False,
)
