"""Methods that see labels."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from nearfar.batch import Batch
from nearfar.views.image.expansions import expand

from .formulas import cross_entropy, in_one_pass, plain_form, supervised_contrast, unit


@plain_form
def supcon(method: Any, batch: Batch) -> dict[str, Tensor]:
    s = method.settings
    z = torch.cat(
        [unit(z) for z in in_one_pass(lambda x: method.projector(method.encoder(x)), batch.views)]
    )
    scale = s.temperature / s.base_temperature
    return {"supcon": scale * supervised_contrast(z, batch.label.repeat(2), s.temperature)}


@plain_form
def sla(method: Any, batch: Batch) -> dict[str, Tensor]:
    s = method.settings
    count = method.transformations
    classes = len(method.spec.classes)
    features = method.encoder(expand(batch.views[0], s.expansion)).view(len(batch), count, -1)
    logits = method.classifier(features)
    label = batch.label
    if s.objective == "joint":
        each = [cross_entropy(logits[:, m], label * count + m) for m in range(count)]
        terms = {"joint": torch.stack(each).sum() / (1 if s.total else count)}
        if s.distillation:
            averaged = (
                torch.stack([logits[:, m].view(-1, classes, count)[:, :, m] for m in range(count)])
                .mean(0)
                .detach()
            )
            teacher = (averaged / s.temperature).softmax(1)
            plain = method.plain(features[:, 0])
            divergence = (
                (teacher * (teacher.log() - (plain / s.temperature).log_softmax(1))).sum(1).mean()
            )
            terms["distillation"] = cross_entropy(plain, label) + s.temperature**2 * divergence
        return terms
    terms = {
        "classes": torch.stack(
            [cross_entropy(logits[:, m, :classes], label) for m in range(count)]
        ).mean()
    }
    if s.objective == "multi-task":
        which = [
            cross_entropy(logits[:, m, classes:], torch.full_like(label, m)) for m in range(count)
        ]
        terms["transformations"] = torch.stack(which).mean()
    return terms


@plain_form
def hydra(method: Any, batch: Batch) -> dict[str, Tensor]:
    s = method.settings
    label = batch.label
    features = method.encoder(batch.views[0])
    z = method.projector(features)
    partner = label[torch.randperm(len(label), generator=method.generator())]
    table = method.gate.table
    gate = torch.sigmoid(method.gate.layers((table(label) + table(partner)) / 2))
    losses = []
    for i in range(len(z)):
        similar = unit(gate[i] * z) @ unit(gate[i] * z[i]) / s.temperature
        negatives = similar[(label != label[i]) & (label != partner[i])]
        positives = similar[label == partner[i]]
        losses += [(torch.cat([negatives, p[None]]).logsumexp(0) - p) for p in positives]
    probe = method.probe(features if s.probe_gradient else features.detach())
    return {"contrast": torch.stack(losses).mean(), "probe": cross_entropy(probe, label)}


@plain_form
def core_tuning(method: Any, batch: Batch) -> dict[str, Tensor]:
    s = method.settings
    label = batch.label
    n = len(batch)
    h = method.encoder(batch.views[0])
    one_hot = torch.eye(len(method.spec.classes), dtype=h.dtype)[label]
    permutation, lam, mu = method._draws(n, h)
    lam = (lam.clamp(min=s.least) if s.least else lam)[:, None]
    similar = unit(h.detach()) @ unit(h.detach()).T
    alike = label[:, None] == label
    others = alike & ~torch.eye(n, dtype=torch.bool)
    hardest = torch.where(
        others.any(1), similar.masked_fill(~others, torch.inf).argmin(1), torch.arange(n)
    )
    nearest = similar.masked_fill(alike, -torch.inf).argmax(1)
    mu = mu[:, None]
    rows = [h.detach() if s.detach else h]
    soft = [one_hot]
    for values, found in ((h, rows), (one_hot, soft)):
        found.append((1 - lam) * values + lam * values[permutation])
        found.append(mu * values[hardest] + (1 - mu) * values[nearest])
    row = torch.cat(rows)
    target = torch.cat(soft)
    entropy = -(target * method.classifier(row).log_softmax(1)).sum(1).mean()
    z = unit(method.projector(row))
    anchors = []
    for i in range(len(z)):
        rest = [j for j in range(len(z)) if j != i]
        log_p = (z[rest] @ z[i] / s.temperature).log_softmax(0)
        positive = (target[rest] - target[i]).abs().max(1).values < 1e-6
        if positive.any():
            anchors.append((-(1 - log_p[positive].exp()) * log_p[positive]).mean())
    return {"cross_entropy": entropy, "contrast": s.contrast * torch.stack(anchors).mean()}


@plain_form
def conr(method: Any, batch: Batch) -> dict[str, Tensor]:
    s = method.settings
    y = batch.label
    features = in_one_pass(method.encoder, batch.views)
    first, second, usual = (method.regressor(f).squeeze(1) for f in features)
    weight = method.weight[batch.index]
    rows = unit(torch.cat(features[:2]))
    prediction = torch.cat([first, second]).detach()
    label = y.repeat(2)
    omega = weight.repeat(2)
    total = rows.new_zeros(())
    for i in range(len(rows)):
        logits = rows @ rows[i] / s.temperature
        far = (label - label[i]).abs()
        positive = far <= s.window
        positive[i] = False
        negative = (far > s.window) & ((prediction - prediction[i]).abs() <= s.window)
        if positive.any() and negative.any():
            pushed = logits[negative] + omega[i].log() + s.push * far[negative]
            denominator = torch.cat([logits[positive], pushed]).logsumexp(0)
            total = total + omega[i] * (denominator - logits[positive].mean())
    regression = (weight * (usual - y).abs()).mean()
    return {"regression": regression, "contrast": s.contrast * total / len(rows)}


@plain_form
def supremix(method: Any, batch: Batch) -> dict[str, Tensor]:
    s = method.settings
    generator = method.generator()
    views = in_one_pass(lambda x: method.projector(method.encoder(x)), batch.views)
    z = unit(torch.cat(views))
    y = batch.label.repeat(len(views))
    m = len(z)
    fixed = unit(torch.cat(views)).detach()
    shares = torch.stack(
        [torch._standard_gamma(torch.full((m, m), a), generator=generator) for a in s.mixing]
    )
    lam = (shares[0] / shares.sum(0)).to(z)
    anchors = []
    for i in range(m):
        logits = []
        weights = []
        positives = []
        for j in range(m):
            if j != i:
                logits.append(z[i] @ z[j])
                weights.append((y[i] - y[j]).abs() + 1)
                positives += [z[i] @ z[j]] if y[i] == y[j] else []
            if y[j] != y[i]:
                logits.append(z[i] @ (lam[i, j] * fixed[i] + (1 - lam[i, j]) * fixed[j]))
                weights.append((1 - lam[i, j]) * (y[i] - y[j]).abs() + 1)
        for j in range(m):
            for k in range(m):
                if y[j] < y[i] < y[k] and y[i] - y[j] < s.window and y[k] - y[i] < s.window:
                    alpha = (y[k] - y[i]) / (y[k] - y[j])
                    mixture = z[i] @ (alpha * fixed[j] + (1 - alpha) * fixed[k])
                    logits.append(mixture)
                    weights.append(y.new_ones(()))
                    positives.append(mixture)
        if positives:
            total = (torch.stack(logits) / s.temperature + torch.stack(weights).log()).logsumexp(0)
            anchors.append(total - torch.stack(positives).mean() / s.temperature)
    return {"supremix": torch.stack(anchors).mean()}


@plain_form
def sepclr(method: Any, batch: Batch) -> dict[str, Tensor]:
    """Kernels exp(-d^2 / (2 tau)) with tau 1/2; background samples are 0 in the salient space."""
    s = method.settings
    tau = 0.5
    spaces = [
        in_one_pass(
            lambda x, part=part, reduce=reduce, project=project: project(reduce(part(x))),
            batch.views,
        )
        for part, reduce, project in zip(
            method.encoder.parts, method.reductions, method.projectors, strict=True
        )
    ]
    (c1, c2) = (unit(z) for z in spaces[0])
    (s1, s2) = spaces[1]
    target = batch.label != s.background
    t1, t2 = (torch.where(target[:, None], z, 0.0) for z in (s1, s2))
    salient = _aligned(s1[target], s2[target], tau) + _uniform(t1, tau) + _uniform(t2, tau)
    behind = torch.cat([s1[~target], s2[~target]])
    joint = (_joint(torch.cat([c1, t1], 1), tau) + _joint(torch.cat([c2, t2], 1), tau)) / 2
    return {
        "common": _aligned(c1, c2, tau) + _uniform(c1, tau) + _uniform(c2, tau),
        "salient": s.salient_weight * salient,
        "background": s.background_weight * _aligned(behind, torch.zeros_like(behind), tau),
        "joint_entropy": s.joint_entropy_weight * joint,
    }


def _aligned(a: Tensor, b: Tensor, tau: float) -> Tensor:
    return (a - b).square().sum(1).mean() / (2 * tau)


def _uniform(z: Tensor, tau: float) -> Tensor:
    kernels = [
        (-(z[i] - z[j]).square().sum() / (2 * tau)).exp() for i in range(len(z)) for j in range(i)
    ]
    return torch.stack(kernels).mean().log()


def _joint(z: Tensor, tau: float) -> Tensor:
    rows = [
        torch.stack([(-(a - b).square().sum() / (2 * tau)).exp() for b in z]).mean().log()
        for a in z
    ]
    return torch.stack(rows).mean()


@plain_form
def susana_distancia(method: Any, batch: Batch) -> dict[str, Tensor]:
    """One support sample of each class, which is its class's mean; the others are queries."""
    s = method.settings
    label = batch.label
    features = method.encoder(batch.views[0])
    support = torch.tensor([i for i in range(len(label)) if (label[:i] == label[i]).sum() < s.shot])
    queries = torch.tensor([i for i in range(len(label)) if i not in support])
    means = {int(c): features[support[label[support] == c]].mean(0) for c in label.unique()}
    losses = []
    for q in queries:
        far = {c: ((features[q] - mean).square().sum() + 1e-6).sqrt() for c, mean in means.items()}
        own = far.pop(int(label[q]))
        losses.append((own - min(far.values()) + s.margin).clamp(min=0))
    terms = {"triplet": torch.stack(losses).mean()}
    if "icnn" in s.terms:
        terms["icnn"] = -_neighbourhood(features, label, s.neighbours, s.shot + s.query).log()
    return {name: terms[name] / len(s.terms) for name in s.terms}


def _neighbourhood(features: Tensor, label: Tensor, neighbours: int, looked_at: int) -> Tensor:
    """ICNN: how near the same class lies, how far others lie, and the share of the same class among
    the nearest k.
    """
    n = len(features)
    k = min(neighbours, n - 2)
    ratios = []
    others = []
    alike = []
    for i in range(n):
        distance = ((features[i] - features).square().sum(1) + 1e-6).sqrt()
        order = distance.detach().argsort()[1 : looked_at + 1]
        is_other = label[order] != label[i]
        nearest_other = (
            distance[order][is_other].min() if is_other.any() else distance.new_tensor(torch.inf)
        )
        near = distance[order][:k]
        same = ~is_other[:k]
        ratio = near / (nearest_other + 1e-7)
        ratios.append((ratio / ratio.max().clamp(min=1))[same])
        others.append(near[~same])
        alike.append(same)
    largest = torch.cat(others).max()
    tight = torch.stack([r.sum() / (len(r) + 1e-7) for r in ratios if len(r)])
    apart = torch.stack([(o / (largest + 1e-7)).sum() / (len(o) + 1e-7) for o in others if len(o)])
    share = 1.0 if neighbours + 2 >= n else torch.stack(alike).double().mean()
    mean_tight = tight.sum() / (len(tight) + 1e-7)
    mean_apart = apart.sum() / (len(apart) + 1e-7)
    return ((1 - mean_tight + mean_apart) / 2 + share) / 2


@plain_form
def storm(method: Any, batch: Batch) -> dict[str, Tensor]:
    """Both losses from the definition: the step ahead by hand, all scales over their mean."""
    s = method.settings
    learn, held = ((batch.extra["stream"] == number) for number in (0, 1))
    x, label, kept = batch.views[0], batch.label, batch.extra["kept"]
    model = nn.Sequential(method.encoder, method.classifier)
    names = [n for n, _ in model.named_parameters()]
    theta = {n: model.get_parameter(n).detach().requires_grad_() for n in names}

    def logits(weights: Any, rows: Tensor, mask: Tensor) -> Tensor:
        """With a fresh pass of the encoder for each mask."""
        encoder = {n[2:]: p for n, p in weights.items() if n.startswith("0.")}
        features = torch.func.functional_call(method.encoder, encoder, (x[rows],))
        dropped = features * mask / (1 - s.dropout)
        return dropped @ weights["1.weight"].T + weights["1.bias"]

    def losses(weights: Any, rows: Tensor) -> Tensor:
        z = logits(weights, rows, kept[rows][:, -1])
        return z.logsumexp(1) - z[torch.arange(len(z)), label[rows]]

    def scales(rows: Tensor) -> Tensor:
        with torch.no_grad():
            chance = torch.stack(
                [logits(theta, rows, kept[rows][:, g]).softmax(1) for g in range(s.passes)]
            )
            each = torch.arange(int(rows.sum()))
            own = chance[:, each, label[rows]]
            others = chance.clone()
            others[:, each, label[rows]] = -1
            entropy = -(chance * chance.log()).sum(2) / math.log(chance.shape[2])
            hits = (chance.argmax(2) == label[rows]).to(own)
            loss = (-own.log()).mean(0)
            seen = [
                own.mean(0),
                own.std(0, correction=0),
                chance.amax(2).mean(0),
                (own - others.amax(2)).mean(0),
                entropy.mean(0),
                hits.mean(0),
                loss,
                (-own.log()).std(0, correction=0),
                (loss - loss.mean()) / (loss.std(correction=0) + 1e-8),
            ]
        raw = torch.sigmoid(method.rescaler(torch.stack(seen, 1))[:, 0])
        return raw / raw.mean()

    first = (scales(learn) * losses(theta, learn)).mean()
    slopes = torch.autograd.grad(first, list(theta.values()), create_graph=True)
    moved = {n: theta[n] - s.inner_rate * g for n, g in zip(names, slopes, strict=True)}
    current = {n: model.get_parameter(n) for n in names}
    scale = scales(learn).detach() if s.applied else 1.0
    return {
        "outer": (scales(held) * losses(moved, held)).mean(),
        "inner": (scale * losses(current, learn)).mean(),
    }


@plain_form
def classifier(method: Any, batch: Batch) -> dict[str, Tensor]:
    """Cross-entropy with each label spread a little over all classes."""
    logits = method.classifier(method.encoder(batch.views[0]))
    share = method.settings.smoothing
    spread = (logits.logsumexp(1) - logits.mean(1)).mean()
    return {"cross_entropy": (1 - share) * cross_entropy(logits, batch.label) + share * spread}


@plain_form
def laf(method: Any, batch: Batch) -> dict[str, Tensor]:
    s = method.settings
    remain, forget = (batch.views[0][batch.extra["stream"] == k] for k in (0, 1))
    noise = [batch.extra["code"][batch.extra["stream"] == k] for k in (0, 1)]

    def badness(vae: Any, x: Tensor, eps: Tensor) -> Tensor:
        e = method.encoder(x)
        hidden = vae.encoder(e)
        code = vae.mean(hidden) + (vae.log_variance(hidden) / 2).exp() * eps
        each = ((vae.decoder(code) - e) ** 2).sum(1)
        return (each / (each + 1)).exp().sum()

    kept = badness(method.of_all, remain, noise[0])
    terms = {"unlearn": kept - badness(method.of_forgotten, forget, noise[1])}
    if s.align:

        def distance(x: Tensor) -> Tensor:
            e, t = method.encoder(x), method.teacher(x)
            lengths = [((one**2).sum(1) + 1e-12).sqrt() for one in (e, t)]
            return 1 - (e * t).sum(1) / (lengths[0] * lengths[1])

        near, far = distance(remain), distance(forget)
        terms["align"] = sum(d - (far / s.temperature).exp().sum().log() for d in near)
    return terms
