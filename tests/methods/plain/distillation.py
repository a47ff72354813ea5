"""Predicting what another network, or the same one without gradient, says of the other view; masked
values.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nearfar.batch import Batch

from .formulas import cosine, in_one_pass, one_by_one, plain_form, sinkhorn, unit


def _predictions_and_targets(method: Any, batch: Batch) -> tuple[list[Tensor], list[Tensor]]:
    predictions = one_by_one(
        lambda x: method.predictor(method.projector(method.encoder(x))), batch.views
    )
    with torch.no_grad():
        targets = one_by_one(method.target.module, batch.views)
    return predictions, targets


@plain_form
def byol(method: Any, batch: Batch) -> dict[str, Tensor]:
    (p1, p2), (t1, t2) = _predictions_and_targets(method, batch)
    forth = (unit(p1) - unit(t2)).square().sum(1)
    back = (unit(p2) - unit(t1)).square().sum(1)
    return {"byol": (forth + back).mean()}


@plain_form
def directpred(method: Any, batch: Batch) -> dict[str, Tensor]:
    (p1, p2), (t1, t2) = _predictions_and_targets(method, batch)
    if not method.settings.normalise:
        return {"directpred": ((p1 - t2).square() + (p2 - t1).square()).sum(1).mean()}
    return {"directpred": (-2 * cosine(p1, t2) - 2 * cosine(p2, t1)).mean()}


@plain_form
def simsiam(method: Any, batch: Batch) -> dict[str, Tensor]:
    z1, z2 = one_by_one(lambda x: method.projector(method.encoder(x)), batch.views)
    p1, p2 = one_by_one(method.predictor, (z1, z2))
    return {"simsiam": -(cosine(p1, z2.detach()).mean() + cosine(p2, z1.detach()).mean()) / 2}


@plain_form
def dino(method: Any, batch: Batch) -> dict[str, Tensor]:
    """The student's distribution of every crop follows the teacher's of every other whole crop."""
    s = method.settings
    whole = batch.views[:2]
    tau = s.teacher_temperature
    if method.progress < s.temperature_warmup:
        share = method.progress / s.temperature_warmup
        tau = s.first_teacher_temperature + share * (
            s.teacher_temperature - s.first_teacher_temperature
        )
    features = in_one_pass(method.encoder, batch.views)
    students = in_one_pass(method.head, features)
    with torch.no_grad():
        teachers = in_one_pass(method.teacher.module, whole)
    centred = [((t - method.centre.value) / tau).softmax(1) for t in teachers]
    targets = [sinkhorn(t, tau, 3) for t in teachers] if s.sinkhorn else centred
    pairs = [
        -(target * (student / s.student_temperature).log_softmax(1)).sum(1).mean()
        for a, target in enumerate(targets)
        for v, student in enumerate(students)
        if v != a
    ]
    return {"dino": torch.stack(pairs).mean()}


@plain_form
def swav(method: Any, batch: Batch) -> dict[str, Tensor]:
    s = method.settings
    crops = [
        unit(z) for z in in_one_pass(method.projector, in_one_pass(method.encoder, batch.views))
    ]
    scores = [z @ method.prototypes.weight.T for z in crops]
    pairs = []
    for a in (0, 1):
        codes = sinkhorn(scores[a], s.epsilon, s.iterations)
        pairs += [
            -(codes * (p / s.temperature).log_softmax(1)).sum(1).mean()
            for v, p in enumerate(scores)
            if v != a
        ]
    return {"swav": torch.stack(pairs).mean()}


@plain_form
def mae(method: Any, batch: Batch) -> dict[str, Tensor]:
    """The patches with the least noise stay; the error of the others is averaged over all that were
    removed.
    """
    s = method.settings
    (samples,) = batch.views
    noise = batch.extra["noise"]
    order = noise.argsort(1)
    kept = int(noise.shape[1] * (1 - s.removed))
    tokens = method.encoder.embed(samples)
    visible = torch.stack([tokens[i, order[i, :kept]] for i in range(len(samples))])
    prediction = method.decoder(method.encoder.encode_tokens(visible), order.argsort(1))
    target = method.encoder.patchify(samples)
    if s.normalise:
        target = (target - target.mean(2, keepdim=True)) / (
            target.var(2, keepdim=True) + 1e-6
        ).sqrt()
    error = (prediction - target).square().mean(2)
    removed = torch.stack([error[i, order[i, kept:]] for i in range(len(samples))])
    return {"reconstruction": removed.mean()}


@plain_form
def pixpro(method: Any, batch: Batch) -> dict[str, Tensor]:
    s = method.settings
    views = batch.views
    boxes = batch.extra["boxes"]
    online = [method.projectors[0](method.encoder.feature_map(view)) for view in views]
    with torch.no_grad():
        target = [method.target.module(view)[0] for view in views]
    keys = [k / k.norm(dim=1, keepdim=True) for k in target]
    near = _near(boxes, *online[0].shape[2:], s.ratio)
    total = 0.0
    for own, other, pairs in ((0, 1, near), (1, 0, near.mT)):
        x = online[own] / online[own].norm(dim=1, keepdim=True)
        if s.form == "pixpro":
            value = method.propagation.value(online[own])
            value = (value / value.norm(dim=1, keepdim=True)).flatten(2)
            similar = (
                torch.einsum("nci,ncj->nij", x.flatten(2), x.flatten(2)).clamp(min=0) ** s.sharpness
            )
            y = torch.einsum("nij,ncj->nci", similar, value)
            cosines = torch.einsum(
                "nci,ncj->nij", y / y.norm(dim=1, keepdim=True), keys[other].flatten(2)
            )
            total = (
                total
                - 2 * ((cosines * pairs).sum((1, 2)) / (pairs.sum((1, 2)).float() + 1e-6)).mean()
            )
        else:
            logits = (
                torch.einsum("nci,ncj->nij", x.flatten(2), keys[other].flatten(2)) / s.temperature
            )
            each = logits.logsumexp(2) - logits.masked_fill(~pairs, -torch.inf).logsumexp(2)
            total = total + each[pairs.any(2)].mean()
    terms = {s.form: total}
    if s.instance:
        pooled = [
            method.predictor(method.projectors[1](method.encoder.feature_map(v))).mean((2, 3))
            for v in views
        ]
        with torch.no_grad():
            copies = [method.target.module(v)[1].mean((2, 3)) for v in views]
        ways = [(unit(pooled[a]) - unit(copies[1 - a])).square().sum(1).mean() for a in (0, 1)]
        terms["instance"] = s.instance * (ways[0] + ways[1])
    return terms


def _near(boxes: Tensor, height: int, width: int, ratio: float) -> Tensor:
    """(N, HW, HW): whether two pixels' centres lie closer than ``ratio`` of the larger pixel's
    diagonal.
    """
    places = []
    diagonals = []
    for box in boxes.unbind(1):
        step_x = (box[:, 2] - box[:, 0]) / width
        step_y = (box[:, 3] - box[:, 1]) / height
        x = box[:, :1] + (torch.arange(width) + 0.5) * step_x[:, None]
        y = box[:, 1:2] + (torch.arange(height) + 0.5) * step_y[:, None]
        grid = torch.stack(
            [x[:, None, :].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)], dim=-1
        )
        places.append(grid.flatten(1, 2))
        diagonals.append((step_x.square() + step_y.square()).sqrt())
    distance = (places[0][:, :, None] - places[1][:, None]).square().sum(-1).sqrt()
    return distance / torch.maximum(*diagonals)[:, None, None] < ratio


@plain_form
def i_jepa(method: Any, batch: Batch) -> dict[str, Tensor]:
    """Sample by sample and block by block; only context tokens enter, nothing is masked out."""
    s = method.settings
    (samples,) = batch.views
    visible, hidden = method.masks(batch.extra["noise"])
    tokens = method.encoder.embed(samples)
    everything = method.target.module.tokens(samples).detach()
    if s.predicted == "pixels":
        everything = method.encoder.patchify(samples)
    predictor = method.predictor
    values = []
    for n in range(len(samples)):
        seen = visible[n].nonzero()[:, 0]
        context = method.encoder.encode_tokens(tokens[n : n + 1, seen])[:, 1:]
        for block in hidden[n]:
            entered = predictor.entry(context) + predictor.positions[seen]
            asked = predictor.mask_token + predictor.positions[block]
            out = predictor.transformer(torch.cat([entered, asked], 1))[:, len(seen) :]
            wanted = everything[n, block]
            mean = wanted.mean(1, keepdim=True)
            wanted = (wanted - mean) / (wanted.var(1, keepdim=True, correction=0) + 1e-5).sqrt()
            error = (predictor.predict(out)[0] - wanted).abs()
            smooth = torch.where(error < 1, error.square() / 2, error - 0.5)
            values.append((smooth if s.distance == "smooth" else error.square()).mean())
    return {"prediction": torch.stack(values).mean()}


@plain_form
def dinov2(method: Any, batch: Batch) -> dict[str, Tensor]:
    """Crop by crop and sample by sample; the balanced shares of all hidden patches together."""
    s = method.settings
    warmed = min(1.0, method.progress / s.temperature_warmup)
    first = s.first_teacher_temperature
    tau = first + (s.teacher_temperature - first) * warmed
    taught = method.teacher.module
    students, teachers, features, of_student, of_teacher, weights = [], [], [], [], [], []
    for crop, drawn in zip(batch.views[:2], batch.extra["noise"].chunk(2, 1), strict=True):
        places, counted = method.masks(drawn)
        for n in range(len(crop)):
            hidden = places[n, counted[n]]
            x = crop[n : n + 1]
            encoder = taught["encoder"]
            known = encoder.encode_tokens(encoder.embed(x))[0].detach()
            teachers.append(taught["head"](known[:1]).detach())
            of_teacher.append(taught["patch_head"](known[1:][hidden]).detach())
            tokens = method.encoder.embedding(method.encoder.patchify(x)).clone()
            tokens[:, hidden] = method.mask_token
            seen = method.encoder.encode_tokens(tokens + method.encoder.positions)[0]
            students.append(method.head(seen[:1]))
            features.append(seen[0])
            of_student.append(method.patch_head(seen[1:][hidden]))
            weights += [1 / max(1, len(hidden))] * len(hidden)
    size = len(batch.views[0])
    crops = list(torch.cat(students).split(size))
    crops += [method.head(method.encoder(x)) for x in batch.views[2:]]
    shares = sinkhorn(torch.cat(teachers), tau, 3).split(size)
    pairs = [
        -(target * (student / s.student_temperature).log_softmax(1)).sum(1).mean()
        for a, target in enumerate(shares)
        for v, student in enumerate(crops)
        if v != a
    ]
    patches = sinkhorn(torch.cat(of_teacher), tau, 3)
    each = -(patches * (torch.cat(of_student) / s.student_temperature).log_softmax(1)).sum(1)
    spread = 0.0
    for crop in torch.stack(features).split(size):
        apart = (unit(crop)[:, None] - unit(crop)).norm(dim=2).detach()
        nearest = apart.masked_fill(torch.eye(size, dtype=torch.bool), torch.inf).argmin(1)
        distance = (unit(crop) - unit(crop)[nearest] + 1e-8).norm(dim=1) + 1e-8
        spread = spread - distance.log().mean()
    return {
        "dino": torch.stack(pairs).mean(),
        "ibot": s.patches * (each * torch.tensor(weights, dtype=each.dtype)).sum() / (2 * size),
        "koleo": s.spread * spread,
    }


def _taught(method: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """The one view, and the frozen teacher's features of it."""
    (x,) = batch.views
    with torch.no_grad():
        target = method.teacher.eval()(x)
    if getattr(method.settings, "standardise", False):
        target = (target - method.scale.mean) / method.scale.deviation
    return x, target


@plain_form
def distill(method: Any, batch: Batch) -> dict[str, Tensor]:
    """Features and maps of the toys, whose map's mean the features are."""
    x, target = _taught(method, batch)
    places = method.encoder.feature_map(x)
    with torch.no_grad():
        target_places = method.teacher.feature_map(x)
    if method.settings.standardise:
        shape = (1, -1, 1, 1)
        target_places = target_places - method.map_scale.mean.view(shape)
        target_places = target_places / method.map_scale.deviation.view(shape)
    mapped = method.map_projector(places.movedim(1, 3))
    dense = (mapped - target_places.movedim(1, 3)).square().mean()
    if method.settings.level == "dense":
        return {"dense": dense}
    distance = (method.projector(places.mean((2, 3))) - target).square().mean()
    return {"global": distance, "dense": dense}


@plain_form
def rkd(method: Any, batch: Batch) -> dict[str, Tensor]:
    x, target = _taught(method, batch)
    n = len(x)
    distances, angles = [], []
    for rows in (method.encoder(x), target):
        length = (rows[:, None] - rows).square().sum(2)
        length = torch.stack([length[i, j].sqrt() for i in range(n) for j in range(n) if i != j])
        distances.append(length / length.mean())
        angles.append(
            torch.stack(
                [
                    cosine(rows[i] - rows[j], rows[k] - rows[j])
                    for i in range(n)
                    for j in range(n)
                    for k in range(n)
                    if len({i, j, k}) == 3
                ]
            )
        )
    s = method.settings
    found = [
        torch.where(gap.abs() < 1, gap.square() / 2, gap.abs() - 0.5).mean()
        for gap in (distances[0] - distances[1], angles[0] - angles[1])
    ]
    return {"distance": s.distance * found[0], "angle": s.angle * found[1]}


@plain_form
def seed(method: Any, batch: Batch) -> dict[str, Tensor]:
    x, target = _taught(method, batch)
    s = method.settings
    query, key = unit(method.projector(method.encoder(x))), unit(target)
    shares = []
    for rows, temperature in ((query, s.temperature), (key, s.teacher_temperature)):
        near = torch.cat([(rows * key).sum(1, keepdim=True), rows @ method.queue.rows.T], dim=1)
        shares.append((near / temperature).log_softmax(1))
    return {"relation": -(shares[1].exp() * shares[0]).sum(1).mean()}
