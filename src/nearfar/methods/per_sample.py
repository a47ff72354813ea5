"""The loss of each sample, for systems that weigh another method's loss sample by sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from nearfar.losses.clustering import swav
from nearfar.losses.contrastive import info_nce, nt_xent, queue_info_nce
from nearfar.losses.distillation import byol, simsiam
from nearfar.methods.method import Outputs


def _moco_v3(method: Any, outputs: Outputs) -> Tensor:
    tau, (q1, q2, k1, k2) = method.settings.temperature, (outputs[name] for name in ("q1", "q2", "k1", "k2"))
    both = [info_nce(q, k.detach(), temperature=tau, reduction="none") for q, k in ((q1, k2), (q2, k1))]
    total: Tensor = 2 * tau * (both[0] + both[1])
    return total


def _swav(method: Any, outputs: Outputs) -> Tensor:
    scores = method.prototypes(normalize(outputs["crops"], dim=-1)).transpose(0, 1)
    return swav(scores, method.codes(scores), temperature=method.settings.temperature, reduction="none")


PER_SAMPLE: Mapping[str, Callable[[Any, Outputs], Tensor]] = {
    "simsiam": lambda method, outputs: simsiam(**outputs, reduction="none"),
    "moco-v3": _moco_v3,
    "simclr": lambda method, o: nt_xent(**o, temperature=method.settings.temperature, reduction="none").view(2, -1).mean(dim=0),
    "moco-v2": lambda method, o: queue_info_nce(**o, queue=method.queue.rows, temperature=method.settings.temperature, reduction="none"),
    "byol": lambda method, outputs: byol(**outputs, reduction="none"),
    "swav": _swav,
}
"""By method name, from the method and its outputs of N samples (of two whole views): (N,), whose mean is the method's loss."""


def weighted(name: str, method: Any, outputs: Outputs, weight: Tensor) -> Tensor:
    """The mean of each sample's loss times its weight (N,), of mean 1."""
    return torch.mean(weight * PER_SAMPLE[name](method, outputs))
