"""Views of sound, clips and points: shapes, determinism, and each operator against what it
promises.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.views import (
    AudioViewSettings,
    PointViewSettings,
    WantedViews,
    audio,
    make_views,
    plain_view,
    points,
)

AUDIO = Spec("sounds", "audio", (8, 40), 100, mean=(-4.0,) * 8, std=(2.0,) * 8)
VIDEO = Spec("clips", "video", (3, 4, 16, 16), 100, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2))
POINTS = Spec("objects", "points", (3, 64), 100, mean=(0.0, 0.0, 1.0), std=(2.0, 2.0, 1.0))
SPECS = {"audio": AUDIO, "video": VIDEO, "points": POINTS}
LOCAL = {"audio": (8, 17), "video": (3, 4, 7, 7), "points": (3, 28)}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def samples(modality: str, count: int = 6) -> Tensor:
    shape = (count, *SPECS[modality].shape)
    if modality == "video":
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator(4))
    return torch.randn(shape, generator=generator(4))


@pytest.mark.parametrize("modality", SPECS)
@pytest.mark.parametrize("style", ["contrastive", "weak", "asymmetric", "crop", "plain"])
def test_shapes_types_and_determinism(modality: str, style: str) -> None:
    make = make_views(SPECS[modality], WantedViews(local=1, style=style, further=("plain",)))
    raw = samples(modality)
    before = raw.clone()
    views = make(raw, generator())
    again = make(raw, generator())
    other = make(raw, generator(1))
    assert [tuple(v.shape[1:]) for v in views] == [SPECS[modality].shape] * 2 + [
        LOCAL[modality],
        SPECS[modality].shape,
    ]
    assert all(v.dtype == torch.float32 and v.isfinite().all() for v in views)
    assert all(torch.equal(a, b) for a, b in zip(views, again, strict=True))
    assert torch.equal(views[0], other[0]) == (style == "plain")
    assert torch.equal(views[-1], plain_view(SPECS[modality])(raw))
    assert torch.equal(raw, before)


@pytest.mark.parametrize("modality", SPECS)
def test_a_view_depends_on_its_own_sample_only(modality: str) -> None:
    make = make_views(SPECS[modality], WantedViews(local=1))
    raw = samples(modality)
    changed = raw.clone()
    changed[3] = raw[3].flip(-1) + 1
    for before, after in zip(make(raw, generator()), make(changed, generator()), strict=True):
        assert (before == after).flatten(1).all(1).tolist() == [row != 3 for row in range(6)]


@pytest.mark.parametrize("modality", SPECS)
def test_wrong_samples_are_refused(modality: str) -> None:
    with pytest.raises(UserError, match=f"{modality} views expect"):
        plain_view(SPECS[modality])(torch.zeros(2, 5))


def test_a_louder_view_is_louder_by_at_most_its_gain() -> None:
    raw = samples("audio")
    view = audio.augment(raw, AudioViewSettings(gain=6.0), 40, generator(), spec=AUDIO)
    change = (view - plain_view(AUDIO)(raw)) * 2.0  # undo the deviation
    torch.testing.assert_close(change, change[:, :1, :1].expand_as(change))
    assert float(change.abs().max()) <= 0.6 * math.log(10)
    assert len(change[:, 0, 0].unique()) == 6


@pytest.mark.parametrize(("name", "axis", "size"), [("masked_time", 2, 40), ("masked_bands", 1, 8)])
def test_masks_blank_one_span_of_all_the_rest(name: str, axis: int, size: int) -> None:
    view = audio.augment(
        samples("audio", 200), AudioViewSettings(**{name: 0.5}), 40, generator(), spec=AUDIO
    )  # type: ignore[arg-type]
    blank = (view == 0).all(dim=3 - axis)
    assert torch.equal(view == 0, blank.unsqueeze(3 - axis).expand_as(view))
    assert float(blank.sum(dim=1).max()) <= size / 2 + 1
    assert bool((blank.int().diff(dim=1).abs().sum(dim=1) <= 2).all())  # one span


def test_all_frames_of_a_clip_are_changed_alike() -> None:
    still = samples("video")[:, :, :1].expand(-1, -1, 4, -1, -1).contiguous()
    for view in make_views(VIDEO, WantedViews(local=1, style="asymmetric"))(still, generator()):
        assert torch.equal(view, view[:, :, :1].expand_as(view))


def test_points_are_turned_about_the_vertical_and_keep_their_distances() -> None:
    raw = samples("points")
    found = points.turned(raw, torch.full((6,), math.pi / 2))
    torch.testing.assert_close(found, torch.stack([-raw[:, 1], raw[:, 0], raw[:, 2]], dim=1))
    found = points.turned(raw, torch.rand(6) * 7)
    before, after = (
        (cloud[:, :, :, None] - cloud[:, :, None]).norm(dim=1) for cloud in (raw, found)
    )
    torch.testing.assert_close(after, before)


def test_a_part_holds_the_points_nearest_to_its_middle() -> None:
    raw = samples("points", 1)
    part = points.nearest_part(raw, torch.tensor([0.5]), torch.tensor([0.25]), 64)[0]
    distance = (raw[0] - raw[0, :, 32:33]).square().sum(dim=0)
    nearest = raw[0][:, distance.argsort()[:16]]
    distinct, counts = part.unique(dim=1, return_counts=True)
    assert torch.equal(distinct, nearest.unique(dim=1))
    assert counts.tolist() == [4] * 16


def test_thinned_clouds_repeat_what_is_left() -> None:
    raw = samples("points", 3)
    found = points.thinned(
        raw, torch.rand(3, 64, generator=generator()), torch.tensor([0.5, 1.0, 0.001])
    )
    assert [len(cloud.unique(dim=1)[0]) for cloud in found] == [32, 64, 1]


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (AudioViewSettings, {"gain": -1.0}, "audio view setting gain is -1.0"),
        (AudioViewSettings, {"scale": (0.0, 1.0)}, "audio view setting scale"),
        (PointViewSettings, {"dropout": 1.0}, "point view setting dropout is 1.0"),
        (PointViewSettings, {"scale": (0.9, 0.5)}, "point view setting scale"),
    ],
)
def test_settings_outside_their_range_are_refused(
    kind: Any, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        kind(**values)
