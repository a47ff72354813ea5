"""Marks of content: whole samples, or their middle where the data are large."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nearfar.data.marks import marks_of


@pytest.mark.parametrize("place", [0, 5000, 9999])
@pytest.mark.parametrize("whole", [True, False])
def test_whole_marks_see_every_byte_and_others_the_middle(place: int, whole: bool) -> None:
    content = torch.zeros(2, 10_000, dtype=torch.uint8)
    content[1, place] = 1
    first, second = marks_of(content, np.arange(2), whole=whole).tolist()
    assert (first != second) == (whole or place == 5000)
