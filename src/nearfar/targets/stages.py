"""Networks that are trained one after another, each on what the ones before it left unlearned."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from nearfar.errors import UserError
from nearfar.targets.kmeans import kmeans


class Stages(nn.Module):
    """Which of several stages a run is in, and the groups of samples that look alike to all
    finished stages.

    The networks of each kind (encoders, projectors) form a list with one for each stage. What
    learns is always the *last* of the list, so that optimiser and data parallel wrapper see the
    same parameters throughout; when a stage ends, it exchanges its weights with the place of that
    stage, where fresh ones lay. After the last stage the list is in order.

    Attributes:
        groups: (samples,) int64 pseudo-labels, 0 at first: p <- p K + cluster after each stage.
        current: int64 scalar, the stage from 0.

    Source: Zhang et al. 2024 (MCL), section 3, and the authors' code for the pseudo-labels.
    """

    groups: Tensor
    current: Tensor

    def __init__(self, samples: int, clusters: int, *networks: nn.ModuleList) -> None:
        """Args:
        samples: number of training samples.
        clusters: K, at least 1.
        networks: lists of networks that learn together, each with one for each stage; all but the
            last are frozen.
        """
        super().__init__()
        # in a tuple, as the method owns them
        self.count = len(networks[0])
        self.clusters = clusters
        self._networks = networks
        self.register_buffer("groups", torch.zeros(samples, dtype=torch.int64))
        self.register_buffer("current", torch.zeros((), dtype=torch.int64))
        for network in (network for each in networks for network in list(each)[:-1]):
            network.requires_grad_(False)

    def due(self, epoch: int, progress: float) -> bool:
        """Whether a stage has just ended; stages are equal shares of the run, rounded to epochs.

        Raises:
            UserError: if the run has fewer epochs than stages.
        """
        if epoch and round(epoch / progress) < self.count:
            raise UserError(
                f"{round(epoch / progress)} epochs are too few for {self.count} stages; choose "
                f"--epochs {self.count} or more."
            )
        return min(int(progress * self.count + 1e-9), self.count - 1) > int(self.current)

    @torch.no_grad()
    def finish(self, features: Tensor, *, seed: int) -> None:
        """End the current stage: refine the groups by its features (samples, D) and put fresh
        weights where the next one learns.
        """
        stage = int(self.current)
        found = kmeans(normalize(features, dim=1), self.clusters, seed=seed + stage)
        self.groups.copy_(self.groups * self.clusters + found.to(self.groups.device))
        for each in self._networks:
            exchange(each[stage], each[-1])
        self.current += 1

    def integrated(self, features: Sequence[Tensor], *, unit: bool) -> Tensor:
        """Features (N, D) of the stages side by side, 0 for stages that have not learned yet.

        Args:
            features: of each stage.
            unit: whether each stage is brought to length 1; otherwise one with longer features
                weighs more.
        """
        scaled = [normalize(f, dim=1) if unit else f for f in features]
        known = [
            torch.where(self.current > place, f, torch.zeros_like(f))
            for place, f in enumerate(scaled[:-1])
        ]
        return torch.cat([*known, scaled[-1]], dim=1)


@torch.no_grad()
def exchange(first: nn.Module, second: nn.Module) -> None:
    """Swap the parameters and buffers of two modules of one architecture, in place."""
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        kept = a.clone()
        a.copy_(b)
        b.copy_(kept)
