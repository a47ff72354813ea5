"""Few-shot episodes: a loop twin, chance and certainty, the interval, and what cannot be drawn."""

from __future__ import annotations

import pytest
import torch

from nearfar.errors import UserError
from nearfar.evaluation.features import Labelled
from nearfar.evaluation.probes.few_shot import drawn_episodes, few_shot, few_shot_accuracies

LABELS = torch.tensor(
    [3, 0, 1, 4, 0, 1, 3, 4, 0, 1, 4, 3, 3, 1, 0, 4]
)  # four samples of each of 0, 1, 3, 4; none of 2


def labelled(dimension: int = 3) -> Labelled:
    features = torch.randn(len(LABELS), dimension, generator=torch.Generator().manual_seed(0))
    return Labelled(features, LABELS, 5)


@pytest.mark.parametrize("unit", [False, True])
def test_equals_its_loop(unit: bool) -> None:
    data = labelled()
    shape = {"way": 3, "shot": 2, "query": 2, "episodes": 5, "seed": 4}
    features = torch.nn.functional.normalize(data.features, dim=1) if unit else data.features
    expected = []
    for support, query in drawn_episodes(LABELS, **shape):
        means = {}
        for label in LABELS[support].unique().tolist():
            means[label] = torch.stack(
                [features[row] for row in support.tolist() if LABELS[row] == label]
            ).mean(0)
        named = [
            min(means, key=lambda label: float((features[row] - means[label]).norm()))
            for row in query.tolist()
        ]
        expected.append(
            sum(int(LABELS[row]) == name for row, name in zip(query.tolist(), named, strict=True))
            / len(query)
        )
    assert few_shot_accuracies(data, **shape, unit=unit) == pytest.approx(expected)


def test_episodes_are_class_by_class_and_their_rows_distinct() -> None:
    for support, query in drawn_episodes(LABELS, way=4, shot=1, query=3, episodes=20, seed=0):
        assert len(set(support.tolist() + query.tolist())) == 16
        assert torch.equal(LABELS[query].view(4, 3), LABELS[support][:, None].expand(4, 3))
        assert len(LABELS[support].unique()) == 4


def test_separated_classes_are_certain_and_noise_is_chance() -> None:
    label = torch.arange(400) % 4
    certain = few_shot(Labelled(torch.eye(4)[label], label, 4), way=4, query=5, episodes=50)
    assert certain == (1.0, 1.0, 1.0)
    noise = torch.randn(400, 8, generator=torch.Generator().manual_seed(1))
    chance = few_shot(Labelled(noise, label, 4), way=4, query=5, episodes=400)
    assert chance.low < 0.25 < chance.high
    assert chance.high - chance.low < 0.03


def test_the_same_seed_draws_the_same_episodes() -> None:
    data = labelled()
    first, again, other = (
        few_shot_accuracies(data, way=2, query=3, episodes=30, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again != other


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"way": 5}, r"need as many classes with 2 samples \(1 shots, 1 queries\); found 4"),
        ({"way": 2, "query": 4}, "found 0: lower the ways"),
        ({"way": 1}, "expected at least 2 ways"),
        ({"shot": 0}, "expected at least 2 ways and 1 of each other"),
    ],
)
def test_what_cannot_be_drawn_is_refused(values: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        few_shot(labelled(), **{"way": 2, "shot": 1, "query": 1} | values)
