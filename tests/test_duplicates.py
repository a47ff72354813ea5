"""Planted copies are found by encoders of different spread, groups do not chain, and nothing else
is lost.
"""

from __future__ import annotations

import io

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from torch import Tensor
from torch.nn.functional import normalize

from nearfar.data import load
from nearfar.evaluation.features import averaged, extract, raw_features
from nearfar.finding.duplicates import near_duplicates
from nearfar.networks import build
from nearfar.verbs.search import Answer
from nearfar.views import plain_view

from .scenes import copies, encoded, scenes

PLANTED = 60


def random(rows: int, dimensions: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, dimensions, generator=torch.Generator().manual_seed(seed))


def pairs(groups: tuple[tuple[int, ...], ...]) -> set[tuple[int, int]]:
    return {
        (first, second) for group in groups for first in group for second in group if first < second
    }


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("encoder", ["pixels", "convnet", "narrow"])
def test_planted_copies_are_found_and_nothing_else(encoder: str, seed: int) -> None:
    originals, kind = scenes(400, seed)
    features = encoded(
        encoder, torch.cat([originals, copies(originals[:PLANTED])]), originals, kind
    )
    found = pairs(near_duplicates(features).groups)
    right = len(found & {(row, 400 + row) for row in range(PLANTED)})
    assert right / PLANTED >= 0.9
    assert right / len(found) >= 0.8
    assert near_duplicates(features[:400]).extra == 0


def test_the_narrow_encoder_is_narrow() -> None:
    originals, kind = scenes(400)
    unit = normalize(encoded("narrow", originals, originals, kind), dim=1)
    assert float((unit @ unit.T).median()) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize("dimensions", [4, 8, 64])
@pytest.mark.parametrize("clusters", [1, 10])
def test_sets_without_copies_lose_nothing_worth_speaking_of(dimensions: int, clusters: int) -> None:
    centres = 20 * random(clusters, dimensions, 5)
    lost = [
        near_duplicates(centres[torch.arange(600) % clusters] + random(600, dimensions, seed)).extra
        for seed in range(5)
    ]
    assert sum(lost) <= 5  # half a pair is expected by chance in each


def test_identical_samples_are_found_however_many_they_are() -> None:
    features = random(200, 16)
    features[100:160] = features[7]
    found = near_duplicates(features)
    assert found.groups == ((7, *range(100, 160)),)
    assert found.similarities[0] == pytest.approx([1.0] * 61)
    assert "30 % of the samples could go" in found.notes()[1]


def test_tiny_sets_and_sets_of_one_value() -> None:
    assert near_duplicates(torch.ones(1, 3)).groups == ()
    assert near_duplicates(torch.tensor([[1.0, 0.0], [0.0, 1.0]])).groups == ()
    assert near_duplicates(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])).groups == ((0, 1),)
    assert near_duplicates(torch.ones(50, 3)).groups == (tuple(range(50)),)


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 40), st.floats(0.3, 0.99), st.integers(0, 99))
def test_groups_by_a_threshold_do_not_chain(rows: int, threshold: float, seed: int) -> None:
    features = random(rows, 3, seed)
    near = normalize(features, dim=1) @ normalize(features, dim=1).T >= threshold - 1e-5
    groups = near_duplicates(features, threshold).groups
    members = [row for group in groups for row in group]
    assert len(set(members)) == len(members)
    assert all(near[first, second] for first, second in pairs(groups))
    # Each group is as large as it can be: no row that is left could be a group with another one
    # that is left.
    left = [row for row in range(rows) if row not in members]
    strictly = normalize(features, dim=1) @ normalize(features, dim=1).T >= threshold + 1e-5
    assert not any(strictly[first, second] for first in left for second in left if first < second)


def test_a_chain_is_cut() -> None:
    angle = torch.arange(6) * 0.1
    features = torch.stack([angle.cos(), angle.sin()], dim=1)
    assert near_duplicates(features, threshold=0.99).groups == ((0, 1), (2, 3), (4, 5))


@pytest.mark.parametrize("name", ["digits", "cluttered-digits", "colour-digits"])
def test_built_in_sets_without_copies_lose_nothing(name: str) -> None:
    source = load(name)
    view = plain_view(source.spec)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = build(None, source.spec).eval()
    pixels = raw_features(source.train, view, averaged)
    assert len(torch.unique(pixels, dim=0)) == len(pixels)
    assert near_duplicates(pixels).extra == 0
    assert near_duplicates(extract(encoder, source.train, view)).extra == 0


def test_the_shown_list_is_bounded_and_says_so() -> None:
    rows = tuple((row, f"id{row}", "", 0.5) for row in range(30))
    answer = Answer(
        "groups", ("group", "id", "label", "cosine to first"), rows, ("A note [b].",), most=10
    )
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(answer.table())
    text = console.export_text()
    assert "id9" in text
    assert "id10" not in text
    assert "A note [b]. 20 further rows are not shown; --most 0 shows all." in " ".join(
        text.split()
    )
    assert len(answer.rows) == 30
