"""Views of the user's own: a function of a batch, or transforms of a sample at a time.

What they draw from the global generators of torch, numpy and Python is seeded by the run's seed and
step, and those generators are left as they were. So the same seed gives the same views, on one
process as on several and in a resumed run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nearfar import modalities, own
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.rows.levels import PIXELS
from nearfar.views.made import Views, by_row, draws_globally
from nearfar.views.own.transforms import (
    as_tensor,
    call_of,
    global_draws_kept,
    is_samplewise,
    seeded,
    unit,
)
from nearfar.views.samples import normalise
from nearfar.views.wanted import WantedViews

_TOLERANCE = 0.01
_STRIDE = 0x9E3779B97F4A7C15
_MOST_SEED = (1 << 63) - 1


@dataclass(frozen=True)
class OwnViews:
    """Views of the user's own in the place of settings of ours.

    Attributes:
        given: A function of a batch, a transform, or a list with one for each view.
        name: For errors.
    """

    given: Any
    name: str

    def made_for(self, spec: Spec, wanted: WantedViews) -> Views:
        """What makes the wanted views of data of this spec.

        Raises:
            UserError: For something that makes no views, or views that must have boxes.
        """
        called = self.name.removeprefix(own.OWN)
        if wanted.boxes or wanted.centre_distance:
            raise UserError(
                f"This method needs the crop boxes of its views, which {called} does not give; "
                "leave --views out, or change the strength of ours by --views.NAME."
            )
        count = wanted.whole + wanted.local + len(wanted.further)
        given = _from_factory(self.given, called)
        several = list(given) if isinstance(given, list | tuple) else [given]
        if all(is_samplewise(one) for one in several):
            if len(several) not in (1, count):
                raise UserError(
                    f"{called} gives {len(several)} transforms; expected one, or {count}, one for "
                    "each view of this method."
                )
            return SampleViews(spec, tuple(several * count)[:count], called)
        if len(several) > 1 or not callable(given):
            raise UserError(
                f"The views {called} are a {type(given).__name__}; expected a function of a batch, "
                "or transforms of torchvision, kornia, albumentations or nearfar.views.EachSample."
            )
        return BatchViews(spec, given, count, called)


@dataclass(frozen=True)
class BatchViews:
    """``views(samples, generator)`` by a function of a batch.

    Several processes each make the views of the whole batch, of which they take their rows.

    Attributes:
        spec: Of the data.
        function: From raw samples, and the generator where it takes two arguments, to a list of
            views.
        count: How many views are wanted.
        name: For errors.
    """

    spec: Spec
    function: Callable[..., Any]
    count: int
    name: str
    by_row = False
    draws_globally = True

    def __call__(self, samples: Any, generator: torch.Generator) -> list[Any]:
        sources = samples if _are_sources(samples) else [samples]
        more = (generator,) if own.needed(self.function) == 2 else ()
        found = []
        for source in sources:
            with global_draws_kept():
                seeded(_drawn(generator), devices=True)
                try:
                    made = self.function(source, *more)
                except Exception as error:
                    raise _failed(self.name, error, f"a batch of {_size(source)}") from error
            if not isinstance(made, list | tuple) or len(made) != self.count:
                many = f"{len(made)} views" if isinstance(made, list | tuple) else "one view"
                raise UserError(
                    f"{self.name} gives {many if isinstance(made, list | tuple) else _told(made)}; "
                    f"expected a list of {self.count} views."
                )
            found.append(made)
        views = found[0]
        if len(sources) > 1:
            views = [made[number] for number, made in enumerate(found)]
        return [
            _finished(view, self.spec, len(sources[0]), self.name).to(_device(sources[0]))
            for view in views
        ]


@dataclass(frozen=True)
class SampleViews:
    """``views(samples, generator)`` by transforms of a sample at a time, on the CPU.

    The draws for each sample depend on the seed, the step and the sample's place in the batch.

    Attributes:
        spec: Of the data.
        transforms: One for each view.
        name: For errors.
    """

    spec: Spec
    transforms: tuple[Any, ...]
    name: str
    by_row = True
    draws_globally = True

    def __call__(self, samples: Any, generator: torch.Generator) -> list[Any]:
        each = samples if _are_sources(samples) else [samples] * len(self.transforms)
        base = _drawn(generator)
        place = getattr(generator, "place", None)
        rows = range(len(each[0])) if place is None else place.rows.tolist()
        views = []
        with global_draws_kept():
            for number, (source, transform) in enumerate(zip(each, self.transforms, strict=True)):
                made = []
                call = call_of(transform)
                for row, sample in zip(rows, source.cpu(), strict=True):
                    seeded((base + (row * len(each) + number) * _STRIDE) & _MOST_SEED, transform)
                    try:
                        made.append(as_tensor(call(sample)))
                    except Exception as error:
                        size = " x ".join(map(str, sample.shape))
                        raise _failed(self.name, error, f"a sample of {size}") from error
                shapes = {tuple(one.shape) for one in made}
                if len(shapes) > 1:
                    first, second = sorted(shapes)[:2]
                    raise UserError(
                        f"{self.name} gives views of the shapes {first} and {second}; expected one "
                        "shape: let it resize them."
                    )
                view = _finished(torch.stack(made), self.spec, len(source), self.name)
                views.append(view.to(_device(source)))
        return views


def cost_in_words(views: Any, seconds: float, batch: int) -> str:
    """What views of the user's own cost; "" for others.

    Args:
        views: The maker.
        seconds: That all views of one sample took.
        batch: Samples in a batch.
    """
    if not draws_globally(views):
        return ""
    way = "a sample at a time" if by_row(views) else "by a function of the batch"
    return (
        f"views of your own, {way}: {1000 * seconds:.2g} ms a sample, {seconds * batch:.2g} s a "
        f"batch of {batch}, made by no second thread"
    )


def _from_factory(given: Any, name: str) -> Any:
    """The views, or what a function or class that takes nothing makes."""
    makes = isinstance(given, type) or type(given).__name__ == "function"
    if not makes or own.needed(given):
        return given
    try:
        return given()
    except Exception as error:
        raise UserError(f"{name} makes no views{own.failure(error)}; mend it.") from error


def _finished(view: Any, spec: Spec, count: int, name: str) -> Any:
    """A view as encoders take it: on the scale of raw samples it is normalised as those are.

    Raises:
        UserError: For another number of rows or channels, or values off that scale.
    """
    if not hasattr(view, "__len__") or len(view) != count:
        raise UserError(
            f"{name} gives {_told(view)} for {count} samples; expected a row for each sample."
        )
    if not isinstance(view, Tensor):
        if not hasattr(view, "to"):
            raise UserError(f"{name} gives {_told(view)}; expected a tensor.")
        return view
    scale = modalities.get(spec.modality).scale
    if view.dtype not in PIXELS and not view.is_floating_point():
        raise UserError(f"{name} gives {_told(view)}; expected floats, or bytes of images.")
    if view.ndim != len(spec.shape) + 1 or view.shape[1] != spec.shape[0]:
        shape = ", ".join(map(str, spec.shape))
        raise UserError(
            f"{name} gives {_told(view)}; expected (N, {shape}), or other sizes behind the "
            "channels."
        )
    found = unit(view, scale).float()
    if found is view:
        found = found.clone()
    if scale > 1 and not found.is_cuda:
        least, most = (float(one) for one in found.detach().aminmax())
        if not -_TOLERANCE <= least <= most <= 1 + _TOLERANCE:
            raise UserError(
                f"{name} gives views with values from {least:.3g} to {most:.3g}; expected bytes, "
                "or numbers in [0, 1]: leave the normalisation out, as views are normalised by the "
                "data's own statistics."
            )
    return normalise(found, spec)


def _are_sources(samples: Any) -> bool:
    """Whether samples are a list with one batch for each view."""
    return isinstance(samples, list | tuple)


def _told(view: Any) -> str:
    if isinstance(view, Tensor | np.ndarray):
        return f"one {str(view.dtype).removeprefix('torch.')} array of shape {tuple(view.shape)}"
    return f"a {type(view).__name__}"


def _size(samples: Any) -> str:
    return " x ".join(map(str, samples.shape)) if isinstance(samples, Tensor) else "samples"


def _failed(name: str, error: Exception, where: str) -> UserError:
    if isinstance(error, UserError):
        return error
    return UserError(f"The views {name} fail on {where}{own.failure(error)}; mend them.")


def _device(samples: Any) -> torch.device:
    return samples.device if isinstance(samples, Tensor) else torch.device("cpu")


def _drawn(generator: torch.Generator) -> int:
    return int(torch.randint(2**62, (), generator=generator, device=generator.device))
