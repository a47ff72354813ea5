"""Mixed Barlow Twins: mixed inputs land where their mix should."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from nearfar.batch import Batch, rows_of
from nearfar.claims.claim import Claim
from nearfar.claims.harness import DIGIT_VIEWS, Training, digits, pretrained, probes
from nearfar.losses.redundancy.mixed_redundancy import Mix, mixing_regulariser, standardise_exactly
from nearfar.methods.method import Method

TRAINING = Training(steps=600, batch_size=128)
WEIGHTS = {"Barlow Twins": 0.0, "with mixed samples": 4.0}


def measure(arm: str, seed: int) -> Mapping[str, float]:
    settings = {
        "off_diagonal": 0.0078,
        "regularisation": WEIGHTS[arm],
        "hidden": 128,
        "projection": 64,
    }
    method = pretrained("mixed-barlow-twins", digits(), TRAINING, seed=seed, settings=settings)
    found = probes(method, digits(), seed=seed)
    errors = [correlation_error(method, torch.Generator().manual_seed(draw)) for draw in range(5)]
    return {
        "correlation_error": float(torch.stack(errors).mean()),
        **{key: found[key] for key in ("augmented_knn", "knn", "linear")},
    }


@torch.no_grad()
def correlation_error(method: Method, generator: torch.Generator) -> Tensor:
    """Squared error of the mixed batch's correlations with both views, for one mix of all test
    samples.
    """
    test = digits().test
    assert test is not None
    index = torch.arange(len(test))
    views = method.views(DIGIT_VIEWS)(test.take(index), generator)
    outputs = method(method.prepare(Batch(views, index), generator))
    z1, z2, mixed = (
        standardise_exactly(outputs[name], correction=1) for name in ("z1", "z2", "mixed")
    )
    return mixing_regulariser(
        z1, z2, mixed, Mix(outputs["share"][:, None], rows_of(outputs["partner"], index))
    )


CLAIM = Claim(
    statement="Training on mixed samples makes the embedding of a mixed input correlate as the mix "
    "of its parts.",
    first="Barlow Twins",
    second="with mixed samples",
    metric="correlation_error",
    seeds=6,
    measure=measure,
    setting="Digits of 8 x 8, perceptron, embeddings of 64 dimensions, lambda 0.0078, lambda_reg 4 "
    "against 0, 600 steps of 128; error on"
    " test samples. The paper's gain of accuracy late in long training is beyond this budget; "
    "accuracies are shown beside it.",
    tuning=(
        "On seeds 0 to 2 it was open (+1.8, -0.7 to +4.3), which is why it has more; accuracy was "
        "slightly lower "
        "with mixing."
    ),
)
