"""Correlations of embeddings."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from nearfar.batch import Batch

from .formulas import off_diagonal, one_by_one, plain_form, unit


@plain_form
def barlow_twins(method: Any, batch: Batch) -> dict[str, Tensor]:
    z1, z2 = one_by_one(lambda x: method.projector(method.encoder(x)), batch.views)
    first, second = ((z - z.mean(0)) / (z.var(0, correction=0) + 1e-5).sqrt() for z in (z1, z2))
    c = first.T @ second / len(z1)
    on = (c.diagonal() - 1).square().sum()
    off = off_diagonal(c).square().sum()
    return {"barlow_twins": on + method.settings.off_diagonal * off}


@plain_form
def mixed_barlow_twins(method: Any, batch: Batch) -> dict[str, Tensor]:
    s = method.settings
    first, second, mixed = one_by_one(lambda x: method.projector(method.encoder(x)), batch.views)
    if s.unit_rows:
        first = unit(first)
        second = unit(second)
        mixed = unit(mixed)
    z1, z2, zm = ((z - z.mean(0)) / z.std(0) for z in (first, second, mixed))
    share = batch.extra["share"][:, None]
    partner = [int((batch.index == other).nonzero()) for other in batch.extra["partner"]]
    rest = zm - share * z1 - (1 - share) * z2[partner]
    c = z1.T @ z2 / len(z1)
    plain = (c.diagonal() - 1).square().sum() + s.off_diagonal * off_diagonal(c).square().sum()
    mixing = (rest.T @ z1 / len(z1)).square().sum() + (rest.T @ z2 / len(z1)).square().sum()
    ramp = min(method.progress / s.ramp, 1) if s.ramp else 1
    return {"barlow_twins": plain, "mixing": ramp * s.regularisation * s.off_diagonal * mixing}


@plain_form
def vicreg(method: Any, batch: Batch) -> dict[str, Tensor]:
    s = method.settings
    views = one_by_one(lambda x: method.expander(method.encoder(x)), batch.views)
    variance = 0.0
    covariance = 0.0
    for z in views:
        centred = z - z.mean(0)
        variance = variance + (1 - (z.var(0) + 1e-4).sqrt()).clamp(min=0).mean() / 2
        covariance = (
            covariance
            + off_diagonal(centred.T @ centred / (len(z) - 1)).square().sum() / z.shape[1]
        )
    invariance = (views[0] - views[1]).square().mean()
    return {
        "invariance": s.invariance * invariance,
        "variance": s.variance * variance,
        "covariance": s.covariance * covariance,
    }
