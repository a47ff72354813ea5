"""Expansions: reference batches, order of rows, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nearfar.errors import UserError
from nearfar.views.image.expansions import EXPANSIONS, expand, transformations

REFERENCE = {
    "rotation": "rotation",
    "rotation-2": "rotation2",
    "colour": "color_perm",
    "colour-3": "color_perm3",
    "rotation-colour-6": "rot_color_perm6",
    "rotation-colour-12": "rot_color_perm12",
    "rotation-colour-24": "rot_color_perm24",
}


@pytest.mark.parametrize("name", REFERENCE)
def test_equals_the_reference(golden: Any, name: str) -> None:
    case = golden("b-sla-transforms")
    assert torch.equal(expand(case["in_x"], name), case[f"out_{REFERENCE[name]}"])


@pytest.mark.parametrize("name", EXPANSIONS)
def test_rows_are_sample_major_the_first_unchanged_and_all_distinct(name: str) -> None:
    images = torch.rand(3, 3, 4, 4)
    count = transformations(name, (3, 4, 4))
    rows = expand(images, name).view(3, count, 3, 4, 4)
    assert torch.equal(rows[:, 0], images)
    assert torch.equal(rows[1], expand(images[1:2], name))
    assert len({tuple(row.flatten().tolist()) for row in rows[0]}) == count


def test_a_quarter_turn_is_counter_clockwise() -> None:
    image = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert expand(image, "rotation")[1].tolist() == [[[2.0, 4.0], [1.0, 3.0]]]


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("rotate", (3, 8, 8), "Unknown expansion 'rotate': did you mean rotation"),
        ("rotation", (3, 8, 9), "turns images by 90 degrees but they are 8 x 9: take rotation-2"),
        (
            "colour",
            (1, 8, 8),
            r"exchanges colours but images have 1 channel\(s\), not 3: take rotation",
        ),
    ],
)
def test_what_does_not_fit_is_refused(name: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        transformations(name, shape)
