"""What encoders open of their inside: features of several resolutions, tokens of each block,
attention.
"""

from __future__ import annotations

import pytest
import torch

from nearfar import networks
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.networks.encoder import Encoder
from nearfar.rows import Tokens

IMAGES = Spec(name="images", modality="image", shape=(3, 32, 32), length=8)
SERIES = Spec(name="series", modality="series", shape=(2, 64), length=8)
TEXTS = Spec(name="texts", modality="text", shape=(), length=8, vocabulary=50, context=12)


def built(name: str, spec: Spec) -> Encoder:
    return networks.build(name, spec).eval()


@pytest.mark.parametrize("name", ["small-convnet", "resnet18", "timm:resnet18"])
def test_a_pyramid_runs_from_fine_to_coarse_and_ends_in_the_feature_map(name: str) -> None:
    encoder = built(name, IMAGES)
    x = torch.randn(2, 3, 32, 32)
    levels = encoder.pyramid(x)
    sides = [level.shape[2] for level in levels]
    assert len(levels) > 2
    assert sides == sorted(sides, reverse=True)
    assert len(set(sides)) == len(sides)
    torch.testing.assert_close(levels[-1], encoder.feature_map(x))


@pytest.mark.parametrize(
    ("name", "spec"),
    [("vit-tiny", IMAGES), ("series-transformer", SERIES), ("timm:vit_tiny_patch16_224", IMAGES)],
)
def test_layers_of_tokens_end_in_the_tokens(name: str, spec: Spec) -> None:
    if name.startswith("timm:"):
        spec = Spec(name="large", modality="image", shape=(3, 32, 32), length=8)
    encoder = built(name, spec)
    x = torch.randn(2, *spec.shape)
    layers = encoder.token_layers(x)
    assert len(layers) > 2
    assert {layer.shape for layer in layers} == {encoder.tokens(x).shape}
    torch.testing.assert_close(layers[-1], encoder.tokens(x))


def test_attention_is_what_the_last_block_mixes_by() -> None:
    encoder = built("vit-tiny", IMAGES)
    x = torch.randn(2, 3, 32, 32)
    weights = encoder.attention(x)
    torch.testing.assert_close(weights.sum(3), torch.ones(weights.shape[:3]))
    mixed = []
    block = encoder.transformer.blocks[-1].attention
    block.output.register_forward_pre_hook(lambda _, given: mixed.append(given[0]))
    values = []
    block.query_key_value.register_forward_hook(lambda _, __, out: values.append(out))
    encoder(x)
    samples, length, width = mixed[0].shape
    value = values[0].reshape(samples, length, 3, block.heads, -1)[:, :, 2].transpose(1, 2)
    expected = (weights @ value).transpose(1, 2).reshape(samples, length, width)
    torch.testing.assert_close(mixed[0], expected)


def test_padding_gets_no_attention() -> None:
    encoder = built("text-transformer", TEXTS)
    ids = torch.randint(1, 50, (2, 6))
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[1, 4:] = False
    weights = encoder.attention(Tokens(ids, mask))
    assert bool((weights[1, :, :, 4:] == 0).all())
    layers = encoder.token_layers(Tokens(ids, mask))
    torch.testing.assert_close(layers[-1], encoder.tokens(Tokens(ids, mask)))


@pytest.mark.parametrize("opening", ["pyramid", "token_layers", "attention"])
def test_an_encoder_without_an_opening_says_which_has_one(opening: str) -> None:
    encoder = built("perceptron", IMAGES)
    with pytest.raises(UserError, match="choose a"):
        getattr(encoder, opening)(torch.randn(2, 3, 32, 32))
