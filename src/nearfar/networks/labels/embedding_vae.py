"""A small variational autoencoder of embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from nearfar.errors import UserError
from nearfar.losses.labels.forgetting import embedding_vae_loss

__all__ = ["EmbeddingVAE", "Reconstructed", "fit_embedding_vae"]


@dataclass(frozen=True)
class Reconstructed:
    """What the autoencoder makes of embeddings.

    Attributes:
        prediction: (N, D) reconstructions.
        mean: (N, K) of the code.
        deviation: (N, K) standard deviations of the code.
    """

    prediction: Tensor
    mean: Tensor
    deviation: Tensor


class EmbeddingVAE(nn.Module):
    """D-128-32-(mean, log variance of K) and back, ReLU between.

    Args:
        dimension: D.
        code: K.
        hidden: Widths of the encoder's layers; the decoder's are the reverse.
        output: "sigmoid" as the authors have it, or "linear" for embeddings outside of [0, 1].

    Source: Shen et al. 2024, "Label-Agnostic Forgetting".
    """

    def __init__(
        self,
        dimension: int,
        code: int = 8,
        *,
        hidden: tuple[int, int] = (128, 32),
        output: Literal["sigmoid", "linear"] = "sigmoid",
    ) -> None:
        super().__init__()
        if output not in ("sigmoid", "linear"):
            raise UserError(f"The output is {output!r}; expected 'sigmoid' or 'linear'.")
        wide, narrow = hidden
        self.code = code
        self.encoder = nn.Sequential(
            nn.Linear(dimension, wide), nn.ReLU(), nn.Linear(wide, narrow), nn.ReLU()
        )
        self.mean = nn.Linear(narrow, code)
        self.log_variance = nn.Linear(narrow, code)
        self.decoder = nn.Sequential(
            nn.Linear(code, narrow),
            nn.ReLU(),
            nn.Linear(narrow, wide),
            nn.ReLU(),
            nn.Linear(wide, dimension),
            nn.Sigmoid() if output == "sigmoid" else nn.Identity(),
        )

    def forward(self, x: Tensor, noise: Tensor) -> Reconstructed:
        """Reconstruct (N, D) embeddings.

        Args:
            x: Embeddings.
            noise: (N, K) standard normal draws; zeros for the mean code.
        """
        if noise.shape != (len(x), self.code):
            expected = (len(x), self.code)
            raise UserError(f"The noise must be {expected}; found {tuple(noise.shape)}.")
        hidden = self.encoder(x)
        mean = self.mean(hidden)
        deviation = torch.exp(self.log_variance(hidden) / 2)
        return Reconstructed(self.decoder(mean + deviation * noise), mean, deviation)


def fit_embedding_vae(
    vae: EmbeddingVAE,
    features: Tensor,
    *,
    epochs: int,
    learning_rate: float = 1e-3,
    weight: float = 0.025,
    batch_size: int = 32,
    generator: torch.Generator,
) -> None:
    """Fit an autoencoder to embeddings by Adam; its parameters stand still before and afterwards.

    Args:
        vae: Changed in place.
        features: (N, D), constants.
        epochs: Passes over them.
        learning_rate: Of Adam.
        weight: Of the divergence of the code from a standard normal.
        batch_size: Samples of a step; the last step of an epoch has what is left.
        generator: Of the orders and the noise, on the CPU.
    """
    features = features.detach().to(next(vae.parameters()))
    vae.requires_grad_(True)
    optimizer = torch.optim.Adam(vae.parameters(), lr=learning_rate)
    with torch.enable_grad():
        for _ in range(epochs):
            order = torch.randperm(len(features), generator=generator).to(features.device)
            for rows in torch.split(order, batch_size):
                x = features[rows]
                noise = torch.randn(len(x), vae.code, generator=generator).to(x)
                found = vae(x, noise)
                loss = embedding_vae_loss(
                    found.prediction, x, found.mean, found.deviation, weight=weight
                )
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
    vae.requires_grad_(False)
    for parameter in vae.parameters():
        parameter.grad = None
