"""Images: uint8 (C, H, W)."""

from __future__ import annotations

from nearfar.data.spec import Spec
from nearfar.modalities.modality import Modality, Network

_VIT = "nearfar.networks.patch_transformer:PatchTransformer"
_MICRO = {"width": 96, "depth": 4, "heads": 3}
_TINY_VIT = (_VIT, {"width": 24, "depth": 1, "heads": 3})
_RESTORER = "nearfar.networks.restorers.restorer:Restorer"

MODALITY = Modality(
    axes=3,
    plain="nearfar.views.image.views:plain_images",
    views="nearfar.views.image.views:image_views",
    strengths="nearfar.views.image.settings:ImageViewSettings",
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
        "restorer": (_RESTORER, {"network": "srresnet", "width": 4, "blocks": 1}),
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
        "srresnet": Network(
            summary="enlarger: 16 residual blocks, 1.3 M parameters, and pixel shuffle",
            home=_RESTORER,
            options={"network": "srresnet"},
            kind="restorer",
        ),
        "srresnet-small": Network(
            summary="enlarger for laptops: 4 residual blocks, 0.1 M parameters, pixel shuffle, "
            "beside a bilinear enlargement",
            home=_RESTORER,
            options={"network": "srresnet", "width": 32, "blocks": 4, "residual": True},
            kind="restorer",
        ),
        "edsr": Network(
            summary="enlarger: 16 residual blocks without norm, 1.2 M parameters, pixel shuffle",
            home=_RESTORER,
            options={"network": "edsr"},
            kind="restorer",
        ),
        "nafnet": Network(
            summary="restorer of one size: a U-Net of gated blocks, 17 M parameters",
            home=_RESTORER,
            options={"network": "nafnet"},
            kind="restorer",
        ),
        "nafnet-small": Network(
            summary="restorer of one size: a U-Net of gated blocks for laptops, 0.1 M parameters",
            home=_RESTORER,
            options={
                "network": "nafnet",
                "width": 16,
                "encoder": (1, 1),
                "decoder": (1, 1),
            },
            kind="restorer",
        ),
    },
    # vit-micro, not vit-tiny, is the default for masked methods: forward and backward take it a
    # fifth of the time at 32 pixels, so that it gets five times the updates in the minutes that a
    # laptop has.
    model_input="pixel_values",
    encoders={"any": "small-convnet", "tokens": "vit-micro", "restorer": "srresnet-small"},
    scale=255,
    has_boxes=True,
    # Below, three halvings leave no feature map.
    smallest=8,
    channels_last=True,
    query="an image file",
    wide=False,
)
