"""Reduction of nearly equal images: golden values, loops, groups, errors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from nearfar.data.selection.reduction import (
    difference_hash,
    hamming,
    mutual_information,
    reduce_images,
    structural_similarity,
    thinned,
)
from nearfar.errors import UserError
from tests.losses.cases import close, named
from tests.references import ReferenceCase

Golden = Callable[[str], ReferenceCase]


@pytest.mark.parametrize("name", [*named("e-lim-dhash-*"), *named("e-lim-greedy*")])
def test_hashes_and_thinning_reference(golden: Golden, name: str) -> None:
    """Another version of Pillow may flip single bits of a hash, so one bit an image may differ."""
    case = golden(name)
    if "dhash" in name:
        bits = difference_hash(case["in_images"].numpy())
        assert (bits != case["out_hash"].bool()).sum(dim=1).max() <= 1
        given = case["out_hash"].bool()
    else:
        given = case["in_hash"].bool()
    distance = hamming(given)
    assert torch.equal(distance, case["out_hamming"])
    for threshold in (3, 6, 12):
        assert thinned(distance <= threshold) == case[f"out_kept_{threshold}"].tolist()


@pytest.mark.parametrize("name", named("e-lim-infotheory*"))
def test_information_and_structure_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    images = case["in_images"].numpy()
    information, share = mutual_information(images, bins=int(case["hp_bins"]))
    close(information, case["out_mi"])
    close(share, case["out_nmi"])
    structure = structural_similarity(images, window=int(case["hp_ssim_window"]))
    close(structure, case["out_ssim"])
    assert thinned(share >= case["hp_nmi_threshold"]) == case["out_kept_nmi"].tolist()
    assert thinned(structure >= case["hp_ssim_threshold"]) == case["out_kept_ssim"].tolist()


def near_copies() -> tuple[np.ndarray, list[int]]:
    """Three pictures, each with four copies under a little noise; and which picture is where."""
    draws = np.random.default_rng(0)
    pictures = draws.integers(20, 230, (3, 64, 64))
    order = [0, 0, 1, 2, 1, 0, 2, 2, 1, 0, 1, 2]
    copies = [pictures[one] + draws.integers(-1, 2, (64, 64)) for one in order]
    return np.stack(copies).astype(np.uint8), order


@pytest.mark.parametrize("strategy", ["hash", "ssim", "mi", "deep"])
def test_one_of_near_copies_remains_in_all_and_in_each_group(strategy: str) -> None:
    images, order = near_copies()
    features = torch.nn.functional.one_hot(torch.tensor(order)).float()
    assert reduce_images(images, strategy, features=features).tolist() == [0, 2, 3]
    groups = np.arange(12) % 2
    found = reduce_images(images, strategy, features=features, groups=groups)
    firsts: dict[tuple[int, int], int] = {}
    for place, picture in enumerate(order):
        firsts.setdefault((place % 2, picture), place)
    assert found.tolist() == sorted(firsts.values())


def test_all_and_every_nth() -> None:
    images, _ = near_copies()
    assert reduce_images(images, "all").tolist() == list(range(12))
    assert reduce_images(images, "every", every=5).tolist() == [0, 5, 10]
    assert reduce_images(images, "hash", threshold=64).tolist() == [0]


def test_a_constant_image_is_like_itself() -> None:
    images = np.full((2, 8, 8), 7, np.uint8)
    assert mutual_information(images)[1].tolist() == [[1, 1], [1, 1]]
    assert structural_similarity(images).tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"strategy": "best"}, "strategy of reduction"),
        ({"every": 0}, "at least 1"),
        ({"threshold": float("nan")}, "expected a number"),
        ({"groups": [0]}, "12 images and groups"),
        ({"strategy": "deep"}, "needs one row of features"),
    ],
)
def test_wrong_settings_get_one_sentence(how: dict[str, object], said: str) -> None:
    images, _ = near_copies()
    with pytest.raises(UserError, match=said):
        reduce_images(images, **how)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="uint8"):
        difference_hash(images.astype(float))
    with pytest.raises(UserError, match="do not fit"):
        structural_similarity(images, window=70)
    with pytest.raises(UserError, match="2 to 256"):
        mutual_information(images, bins=1)
