"""Things that samples share: taken, joined, seen plainly and told apart."""

from __future__ import annotations

import torch

from nearfar import modalities
from nearfar.data.marks import marks_of
from nearfar.data.spec import Spec
from nearfar.rows import Parts, Picked, concatenate, map_tensors, sample_shape, select
from nearfar.views import plain_view


def galleries() -> Picked:
    """Three samples of up to three of five numbers."""
    index = torch.tensor([[4, 0, 2], [2, 2, -1], [1, -1, -1]])
    return Picked(10 * torch.arange(5), index, torch.arange(100, 105))


def named(picked: Picked) -> list[list[int]]:
    """What each sample is made of."""
    return [[int(picked.values[one]) if one >= 0 else -1 for one in row] for row in picked.index]


def test_some_samples_keep_what_they_are_made_of_and_no_more() -> None:
    some = select(galleries(), torch.tensor([1, 0]))
    assert named(some) == [[20, 20, -1], [40, 0, 20]]
    assert sorted(some.values.tolist()) == [0, 20, 40]
    assert some.called.tolist() == [[102, 102, -1], [104, 100, 102]]
    assert named(galleries()[1:]) == [[20, 20, -1], [10, -1, -1]]


def test_samples_of_one_thing_are_that_thing() -> None:
    one = Picked(torch.arange(5), torch.tensor([3, 1, 3]), torch.arange(5))
    assert select(one, torch.tensor([2, 1])).tolist() == [3, 1]


def test_batches_are_joined() -> None:
    joined = concatenate([galleries()[:1], galleries()[1:]])
    assert named(joined) == named(galleries())
    assert joined.called.tolist() == galleries().called.tolist()
    assert sample_shape(joined) == sample_shape(galleries())
    assert map_tensors(joined, torch.clone).values.tolist() == joined.values.tolist()


def test_equal_samples_have_equal_marks() -> None:
    shared = Picked(torch.arange(4), torch.tensor([[0, 1], [2, 3], [0, 1]]), torch.arange(4))
    marks = marks_of(Parts(a=shared, b=torch.zeros(3, 2)), torch.arange(3).numpy(), whole=True)
    assert marks[0] == marks[2] != marks[1]


def test_the_plain_view_is_of_the_things() -> None:
    image = modalities.get("image").toy
    spec = Spec("pairs", "image+image", (), 3, parts={"first": image, "second": image})
    raw = modalities.toy_of(image, 4, torch.Generator().manual_seed(0))
    picked = Picked(raw, torch.tensor([[0, 1], [3, 3], [2, 0]]), torch.arange(4))
    seen = plain_view(spec)(Parts(first=raw[:3], second=picked))
    assert torch.equal(seen.second.values[:3], seen.first)
    assert torch.equal(seen.second.index, picked.index)
