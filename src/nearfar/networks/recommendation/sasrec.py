"""SASRec: what comes next in a sequence of items; and augmenters of its embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from nearfar.errors import UserError

__all__ = ["SASRec", "augmenter", "crop_items", "mask_items", "reorder_items"]


class SASRec(nn.Module):
    """A causal transformer over items, read at the last one.

    Items are 1 to ``items``; 0 is padding, at the end of a sequence.

    Attributes:
        items: Embedding of all items (items + 1, width), padding first.

    Args:
        items: Number of items.
        length: Longest sequence.
        width: Of embeddings.
        layers: Of the transformer.
        heads: Must divide the width.
        hidden: Width of the layers' perceptrons.
        dropout: Everywhere.

    Source: Kang and McAuley 2018, "Self-Attentive Sequential Recommendation".
    """

    def __init__(
        self,
        items: int,
        *,
        length: int = 50,
        width: int = 64,
        layers: int = 2,
        heads: int = 2,
        hidden: int = 256,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.items = nn.Embedding(items + 1, width, padding_idx=0)
        self.places = nn.Embedding(length, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.dropout = nn.Dropout(dropout)
        layer = nn.TransformerEncoderLayer(
            width, heads, hidden, dropout, "gelu", layer_norm_eps=1e-12, batch_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        for table in (self.items, self.places):
            nn.init.normal_(table.weight, std=0.02)
        with torch.no_grad():
            self.items.weight[0] = 0

    def forward(self, sequence: Tensor, length: Tensor) -> Tensor:
        """Embeddings (N, width) of the sequences at their last place.

        Args:
            sequence: (N, L) int64 items, 0 behind the end; 0 within it is seen by no item.
            length: (N,) int64, at least 1.
        """
        count = sequence.shape[1]
        if count > self.places.num_embeddings:
            most = self.places.num_embeddings
            raise UserError(f"A sequence has {count} places; expected at most {most}.")
        x = self.items(sequence) + self.places.weight[:count]
        x = self.dropout(self.norm(x))
        later = torch.ones(count, count, dtype=torch.bool, device=sequence.device).triu(1)
        unseen = later | (sequence == 0)[:, None]
        # Every place sees itself, so that no row of the softmax is empty.
        itself = torch.eye(count, dtype=torch.bool, device=sequence.device)
        heads = self.layers.layers[0].self_attn.num_heads
        mask = (unseen & ~itself).repeat_interleave(heads, dim=0)
        made: Tensor = self.layers(x, mask=mask)
        return made[torch.arange(len(made), device=made.device), length - 1]

    def scores(self, embedding: Tensor) -> Tensor:
        """(N, items) how well each item comes next, without padding."""
        return embedding @ self.items.weight[1:].T


class _Augmenter(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(width, width // 2),
            nn.GELU(),
            nn.Linear(width // 2, width // 4),
            nn.GELU(),
            nn.Linear(width // 4, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return normalize(self.body(x), dim=1)


def augmenter(width: int = 64) -> nn.Module:
    """A learned augmenter of embeddings: width, half, a quarter, width; unit rows.

    Source: Qin et al. 2023, MCLRec.
    """
    return _Augmenter(width)


def crop_items(items: Tensor, draw: Tensor, *, share: float = 0.5) -> Tensor:
    """A part of a sequence (L,), floor(share L) long and at least 1, from where a draw says.

    >>> crop_items(torch.tensor([1, 2, 3, 4]), torch.tensor(0.9)).tolist()
    [3, 4]

    Source: Xie et al. 2022, CL4SRec, as MCLRec uses it.
    """
    size = max(1, int(share * len(items)))
    start = int(draw * (len(items) - size + 1))
    return items[start : start + size]


def mask_items(items: Tensor, draws: Tensor, *, share: float = 0.5) -> Tensor:
    """A sequence (L,) in which the floor(share L) items with the lowest draws (L,) are padding.

    >>> mask_items(torch.tensor([1, 2, 3, 4]), torch.tensor([0.1, 0.9, 0.2, 0.8])).tolist()
    [0, 2, 0, 4]

    Source: Xie et al. 2022, CL4SRec, as MCLRec uses it.
    """
    hidden = draws.argsort(stable=True)[: int(share * len(items))]
    return items.index_fill(0, hidden, 0)


def reorder_items(items: Tensor, draws: Tensor, *, share: float = 0.8) -> Tensor:
    """A sequence (L,) of which a span of floor(share L) is shuffled, by L + 1 draws in [0, 1).

    >>> reorder_items(torch.tensor([1, 2, 3]), torch.tensor([0.0, 0.9, 0.1, 0.5])).tolist()
    [2, 1, 3]

    Source: Xie et al. 2022, CL4SRec, as MCLRec uses it.
    """
    size = int(share * len(items))
    start = int(draws[0] * (len(items) - size + 1))
    place = torch.arange(len(items))
    order = draws[1 + start : 1 + start + size].argsort(stable=True)
    place[start : start + size] = start + order
    return items[place]
