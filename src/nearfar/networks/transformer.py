"""The transformer that images, series, text and MAE's decoder share: pre-norm blocks and a last
norm.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from nearfar.errors import UserError

_EPSILON = 1e-6
_LONG = 1024
"""Tokens beyond which the attention's weights are not kept on a CPU."""


class Attention(nn.Module):
    """Multi-head self-attention, (N, L, D) to (N, L, D)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise UserError(
                "The width of a transformer must be a multiple of its heads, found a width of "
                f"{width} with {heads} heads."
            )
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        """``visible``: (N, L) bool, false where a token must not be attended to."""
        samples, length, width = x.shape
        parts = self.query_key_value(x).reshape(samples, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        mask = None if visible is None else visible[:, None, None, :]
        mixed = _attend(query, key, value, mask)
        out: Tensor = self.output(mixed.transpose(1, 2).reshape(samples, length, width))
        return out

    def weights(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        """What ``forward`` mixes the values by, (N, heads, L, L) in float32; lines add up to 1."""
        samples, length, width = x.shape
        parts = self.query_key_value(x).reshape(samples, length, 3, self.heads, width // self.heads)
        query, key, _ = parts.permute(2, 0, 3, 1, 4).float().unbind(0)
        similarity = query @ key.transpose(2, 3) * query.shape[3] ** -0.5
        if visible is not None:
            similarity = similarity.masked_fill(~visible[:, None, None, :], -torch.inf)
        found: Tensor = similarity.softmax(dim=3)
        return found


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Scaled dot products of (N, heads, L, d); ``mask`` broadcasts to (N, heads, L, L).

    On the CPU PyTorch's bfloat16 kernel is up to eight times as slow backward as its float32 one
    (measured from 17 to 257 tokens), and plain products with the weights kept are two to three
    times as fast as that (65 to 1,025); long sequences, whose weights are large, take the float32
    kernel.
    """
    if query.device.type != "cpu" or query.dtype != torch.bfloat16:
        return scaled_dot_product_attention(query, key, value, attn_mask=mask)
    with torch.autocast("cpu", enabled=False):
        if query.shape[2] > _LONG:
            return scaled_dot_product_attention(
                query.float(), key.float(), value.float(), attn_mask=mask
            ).to(query.dtype)
        similarity = (query * query.shape[3] ** -0.5) @ key.transpose(2, 3)
        if mask is not None:
            similarity = similarity.masked_fill(~mask, -torch.inf)
        mixed: Tensor = similarity.softmax(dim=3) @ value
        return mixed


class Block(nn.Module):
    """Attention, then a two-layer perceptron of four times the width, each behind a layer norm and
    beside a residual.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, eps=_EPSILON)
        self.attention = Attention(width, heads)
        self.perceptron_norm = nn.LayerNorm(width, eps=_EPSILON)
        self.perceptron = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        x = x + self.attention(self.attention_norm(x), visible)
        out: Tensor = x + self.perceptron(self.perceptron_norm(x))
        return out


class Transformer(nn.Module):
    """``depth`` blocks and a last layer norm, (N, L, width) to (N, L, width).

    Source: Dosovitskiy et al. 2021, equations 2 to 4; initialised as He et al. 2021 (MAE), appendix
        A.1.
    """

    def __init__(self, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=_EPSILON)
        self.apply(xavier)

    def forward(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        """``visible``: (N, L) bool, false where a token must not be attended to; None: all are
        seen.
        """
        for block in self.blocks:
            x = block(x, visible)
        out: Tensor = self.norm(x)
        return out

    def layers(self, x: Tensor, visible: Tensor | None = None) -> list[Tensor]:
        """(N, L, width) after each block; the last one is behind the last norm."""
        found = []
        for block in self.blocks:
            x = block(x, visible)
            found.append(x)
        return [*found[:-1], self.norm(x)]

    def attention(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        """Weights of the last block's attention, (N, heads, L, L)."""
        *before, last = self.blocks
        for block in before:
            x = block(x, visible)
        assert isinstance(last, Block)
        return last.attention.weights(last.attention_norm(x), visible)


def select_tokens(tokens: Tensor, places: Tensor) -> Tensor:
    """Some tokens of each sample: (N, L, D) and the places (N, M) int64 in [0, L) to (N, M, D).

    Rows of one table, as PyTorch takes single values two to four times as slowly.
    """
    samples, length, width = tokens.shape
    first = torch.arange(samples, device=places.device).unsqueeze(1) * length
    return tokens.flatten(0, 1).index_select(0, (places + first).flatten()).view(samples, -1, width)


def xavier(module: nn.Module) -> None:
    """Draw the weights of a linear layer uniformly by Glorot's rule and set its bias to 0; other
    layers stay as they are.
    """
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
