from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nearfar.errors import UserError
from nearfar.networks.convnet import SmallConvNet
from nearfar.networks.heads import DinoHead, MaskedDecoder, UnitLinear, each, mlp, together
from nearfar.networks.patch_transformer import PatchTransformer
from nearfar.networks.text_transformer import TextTransformer
from nearfar.networks.towers import Towers
from nearfar.rows import Parts, Tokens

from .specs import images, texts


def words(head: nn.Sequential) -> str:
    """The layers of a head in short: L with or without b(ias), B with s(cale) and o(ffset) that
    learn, other layers by name.
    """
    found = []
    for layer in head:
        if isinstance(layer, nn.Linear):
            found.append(
                f"{layer.in_features}-L{'b' if layer.bias is not None else ''}-{layer.out_features}"
            )
        elif isinstance(layer, nn.BatchNorm1d):
            scale, offset = (p is not None and p.requires_grad for p in (layer.weight, layer.bias))
            found.append(f"B{'s' * scale}{'o' * offset}")
        else:
            found.append(type(layer).__name__)
    return " ".join(found)


@pytest.mark.parametrize(
    ("options", "structure"),
    [
        (
            {"sizes": (8, 6, 4), "last_bias": False, "last_norm": "batch"},
            "8-Lb-6 Bso ReLU 6-L-4 Bs",
        ),  # SimCLR's projector
        ({"sizes": (8, 6, 4), "hidden_norm": False}, "8-Lb-6 ReLU 6-Lb-4"),  # MoCo v2's
        (
            {
                "sizes": (8, 6, 6, 4),
                "hidden_bias": False,
                "last_bias": False,
                "last_norm": "batch-plain",
            },
            "8-L-6 Bso ReLU 6-L-6 Bso ReLU 6-L-4 B",
        ),  # SimSiam's projector
        (
            {"sizes": (8, 6, 4), "hidden_bias": False},
            "8-L-6 Bso ReLU 6-Lb-4",
        ),  # SimSiam's predictor
        (
            {"sizes": (8, 6, 6, 6), "last_bias": False},
            "8-Lb-6 Bso ReLU 6-Lb-6 Bso ReLU 6-L-6",
        ),  # VICReg's expander
        ({"sizes": (8, 6, 4), "hidden_norm": False, "activation": nn.GELU}, "8-Lb-6 GELU 6-Lb-4"),
        ({"sizes": (8, 4)}, "8-Lb-4"),
    ],
)
def test_perceptrons_have_the_structure_of_the_papers(
    options: dict[str, Any], structure: str
) -> None:
    assert words(mlp(**options)) == structure


def test_the_last_norm_without_offset_stays_without() -> None:
    head = mlp((4, 8, 3), last_bias=False, last_norm="batch")
    x = torch.randn(16, 4)
    optimizer = torch.optim.SGD(head.parameters(), lr=1.0)
    (head(x) - 5).square().sum().backward()
    optimizer.step()
    torch.testing.assert_close(head(x).mean(0), torch.zeros(3), rtol=0, atol=1e-4)
    with pytest.raises(UserError, match="Unknown last_norm 'bacth': did you mean batch"):
        mlp((4, 8, 3), last_norm="bacth")


def test_prototypes_of_the_dino_head_are_weight_normalised() -> None:
    layer = UnitLinear(6, 9)
    reference = nn.Linear(6, 9, bias=False)
    nn.init.normal_(layer.weight)
    with torch.no_grad():
        reference.weight.copy_(layer.weight)
    nn.utils.parametrizations.weight_norm(reference)
    reference.parametrizations.weight.original0.data.fill_(1.0)
    x = torch.randn(5, 6)
    direction = torch.randn(5, 9)
    found = layer(x)
    expected = reference(x)
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad((found * direction).sum(), layer.weight)
    (expected_gradient,) = torch.autograd.grad(
        (expected * direction).sum(), reference.parametrizations.weight.original1
    )
    torch.testing.assert_close(gradient, expected_gradient)


def test_the_dino_head() -> None:
    head = DinoHead(10, 7, hidden=16, bottleneck=6)
    x = torch.randn(3, 10)
    assert words(head.layers) == "10-Lb-16 GELU 16-Lb-16 GELU 16-Lb-6"
    logits = head(x)
    assert logits.shape == (3, 7)
    assert logits.abs().max() <= 1 + 1e-6  # cosines
    assert all(0.015 < p.std() < 0.025 for p in DinoHead(256, 512).parameters() if p.ndim == 2)
    assert not any(layer.bias.any() for layer in head.layers if isinstance(layer, nn.Linear))
    logits.sum().backward()
    assert all(p.grad is not None for p in head.parameters())


def test_the_decoder_predicts_every_patch_from_the_visible_ones() -> None:
    encoder = PatchTransformer(images(3, 32, 32), width=24, depth=1, heads=2)
    decoder = MaskedDecoder(24, encoder.grid, encoder.patch_values, width=16, depth=1, heads=2)
    order = torch.rand(2, encoder.patches).argsort(dim=1)
    tokens = encoder.embed(torch.randn(2, 3, 32, 32))
    visible = tokens.gather(1, order[:, :16, None].expand(-1, -1, 24))
    prediction = decoder(encoder.encode_tokens(visible), order.argsort(dim=1))
    assert prediction.shape == (2, encoder.patches, encoder.patch_values)
    prediction.square().sum().backward()
    for module in (encoder, decoder):
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in module.parameters())


class Counting:
    """Calls a module and counts."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.sizes = list[int]()

    def __call__(self, x: Any) -> Tensor:
        self.sizes.append(len(x))
        features: Tensor = self.module(x)
        return features


def crops(*sides: int) -> list[Tensor]:
    return [torch.randn(4, 3, side, side) for side in sides]


def text(length: int) -> Tokens:
    return Tokens(torch.randint(50, (4, length)), torch.ones(4, length, dtype=torch.bool))


def pair(length: int) -> Parts:
    return Parts(image=crops(32)[0], text=text(length))


@pytest.mark.parametrize(
    ("views", "passes"),
    [
        (crops(32, 32), [8]),
        (crops(32, 32, 14, 14, 14), [8, 12]),
        (crops(32, 14, 32), [4, 4, 4]),
        (crops(32), [4]),
        ([text(5), text(5), text(7)], [8, 4]),
        (
            [pair(5), pair(5), pair(6)],
            [8, 4],
        ),
    ],
)
def test_together_is_each_in_fewer_passes(views: list[Any], passes: list[int]) -> None:
    towers = Towers(
        {
            "image": SmallConvNet(images(3, 32, 32), widths=(4, 8)),
            "text": TextTransformer(texts(), width=8, depth=1, heads=2),
        }
    ).eval()
    counting = Counting(towers)
    outputs = together(counting, views)
    assert counting.sizes == passes
    expected = each(towers, views)
    assert len(outputs) == len(expected) == len(views)
    for found, wanted in zip(outputs, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_together_and_each_differ_in_what_batch_norm_sees() -> None:
    norm = nn.BatchNorm1d(3, affine=False)
    first = torch.randn(8, 3)
    second = torch.randn(8, 3) + 10
    joined = norm(torch.cat([first, second]))
    assert torch.equal(torch.cat(together(norm, (first, second))), joined)
    for found in each(norm, (first, second)):
        torch.testing.assert_close(found.mean(0), torch.zeros(3), rtol=0, atol=1e-5)
