"""k-means over the features of a whole data set."""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.errors import UserError

_BATCH = 1_000_000


def kmeans(features: Tensor, clusters: int, *, seed: int) -> Tensor:
    """Cluster number (N,) int64 of each row, on the CPU; the same for the same rows and seed.

    Mini-batch k-means with batches so large that small data are clustered as a whole, k-means++
    start.

    Args:
        features: (N, D).
        clusters: from 1 to N.
        seed: of the start.

    Raises:
        UserError: if there are more clusters than rows.

    Source: Sculley 2010, as scikit-learn has it.
    """
    if not 1 <= clusters <= len(features):
        raise UserError(
            f"Cannot make {clusters} clusters of {len(features)} samples; choose a number from 1 "
            f"to {len(features)}."
        )
    from sklearn.cluster import MiniBatchKMeans

    rows = features.detach().cpu().double().numpy()
    found = MiniBatchKMeans(
        clusters, batch_size=_BATCH, max_iter=100, tol=1e-5, n_init=3, random_state=seed
    ).fit_predict(rows)
    return torch.from_numpy(found).long()
