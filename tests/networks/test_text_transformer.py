from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.networks.text_transformer import TextTransformer
from nearfar.rows import Tokens

from .specs import texts


def tokens(lengths: list[int], width: int) -> Tokens:
    """Random texts of these lengths, padded to ``width``."""
    mask = torch.arange(width) < torch.tensor(lengths)[:, None]
    return Tokens(torch.randint(1, 50, mask.shape).where(mask, 0), mask)


@pytest.fixture
def encoder() -> TextTransformer:
    made = TextTransformer(texts()).eval()
    torch.nn.init.normal_(
        made.embedding.weight
    )  # larger than at the start, so that differences would show
    return made


def test_shapes(encoder: TextTransformer) -> None:
    x = tokens([3, 5], 7)
    assert encoder(x).shape == (2, encoder.dimension)
    assert encoder.tokens(x).shape == (2, 7, encoder.dimension)


def test_padding_changes_nothing(encoder: TextTransformer) -> None:
    x = tokens([3, 5, 1], 5)
    expected = encoder(x)
    more = torch.nn.functional.pad
    padded = Tokens(more(x.ids, (0, 6), value=9), more(x.mask, (0, 6)))
    torch.testing.assert_close(encoder(padded), expected, rtol=1e-4, atol=1e-5)
    alone = torch.cat(
        [
            encoder(Tokens(x.ids[i : i + 1, :n], x.mask[i : i + 1, :n]))
            for i, n in enumerate((3, 5, 1))
        ]
    )
    torch.testing.assert_close(alone, expected, rtol=1e-4, atol=1e-5)


def test_every_token_and_its_place_count(encoder: TextTransformer) -> None:
    x = tokens([4], 4)
    swapped = Tokens(x.ids[:, [1, 0, 2, 3]], x.mask)
    assert not torch.allclose(encoder(swapped), encoder(x), atol=1e-3)
    for place in range(4):
        changed = x.ids.clone()
        changed[0, place] = (changed[0, place] + 1) % 50
        assert not torch.allclose(encoder(Tokens(changed, x.mask)), encoder(x), atol=1e-3)


def test_an_empty_text_has_the_features_zero_and_finite_gradients(encoder: TextTransformer) -> None:
    features: Tensor = encoder(tokens([0, 2], 4))
    assert not features[0].any()
    assert features[1].any()
    features.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


def test_a_text_beyond_the_context_is_refused(encoder: TextTransformer) -> None:
    with pytest.raises(UserError, match="The texts have 13 tokens; this encoder takes at most 12"):
        encoder(tokens([13], 13))
