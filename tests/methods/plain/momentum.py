"""Methods with a momentum copy, a queue, or both."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nearfar.batch import Batch
from nearfar.losses.instance.feature_transformation import draw_mixing
from nearfar.losses.instance.hard_negatives import draw

from .formulas import cross_entropy, one_by_one, plain_form, queue_contrast, unit
from .instance import adaptive_contrast


def _query_and_key(method: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    first, second = batch.views
    query = method.projector(method.encoder(first))
    with torch.no_grad():
        key = method.target.module(second)
    return unit(query), unit(key)


@plain_form
def moco_v2(method: Any, batch: Batch) -> dict[str, Tensor]:
    s = method.settings
    queue = method.queue.rows
    query, key = _query_and_key(method, batch)
    if s.decoupled:
        negatives = (query @ queue.T / s.temperature).logsumexp(1)
        return {"dcl": (negatives - (query * key).sum(1) / s.temperature).mean()}
    return {"info_nce": queue_contrast(query, key, queue, s.temperature)}


@plain_form
def ressl(method: Any, batch: Batch) -> dict[str, Tensor]:
    s = method.settings
    queue = method.queue.rows
    query, key = _query_and_key(method, batch)
    teacher = (key @ queue.T / s.teacher_temperature).softmax(1)
    student = (query @ queue.T / s.temperature).log_softmax(1)
    return {"relation": -(teacher * student).sum(1).mean()}


@plain_form
def mochi(method: Any, batch: Batch) -> dict[str, Tensor]:
    """Each query also meets mixtures of its hardest keys, and of these with itself."""
    s = method.settings
    queue = method.queue.rows
    query, key = _query_and_key(method, batch)
    if method.progress < s.warmup:
        return {"mochi": queue_contrast(query, key, queue, s.temperature)}
    draws = draw(
        query,
        queue,
        generator=method.draws(),
        hardest=s.hardest,
        pairs=s.pairs,
        with_query=s.with_query,
    )
    losses = []
    for i in range(len(query)):
        hardest = queue[(queue @ query[i]).detach().topk(draws.hardest).indices]
        a = draws.alpha[i][:, None]
        b = draws.beta[i][:, None]
        pairs = unit(a * hardest[draws.first[i]] + (1 - a) * hardest[draws.second[i]])
        own = unit(b * query[i].detach() + (1 - b) * hardest[draws.partner[i]])
        losses.append(
            queue_contrast(
                query[i : i + 1], key[i : i + 1], torch.cat([queue, pairs, own]), s.temperature
            )
        )
    return {"mochi": torch.stack(losses).mean()}


@plain_form
def feature_transformation(method: Any, batch: Batch) -> dict[str, Tensor]:
    s = method.settings
    queue = method.queue.rows
    query, key = _query_and_key(method, batch)
    drawn = draw_mixing(
        query,
        queue,
        generator=method.draws(),
        elementwise_positive=s.elementwise in ("positive", "both"),
        elementwise_negative=s.elementwise in ("negative", "both"),
    )
    a = drawn.extrapolation
    b = drawn.interpolation
    if method.progress >= s.mix_start:
        if s.extrapolate:
            query, key = a * query + (1 - a) * key, a * key + (1 - a) * query
        if s.normalise:
            query = unit(query)
            key = unit(key)
        if s.interpolate:
            queue = b * queue + (1 - b) * queue[drawn.partner]
    return {"info_nce": queue_contrast(query, key, queue, s.temperature)}


@plain_form
def amcl_moco(method: Any, batch: Batch) -> dict[str, Tensor]:
    s = method.settings
    (first, second) = batch.views
    with torch.no_grad():
        keys = method.target.module(second)
    past = method.queue.rows.view(-1, s.heads, s.projection)
    total = 0.0
    for c, head in enumerate(method.projectors.heads):
        query = unit(head(method.encoder(first)))
        key = unit(keys[:, c])
        total = total + adaptive_contrast(method, query, key, unit(past[:, c]), within=False)
    return {"amcl": total}


@plain_form
def cacr_queue(method: Any, batch: Batch) -> dict[str, Tensor]:
    """The queue acts as one point, its weighted mean, with one joint weight against the batch; both
    are constants.
    """
    s = method.settings
    queue = method.queue.rows
    queries = [
        unit(z) for z in one_by_one(lambda x: method.projector(method.encoder(x)), batch.views)
    ]
    with torch.no_grad():
        keys = [unit(z) for z in one_by_one(method.target.module, batch.views)]
    attraction = 0.0
    repulsion = 0.0
    for v, query in enumerate(queries):
        cost = torch.stack([(query - key).square().sum(1) for p, key in enumerate(keys) if p != v])
        attraction = (
            attraction + ((s.positive_temperature * cost.detach()).softmax(0) * cost).sum(0).mean()
        )
        far = -s.negative_temperature * (2 - 2 * query @ queue.T).detach()
        point = far.softmax(1) @ queue
        costs = [2 - 2 * (query * point).sum(1, keepdim=True)]
        logits = [far.logsumexp(1, keepdim=True)]
        if s.within_batch:
            near = (query[:, None] - query).square().sum(-1)
            costs.append(near)
            logits.append(
                (-s.negative_temperature * near).masked_fill(
                    torch.eye(len(query), dtype=torch.bool), -torch.inf
                )
            )
        repulsion = (
            repulsion - (torch.cat(logits, 1).softmax(1) * torch.cat(costs, 1)).sum(1).mean()
        )
    return {"attraction": attraction / len(queries), "repulsion": repulsion / len(queries)}


def _predictions_and_keys(
    method: Any, views: list[Tensor], whole: list[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    predictions = one_by_one(lambda x: method.predictor(method.projector(method.encoder(x))), views)
    with torch.no_grad():
        keys = one_by_one(method.target.module, whole)
    return [unit(p) for p in predictions], [unit(k) for k in keys]


@plain_form
def moco_v3(method: Any, batch: Batch) -> dict[str, Tensor]:
    tau = method.settings.temperature
    diagonal = torch.arange(len(batch))
    (q1, q2), (k1, k2) = _predictions_and_keys(method, batch.views, batch.views)
    return {
        "moco_v3": 2
        * tau
        * (cross_entropy(q1 @ k2.T / tau, diagonal) + cross_entropy(q2 @ k1.T / tau, diagonal))
    }


@plain_form
def cacr_moco_v3(method: Any, batch: Batch) -> dict[str, Tensor]:
    s = method.settings
    total = 0.0
    predictions, keys = _predictions_and_keys(
        method, batch.views, batch.views if s.full else batch.views[:2]
    )
    for v, key in enumerate(keys):
        queries = torch.stack([q for p, q in enumerate(predictions) if p != v])
        share = ((queries - key).square().sum(-1) / s.temperature).softmax(0).detach()
        for weight, q in zip(share, queries, strict=True):
            logits = q @ key.T / s.temperature
            if s.euclidean:
                others = (
                    logits.masked_fill(torch.eye(len(q), dtype=torch.bool), -torch.inf)
                    .softmax(1)
                    .detach()
                )
                each = (1 - (q * key).sum(1)) - (others * (1 - q @ key.T)).sum(1)
            else:
                each = 2 * s.temperature * (logits.logsumexp(1) - logits.diagonal())
            total = total + (weight * each).mean()
    return {"cacr": total / len(keys)}


@plain_form
def nnclr(method: Any, batch: Batch) -> dict[str, Tensor]:
    s = method.settings
    diagonal = torch.arange(len(batch))
    z1, z2 = one_by_one(lambda x: method.projector(method.encoder(x)), batch.views)
    p1, p2 = (unit(p) for p in one_by_one(method.predictor, (z1, z2)))
    nn1, nn2 = (
        unit(method.queue.rows[(z.detach() @ method.queue.rows.T).argmax(1)]) for z in (z1, z2)
    )
    ways = [nn1 @ p2.T / s.temperature, nn2 @ p1.T / s.temperature]
    if s.decoupled:
        others = [
            logits.masked_fill(torch.eye(len(logits), dtype=torch.bool), -torch.inf).logsumexp(1)
            for logits in ways
        ]
        return {
            "dcl": sum(
                (o - logits.diagonal()).mean() for o, logits in zip(others, ways, strict=True)
            )
            / 2
        }
    return {"nnclr": sum(cross_entropy(logits, diagonal) for logits in ways) / 2}
