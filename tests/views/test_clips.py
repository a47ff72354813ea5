"""A frame with its neighbours: the three frames, one light for all, and mirrored together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from nearfar.batch import Place
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.views.draws import PartGenerator
from nearfar.views.made import Made
from nearfar.views.video.clips import Triplet

SPEC = Spec("clips", "video", (3, 5, 6, 8), 30, mean=(0.0,) * 3, std=(1.0,) * 3)
COUNT = 60


def samples() -> torch.Tensor:
    """Frame f of every clip holds 40 f + the column in all channels."""
    frames = 40 * torch.arange(5).view(1, 1, 5, 1, 1) + torch.arange(8)
    return frames.expand(COUNT, 3, 5, 6, 8).to(torch.uint8)


def made(wanted: Triplet, generator: torch.Generator | None = None) -> Made:
    views = wanted.maker(SPEC)(samples(), generator or torch.Generator().manual_seed(0))
    assert isinstance(views, Made)
    return views


def test_three_frames_follow_each_other_around_a_drawn_middle() -> None:
    plain, _ = made(Triplet(jitter=False, mirror=False))
    assert plain.shape == (COUNT, 3, 3, 6, 8)
    number = (255 * plain[:, 0, :, 0, 0] / 40).round()
    assert torch.equal(number.diff(dim=1), torch.ones(COUNT, 2))
    assert set(number[:, 1].tolist()) == {1.0, 2.0, 3.0}


def test_all_frames_are_mirrored_together_and_it_is_told() -> None:
    views = made(Triplet(jitter=False))
    mirrored = views.about["mirrored"]
    assert 10 < int(mirrored.sum()) < 50
    falling = (views[0].diff(dim=4) < 0).flatten(1)
    assert torch.equal(falling.all(1), mirrored)
    assert torch.equal(falling.any(1), mirrored)
    assert not made(Triplet(mirror=False)).about["mirrored"].any()


def test_the_light_is_that_of_all_frames_and_the_first_view_keeps_its_own() -> None:
    dark = torch.full((COUNT, 3, 5, 6, 8), 100, dtype=torch.uint8)
    views = Triplet().maker(SPEC)(dark, torch.Generator().manual_seed(0))
    assert torch.allclose(views[0], torch.full_like(views[0], 100 / 255))
    light = views[1][:, 0, :, 0, 0]
    assert torch.allclose(light, light[:, :1].expand(-1, 3), atol=1e-6)
    changed = (light[:, 0] - 100 / 255).abs() > 1e-4
    assert 10 < int(changed.sum()) < 50
    assert torch.equal(*made(Triplet(jitter=False)))


def test_ties_are_noise_of_each_pixel_and_neighbour() -> None:
    ties = made(Triplet()).about["ties"]
    assert ties.shape == (COUNT, 2, 6, 8)
    assert float(ties.std()) == pytest.approx(1, abs=0.05)


def test_processes_make_the_same_views() -> None:
    whole = made(Triplet())
    rows = torch.tensor([2, 3, 50])
    part = Triplet().maker(SPEC)(samples()[rows], PartGenerator(0, Place(rows, COUNT)))
    assert isinstance(part, Made)
    for one, other in zip(part, whole, strict=True):
        assert torch.equal(one, other[rows])
    assert torch.equal(part.about["ties"], whole.about["ties"][rows])


@pytest.mark.parametrize(
    ("spec", "settings", "sentence"),
    [
        (replace(SPEC, shape=(3, 2, 6, 8)), None, "at least 3 frames"),
        (replace(SPEC, modality="image", shape=(3, 6, 8)), None, "holds image data"),
        (SPEC, object(), "leave the settings out"),
    ],
)
def test_what_does_not_fit_is_refused(spec: Spec, settings: Any, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Triplet().maker(spec, settings)
