"""``nearfar compare --advise``: which methods and what batch size to try on these data, on this
machine, and why.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nearfar import modalities
from nearfar.data.spec import Spec

_FEW = 20_000
"""Below this many samples, methods that need neither a large batch nor a long training come first.
"""


@dataclass(frozen=True)
class Proposal:
    """One method to try.

    Attributes:
        method: its name.
        reason: why here, one sentence.
        evidence: who showed it, and where.
    """

    method: str
    reason: str
    evidence: str


@dataclass(frozen=True)
class Advice:
    """What to try.

    Attributes:
        data: what is known of the data, one sentence.
        proposals: three methods, the likeliest first.
        batch_size: that fits the data and the memory.
        why_batch: one sentence.
        command: that compares them.
    """

    data: str
    proposals: tuple[Proposal, ...]
    batch_size: int
    why_batch: str
    command: str

    def text(self) -> str:
        """As lines to print."""
        lines = [self.data]
        lines += [
            f"{number}. {p.method}: {p.reason} ({p.evidence})"
            for number, p in enumerate(self.proposals, 1)
        ]
        return "\n".join(
            [*lines, f"batch size {self.batch_size}: {self.why_batch}", f"Try: {self.command}"]
        )


_SUPCON = Proposal(
    "supcon",
    "the samples have classes, and using them beats ignoring them when the task is those classes",
    "Khosla et al. 2020, table 2; check on other tasks, where it may lose",
)
_VICREG = Proposal(
    "vicreg",
    "no negatives, so that a small batch and few samples do little harm, and it cannot collapse "
    "silently",
    "Bardes et al. 2022, appendix on the batch size",
)
_DCL = Proposal(
    "dcl",
    "contrastive, and made for small batches: the positive pair no longer weakens its own gradient",
    "Yeh et al. 2022, abstract; our own claim table has the comparison on digits",
)
_SIMCLR = Proposal(
    "simclr", "the reference that every other method is measured against", "Chen et al. 2020"
)
_MOCO = Proposal(
    "moco-v2", "a queue gives many negatives whatever the batch", "He et al. 2020, figure 3"
)
_BYOL = Proposal(
    "byol",
    "no negatives, and the best of its time on large unlabelled sets",
    "Grill et al. 2020, table 1",
)
_DINO = Proposal(
    "dino",
    "the strongest of these for kNN when the encoder is a transformer",
    "Caron et al. 2021, table 2",
)
_MAE = Proposal(
    "mae",
    "needs no augmentations to be right for the data, and is cheap on transformers",
    "He et al. 2022, table 3; weak in kNN, strong when fine-tuned",
)
_CLIP = Proposal(
    "clip", "the data are pairs: the text says what matters in the image", "Radford et al. 2021"
)
_ISOGCLR = Proposal(
    "isogclr-pairs",
    "a temperature for each pair, for data whose texts differ in how often they repeat",
    "Qiu et al. 2023",
)


def advise(data: str, *, limit: int | None = None, label: str | None = None) -> Advice:
    """Propose three methods and a batch size for a data set on this machine.

    Args:
        data: a name or a path.
        limit: use at most this many training samples.
        label: the label column.

    Raises:
        UserError: if the data cannot be loaded.
    """
    from nearfar.data import load
    from nearfar.methods import registry

    source = load(data, limit=limit, label=label)
    known = set(registry.names())
    proposals = [p for p in candidates(source.spec) if p.method in known][:3]
    batch_size, why = _batch_size(source)
    words = " ".join(p.method for p in proposals)
    spec = source.spec
    labels = {
        "class": f"{len(spec.classes)} classes",
        "classes": f"{len(spec.classes)} classes, of which a sample may have several",
        "value": "real-valued labels",
        "none": "no labels",
    }[spec.target]
    told = (
        f"{spec.name}: {spec.length:,} {spec.modality} samples of {spec.size}, {labels}; "
        f"{os.cpu_count()} cores, {_device()}."
    )
    path = f"'{data}'" if " " in str(Path(data)) else data
    return Advice(
        told,
        tuple(proposals),
        batch_size,
        why,
        f"nearfar compare {words} --data {path} --batch-size {batch_size} --seeds 3",
    )


def candidates(spec: Spec) -> list[Proposal]:
    """Methods for data of this kind, the likeliest first."""
    if spec.parts:
        return [_CLIP, _ISOGCLR]
    labelled = [_SUPCON] if spec.target == "class" and len(spec.classes) > 1 else []
    if spec.length < _FEW:
        return [_VICREG, *labelled, _DCL, _SIMCLR]
    if _device() == "cpu" or not modalities.get(spec.modality).has_boxes:
        return [_SIMCLR, *labelled, _VICREG, _MOCO]
    return (
        [_DINO, _MAE, *labelled, _BYOL, _MOCO]
        if min(spec.shape[1:]) >= 96
        else [_BYOL, *labelled, _MOCO, _VICREG]
    )


def _device() -> str:
    from nearfar.precision import device_of

    return device_of("auto").type


def _batch_size(source: Any) -> tuple[int, str]:
    """The largest power of two up to 256 that the data and a quarter of the free memory allow."""
    wanted = 256
    quarter = source.spec.length // 4
    by_data = _power_of_two(max(2, quarter))
    per_sample = _activation_bytes(source)
    by_memory = _power_of_two(max(2, int(_free_memory() / 4 / per_sample)))
    chosen = min(wanted, by_data, by_memory)
    megabytes = per_sample / 2**20
    if chosen == by_memory < min(wanted, by_data):
        return (
            chosen,
            f"a sample's two views keep {megabytes:.1f} MiB for backward with the default encoder, "
            "and memory is short",
        )
    if chosen == by_data < wanted:
        return (
            chosen,
            f"a quarter of the {source.spec.length:,} training samples, so that an epoch has a few "
            "steps",
        )
    return (
        chosen,
        f"enough for every method here; a sample's two views keep {megabytes:.1f} MiB for backward "
        "with the default encoder",
    )


def _power_of_two(number: int) -> int:
    return 1 << (number.bit_length() - 1)


def _activation_bytes(source: Any) -> float:
    """What one sample's two views keep for backward in the default encoder, measured on eight
    samples.
    """
    import torch

    from nearfar import networks
    from nearfar.views import make_views
    from nearfar.views.wanted import WantedViews

    count = min(8, len(source.train))
    encoder = networks.build(None, source.spec, kind="towers" if source.spec.parts else "any")
    view = make_views(source.spec, WantedViews(whole=1))(
        source.train.take(torch.arange(count)), torch.Generator().manual_seed(0)
    )[0]
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        features = encoder(view)
    parameters = sum(p.numel() * p.element_size() for p in encoder.parameters())
    del features
    return max(1.0, 2 * (sum(kept.values()) - parameters) / count)


def _free_memory() -> int:
    """Bytes that are free on the accelerator, or in main memory."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):  # macOS does not tell
        return 4 << 30
