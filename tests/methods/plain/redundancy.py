"""Correlations of embeddings."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor

from nearfar.batch import Batch
from nearfar.losses.redundancy.gaussianity import draw_directions

from .formulas import in_one_pass, off_diagonal, one_by_one, plain_form, unit


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


@plain_form
def lejepa(method: Any, batch: Batch) -> dict[str, Tensor]:
    """The integral is taken over both sides, with complex numbers."""
    s = method.settings
    views = in_one_pass(lambda x: method.projector(method.encoder(x)), batch.views)
    centre = sum(views[: s.whole]) / s.whole
    prediction = torch.stack([(centre - z).square().mean() for z in views]).mean()
    directions = draw_directions(s.projection, s.directions, generator=method.draws())
    t = torch.linspace(-s.largest, s.largest, 2 * s.knots - 1, dtype=views[0].dtype)
    normal = (-t.square() / 2).exp()
    tests = []
    for z in views:
        along = z @ directions.to(z).T
        found = torch.exp(1j * along[:, :, None] * t).mean(0)
        apart = (found - normal).abs().square() * normal
        tests.append(len(z) * torch.trapezoid(apart, t).mean())
    return {
        "prediction": (1 - s.trade) * prediction,
        "normality": s.trade * torch.stack(tests).mean(),
    }


@plain_form
def visreg(method: Any, batch: Batch) -> dict[str, Tensor]:
    """View by view and direction by direction, with the quantiles of another library."""
    s = method.settings
    views = in_one_pass(lambda x: method.projector(method.encoder(x)), batch.views)
    centre = sum(views[: s.whole]) / s.whole
    prediction = torch.stack([(centre - z).square().mean() for z in views]).mean()
    directions = draw_directions(s.projection, s.directions, generator=method.draws())
    size = len(views[0])
    normal = NormalDist()
    quantiles = [normal.inv_cdf((i + 1) / (size + 1)) for i in range(size)]
    wanted = torch.tensor(quantiles, dtype=torch.float64)
    means, deviations, shapes = [], [], []
    for z in views:
        deviation = z.std(0, correction=0)
        means.append(z.mean(0).square())
        deviations.append((1 - deviation).square())
        standard = (z - z.mean(0)) / (deviation.detach() + 1e-4)
        for direction in directions.to(z):
            shapes.append(((standard @ direction).sort().values - wanted).square().mean())
    weights = {"centre": s.centre, "scale": s.scale, "shape": s.shape}
    found = {"centre": means, "scale": deviations, "shape": shapes}
    terms = {name: s.trade * weights[name] * torch.stack(found[name]).mean() for name in found}
    return {"prediction": (1 - s.trade) * prediction, **terms}
