"""SimCLR and what compares views within the batch."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from nearfar.batch import Batch
from nearfar.views.image.jigsaw import jigsaw
from nearfar.views.samples import denormalise

from .formulas import (
    cosine,
    cross_entropy,
    in_one_pass,
    nt_xent,
    one_by_one,
    plain_form,
    supervised_contrast,
    unit,
)


def _projections(method: Any, batch: Batch) -> list[Tensor]:
    return in_one_pass(lambda x: method.projector(method.encoder(x)), batch.views)


@plain_form
def simclr(method: Any, batch: Batch) -> dict[str, Tensor]:
    z1, z2 = _projections(method, batch)
    return {"nt_xent": nt_xent(z1, z2, method.settings.temperature)}


@plain_form
def adainf(method: Any, batch: Batch) -> dict[str, Tensor]:
    return simclr(method, batch)


@plain_form
def dcl(method: Any, batch: Batch) -> dict[str, Tensor]:
    s = method.settings
    z1, z2 = _projections(method, batch)
    n = len(z1)
    z = unit(torch.cat([z1, z2]))
    partner = (torch.arange(2 * n) + n) % (2 * n)
    similarity = z @ z.T
    positive = similarity[torch.arange(2 * n), partner]
    weight = torch.ones_like(positive)
    if s.weighted:
        shares = (positive.detach() / s.sigma).exp()
        weight = 2 - shares / shares.mean()
    left_out = torch.eye(2 * n, dtype=torch.bool) | (partner[:, None] == torch.arange(2 * n))
    negatives = (similarity / s.temperature).masked_fill(left_out, -torch.inf).logsumexp(1)
    return {"dcl": (negatives - weight * positive / s.temperature).mean()}


@plain_form
def fixed_head(method: Any, batch: Batch) -> dict[str, Tensor]:
    s = method.settings
    features = in_one_pass(method.encoder, batch.views)
    if s.head == "fixed":
        powers = (
            s.kappa ** -torch.arange(features[0].shape[1], dtype=torch.float64)
        ).float()  # kept in single precision
        z1, z2 = (f * powers for f in features)
    else:
        z1, z2 = in_one_pass(lambda x: method.head(method.encoder(x)), batch.views)
    if s.loss == "nt-xent":
        return {"nt_xent": nt_xent(z1, z2, s.temperature)}
    labels = batch.label.repeat(2)
    if s.loss == "cross-entropy":
        return {"cross_entropy": cross_entropy(method.classifier(torch.cat([z1, z2])), labels)}
    return {"supcon": supervised_contrast(unit(torch.cat([z1, z2])), labels, s.temperature)}


@plain_form
def mcl(method: Any, batch: Batch) -> dict[str, Tensor]:
    """The last stage is the one that learns."""
    z1, z2 = in_one_pass(lambda x: method.projectors[-1](method.parts[-1](x)), batch.views)
    group = method.stages.groups[batch.index]
    together = method.settings.batches == "grouped"
    return {
        "nt_xent": nt_xent(
            z1, z2, method.settings.temperature, None if together else group[:, None] == group
        )
    }


@plain_form
def cacr(method: Any, batch: Batch) -> dict[str, Tensor]:
    s = method.settings
    views = [unit(z) for z in _projections(method, batch)]
    z = torch.stack(views)
    costs = (z[:, None] - z).square().sum(-1)  # (V, V, N): between two views of each sample
    attraction = z.new_zeros(())
    for v in range(len(z)):
        others = [p for p in range(len(z)) if p != v]
        cost = costs[v, others]
        attraction = attraction + ((s.positive_temperature * cost).softmax(0) * cost).sum(
            0
        ).mean() / len(z)
    repulsion = z.new_zeros(())
    pairs = [(u, v) for u in range(len(z)) for v in range(u + 1, len(z))]
    for u, v in pairs:
        cost = (z[u][:, None] - z[v]).square().sum(-1)
        itself = torch.eye(len(cost), dtype=torch.bool)
        weight = (-s.negative_temperature * cost).masked_fill(itself, -torch.inf).softmax(1)
        repulsion = repulsion - (weight * cost).sum(1).mean() / len(pairs)
    return {"attraction": s.attraction * attraction, "repulsion": s.repulsion * repulsion}


def _pair_temperature(method: Any, a: Tensor, b: Tensor) -> Tensor:
    s = method.settings
    (network,) = method.temperature.networks
    return s.lowest + (s.highest - s.lowest) * torch.sigmoid((network(a) * network(b)).sum(-1))


def _omega(tau: Tensor, dimension: int) -> Tensor:
    return dimension / 2 * tau.log() + 1 / tau


def adaptive_contrast(
    method: Any, anchor: Tensor, partner: Tensor, negatives: Tensor, *, within: bool
) -> Tensor:
    """AMCL of one head, all rows of unit length; ``within``: the anchor's partner is among the
    negatives and left out.
    """
    s = method.settings
    dimension = anchor.shape[1]
    similarity = (anchor @ negatives.T).detach()
    if within:
        similarity.fill_diagonal_(-torch.inf)
    nearest = negatives[similarity.topk(min(s.hardest, len(negatives) - within)).indices]
    attracting = _pair_temperature(method, anchor, partner)
    repelling = _pair_temperature(method, anchor[:, None], nearest)
    pull = s.beta * _omega(attracting, dimension) - (anchor * partner).sum(1) / attracting
    push = (anchor[:, None] * nearest).sum(-1) / repelling - s.beta * _omega(repelling, dimension)
    return (pull + push.mean(1)).mean()


@plain_form
def amcl(method: Any, batch: Batch) -> dict[str, Tensor]:
    heads = [
        in_one_pass(lambda x, head=head: head(method.encoder(x)), batch.views)
        for head in method.projectors.heads
    ]
    ways = [
        adaptive_contrast(method, a, b, b, within=True)
        for z1, z2 in heads
        for a, b in ((unit(z1), unit(z2)), (unit(z2), unit(z1)))
    ]
    return {"amcl": torch.stack(ways).sum() / 2}


@plain_form
def amcl_simsiam(method: Any, batch: Batch) -> dict[str, Tensor]:
    s = method.settings
    total = 0.0
    for projector, predictor in zip(method.projectors.heads, method.predictors.heads, strict=True):
        z1, z2 = one_by_one(
            lambda x, projector=projector: projector(method.encoder(x)), batch.views
        )
        for own, other in ((z1, z2), (z2, z1)):
            p = unit(predictor(own))
            z = unit(other.detach())
            tau = _pair_temperature(method, p, z)
            total = total + (s.beta * _omega(tau, p.shape[1]) - (p * z).sum(1) / (2 * tau)).mean()
    return {"amcl": total}


@plain_form
def amcl_barlow_twins(method: Any, batch: Batch) -> dict[str, Tensor]:
    s = method.settings
    total = 0.0
    for head, logits in zip(method.projectors.heads, method.logits, strict=True):
        z1, z2 = one_by_one(lambda x, head=head: head(method.encoder(x)), batch.views)
        first, second = ((z - z.mean(0)) / z.std(0, correction=0) for z in (z1, z2))
        c = first.T @ second / len(z1)
        tau = s.lowest + (s.highest - s.lowest) * torch.sigmoid(logits)
        omega = _omega(tau, z1.shape[1])
        on = (1 - c.diagonal() / tau.diagonal()).square() + s.beta * omega.diagonal()
        off = s.off_diagonal * c.square() / tau - s.beta * omega
        total = total + on.sum() + off.sum() - off.diagonal().sum()
    return {"amcl": total}


@plain_form
def groco(method: Any, batch: Batch) -> dict[str, Tensor]:
    """Two whole views: one positive, the k nearest others as negatives, a chain of k + 1 values
    sorted by an odd-even network.
    """
    s = method.settings
    views = [unit(z) for z in _projections(method, batch)]
    losses = []
    for own, other in (views, views[::-1]):
        for i in range(len(own)):
            others = [j for j in range(len(own)) if j != i]
            similar = own[others].detach() @ own[i]
            negatives = similar.sort().values[-s.negatives :]
            values = torch.cat([negatives, (own[i] @ other[i].detach())[None]])
            top = _softly_sorted(values, s.steepness)[:, -1].clamp(
                0, 1
            )  # one positive: the last rank
            losses.append(
                -(torch.cat([1 - top[:-1], top[-1:]]).clamp(min=math.exp(-100)).log()).mean()
            )
    return {"groco": torch.stack(losses).mean()}


def _softly_sorted(values: Tensor, steepness: float) -> Tensor:
    """(n, n): how much of input i takes rank r, by neighbours that change places with a Cauchy
    probability.
    """
    n = len(values)
    values = list(values)
    columns = list(torch.eye(n, dtype=torch.float64).unbind(1))
    for layer in range(n):
        for a in range(layer % 2, n - 1, 2):
            low = values[a]
            high = values[a + 1]
            keep = torch.atan(steepness * (high - low)) / math.pi + 0.5
            values[a], values[a + 1] = (
                keep * low + (1 - keep) * high,
                keep * high + (1 - keep) * low,
            )
            left = columns[a]
            right = columns[a + 1]
            columns[a], columns[a + 1] = (
                keep * left + (1 - keep) * right,
                keep * right + (1 - keep) * left,
            )
    return torch.stack(columns, dim=1)


@plain_form
def hard_contrastive(method: Any, batch: Batch) -> dict[str, Tensor]:
    s = method.settings
    ways = []
    views = [unit(z) for z in _projections(method, batch)]
    if s.bank:
        pairs = [(views[0], method.bank.rows, batch.index)]
    else:
        place = torch.arange(len(batch))
        pairs = [(views[0], views[1], place), (views[1], views[0], place)]
    for anchor, keys, own in pairs:
        for i in range(len(anchor)):
            similarity = keys @ anchor[i]
            negatives = similarity[torch.arange(len(keys)) != own[i]]
            kept = (
                max(1, math.ceil(s.alpha * len(negatives)))
                if s.loss.startswith("hard")
                else len(negatives)
            )
            hard = negatives.topk(kept).values
            positive = similarity[own[i]]
            if s.loss.endswith("simple"):
                ways.append((1 / kept if s.weight is None else s.weight) * hard.sum() - positive)
            else:
                ways.append(
                    torch.cat([hard, positive[None]]).div(s.temperature).logsumexp(0)
                    - positive / s.temperature
                )
    return {s.loss.replace("-", "_"): torch.stack(ways).mean()}


@plain_form
def isogclr(method: Any, batch: Batch) -> dict[str, Tensor]:
    """Negatives of a view are both views of all other samples; its denominator is a running one,
    and weights are constants.
    """
    s = method.settings
    n = len(batch)
    views = [unit(z) for z in _projections(method, batch)]
    estimate, tau, seen = (
        method.table.get_buffer(name)[batch.index] for name in ("estimate", "temperature", "seen")
    )
    shift = method.table.get_buffer("shift")[batch.index]
    total = views[0].new_zeros(())
    for own, other in (views, views[::-1]):
        for i in range(n):
            negatives = torch.cat([torch.cat([view[:i], view[i + 1 :]]) for view in views]) @ own[i]
            powers = (negatives.detach() / tau[i]).exp()
            running = estimate[i] * shift[i].exp()
            now = s.gamma * powers.mean() + (1 - s.gamma) * running if seen[i] else powers.mean()
            total = total + (powers / (len(powers) * now) * negatives).sum() - own[i] @ other[i]
    return {"isogclr": total / n}


@plain_form
def scatsimclr(method: Any, batch: Batch) -> dict[str, Tensor]:
    s = method.settings
    (first, second, *further) = batch.views
    z1, z2 = in_one_pass(lambda x: method.projector(method.encoder(x)), (first, second))
    terms = {"nt_xent": nt_xent(z1, z2, s.temperature)}
    if s.pretext == "rotation":
        logits = method.pretext_head(method.encoder(torch.cat(further)))
        turns = torch.arange(4).repeat_interleave(len(first))
        terms["pretext"] = s.pretext_weight * cross_entropy(logits, turns)
    if s.pretext == "jigsaw":
        generator = torch.Generator().manual_seed(round(method.progress * 0x7FFFFFFF))
        order = torch.randint(35, (method.spec.length,), generator=generator)[batch.index]
        terms["pretext"] = s.pretext_weight * cross_entropy(
            method.pretext_head(method.encoder(jigsaw(further[0], order))), order
        )
    return terms


@plain_form
def hallucinator(method: Any, batch: Batch) -> dict[str, Tensor]:
    """On SimCLR: the query z1 is pushed away from its key z2 and must find the key all the same."""
    s = method.settings
    z1, z2 = in_one_pass(lambda x: method.host.projector(method.encoder(x)), batch.views)
    harder = method.hallucinate(z1 + batch.extra["share"] * (z1 - z2))
    return {
        "nt_xent": nt_xent(z1, z2, s.temperature),
        "hallucinated": s.weight * nt_xent(harder, z2, s.temperature),
    }


@plain_form
def genview(method: Any, batch: Batch) -> dict[str, Tensor]:
    """On SimSiam: each pair counts by how well the views agree in the foreground and differ in the
    background.
    """
    fronts = []
    backs = []
    for view in batch.views:
        maps = method.autoencoder.map(denormalise(view, method.spec).clamp(0, 1))
        tokens = maps.flatten(2).transpose(1, 2) - method.foreground.mean
        along = tokens @ method.foreground.axis
        low = along.min(1, keepdim=True).values
        high = along.max(1, keepdim=True).values
        front = (along - low) / (high - low + 1e-7)
        for weight, found in ((front, fronts), (1 - front, backs)):
            found.append(
                (weight / (weight.sum(1, keepdim=True) + 1e-7)).unsqueeze(1).bmm(tokens).squeeze(1)
            )
    quality = method.settings.sharpness * (cosine(*fronts) - cosine(*backs)).detach()
    weight = len(batch) * quality.softmax(0)
    z1, z2 = one_by_one(lambda x: method.host.projector(method.encoder(x)), batch.views)
    p1, p2 = one_by_one(method.host.predictor, (z1, z2))
    each = -(cosine(p1, z2.detach()) + cosine(p2, z1.detach())) / 2
    return {"simsiam": (weight * each).mean()}
