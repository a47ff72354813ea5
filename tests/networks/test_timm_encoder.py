from __future__ import annotations

import sys
from typing import Any

import pytest
import torch

from nearfar import networks
from nearfar.errors import UserError

from .specs import images

timm = pytest.importorskip("timm")


@pytest.mark.parametrize(
    ("model", "shape", "part", "size"),
    [
        ("test_resnet", (1, 32, 32), "feature_map", (96, 1, 1)),
        ("test_resnet", (3, 64, 64), "feature_map", (96, 2, 2)),
        ("test_vit", (3, 64, 64), "tokens", (16, 64)),
        ("test_vit", (1, 32, 32), "tokens", (4, 64)),
        ("mobilenetv3_small_050", (3, 64, 64), "feature_map", (288, 2, 2)),
        ("test_mambaout", (3, 64, 64), "feature_map", (64, 2, 2)),
    ],
)
def test_timm_models_give_features_and_what_lies_before_them(
    model: str, shape: tuple[int, ...], part: str, size: tuple[int, ...]
) -> None:
    encoder = networks.build(f"timm:{model}", images(*shape))
    assert encoder.training
    x = torch.randn(2, *shape)
    local = torch.randn(2, shape[0], 28, 28)
    with torch.no_grad():
        assert encoder(x).shape == encoder(local).shape == (2, encoder.dimension)
        assert getattr(encoder, part)(x).shape == (2, *size)
        with pytest.raises(UserError, match="has no"):
            encoder.tokens(x) if part == "feature_map" else encoder.feature_map(x)


def test_wrong_models_are_answered_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        UserError, match=r"^Unknown timm model 'resnet10tt': did you mean resnet10t"
    ):
        networks.build("timm:resnet10tt", images(3, 32, 32))
    with pytest.raises(
        UserError,
        match=r"^Cannot build timm:inception_v3 for images of 3 x 8 x 8 values: .*; choose another "
        r"model",
    ):
        networks.build("timm:inception_v3", images(3, 8, 8))
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(
        UserError,
        match=r"^timm:resnet10t needs the timm library, which is not installed: pip install "
        r"'nearfar\[timm\]'",
    ):
        networks.build("timm:resnet10t", images(3, 32, 32))


def test_pretrained_weights_are_fetched_only_when_asked_and_say_when_they_cannot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []
    create = timm.create_model

    def offline(name: str, pretrained: bool = False, **options: Any) -> Any:
        asked.append(pretrained)
        if pretrained:
            raise OSError("no route to host\nmany more lines")
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    networks.build("timm:test_resnet", images(3, 32, 32))
    with pytest.raises(
        UserError,
        match=r"^Cannot get timm:test_resnet@pretrained: no route to host; .*leave @pretrained "
        r"out\.$",
    ):
        networks.build("timm:test_resnet@pretrained", images(3, 32, 32))
    assert asked[-1] is True
    assert not any(asked[:-1]), "sizes are estimated without weights"
