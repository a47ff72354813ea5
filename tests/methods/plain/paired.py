"""Images and texts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nearfar.batch import Batch

from .formulas import cross_entropy, plain_form, unit


def _symmetric(
    first: Tensor, second: Tensor, scale: Tensor, allowed: Tensor | None = None
) -> Tensor:
    logits = scale * unit(first) @ unit(second).T
    if allowed is not None:
        logits = logits.masked_fill(~allowed, -torch.inf)
    diagonal = torch.arange(len(logits))
    return (cross_entropy(logits, diagonal) + cross_entropy(logits.T, diagonal)) / 2


@plain_form
def clip(method: Any, batch: Batch) -> dict[str, Tensor]:
    (pair,) = batch.views
    first = method.projections.by_part["image"](method.encoder.part("image")(pair.image))
    second = method.projections.by_part["text"](method.encoder.part("text")(pair.text))
    return {"clip": _symmetric(first, second, method.log_scale.exp())}


@plain_form
def genecis(method: Any, batch: Batch) -> dict[str, Tensor]:
    (sample,) = batch.views
    towers, maps, net = method.encoder, method.clip.projections.by_part, method.combiner
    rate = method.settings.dropout
    kept = ((batch.extra["draws"] >= rate) / (1 - rate)).split(net.sizes, dim=1)
    v, k = (maps["image"](towers.part("image")(sample[name])) for name in ("reference", "target"))
    t = maps["text"](towers.part("text")(sample.condition))
    p = torch.cat([kept[0] * net.text(t).relu(), kept[1] * net.image(v).relu()], dim=1)
    c = kept[2] * net.combine(p).relu()
    g = net.gate(kept[3] * net.gate_hidden(p).relu()).sigmoid()
    q = net.output(c) + g * t + (1 - g) * v
    logits = method.settings.scale * unit(q) @ unit(k).T
    return {"info_nce": cross_entropy(logits, torch.arange(len(logits)))}


@plain_form
def mcl_clip(method: Any, batch: Batch) -> dict[str, Tensor]:
    """The last stage is the one that learns."""
    (pair,) = batch.views
    images = pair.image
    texts = pair.text
    (image_parts, text_parts) = method.parts
    (heads, text_heads) = method.projections
    first = heads[-1](image_parts[-1](images))
    second = text_heads[-1](text_parts[-1](texts))
    group = method.stages.groups[batch.index]
    allowed = group[:, None] == group if method.settings.batches == "mixed" else None
    return {"clip": _symmetric(first, second, method.log_scale.exp(), allowed)}


@plain_form
def isogclr_pairs(method: Any, batch: Batch) -> dict[str, Tensor]:
    """An image's negatives are the other texts, a text's the other images; denominators run,
    weights are constants.
    """
    s = method.settings
    n = len(batch)
    (pair,) = batch.views
    first = unit(method.projections.by_part["image"](method.encoder.part("image")(pair.image)))
    second = unit(method.projections.by_part["text"](method.encoder.part("text")(pair.text)))
    total = first.new_zeros(())
    for own, other, table in (
        (first, second, method.first_table),
        (second, first, method.second_table),
    ):
        estimate, tau, shift, seen = (
            table.get_buffer(k)[batch.index] for k in ("estimate", "temperature", "shift", "seen")
        )
        for i in range(n):
            margins = torch.cat([other[:i], other[i + 1 :]]) @ own[i] - own[i] @ other[i]
            powers = (margins.detach() / tau[i]).exp()
            running = estimate[i] * shift[i].exp()
            now = s.gamma * powers.mean() + (1 - s.gamma) * running if seen[i] else powers.mean()
            smallest = (
                1e-10 * torch.maximum(shift[i], margins.detach().max() / tau[i]).clamp(min=0).exp()
            )
            total = total + (powers / ((n - 1) * (now + smallest)) * margins).sum()
    return {"isogclr": total / n}
