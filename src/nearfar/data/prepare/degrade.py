"""``--with degrade``: images get degraded copies, from which methods restore them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from nearfar.data.degradations.degradation import gaussian_blur, kernel_blur, motion_kernel
from nearfar.data.degradations.noise import camera_noise, correlated_noise, gaussian_noise
from nearfar.data.degradations.resampling import bicubic_down
from nearfar.data.samples import Samples, Source
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.ranges import at_least, whole_number
from nearfar.rows import Parts
from nearfar.rows.levels import from_unit, to_unit

DEGRADED = "degraded"
CLEAN = "clean"
_BLOCK = 64
"""Images that are degraded at a time."""
_AMOUNTS = {"blur": 1.6, "motion": 9.0, "noise": 0.1, "correlated-noise": 0.1}


@dataclass(frozen=True, kw_only=True)
class Degrade:
    """Samples become two parts: "degraded", what a method sees, and "clean", the truth.

    Every image, of the test samples too, is degraded once: what is drawn for it depends on the
    run's seed and the sample's id alone. Values are rounded to bytes, as files hold them. Both
    parts are seen in [0, 1]: their means are set to 0 and their deviations to 1, so that what a
    network gives is an image. ``factor`` in the degraded part's facts says how much smaller it is.

    Attributes:
        kind: "bicubic" (fewer pixels), "blur" (by a Gaussian), "motion" (along a straight line of
            random direction), "noise" (independent Gaussian), "correlated-noise" (of neighbours
            that agree) or "camera-noise" (of a camera at night).
        factor: How many times fewer pixels a side the degraded image has, 1, 2, 4 or 8: after what
            ``kind`` does, by the bicubic kernel; none: 4 for "bicubic" and 1 for the others.
        amount: Standard deviation of the blur in pixels (1.6), length of the motion in pixels (9),
            or standard deviation of the noise in [0, 1] (0.1); none: the number in brackets.
    """

    makes_parts: ClassVar[bool] = True

    kind: Literal["bicubic", "blur", "motion", "noise", "correlated-noise", "camera-noise"] = (
        "bicubic"
    )
    factor: Annotated[int, whole_number(1, 8)] | None = None
    amount: Annotated[float, at_least(0)] | None = None

    def __call__(self, source: Source, *, seed: int) -> Source:
        if source.spec.modality != "image":
            raise UserError(
                f"degrade takes images, and {source.spec.name} holds {source.spec.modality} data; "
                "leave it out or choose other data."
            )
        factor = self._factor()
        shape = source.spec.shape
        height, width = (side // factor * factor for side in shape[1:])
        if not height or not width:
            raise UserError(
                f"Images of {shape[1]} x {shape[2]} pixels cannot have {factor} times fewer a side;"
                " choose a smaller factor, or larger images with --size."
            )
        made = {
            name: None if samples is None else self._degraded(samples, seed, (height, width))
            for name, samples in (
                ("train", source.train),
                ("test", source.test),
                ("seen", source.seen),
            )
        }
        train = made["train"]
        assert train is not None
        cut = "" if (height, width) == shape[1:] else f", cut to {height} x {width} pixels"
        note = (
            f"Each image{cut} was degraded ({self._told()}); methods see the degraded one and are "
            "judged by the clean one."
        )
        return replace(
            source,
            spec=self._spec(source.spec, (height, width), factor),
            train=train,
            test=made["test"],
            seen=made["seen"],
            notes=[*source.notes, note],
        )

    def _factor(self) -> int:
        factor = self.factor or (4 if self.kind == "bicubic" else 1)
        if factor not in (1, 2, 4, 8):
            raise UserError(
                f"Option factor of the preparation degrade is {factor}; expected 1, 2, 4 or 8."
            )
        return factor

    def _amount(self) -> float:
        if self.kind not in _AMOUNTS:
            if self.amount is not None:
                raise UserError(
                    f"The preparation degrade:{self.kind} has no amount; leave the option out."
                )
            return 0.0
        return _AMOUNTS[self.kind] if self.amount is None else self.amount

    def _told(self) -> str:
        amount = f", amount {self._amount():g}" if self.kind in _AMOUNTS else ""
        factor = self._factor()
        return self.kind + amount + (f", {factor} times fewer pixels a side" * (factor > 1))

    def _spec(self, spec: Spec, sides: tuple[int, int], factor: int) -> Spec:
        channels = spec.shape[0]
        clean = replace(
            spec, shape=(channels, *sides), mean=(0.0,) * channels, std=(1.0,) * channels
        )
        small = (channels, sides[0] // factor, sides[1] // factor)
        degraded = replace(clean, shape=small, extra={**spec.extra, "factor": factor})
        return replace(
            spec,
            modality="image+image",
            shape=(),
            mean=(),
            std=(),
            extra={},
            parts={DEGRADED: degraded, CLEAN: clean},
        )

    def _degraded(self, samples: Samples, seed: int, sides: tuple[int, int]) -> Samples:
        clean = []
        degraded = []
        for start in range(0, len(samples), _BLOCK):
            index = torch.arange(start, min(start + _BLOCK, len(samples)))
            images = samples.take(index)[:, :, : sides[0], : sides[1]]
            ids = [samples.ids[number] for number in index.tolist()]
            clean.append(images)
            degraded.append(self.degraded(images, ids, seed))
        return replace(
            samples,
            content=Parts({DEGRADED: torch.cat(degraded), CLEAN: torch.cat(clean)}),
            rows=None,
        )

    def degraded(self, images: Tensor, ids: list[str], seed: int) -> Tensor:
        """Degraded copies of raw pixels (N, C, H, W), of the same type.

        Args:
            images: raw pixels, sides that the factor divides.
            ids: Of the samples; what is drawn for each depends on its id and the seed alone.
            seed: Of the draws.
        """
        clean = to_unit(images)
        found = self._changed(clean, ids, seed)
        factor = self._factor()
        if factor > 1:
            found = bicubic_down(found, factor)
        return from_unit(found, images.dtype)

    def _changed(self, clean: Tensor, ids: list[str], seed: int) -> Tensor:
        amount = self._amount()
        if self.kind == "bicubic" or (amount == 0 and self.kind in _AMOUNTS):
            return clean
        if self.kind == "blur":
            taps = 2 * min(round(3 * amount) or 1, min(clean.shape[2:]) - 1) + 1
            return gaussian_blur(clean, (taps, taps), (amount, amount))
        each = [_of_sample(seed, one) for one in ids]
        if self.kind == "motion":
            angles = torch.cat([torch.rand(1, generator=one) for one in each]) * torch.pi
            kernel = motion_kernel(2 * (round(amount) // 2) + 3, amount, angles)
            return kernel_blur(clean, kernel, "replicate")
        pairs = [(clean[place : place + 1], one) for place, one in enumerate(each)]
        if self.kind == "camera-noise":
            return torch.cat([camera_noise(image, one) for image, one in pairs])
        noise = gaussian_noise if self.kind == "noise" else correlated_noise
        return torch.cat([noise(image, amount, one) for image, one in pairs])


def _of_sample(seed: int, name: str) -> torch.Generator:
    """What is drawn from for one sample."""
    text = f"{seed}\0{name}".encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(text, digest_size=7).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big"))


PREPARATION = Degrade
