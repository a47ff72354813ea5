"""Heads, which map a representation to where the loss lives, and how views pass a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby, pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize, pad

from nearfar.errors import unknown_name
from nearfar.networks.encoder import Encoder
from nearfar.networks.positions import sincos_positions
from nearfar.networks.transformer import Transformer, select_tokens, xavier
from nearfar.rows import concatenate, sample_shape

_LAST_NORMS = ("none", "batch", "batch-plain")


def mlp(
    sizes: Sequence[int],
    *,
    hidden_bias: bool = True,
    last_bias: bool = True,
    hidden_norm: bool = True,
    last_norm: str = "none",
    activation: Callable[[], nn.Module] = nn.ReLU,
) -> nn.Sequential:
    """A multi-layer perceptron: the projectors and predictors of most methods, (N, sizes[0]) to (N,
    sizes[-1]).

    Args:
        sizes: widths from input to output, at least two.
        hidden_bias: whether linear layers but the last have a bias.
        last_bias: whether the last linear layer has one.
        hidden_norm: batch norm between each hidden linear layer and its activation.
        last_norm: after the last linear layer: "none", "batch" (a learned scale, no learned offset,
            as SimCLR has it) or "batch-plain" (nothing learned, as SimSiam has it).
        activation: makes the hidden activations.

    Raises:
        UserError: for an unknown ``last_norm``.
    """
    if last_norm not in _LAST_NORMS:
        raise unknown_name("last_norm", last_norm, _LAST_NORMS)
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes[:-1]):
        layers += [
            nn.Linear(before, after, bias=hidden_bias),
            *([nn.BatchNorm1d(after)] if hidden_norm else []),
            activation(),
        ]
    layers.append(nn.Linear(sizes[-2], sizes[-1], bias=last_bias))
    if last_norm != "none":
        norm = nn.BatchNorm1d(sizes[-1], affine=last_norm == "batch")
        if norm.bias is not None:
            norm.bias.requires_grad_(False)  # stays at 0
        layers.append(norm)
    return nn.Sequential(*layers)


def simclr_projector(dimension: int, hidden: int, projection: int) -> nn.Sequential:
    """SimCLR's projector: two layers, the last one normalised over the batch with a learned scale.
    Source: Chen et al. 2020.
    """
    return mlp((dimension, hidden, projection), last_bias=False, last_norm="batch")


def moco_v3_heads(
    encoder: Encoder, hidden: int, projection: int, *, transformer: bool = False
) -> tuple[nn.Sequential, nn.Sequential]:
    """MoCo v3's projector and predictor.

    Args:
        encoder: whose features they take; with ``transformer`` its projection of patches is kept as
            it was drawn.
        hidden: width of the hidden layers.
        projection: dimensions in which views are compared.
        transformer: three layers in the projector and a normalised end of the predictor, as the
            authors have it for transformers; otherwise two layers and a bare end, as for ResNet-50.

    Raises:
        UserError: with ``transformer``, if the encoder has no projection of patches.

    Source: Chen et al. 2021 (MoCo v3), section 4.1 and the authors' code.
    """
    if transformer:
        encoder.freeze_patches()
    widths = (encoder.dimension, *[hidden] * (2 if transformer else 1), projection)
    projector = mlp(widths, hidden_bias=False, last_bias=False, last_norm="batch-plain")
    last_norm = "batch-plain" if transformer else "none"
    return projector, mlp(
        (projection, hidden, projection), hidden_bias=False, last_bias=False, last_norm=last_norm
    )


class DinoHead(nn.Module):
    """Representations (N, dimension) to logits over prototypes (N, prototypes), through a
    bottleneck of unit length.

    ``norm`` puts batch norm before the hidden activations, as the authors' code can.

    Source: Caron et al. 2021 (DINO), appendix C, "Projection head".
    """

    def __init__(
        self,
        dimension: int,
        prototypes: int,
        *,
        hidden: int = 2048,
        bottleneck: int = 256,
        norm: bool = False,
    ) -> None:
        super().__init__()
        self.layers = mlp(
            (dimension, hidden, hidden, bottleneck), hidden_norm=norm, activation=nn.GELU
        )
        self.last = UnitLinear(bottleneck, prototypes)
        for module in self.layers:
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(normalize(self.layers(x), dim=1))
        return logits


class UnitLinear(nn.Module):
    """A linear layer without bias whose rows have unit length: weight normalisation with its gain
    fixed at 1.

    Source: Salimans and Kingma 2016, equation 2 with g = 1.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.trunc_normal_(torch.empty(after, before), std=0.02))

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, normalize(self.weight, dim=1))


class MaskedDecoder(nn.Module):
    """Encoded visible patches to the raw values of all patches.

    Args:
        dimension: of the encoded tokens.
        grid: patches along each axis of a sample, L in all.
        patch_values: raw values P of one patch.
        width: of the decoder.
        depth: number of blocks.
        heads: of the attention.

    Source: He et al. 2021 (MAE), section 3, "MAE decoder".
    """

    def __init__(
        self,
        dimension: int,
        grid: Sequence[int],
        patch_values: int,
        *,
        width: int = 512,
        depth: int = 8,
        heads: int = 16,
    ) -> None:
        super().__init__()
        self.entry = nn.Linear(dimension, width)
        self.mask_token = nn.Parameter(torch.empty(1, 1, width).normal_(std=0.02))
        self.transformer = Transformer(width, depth, heads)
        self.predict = nn.Linear(width, patch_values)
        xavier(self.entry)
        xavier(self.predict)
        self.positions: Tensor
        positions = sincos_positions(grid, width).to(self.mask_token.dtype)
        self.register_buffer("positions", positions, persistent=False)

    def forward(self, tokens: Tensor, restore: Tensor) -> Tensor:
        """Predicted patches (N, L, P).

        Args:
            tokens: (N, 1 + M, dimension), the class token and the M visible patches.
            restore: (N, L) int64: where each patch of the sample lies in the sequence "visible
                patches, then removed ones".
        """
        x = self.entry(tokens)
        removed = self.mask_token.expand(x.shape[0], restore.shape[1] + 1 - x.shape[1], -1)
        shuffled = torch.cat([x[:, 1:], removed], dim=1)
        patches = select_tokens(shuffled, restore) + self.positions
        decoded = self.transformer(torch.cat([x[:, :1], patches], dim=1))
        prediction: Tensor = self.predict(decoded[:, 1:])
        return prediction


class MaskedPredictor(nn.Module):
    """Encoded context patches to predicted values of the patches of target blocks, each block by
    itself.

    Args:
        dimension: D, of the encoded tokens.
        grid: Patches along each axis of a sample, L in all.
        predicted: P, values that are predicted of a patch.
        width: Of the predictor.
        depth: Number of blocks.
        heads: Of the attention.

    Source: Assran et al. 2023 (I-JEPA), section 3, "Prediction".
    """

    def __init__(
        self,
        dimension: int,
        grid: Sequence[int],
        predicted: int,
        *,
        width: int = 384,
        depth: int = 12,
        heads: int = 12,
    ) -> None:
        super().__init__()
        self.entry = nn.Linear(dimension, width)
        self.mask_token = nn.Parameter(torch.empty(1, 1, width).normal_(std=0.02))
        self.transformer = Transformer(width, depth, heads)
        self.predict = nn.Linear(width, predicted)
        xavier(self.entry)
        xavier(self.predict)
        self.positions: Tensor
        positions = sincos_positions(grid, width).to(self.mask_token.dtype)
        self.register_buffer("positions", positions, persistent=False)

    def forward(self, context: Tensor, visible: Tensor, hidden: Tensor) -> Tensor:
        """Predicted values (N, B T, P), block after block.

        Args:
            context: (N, L, D) encoded patches.
            visible: (N, L) bool, whether a patch is context.
            hidden: (N, B, T) int64, the patches of each target block.
        """
        samples, blocks, count = hidden.shape
        seen = (self.entry(context) + self.positions).repeat_interleave(blocks, dim=0)
        asked = self.mask_token + self.positions[hidden.flatten(0, 1)]
        may_be_seen = pad(visible.repeat_interleave(blocks, dim=0), (0, count), value=True)
        found = self.transformer(torch.cat([seen, asked], dim=1), may_be_seen)
        prediction: Tensor = self.predict(found[:, -count:])
        return prediction.view(samples, blocks * count, -1)


def together(module: Callable[[Any], Tensor], views: Sequence[Any]) -> list[Tensor]:
    """Outputs of all views, in order, from one pass for each run of consecutive views whose samples
    have the same shape.

    Whole and local crops thus take one pass each. Batch norm sees the views of a pass as one batch.

    Args:
        module: from a batch of n samples to (n, ...).
        views: batches of any kind of rows.
    """
    outputs: list[Tensor] = []
    for _, run in groupby(views, key=sample_shape):
        group = list(run)
        joined = module(group[0] if len(group) == 1 else concatenate(group))
        outputs += torch.split(joined, [len(view) for view in group])
    return outputs


def each(module: Callable[[Any], Tensor], views: Sequence[Any]) -> list[Tensor]:
    """Outputs of all views, in order, from one pass for each view, so that batch norm sees every
    view by itself.
    """
    return [module(view) for view in views]
