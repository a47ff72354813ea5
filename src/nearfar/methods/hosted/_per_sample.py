"""The loss of each sample, for systems that weigh another method's loss sample by sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.nn.functional import normalize

from nearfar.losses.distillation.clustering import swav
from nearfar.losses.distillation.distillation import byol, simsiam
from nearfar.losses.instance.contrastive import info_nce, nt_xent, queue_info_nce
from nearfar.losses.kernels.similarity import own_range, reduce
from nearfar.methods.method import Outputs


def _moco_v3(method: Any, outputs: Outputs, rows: slice) -> Tensor:
    tau = method.settings.temperature
    (q1, q2, k1, k2) = (outputs[name] for name in ("q1", "q2", "k1", "k2"))
    both = [
        info_nce(q, k.detach(), temperature=tau, rows=rows, reduction="none")
        for q, k in ((q1, k2), (q2, k1))
    ]
    total: Tensor = 2 * tau * (both[0] + both[1])
    return total


def _moco_v2(method: Any, outputs: Outputs, rows: slice) -> Tensor:
    how: dict[str, Any] = {"queue": method.queue.rows, "temperature": method.settings.temperature}
    return queue_info_nce(**outputs, **how, rows=rows, reduction="none")


def _simclr(method: Any, outputs: Outputs, rows: slice) -> Tensor:
    both = nt_xent(**outputs, temperature=method.settings.temperature, rows=rows, reduction="none")
    return both.view(2, -1).mean(dim=0)


def _swav(method: Any, outputs: Outputs, rows: slice) -> Tensor:
    scores = method.prototypes(normalize(outputs["crops"], dim=-1)).transpose(
        0, 1
    )  # codes need those of all samples
    return swav(
        scores, method.codes(scores), temperature=method.settings.temperature, reduction="none"
    )[rows]


def _own(outputs: Outputs, rows: slice) -> Outputs:
    return {name: value[rows] for name, value in outputs.items()}


PER_SAMPLE: Mapping[str, Callable[[Any, Outputs, slice], Tensor]] = {
    "simsiam": lambda method, outputs, rows: simsiam(**_own(outputs, rows), reduction="none"),
    "moco-v3": _moco_v3,
    "simclr": _simclr,
    "moco-v2": _moco_v2,
    "byol": lambda method, outputs, rows: byol(**_own(outputs, rows), reduction="none"),
    "swav": _swav,
}
"""By method name, from the method, its outputs of N samples (of two whole views) and the wanted
rows: one loss for each of these; the mean of all is the method's loss.
"""


def weighted(
    name: str, method: Any, outputs: Outputs, weight: Tensor, rows: slice | None = None
) -> Tensor:
    """The mean of each sample's loss times its weight (N,), of mean 1; with ``rows`` their share of
    it.
    """
    own = own_range(rows, len(weight))
    return reduce(weight[own] * PER_SAMPLE[name](method, outputs, own), "mean", of=len(weight))
