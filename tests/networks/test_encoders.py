"""Every built-in encoder: shapes at all sizes, gradients, local crops, and equal treatment of the
samples of a batch.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nearfar import networks
from nearfar.errors import UserError
from nearfar.networks.catalogue import names_for
from nearfar.networks.convnet import SmallConvNet
from nearfar.networks.encoder import Encoder, TokenEncoder
from nearfar.networks.perceptron import Perceptron
from nearfar.networks.resnet import ResNet
from nearfar.networks.restorers.restorer import Restorer
from nearfar.networks.scatnet import ScatNet
from nearfar.networks.series_convnet import SeriesConvNet

from .specs import images, series

CONVOLUTIONAL = (SmallConvNet, ResNet, SeriesConvNet, ScatNet, Restorer)
QUICK = ["small-convnet", "scatnet8", "resnet18", "vit-micro", "vit-tiny"]
SIBLINGS = {"scatnet16", "scatnet30", "scatnet45", "vit-small", "vit-base"}
"""Larger forms of an encoder that is tried at all sizes."""


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        (name, shape)
        for name in names_for("image")
        for shape in [(1, 8, 8), (3, 32, 32), (3, 64, 64)]
        if name not in SIBLINGS or shape == (3, 32, 32)
    ]
    + [
        (name, shape)
        for name in ("small-convnet", "resnet18", "vit-micro")
        for shape in [(3, 96, 96), (2, 30, 45), (3, 224, 224)]
    ],
    ids=str,
)
def test_shapes_of_image_encoders(name: str, shape: tuple[int, ...]) -> None:
    """On the meta device: shapes without arithmetic, so that the largest models take part."""
    with torch.device("meta"):
        encoder = networks.build(name, images(*shape))
        x = torch.randn(2, *shape)
        local = torch.randn(2, shape[0], *(max(1, round(0.43 * side)) for side in shape[1:]))
        assert encoder(x).shape == encoder(local).shape == (2, encoder.dimension)
        _check_parts(encoder, x)
    if isinstance(encoder, TokenEncoder):
        assert 4 <= min(encoder.grid) <= 14


@pytest.mark.parametrize("shape", [(1, 1), (2, 8), (1, 24), (3, 100), (2, 1001)], ids=str)
@pytest.mark.parametrize("name", names_for("series"))
def test_shapes_of_series_encoders(name: str, shape: tuple[int, ...]) -> None:
    encoder = networks.build(name, series(*shape))
    x = torch.randn(2, *shape)
    local = torch.randn(2, shape[0], -(-shape[1] // 3))
    assert encoder(x).shape == encoder(local).shape == (2, encoder.dimension)
    _check_parts(encoder, x)


def _check_parts(encoder: Encoder, x: torch.Tensor) -> None:
    if isinstance(encoder, CONVOLUTIONAL):
        found = encoder.feature_map(x)
        assert found.shape[:2] == (2, encoder.map_dimension)
        assert found.ndim == x.ndim
        assert min(found.shape) >= 1
        with pytest.raises(UserError, match="has no tokens; choose a transformer encoder"):
            encoder.tokens(x)
    elif isinstance(encoder, Perceptron):
        for part in (encoder.feature_map, encoder.tokens):
            with pytest.raises(UserError, match="Perceptron has no"):
                part(x)
    else:
        assert isinstance(encoder, TokenEncoder)
        assert encoder.tokens(x).shape == (2, encoder.patches, encoder.dimension)
        with pytest.raises(UserError, match="has no feature map; choose a convolutional encoder"):
            encoder.feature_map(x)


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)], ids=str)
def test_gradients_reach_everything_that_learns(name: str, shape: tuple[int, ...]) -> None:
    _check_gradients(networks.build(name, images(*shape)), torch.randn(4, *shape))


@pytest.mark.parametrize("name", names_for("series"))
def test_gradients_reach_everything_in_series_encoders(name: str) -> None:
    _check_gradients(networks.build(name, series(2, 50)), torch.randn(4, 2, 50))


def _check_gradients(encoder: Encoder, x: torch.Tensor) -> None:
    for module in encoder.modules():  # a branch that starts at zero hides the layers inside it
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
    features = encoder(x)
    (features * torch.randn_like(features)).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("name", QUICK)
def test_channels_last_changes_nothing(name: str) -> None:
    encoder = networks.build(name, images(3, 32, 32)).eval()
    x = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        expected = encoder(x)
        found = encoder.to(memory_format=torch.channels_last)(
            x.to(memory_format=torch.channels_last)
        )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_features_are_the_mean_of_the_map_and_the_maximum_over_time() -> None:
    for name in ("small-convnet", "resnet18"):
        encoder = networks.build(name, images(3, 32, 32)).eval()
        x = torch.randn(2, 3, 32, 32)
        torch.testing.assert_close(encoder(x), encoder.feature_map(x).mean(dim=(2, 3)))
    encoder = networks.build("series-convnet", series(2, 40)).eval()
    x = torch.randn(2, 2, 40)
    torch.testing.assert_close(encoder(x), encoder.feature_map(x).amax(dim=2))


@pytest.mark.parametrize(
    ("side", "kernel", "stride"), [(32, 3, 1), (64, 3, 1), (65, 7, 2), (224, 7, 2)]
)
def test_the_stem_of_resnets_fits_the_size(side: int, kernel: int, stride: int) -> None:
    for channels in (1, 3):
        with torch.device("meta"):
            encoder = networks.build("resnet18", images(channels, side, side))
        stem = encoder.resnet.conv1
        assert (stem.in_channels, stem.kernel_size, stem.stride) == (
            channels,
            (kernel, kernel),
            (stride, stride),
        )
        assert stem.padding == (kernel // 2, kernel // 2)
        assert isinstance(encoder.resnet.maxpool, nn.MaxPool2d) == (side > 64)


def test_resnet_is_torchvisions() -> None:
    from torchvision.models import resnet18

    reference = resnet18(weights=None).eval()
    encoder = ResNet(images(3, 96, 96)).eval()
    x = torch.randn(2, 3, 96, 96)
    encoder.resnet.load_state_dict(
        {k: v for k, v in reference.state_dict().items() if not k.startswith("fc.")}
    )
    reference.fc = nn.Identity()
    with torch.no_grad():
        assert torch.equal(encoder(x), reference(x))


@pytest.mark.parametrize("zero", [True, False])
def test_residual_branches_of_resnets_start_at_zero_when_asked(zero: bool) -> None:
    encoder = ResNet(images(3, 32, 32), zero_init_residual=zero)
    last = [
        module.bn2.weight
        for name, module in encoder.named_modules()
        if name.count(".") == 2 and hasattr(module, "bn2")
    ]
    assert len(last) == 8
    assert all(bool((weight == 0).all()) == zero for weight in last)


def test_widths_can_be_set() -> None:
    assert SmallConvNet(images(3, 32, 32), widths=(4, 8))(torch.randn(2, 3, 32, 32)).shape == (2, 8)
    assert SeriesConvNet(series(2, 40), width=8, depth=2, dimension=12)(
        torch.randn(2, 2, 40)
    ).shape == (2, 12)


def test_small_convnet_learns_quickly() -> None:
    """Two textures that raw means do not tell apart, 40 updates."""
    x = torch.randn(64, 1, 16, 16)
    x[32:] = (x[32:] + x[32:].roll(1, dims=2)) / 2**0.5
    label = torch.arange(64) // 32
    model = nn.Sequential(SmallConvNet(images(1, 16, 16), widths=(8, 16)), nn.Linear(16, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), label).backward()
        optimizer.step()
    assert (model(x).argmax(1) == label).float().mean() > 0.95
