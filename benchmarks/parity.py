"""The same loss on the same numbers, nearfar's and the peers': values and gradients, and why where
they differ.

    python benchmarks/parity.py        # writes docs/results/parity.md

32 pairs of 16 dimensions, float64, seeded; then a linear model under data parallel training on two
gloo processes against the same on one. A peer that is not installed is left out.
"""

from __future__ import annotations

import datetime
import platform
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize
from two_processes import DIMENSION, Loss, lightly, two_processes

from nearfar import losses
from nearfar.losses.instance.decoupled import dcl, dclw

PAIRS = 32
CLASSES = 8
TARGET = Path(__file__).parents[1] / "docs" / "results" / "parity.md"
PACKAGES = {
    "lightly": "lightly",
    "pytorch_metric_learning": "pytorch-metric-learning",
    "open_clip": "open_clip_torch",
    "info_nce": "info-nce-pytorch",
}


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        name: what is compared.
        package: the peer's.
        ours, theirs: of the two inputs that ``inputs`` says; ``theirs`` builds the peer's loss when
        it is called first.
        note: why they differ, and which of our options gives the peer's form.
        inputs: "views" of any length, "unit" rows, or "logits" of two views and two teachers.
    """

    name: str
    package: str
    ours: Loss
    theirs: Callable[[], Loss]
    note: str = ""
    inputs: str = "views"


def metric_learning(name: str, label: Tensor, **options: object) -> Callable[[], Loss]:
    def build() -> Loss:
        from pytorch_metric_learning import losses as theirs

        criterion = getattr(theirs, name)(**options)
        return lambda z1, z2: criterion(torch.cat([z1, z2]), label.repeat(2))

    return build


def metric_vicreg() -> Loss:
    from pytorch_metric_learning.losses import VICRegLoss

    criterion = VICRegLoss()
    return lambda z1, z2: criterion(z1, ref_emb=z2)


def open_clip(name: str, *scales: float) -> Callable[[], Loss]:
    def build() -> Loss:
        from open_clip import loss

        criterion = getattr(loss, name)()
        return lambda first, second: criterion(
            first, second, *(torch.tensor(scale).double() for scale in scales)
        )

    return build


def info_nce() -> Loss:
    from info_nce import InfoNCE

    return InfoNCE(temperature=0.1)


def supcon(label: Tensor, base: float) -> Loss:
    def ours(z1: Tensor, z2: Tensor) -> Tensor:
        rows = normalize(torch.stack([z1, z2], dim=1), dim=2)
        return losses.supcon(rows, label, temperature=0.1, base_temperature=base)

    return ours


OWN = torch.arange(PAIRS)
CLASS = OWN % CLASSES
ROWS = [
    Row(
        "NT-Xent, T 0.5",
        "lightly",
        lambda a, b: losses.nt_xent(a, b, temperature=0.5),
        lightly("NTXentLoss", temperature=0.5),
    ),
    Row(
        "NT-Xent, T 0.5",
        "pytorch_metric_learning",
        lambda a, b: losses.nt_xent(a, b, temperature=0.5),
        metric_learning("NTXentLoss", OWN, temperature=0.5),
    ),
    Row(
        "NT-Xent, T 0.01",
        "lightly",
        lambda a, b: losses.nt_xent(a, b, temperature=0.01),
        lightly("NTXentLoss", temperature=0.01),
        "The value is nearly 0 and the peer takes it as a difference of large numbers; ours keeps "
        "its digits.",
    ),
    Row("InfoNCE in the batch, T 0.1", "info_nce", losses.info_nce, info_nce),
    Row("DCL, T 0.1", "lightly", dcl, lightly("DCLLoss", temperature=0.1)),
    Row("DCLW, T 0.1", "lightly", dclw, lightly("DCLWLoss", temperature=0.1)),
    Row(
        "SupCon, T 0.1, base 0.1",
        "pytorch_metric_learning",
        supcon(CLASS, 0.1),
        metric_learning("SupConLoss", CLASS, temperature=0.1),
    ),
    Row(
        "SupCon, T 0.1, base 0.07",
        "pytorch_metric_learning",
        supcon(CLASS, 0.07),
        metric_learning("SupConLoss", CLASS, temperature=0.1),
        "Ours and the authors' code scale by T / base temperature; `base_temperature=temperature` "
        "gives the peer's.",
    ),
    Row(
        "Barlow Twins",
        "lightly",
        lambda a, b: losses.barlow_twins(a, b, off_diagonal=5e-3),
        lightly("BarlowTwinsLoss"),
    ),
    Row("VICReg", "lightly", losses.vicreg, lightly("VICRegLoss")),
    Row("VICReg", "pytorch_metric_learning", losses.vicreg, lambda: metric_vicreg()),
    Row(
        "CLIP, scale 10",
        "open_clip",
        lambda a, b: losses.clip(a, b, logit_scale=10.0),
        open_clip("ClipLoss", 10.0),
        inputs="unit",
    ),
    Row(
        "SigLIP, scale 10, bias -10",
        "open_clip",
        lambda a, b: losses.siglip(a, b, logit_scale=10.0, logit_bias=-10.0),
        open_clip("SigLipLoss", 10.0, -10.0),
        inputs="unit",
    ),
    Row(
        "negative cosine (SimSiam)",
        "lightly",
        lambda a, b: losses.simsiam(a, a, b, b),
        lambda: lambda a, b: lightly("NegativeCosineSimilarity")()(a, b.detach()),
    ),
    Row(
        "BYOL",
        "lightly",
        lambda a, b: losses.byol(a, a, b, b),
        lambda: lambda a, b: 2 * lightly("NegativeCosineSimilarity")()(a, b.detach()),
        "The peer has no offset and half the slope: with c its negative cosines of both directions "
        "added, ours is 4 + 2 c.",
    ),
]


def measure(row: Row) -> str:
    generator = torch.Generator().manual_seed(0)
    views = [
        torch.randn(PAIRS, DIMENSION, generator=generator, dtype=torch.float64) for _ in range(2)
    ]
    views[1] = views[0] + 0.5 * views[1]
    if row.inputs == "unit":
        views = [normalize(view, dim=1) for view in views]
    found = []
    for loss in (row.ours, row.theirs()):
        given = [view.clone().requires_grad_() for view in views]
        value = loss(*given)
        gradients = torch.autograd.grad(value, given, allow_unused=True)
        found.append((value.item(), torch.cat([g for g in gradients if g is not None])))
    (mine, gradient), (other, peer_gradient) = found
    error = (
        ((gradient - peer_gradient).norm() / gradient.norm()).item()
        if gradient.shape == peer_gradient.shape
        else float("nan")
    )
    ratio = (peer_gradient.norm() / gradient.norm()).item()
    equal = abs(mine - other) <= 1e-9 * max(1.0, abs(mine)) and error <= 1e-9
    note = "equal" if equal else row.note or "differs"
    return (
        f"| {row.name} | {row.package} | {mine:.10g} | {other:.10g} | {error:.1e} | "
        f"{ratio:.4f} | {note} |"
    )


def main() -> None:
    warnings.simplefilter("ignore")
    present = [row for row in ROWS if find_spec(row.package)]
    lines = [measure(row) for row in present]
    versions = ", ".join(
        f"{name} {version(name)}" for key, name in PACKAGES.items() if find_spec(key)
    )
    made = (
        f"on {datetime.date.today()} with Python {platform.python_version()}, torch "
        f"{torch.__version__}"
    )
    text = f"""# The same loss, here and elsewhere

Made by `python benchmarks/parity.py` {made}, {versions}.
{PAIRS} pairs of {DIMENSION} dimensions, float64, one process. The gradient's error is |ours -
theirs| / |ours|, its ratio
|theirs| / |ours|.

| loss | peer | ours | theirs | gradient's error | gradient's ratio | |
|---|---|---|---|---|---|---|
{chr(10).join(lines)}

## Two processes against one

A linear model under data parallel training, 64 pairs on one process, 32 on each of two; each
library's own way to gather. A ratio
of 1 and an error of 0 mean that training on two processes is training on the joined batch.

| loss | library | one process | two | gradient's ratio | direction's error |
|---|---|---|---|---|---|
{chr(10).join(two_processes())}
"""
    print(text)
    if present:
        TARGET.write_text(text)


if __name__ == "__main__":
    main()
