"""The shared transformer over patches: positions and patch order against reference values, and what
masked methods rely on.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from nearfar.errors import UserError
from nearfar.networks import transformer
from nearfar.networks.heads import MaskedDecoder
from nearfar.networks.patch_transformer import PatchTransformer, patch_length
from nearfar.networks.positions import sincos_positions
from nearfar.networks.transformer import Attention, Transformer

from .specs import images, series

Golden = Callable[[str], dict[str, Tensor]]


@pytest.mark.parametrize("case", ["a-mae-posembed", "f-uni4eye-sincos2d-1"])
def test_positions_are_maes(golden: Golden, case: str) -> None:
    values = golden(case)
    side = int(values["hp_grid"])
    width = int(values["hp_dim"])
    expected = values["out_pos_embed" if "out_pos_embed" in values else "out_table"]
    assert not expected[0].any()  # the class token's row, which the encoder leaves out
    torch.testing.assert_close(
        sincos_positions((side, side), width), expected[1:], rtol=1e-8, atol=1e-12
    )


def test_positions_follow_their_formula() -> None:
    grid = (3, 5)
    width = 12
    found = sincos_positions(grid, width)
    for row in range(3):
        for column in range(5):
            expected = []
            for place in (column, row):
                angles = [place * 10000 ** (-i / 3) for i in range(3)]
                expected += [torch.tensor(a).sin() for a in angles] + [
                    torch.tensor(a).cos() for a in angles
                ]
            torch.testing.assert_close(
                found[5 * row + column].float(), torch.stack(expected).float(), rtol=1e-5, atol=1e-6
            )
    assert sincos_positions((7,), 6).shape == (7, 6)
    with pytest.raises(UserError, match="width that is a multiple of 4, found 6"):
        sincos_positions((2, 2), 6)


def test_patches_are_maes(golden: Golden) -> None:
    values = golden("a-mae-case1")
    encoder = PatchTransformer(
        images(3, 8, 8), width=8, depth=1, heads=2, patch=int(values["hp_patch"])
    )
    patches = encoder.patchify(values["in_images"])
    assert torch.equal(patches, values["out_patches"])
    assert torch.equal(encoder.unpatchify(patches), values["in_images"])
    assert (encoder.patches, encoder.patch_values, encoder.grid) == (16, 12, (4, 4))


def test_the_decoder_puts_patches_back_in_maes_order(golden: Golden) -> None:
    values = golden("a-mae-case1")
    tokens = values["in_tokens"]
    kept = values["out_tokens_kept"]
    restore = values["out_ids_restore"]
    decoder = MaskedDecoder(5, (4, 4), 5, width=8, depth=1, heads=2).double()
    decoder.entry = nn.Identity()
    decoder.transformer = nn.Identity()
    decoder.predict = nn.Identity()
    decoder.positions = torch.zeros((), dtype=torch.float64)
    decoder.mask_token = nn.Parameter(torch.full((1, 1, 5), 7.0, dtype=torch.float64))
    found = decoder(torch.cat([torch.zeros_like(kept[:, :1]), kept], dim=1), restore)
    removed = values["out_mask"].bool().unsqueeze(2)
    assert torch.equal(found, torch.where(removed, 7.0, tokens))


@pytest.mark.parametrize(
    "shape", [(1, 8, 8), (3, 32, 32), (2, 30, 45), (1, 1), (2, 37), (3, 100)], ids=str
)
def test_unpatchify_inverts_patchify(shape: tuple[int, ...]) -> None:
    encoder = PatchTransformer(
        (images if len(shape) == 3 else series)(*shape), width=8, depth=1, heads=2
    )
    x = torch.randn(3, *shape)
    patches = encoder.patchify(x)
    assert patches.shape == (3, encoder.patches, encoder.patch_values)
    assert torch.equal(encoder.unpatchify(patches), x)


@pytest.mark.parametrize(
    ("side", "patch"),
    [(8, 2), (16, 2), (28, 4), (32, 4), (48, 8), (64, 8), (128, 16), (224, 16), (512, 16)],
)
def test_the_patch_fits_the_side(side: int, patch: int) -> None:
    assert patch_length(images(3, side, side)) == patch


def test_the_class_token_has_no_position() -> None:
    encoder = PatchTransformer(images(1, 8, 8), width=8, depth=1, heads=2)
    encoder.transformer = nn.Identity()
    tokens = torch.randn(2, 5, 8)
    encoded = encoder.encode_tokens(tokens)
    assert torch.equal(encoded[:, :1], encoder.class_token.expand(2, 1, 8))
    assert torch.equal(encoded[:, 1:], tokens)


def test_embedding_is_a_strided_convolution_plus_positions() -> None:
    encoder = PatchTransformer(images(3, 16, 16), width=8, heads=2, patch=4)
    x = torch.randn(2, 3, 16, 16)
    weight = encoder.embedding.weight.view(8, 4, 4, 3).permute(0, 3, 1, 2)
    convolved = nn.functional.conv2d(x, weight, encoder.embedding.bias, stride=4)
    expected = convolved.flatten(2).transpose(1, 2) + sincos_positions((4, 4), 8).float()
    torch.testing.assert_close(encoder.embed(x), expected, rtol=1e-4, atol=1e-5)


def test_any_subset_of_patches_can_be_encoded_in_any_order() -> None:
    encoder = PatchTransformer(images(3, 32, 32)).eval()
    x = torch.randn(2, 3, 32, 32)
    tokens = encoder.embed(x)
    order = torch.randperm(encoder.patches)
    with torch.no_grad():
        shuffled = encoder.encode_tokens(tokens[:, order])
        torch.testing.assert_close(
            shuffled[:, 1:], encoder.tokens(x)[:, order], rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(shuffled[:, 0], encoder(x), rtol=1e-4, atol=1e-5)
        assert encoder.encode_tokens(tokens[:, order[:16]]).shape == (2, 17, encoder.dimension)


def test_local_crops_get_the_positions_of_their_own_grid() -> None:
    encoder = PatchTransformer(images(3, 32, 32)).eval()
    crop = torch.randn(2, 3, 14, 14)
    filled = nn.functional.pad(crop, (0, 2, 0, 2))
    with torch.no_grad():
        expected = (
            encoder.embedding(encoder.patchify(filled))
            + sincos_positions((4, 4), encoder.dimension).float()
        )
        assert torch.equal(encoder.embed(crop), expected)
        assert torch.equal(encoder(crop), encoder(filled))


def test_attention_is_torchs_own() -> None:
    mine = Attention(12, 3)
    reference = nn.MultiheadAttention(12, 3, batch_first=True)
    reference.load_state_dict(
        {
            "in_proj_weight": mine.query_key_value.weight,
            "in_proj_bias": mine.query_key_value.bias,
            "out_proj.weight": mine.output.weight,
            "out_proj.bias": mine.output.bias,
        }
    )
    x = torch.randn(2, 5, 12)
    visible = torch.tensor([[True] * 5, [True, True, False, True, False]])
    for shown in (None, visible):
        expected = reference(
            x, x, x, key_padding_mask=None if shown is None else ~shown, need_weights=False
        )[0]
        torch.testing.assert_close(mine(x, shown), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="multiple of its heads, found a width of 10 with 3 heads"):
        Transformer(10, 1, 3)


def test_the_transformer_is_torchs_pre_norm_encoder() -> None:
    mine = Transformer(12, depth=2, heads=3)
    layer = nn.TransformerEncoderLayer(
        12,
        3,
        48,
        dropout=0.0,
        activation="gelu",
        layer_norm_eps=1e-6,
        batch_first=True,
        norm_first=True,
    )
    reference = nn.TransformerEncoder(
        layer, 2, nn.LayerNorm(12, eps=1e-6), enable_nested_tensor=False
    )
    names = {
        "self_attn.in_proj_": "attention.query_key_value.",
        "self_attn.out_proj": "attention.output",
        "linear1": "perceptron.0",
        "linear2": "perceptron.2",
        "norm1": "attention_norm",
        "norm2": "perceptron_norm",
        "layers": "blocks",
    }

    def translated(name: str) -> str:
        for torchs, ours in names.items():
            name = name.replace(torchs, ours)
        return name

    with torch.no_grad():
        for parameter in mine.parameters():
            parameter.copy_(torch.randn_like(parameter))
    weights = mine.state_dict()
    reference.load_state_dict({name: weights[translated(name)] for name in reference.state_dict()})
    x = torch.randn(2, 5, 12)
    torch.testing.assert_close(mine(x), reference(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("length", [5, 1040])
def test_attention_on_the_cpu_never_takes_the_bfloat16_kernel(
    monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    """It would take most of a step's time; short sequences do without a kernel, long ones take the
    float32 one.
    """
    seen = []
    attend = transformer.scaled_dot_product_attention

    def watched(*parts: Tensor, attn_mask: Tensor | None) -> Tensor:
        seen.extend(part.dtype for part in parts)
        return attend(*parts, attn_mask=attn_mask)

    attention = Attention(12, 3)
    x = torch.randn(2, length, 12)
    visible = torch.rand(2, length) < 0.5
    visible[:, 0] = True
    exact = attention(x, visible)
    expected = torch.autograd.grad(exact.square().mean(), list(attention.parameters()))
    monkeypatch.setattr(transformer, "scaled_dot_product_attention", watched)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = attention(x, visible)
    assert seen == ([] if length < 1024 else [torch.float32] * 3)
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), exact, rtol=0.05, atol=0.02)
    found = torch.autograd.grad(rounded.float().square().mean(), list(attention.parameters()))
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).norm() < 0.03 * theirs.norm()
