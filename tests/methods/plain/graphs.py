"""Methods on graphs."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from nearfar.batch import Batch

from .formulas import nt_xent, plain_form, supervised_terms


@plain_form
def protein_rpn(method: Any, batch: Batch) -> dict[str, Tensor]:
    s = method.settings
    (graphs,) = batch.views
    parts = [graphs[row : row + 1] for row in range(len(graphs))]
    seen = [_one_graph(method, one, batch.extra["head"][row]) for row, one in enumerate(parts)]
    clean, noisy, logits = (torch.stack([one[name] for one in seen]) for name in range(3))
    terms = batch.label.double()
    annotated = terms.sum(1) > 0
    shares = logits.sigmoid()
    entropy = -(terms * shares.log() + (1 - terms) * (1 - shares).log()).mean(1)
    shared = (terms @ terms.T > 0).double().repeat(2, 2)
    found = {
        "terms": entropy[annotated].mean(),
        "info_nce": s.contrast * nt_xent(clean, noisy, s.temperature),
        "supcon": s.contrast * supervised_terms(torch.cat([clean, noisy]), shared, s.temperature),
    }
    if s.proposals:
        anchors = [term for one in seen for term in one[3]]
        members = [term for one in seen for term in one[4]]
        found["anchors"] = torch.stack(anchors).mean()
        found["members"] = torch.stack(members).mean() if members else 0 * clean.sum()
    return found


def _one_graph(method: Any, graphs: Any, head: Tensor) -> tuple[Any, ...]:
    """Both read-outs of one graph, its logits, and the cross-entropies of its anchors and of the
    members of each functional anchor.
    """
    s = method.settings
    x = graphs.nodes["x"]
    count = len(x)
    link = torch.zeros(count, count, dtype=torch.bool)  # link[j, l]: l sends to j
    link[graphs.edges[1], graphs.edges[0]] = True
    flag = torch.ones(count, dtype=torch.float64)
    anchors: list[Tensor] = []
    members: list[Tensor] = []
    if s.proposals:
        near = torch.zeros(count, count, dtype=torch.bool)
        close = graphs.edge_data["distance"] <= s.reach
        near[graphs.edges[1, close], graphs.edges[0, close]] = True
        near &= ~torch.eye(count, dtype=torch.bool)
        flag, anchors, members = _proposed(method, graphs, near)
    h = method.attention.lift(x)
    attended = []
    for i in range(count):
        senders = link[i].nonzero()[:, 0]
        raw = h[senders] @ method.attention.sender[0] + h[i] @ method.attention.receiver[0]
        raw = torch.where(raw > 0, raw, 0.01 * raw)
        share = (raw * (flag[senders] + 0.5 * (1 - flag[senders]))).softmax(0)
        attended.append(share @ h[senders] if len(senders) else torch.zeros_like(h[0]))
    read = []
    for number, strength in enumerate((0.0, s.noise)):
        z = _trunk(method.encoder.network, graphs, torch.stack(attended), number, strength)
        read.append(method.pool(z, graphs.edges, graphs.sizes)[0])
    kept = (head >= s.dropout) / (1 - s.dropout)
    logits = method.head.last(method.head.hidden(read[0]).clamp(min=0) * kept)
    return read[0], read[1], logits, anchors, members


def _averages(link: Tensor) -> Tensor:
    """D^-1/2 (A + I) D^-1/2."""
    whole = (link | torch.eye(len(link), dtype=torch.bool)).double()
    scale = whole.sum(1).rsqrt()
    return scale[:, None] * whole * scale


def _trunk(network: Any, graphs: Any, x: Tensor, number: int, strength: float) -> Tensor:
    draws = graphs.nodes["draws"][:, number]
    count = len(x)
    link = torch.zeros(count, count, dtype=torch.bool)
    link[graphs.edges[1], graphs.edges[0]] = True
    rate = network.dropout.rate
    z = network.of_residue(network.residues(graphs.nodes["residue"])) + network.of_features(x)
    z = z.clamp(min=0) * (draws[:, 0] >= rate) / (1 - rate)
    for place, layer in enumerate(network.layers):
        made = (_averages(link) @ z @ layer.weight.T + layer.bias).clamp(min=0)
        z = made if place == 0 else z + made
        noise = draws[:, 1 + place]
        z = z + strength * z.sign() * noise / noise.norm(dim=1, keepdim=True)
    return z


def _proposed(method: Any, graphs: Any, near: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Flags of functional residues, and the cross-entropies."""
    s = method.settings
    network = method.proposals
    x = graphs.nodes["x"]
    count = len(x)
    h = x
    for number, layer in enumerate(network.context):
        alone = network.itself[number](h) if s.own else 0
        h = _averages(near) @ h @ layer.weight.T + layer.bias + alone
        h = h.clamp(min=0) if s.activation else h
    anchor = _attention(network.anchor, h, near)[:, 0]
    g = _attention(network.lift, h, near)
    reached = torch.eye(count, dtype=torch.bool)
    for _ in range(s.hops):
        reached = reached | ((reached.double() @ near.double()) > 0)
    site = graphs.nodes["site"] > 0
    flag = torch.zeros(count, dtype=torch.float64)
    anchors: list[Tensor] = []
    members: list[Tensor] = []
    for i in range(count):
        inside = reached[i].nonzero()[:, 0]
        score = _member_scores(network, graphs, near, g[i], i, inside)
        order = score.detach().argsort(descending=True, stable=True)
        kept = order[: math.ceil(s.keep * len(inside) - 1e-9)]
        if len(inside) > 1 and anchor[i].sigmoid() > s.threshold:
            likely = kept[score[kept].sigmoid() > s.threshold]
            flag[inside[likely]] = 1
        held = site[inside].sum() >= s.coverage * site.sum() - 1e-9
        functional = bool(site[i] & held)
        anchors.append(-_log_likelihood(anchor[i], functional))
        if functional:
            each = [
                -_log_likelihood(one, bool(site[j])) for one, j in zip(score, inside, strict=True)
            ]
            members.append(torch.stack(each).mean())
    return (flag, anchors, members) if site.any() else (flag, [], [])


def _log_likelihood(logit: Tensor, truth: bool) -> Tensor:
    return (logit if truth else -logit).sigmoid().log()


def _attention(layer: Any, x: Tensor, link: Tensor) -> Tensor:
    h = layer.lift(x)
    raw = layer.sender(h)[:, 0][None] + layer.receiver(h)
    raw = torch.where(raw > 0, raw, 0.2 * raw)
    allowed = link | torch.eye(len(link), dtype=torch.bool)
    return raw.masked_fill(~allowed, -torch.inf).softmax(1) @ h + layer.bias


def _member_scores(
    network: Any, graphs: Any, near: Tensor, g: Tensor, anchor: int, inside: Tensor
) -> Tensor:
    """Cone attention among the members of an anchor, by the spec's equations."""
    m = g * graphs.nodes["x"][inside]
    query, key = network.query(m), network.key(m)
    value = network.worth(network.value(m))[:, 0]
    scores = []
    place = graphs.nodes["place"]
    for j, node in enumerate(inside.tolist()):
        logits = []
        others = [
            other for other, one in enumerate(inside.tolist()) if one == node or near[node, one]
        ]
        for other in others:
            y_q, y_k = query[j, -1].sigmoid(), key[other, -1].sigmoid()
            d = (query[j, :-1] * y_q - key[other, :-1] * y_k).norm()
            a, b = (1 - y_q**2 + 1e-6).sqrt(), (1 - y_k**2 + 1e-6).sqrt()
            together = (d <= a) | ((d - a) ** 2 + y_k**2 <= 1)
            apex = torch.stack([y_q**2, y_k**2, 1 - ((a + b - d) / 2) ** 2]).max()
            outside = ((d**2 + y_k**2 - y_q**2) / (2 * d + 1e-6)) ** 2 + y_q**2
            logits.append(-(apex if together else outside))
        heard = torch.stack(logits).softmax(0) @ value[others]
        heard = heard + network.alone(m[j])[0] if network.own else heard
        far = (place[node] - place[anchor]).norm() / 10
        scores.append(heard + 0.5 * graphs.nodes["secondary"][node] - 0.5 * far)
    return torch.stack(scores)
