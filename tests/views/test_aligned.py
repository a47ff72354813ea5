"""Aligned views show one piece of the scene in every image."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.batch import Place
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.rows import Parts
from nearfar.views import ImageViewSettings
from nearfar.views.aligned import Aligned
from nearfar.views.draws import PartGenerator

SCENE = (12, 16)


def spec(**facts: Any) -> Spec:
    clean = Spec("photos", "image", (1, *SCENE), 5, mean=(0.0,), std=(1.0,), extra=facts)
    small = replace(clean, shape=(1, 3, 4), extra={"factor": 4, **facts})
    parts = {"degraded": small, "clean": clean}
    return Spec("photos", "image+image", (), 5, parts=parts)


def samples(count: int = 40) -> Parts:
    """The small image holds the number of each block of 4 x 4 pixels, the large one repeats it."""
    blocks = torch.arange(12, dtype=torch.uint8).view(1, 1, 3, 4).repeat(count, 1, 1, 1)
    large = blocks.repeat_interleave(4, 2).repeat_interleave(4, 3)
    return Parts(degraded=blocks, clean=large)


def made(wanted: Aligned, generator: torch.Generator | None = None, **facts: Any) -> Parts:
    (view,) = wanted.maker(spec(**facts))(samples(), generator or torch.Generator().manual_seed(0))
    assert isinstance(view, Parts)
    return view


@pytest.mark.parametrize("turns", [True, False])
def test_all_images_show_the_same_piece(turns: bool) -> None:
    view = made(Aligned(8, turns=turns))
    assert view.clean.shape == (40, 1, 8, 8)
    assert view.degraded.shape == (40, 1, 2, 2)
    repeated = view.degraded.repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert torch.equal(view.clean, repeated)


def kinds(view: Parts) -> set[tuple[float, ...]]:
    return {tuple((255 * one).round().flatten().tolist()) for one in view.degraded}


def test_crops_and_turns_are_all_there() -> None:
    """6 places of a 2 x 2 crop among 3 x 4 blocks, each in 8 positions."""
    assert len(kinds(made(Aligned(8, turns=False)))) == 6
    assert len(kinds(made(Aligned(8)))) > 20


def test_data_that_must_not_be_mirrored_are_not() -> None:
    assert kinds(made(Aligned(8), flip=False)) == kinds(made(Aligned(8, turns=False)))


def test_small_scenes_are_taken_as_large_as_they_are() -> None:
    assert Aligned(96).side(spec()) == 12
    assert Aligned(11).side(spec()) == 8


def test_processes_cut_the_same_crops() -> None:
    whole = made(Aligned(8))
    rows = torch.tensor([3, 7, 30])
    generator = PartGenerator(0, Place(rows, 40))
    (part,) = Aligned(8).maker(spec())(samples()[rows], generator)
    assert torch.equal(part.clean, whole.clean[rows])


def test_values_are_seen_by_the_statistics_of_the_parts() -> None:
    view = made(Aligned(8, turns=False))
    assert float(view.clean.max()) <= 11 / 255 + 1e-6


def _without(name: str) -> Spec:
    whole = spec()
    return replace(whole, parts={key: one for key, one in whole.parts.items() if key != name})


@pytest.mark.parametrize(
    ("size", "data", "settings", "sentence"),
    [
        (8, spec(), ImageViewSettings(), "no strengths"),
        (3, spec(), None, "larger crop"),
        (8, replace(spec(), parts={}), None, "one or more images"),
        (
            8,
            replace(
                spec(),
                parts={
                    **spec().parts,
                    "other": spec().parts["clean"].__class__("o", "image", (1, 5, 5), 5),
                },
            ),
            None,
            "other 5 x 5",
        ),
    ],
)
def test_what_does_not_fit_is_refused(size: int, data: Spec, settings: Any, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Aligned(size).maker(data, settings)


def test_parts_that_are_missing_are_named() -> None:
    views = Aligned(8).maker(spec())
    with pytest.raises(UserError, match="degraded, clean"):
        views(Parts(clean=samples().clean), torch.Generator())


def test_a_view_is_new_memory() -> None:
    raw = samples()
    before: Tensor = raw.clean.clone()
    made(Aligned(8))
    assert torch.equal(raw.clean, before)
