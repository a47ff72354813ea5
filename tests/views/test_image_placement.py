"""Boxes tell where views look, in PixPro's convention; two centres can be kept apart; each view may
have its own source.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.views import ImageViewSettings, WantedViews, make_views
from nearfar.views.image.placement import Placement, centres_apart, placements, relative_boxes

SPEC = Spec("ramps", "image", (1, 24, 40), 8, mean=(0.0,), std=(1.0,))


def ramp() -> torch.Tensor:
    """Images whose pixels hold their column number."""
    return torch.arange(40, dtype=torch.uint8).expand(64, 1, 24, 40).contiguous()


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_relative_boxes_run_from_first_to_last_pixel_and_turn_with_the_mirror() -> None:
    boxes = torch.tensor([[2.0, 4.0, 10.0, 20.0]]).expand(2, 4)
    found = relative_boxes(Placement(boxes, torch.tensor([False, True])), (24, 40))
    x0 = 4 / 39
    x1 = 23 / 39
    y0 = 2 / 23
    y1 = 11 / 23
    assert_close(found, torch.tensor([[x0, y0, x1, y1], [x1, y0, x0, y1]]))


def test_a_box_says_what_the_view_shows() -> None:
    settings = ImageViewSettings(scale=(0.2, 0.8), flip=0.5)
    views = make_views(SPEC, WantedViews(boxes=True), settings=settings)
    made = views([ramp(), ramp()], generator())
    first = made[0]
    boxes = made.about["boxes"]
    assert boxes.shape == (64, 2, 4)
    left = boxes[:, 0, 0] * 39
    right = boxes[:, 0, 2] * 39
    shown = first[:, 0, 12] * 255
    # the first and last output pixels lie half an output step inside the box
    step = (right - left).abs().add(1) / 40
    assert_close(shown[:, 0], left + (step - 1) / 2 * (right - left).sign(), atol=0.51, rtol=0)
    assert ((shown[:, -1] - shown[:, 0]).sign() == (right - left).sign()).all()


def test_centres_are_kept_apart_as_far_as_ten_draws_allow() -> None:
    settings = [ImageViewSettings(scale=(0.1, 0.3))] * 2
    sides = (24, 40)
    free = placements(2000, sides, settings, generator())
    apart = placements(2000, sides, settings, generator(), centre_distance=0.2)
    least = 0.2 * math.hypot(*sides)
    assert (centres_apart(*(p.boxes for p in free)) < least).float().mean() > 0.2
    assert (centres_apart(*(p.boxes for p in apart)) < least).float().mean() < 0.01
    kept = centres_apart(*(p.boxes for p in free)) >= least
    assert torch.equal(apart[1].boxes[kept], free[1].boxes[kept])


def test_without_a_distance_the_views_are_those_without_boxes() -> None:
    wanted = WantedViews(whole=1, further=("plain", "crop"))
    plain = make_views(SPEC, wanted)(ramp(), generator())
    assert [view.shape for view in plain] == [(64, 1, 24, 40)] * 3
    assert_close(plain[1], ramp() / 255)
    assert not torch.equal(plain[0], plain[1])


def test_each_view_may_have_a_source_of_its_own() -> None:
    views = make_views(SPEC, WantedViews(style="plain"))([ramp(), 39 - ramp()], generator())
    assert_close(views[1], (39 - ramp()) / 255)


def test_series_have_no_boxes() -> None:
    spec = Spec("waves", "series", (1, 32), 8, mean=(0.0,), std=(1.0,))
    for wanted in (WantedViews(boxes=True), WantedViews(centre_distance=0.1)):
        with pytest.raises(UserError, match="needs crop boxes, which series views do not have"):
            make_views(spec, wanted)
