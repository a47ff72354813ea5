"""Any image model of the timm library (an extra)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from nearfar.data.spec import Spec
from nearfar.errors import UserError, unknown_name
from nearfar.networks.catalogue import PRETRAINED, TIMM
from nearfar.networks.depths import Depths, once
from nearfar.networks.encoder import Encoder


class TimmEncoder(Encoder):
    """Images (N, C, H, W) to (N, dimension) by a timm model without its classifier.

    Models whose parameters belong to one size (vision transformers, mixers) see views of another
    size resized to the data's.

    Args:
        spec: of the data.
        name: timm's name of the model; followed by "@pretrained" it starts from timm's weights.

    Raises:
        UserError: if timm is not installed, has no such model, cannot build it for these images, or
            cannot get its weights.
    """

    weights_prefix = "model."

    def __init__(self, spec: Spec, name: str) -> None:
        super().__init__()
        timm = _timm(name)
        bare = name.removesuffix(PRETRAINED)
        if not timm.is_model(bare):
            raise unknown_name("timm model", bare, timm.list_models())
        fixed = getattr(
            timm.get_pretrained_cfg(bare, allow_unregistered=True), "fixed_input_size", False
        )
        self.size = tuple(spec.shape[1:]) if fixed else None
        try:
            self.model = _created(timm, bare, spec, self.size, pretrained=name.endswith(PRETRAINED))
        except Exception as error:  # timm and the hub raise whatever they like
            raise UserError(_failure(name, spec, error)) from error
        self.dimension: int = self.model.head_hidden_size
        classifier = getattr(self.model, "pretrained_cfg", {}).get("classifier") or ()
        self.spare_weights = (classifier,) if isinstance(classifier, str) else tuple(classifier)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.model(self._sized(x))
        return features

    def feature_map(self, x: Tensor) -> Tensor:
        found = self._unpooled(x)
        if found.ndim != 4:
            return super().feature_map(x)
        last = getattr(self.model, "output_fmt", "NCHW") == "NHWC"
        return found.permute(0, 3, 1, 2) if last else found

    @property
    def map_dimension(self) -> int:
        return int(self.model.num_features)

    def with_map(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found = self._unpooled(x)
        features: Tensor = self.model.forward_head(found)
        if found.ndim == 3:
            tokens = found[:, getattr(self.model, "num_prefix_tokens", 0) :]
            side = math.isqrt(tokens.shape[1])
            grid = getattr(getattr(self.model, "patch_embed", None), "grid_size", (side, side))
            if math.prod(grid) == tokens.shape[1]:
                return features, tokens.mT.reshape(len(x), -1, *grid)
        if found.ndim != 4:
            return features, super().feature_map(x)
        last = getattr(self.model, "output_fmt", "NCHW") == "NHWC"
        return features, found.permute(0, 3, 1, 2) if last else found

    def tokens(self, x: Tensor) -> Tensor:
        found = self._unpooled(x)
        return (
            found[:, getattr(self.model, "num_prefix_tokens", 0) :]
            if found.ndim == 3
            else super().tokens(x)
        )

    def pyramid(self, x: Tensor) -> list[Tensor]:
        found = self._intermediates(x, "NCHW")
        sides = [level.shape[2:] for level in found]
        return found if len(set(sides)) > 1 else super().pyramid(x)

    def token_layers(self, x: Any) -> list[Tensor]:
        if self._unpooled(x).ndim != 3:
            return super().token_layers(x)
        return self._intermediates(x, "NLC")

    def by_depth(self) -> Depths:
        """In timm's own order, where it says one."""
        if not hasattr(self.model, "group_matcher"):
            return super().by_depth()
        from timm.models import group_parameters

        places = group_parameters(self.model, self.model.group_matcher(coarse=False), reverse=True)
        found: Depths = [[] for _ in range(max(places.values()) + 1)]
        for name, parameter in self.model.named_parameters():
            found[places.get(name, -1)].append(parameter)
        return once(found)

    def freeze_patches(self) -> None:
        projection = getattr(self.model, "patch_embed", None)
        if projection is None:
            super().freeze_patches()
        else:
            projection.requires_grad_(False)

    def _intermediates(self, x: Tensor, form: str) -> list[Tensor]:
        """What the model's stages give, from first to last, the last behind the model's norm."""
        given = getattr(self.model, "forward_intermediates", None)
        if given is None:
            raise UserError(
                f"timm gives no intermediate features of {type(self.model).__name__}; choose "
                "another timm model."
            )
        found: list[Tensor] = given(
            self._sized(x), norm=True, output_fmt=form, intermediates_only=True
        )
        return found

    def _unpooled(self, x: Tensor) -> Tensor:
        found: Tensor = self.model.forward_features(self._sized(x))
        return found

    def _sized(self, x: Tensor) -> Tensor:
        return (
            x
            if self.size in (None, tuple(x.shape[2:]))
            else interpolate(x, self.size, mode="bilinear")
        )


def _timm(name: str) -> Any:
    try:
        import timm
    except ImportError as error:
        raise UserError(
            f"{TIMM}{name} needs the timm library, which is not installed: pip install "
            "'nearfar[timm]'."
        ) from error
    return timm


def _created(
    timm: Any, name: str, spec: Spec, size: tuple[int, ...] | None, *, pretrained: bool
) -> Any:
    options = {} if size is None else {"img_size": size}
    model = timm.create_model(
        name, pretrained=pretrained, num_classes=0, in_chans=spec.shape[0], **options
    )
    with torch.no_grad():
        model.eval()(
            torch.zeros(1, *spec.shape)
        )  # patches that do not fit the images show here, not in the first step
    return model.train()


def _failure(name: str, spec: Spec, error: Exception) -> str:
    reason = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
    if name.endswith(PRETRAINED):
        return (
            f"Cannot get {TIMM}{name}: {reason}; without a network connection leave "
            f"{PRETRAINED} out."
        )
    size = " x ".join(map(str, spec.shape))
    return (
        f"Cannot build {TIMM}{name} for images of {size} values: {reason}; choose another "
        "model or image size."
    )
