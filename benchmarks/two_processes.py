"""Losses under data parallel training on two gloo processes against the same on one: part of
``parity.py``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn.functional import normalize

from nearfar import collectives, losses
from nearfar.losses.instance.decoupled import dcl
from nearfar.testing import on_processes
from nearfar.training.processes.joining import join

DIMENSION = 16
Loss = Callable[..., Tensor]


def lightly(name: str, **options: object) -> Callable[[], Loss]:
    def build() -> Loss:
        from lightly import loss

        return getattr(loss, name)(**options)

    return build


def gathering_clip(**flags: bool) -> Callable[[], Loss]:
    def build() -> Loss:
        from open_clip.loss import ClipLoss

        criterion = ClipLoss(rank=collectives.rank(), world_size=collectives.world(), **flags)
        return lambda a, b: criterion(
            normalize(a, dim=1), normalize(b, dim=1), torch.tensor(10.0).double()
        )

    return build


def gathering_siglip() -> Loss:
    from open_clip.loss import SigLipLoss

    criterion = SigLipLoss(rank=collectives.rank(), world_size=collectives.world())
    scales = torch.tensor(10.0).double(), torch.tensor(-10.0).double()
    return lambda a, b: criterion(normalize(a, dim=1), normalize(b, dim=1), *scales)


def joined(loss: Loss) -> Callable[[], Loss]:
    """Ours, as the training loop calls it: on the outputs of all processes."""

    def on_all(a: Tensor, b: Tensor) -> Tensor:
        outputs = join({"a": a, "b": b})
        return loss(outputs["a"], outputs["b"])

    return lambda: on_all


def cosines(loss: Loss, **options: float) -> Loss:
    return lambda a, b: loss(normalize(a, dim=1), normalize(b, dim=1), **options)


TWO_PROCESSES: list[tuple[str, str, Callable[[], Loss]]] = [
    ("NT-Xent", "nearfar", joined(losses.nt_xent)),
    ("NT-Xent", "lightly", lightly("NTXentLoss", temperature=0.1, gather_distributed=True)),
    ("DCL", "nearfar", joined(dcl)),
    ("DCL", "lightly", lightly("DCLLoss", temperature=0.1, gather_distributed=True)),
    ("VICReg", "nearfar", joined(losses.vicreg)),
    ("VICReg", "lightly", lightly("VICRegLoss", gather_distributed=True)),
    ("Barlow Twins", "nearfar", joined(losses.barlow_twins)),
    ("Barlow Twins", "lightly", lightly("BarlowTwinsLoss", gather_distributed=True)),
    ("CLIP", "nearfar", joined(cosines(losses.clip, logit_scale=10.0))),
    ("CLIP, default flags", "open_clip", gathering_clip()),
    ("CLIP, local loss", "open_clip", gathering_clip(local_loss=True)),
    (
        "CLIP, local loss, gather with gradient",
        "open_clip",
        gathering_clip(local_loss=True, gather_with_grad=True),
    ),
    ("SigLIP", "nearfar", joined(cosines(losses.siglip, logit_scale=10.0, logit_bias=-10.0))),
    ("SigLIP", "open_clip", gathering_siglip),
]


def linear_model_gradients() -> list[list[Tensor]]:
    """For each entry of ``TWO_PROCESSES`` that is installed: value and weight gradient of 64 pairs,
    shared out among processes.
    """
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(64, DIMENSION, generator=generator, dtype=torch.float64)
    second = first + 0.5 * torch.randn(64, DIMENSION, generator=generator, dtype=torch.float64)
    weight = torch.randn(DIMENSION, DIMENSION, generator=generator, dtype=torch.float64)
    own = [view.chunk(collectives.world())[collectives.rank()] for view in (first, second)]
    found = []
    for _, package, build in TWO_PROCESSES:
        if not find_spec(package):
            continue
        model = torch.nn.Linear(DIMENSION, DIMENSION, bias=False).double()
        with torch.no_grad():
            model.weight.copy_(weight)
        parallel = collectives.data_parallel(model)
        rows = parallel(torch.cat(own))
        value = build()(*rows.chunk(2))
        value.backward()
        found.append([value.detach(), model.weight.grad])
    return found


def two_processes() -> list[str]:
    together = importlib.import_module(
        "two_processes"
    ).linear_model_gradients  # processes import it by this name
    one = together()
    two = on_processes(together, counts=(2,))[2][0]
    names = [(name, package) for name, package, _ in TWO_PROCESSES if find_spec(package)]
    lines = []
    for (name, package), (value, gradient), (found, other) in zip(names, one, two, strict=True):
        ratio = (other.norm() / gradient.norm()).item()
        direction = (other / other.norm() - gradient / gradient.norm()).norm().item()
        lines.append(
            f"| {name} | {package} | {value.item():.8g} | {found.item():.8g} | {ratio:.4f} | "
            f"{direction:.1e} |"
        )
    return lines
