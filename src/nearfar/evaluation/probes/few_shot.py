"""Few-shot episodes: a handful of samples names each class, and the nearest class mean must name
the rest.

Source: Snell et al. 2017, "Prototypical Networks for Few-shot Learning", sections 2.2 and 3
    (evaluation).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from nearfar.errors import UserError
from nearfar.evaluation.features import Labelled
from nearfar.evaluation.kernels.intervals import Interval, mean_interval

EPISODES = 600
"""The field's usual number, which holds the interval of a mean accuracy at about half a point."""


def few_shot(
    data: Labelled,
    *,
    way: int = 5,
    shot: int = 1,
    query: int = 15,
    episodes: int = EPISODES,
    seed: int = 0,
    unit: bool = False,
) -> Interval:
    """Mean accuracy in [0, 1] over episodes with its 95 % interval (t over episodes); arguments as
    for ``few_shot_accuracies``.
    """
    return mean_interval(
        few_shot_accuracies(
            data, way=way, shot=shot, query=query, episodes=episodes, seed=seed, unit=unit
        )
    )


def few_shot_accuracies(
    data: Labelled,
    *,
    way: int = 5,
    shot: int = 1,
    query: int = 15,
    episodes: int = EPISODES,
    seed: int = 0,
    unit: bool = False,
) -> list[float]:
    """Accuracy in [0, 1] of each episode: its queries go to the class whose mean of the ``shot``
    features is nearest.

    Args:
        data: features of samples of the classes to tell apart, as a rule classes that were not
            trained on.
        way: classes in an episode, at least 2.
        shot: named samples of each class, at least 1.
        query: samples to be named of each class, at least 1.
        episodes: number of episodes, at least 1.
        seed: of the draws; the same seed draws the same episodes from any features.
        unit: whether features are scaled to unit length first.

    Raises:
        UserError: if a number is out of range, or fewer than ``way`` classes have ``shot + query``
            samples.
    """
    features = normalize(data.features, dim=1) if unit else data.features
    truth = torch.arange(way).repeat_interleave(query).to(features.device)
    accuracies = []
    for support, rest in drawn_episodes(
        data.labels.cpu(), way=way, shot=shot, query=query, episodes=episodes, seed=seed
    ):
        means = features[support.to(features.device)].view(way, shot, -1).mean(dim=1)
        predicted = torch.cdist(features[rest.to(features.device)], means).argmin(dim=1)
        accuracies.append(float((predicted == truth).double().mean()))
    return accuracies


def drawn_episodes(
    labels: Tensor, *, way: int, shot: int, query: int, episodes: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """For each episode the rows of its support set (way * shot,) and of its queries (way * query,),
    both class by class.

    Args:
        labels: (N,) int64 on the CPU; otherwise as for ``few_shot_accuracies``.
    """
    if way < 2 or min(shot, query, episodes) < 1:
        raise UserError(
            f"Episodes of {way} ways, {shot} shots and {query} queries, {episodes} times, cannot "
            "be drawn; expected at least 2 ways and 1"
            " of each other."
        )
    members = [rows for rows in _rows_by_class(labels) if len(rows) >= shot + query]
    if len(members) < way:
        raise UserError(
            f"Episodes of {way} ways need as many classes with {shot + query} samples ({shot} "
            f"shots, {query} queries); found"
            f" {len(members)}: lower the ways, the shots or the queries, or take more samples."
        )
    generator = torch.Generator().manual_seed(seed)
    for _ in range(episodes):
        chosen = torch.randperm(len(members), generator=generator)[:way].tolist()
        drawn = [
            members[c][torch.randperm(len(members[c]), generator=generator)[: shot + query]]
            for c in chosen
        ]
        episode = torch.stack(drawn)
        yield episode[:, :shot].flatten(), episode[:, shot:].flatten()


def _rows_by_class(labels: Tensor) -> Sequence[Tensor]:
    return torch.split(labels.argsort(stable=True), labels.bincount().tolist())
