"""Series views: each operator against a loop, then whole views."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.views import SeriesViewSettings, WantedViews, make_views, plain_view
from nearfar.views import series as module

SPEC = Spec("beats", "series", (2, 50), 100, mean=(1.0, -2.0), std=(0.5, 3.0))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def beats(count: int = 8) -> Tensor:
    return torch.randn(count, 2, 50, generator=generator(4))


@pytest.mark.parametrize("style", ["contrastive", "asymmetric", "crop", "plain"])
def test_shapes_types_and_determinism(style: str) -> None:
    make = make_views(SPEC, WantedViews(local=2, style=style, noise=5))
    views = make(beats(), generator())
    again = make(beats(), generator())
    other = make(beats(), generator(1))
    assert [tuple(view.shape) for view in views] == [(8, 2, 50)] * 2 + [(8, 2, 22)] * 2
    assert views.about["noise"].shape == (8, 5)
    assert all(view.dtype == torch.float32 and view.isfinite().all() for view in views)
    assert all(torch.equal(a, b) for a, b in zip(views, again, strict=True))
    assert torch.equal(views[0], other[0]) == (style == "plain")
    assert torch.equal(views[0], views[1]) == (style == "plain")


def test_plain_is_the_normalised_series() -> None:
    samples = beats()
    before = samples.clone()
    expected = (samples - torch.tensor([[1.0], [-2.0]])) / torch.tensor([[0.5], [3.0]])
    torch.testing.assert_close(plain_view(SPEC)(samples), expected)
    assert torch.equal(samples, before)
    views = make_views(SPEC, WantedViews(style="plain"))(samples, generator())
    assert torch.equal(views[0], plain_view(SPEC)(samples))


def test_a_view_depends_on_its_own_sample_only() -> None:
    make = make_views(SPEC, WantedViews(local=1, style="asymmetric"))
    samples = beats()
    other = samples.clone()
    other[3] += 1
    for before, after in zip(make(samples, generator()), make(other, generator()), strict=True):
        same = (before == after).flatten(1).all(1)
        assert same.tolist() == [row != 3 for row in range(8)]


@pytest.mark.parametrize("length", [50, 22, 90])
def test_crop_is_interpolation_of_the_stretch(length: int) -> None:
    series = torch.randn(3, 2, 50, dtype=torch.float64)
    start = torch.tensor([0, 10, 35])
    width = torch.tensor([50, 30, 15])
    cropped = module.crop_and_resample(series, start, width, length)
    for number, (first, steps) in enumerate(zip(start.tolist(), width.tolist(), strict=True)):
        at = first + (np.arange(length) + 0.5) * steps / length - 0.5
        for channel in range(2):
            expected = np.interp(at, np.arange(50), series[number, channel].numpy())
            np.testing.assert_allclose(
                cropped[number, channel].numpy(), expected, rtol=0, atol=1e-12
            )
    whole = functional.interpolate(series[:1], size=length, mode="linear", align_corners=False)
    torch.testing.assert_close(cropped[:1], whole, rtol=0, atol=1e-12)


def test_segments_change_places_as_a_loop_does_it() -> None:
    series = torch.randn(4, 2, 23)
    segments = torch.tensor([2, 3, 5, 1])
    priority = torch.rand(4, 5)
    permuted = module.permute_segments(series, segments, priority)
    for number, count in enumerate(segments.tolist()):
        edges = [-(-23 * piece // count) for piece in range(count + 1)]
        pieces = [series[number, :, a:b] for a, b in pairwise(edges)]
        assert (
            max(piece.shape[1] for piece in pieces) - min(piece.shape[1] for piece in pieces) <= 1
        )
        order = priority[number, :count].argsort().tolist()
        assert torch.equal(permuted[number], torch.cat([pieces[piece] for piece in order], dim=1))


def test_a_blank_span_covers_its_steps() -> None:
    blanked = module.blank_span(
        torch.ones(3, 2, 10), torch.tensor([2.0, 0.0, 4.4]), torch.tensor([3.0, 10.0, 0.2])
    )
    expected = torch.ones(3, 10)
    expected[0, 2:5], expected[1], expected[2, 4] = 0, 0, 0
    assert torch.equal(blanked, expected[:, None].expand(3, 2, 10))


def test_strengths_are_what_they_say() -> None:
    flat = torch.ones(4000, 2, 20)
    noisy = module.augment(flat, SeriesViewSettings(noise=0.3), 20, generator())
    assert abs((noisy - flat).std() - 0.3) < 0.005
    assert abs((noisy - flat).mean()) < 0.005
    scaled = module.augment(flat, SeriesViewSettings(scaling=0.2), 20, generator())
    assert torch.equal(scaled, scaled[:, :, :1].expand_as(scaled))
    assert abs(scaled[:, :, 0].mean() - 1) < 5 * 0.2 / 8000**0.5
    assert abs(scaled[:, :, 0].std() - 0.2) < 0.01
    assert abs(torch.corrcoef(scaled[:, :, 0].T)[0, 1]) < 0.1
    blanked = module.augment(flat, SeriesViewSettings(mask=0.5, masked=(0.2, 0.2)), 20, generator())
    assert set((blanked[:, 0] == 0).sum(1).tolist()) == {0, 4}
    assert abs((blanked == 0).any(2)[:, 0].float().mean() - 0.5) < 0.04
    ramp = torch.arange(20.0).expand(4000, 2, 20)
    permuted = module.augment(ramp, SeriesViewSettings(permute=1.0, segments=4), 20, generator())
    assert torch.equal(permuted.sort(2).values, ramp)
    pieces = 1 + (permuted[:, 0].diff(dim=1) != 1).sum(1)
    assert set(pieces.tolist()) == {1, 2, 3, 4}


def test_crops_cover_the_share_they_should() -> None:
    ramp = torch.arange(1000.0).expand(2000, 1, 1000)
    cropped = module.augment(ramp, SeriesViewSettings(scale=(0.2, 0.6)), 1000, generator())[:, 0]
    share = (cropped[:, -1] - cropped[:, 0]) / 1000
    assert 0.195 < share.min() < 0.21
    assert 0.59 < share.max() < 0.605
    assert abs(share.mean() - 0.4) < 0.01
    assert abs((cropped[:, 0] + cropped[:, -1]).mean() / 2 - 500) < 20


def test_wrong_samples_settings_and_styles_are_named() -> None:
    with pytest.raises(
        UserError,
        match=r"'beats' are float64 \(8, 2, 50\): series views expect .* float32 tensor of shape "
        r"\(N, 2, 50\)",
    ):
        plain_view(SPEC)(beats().double())
    with pytest.raises(UserError, match=r"'beats' are float32 \(8, 50\)"):
        make_views(SPEC, WantedViews())(beats()[:, 0], generator())
    with pytest.raises(UserError, match="Unknown view style 'strong'"):
        make_views(SPEC, WantedViews(style="strong"))
    with pytest.raises(UserError, match="has 1 means and 2 standard deviations: expected 2"):
        plain_view(replace(SPEC, mean=(1.0,)))(beats())
    changes = [
        {"permute": 2.0},
        {"segments": 1},
        {"scale": (0.0, 1.0)},
        {"masked": (0.5, 0.2)},
        {"noise": -0.1},
    ]
    for change in changes:
        with pytest.raises(
            UserError, match=f"series view setting {next(iter(change))} is .*: expected"
        ):
            SeriesViewSettings(**change)  # type: ignore[arg-type]
