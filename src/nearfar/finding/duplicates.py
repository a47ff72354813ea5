"""Near-duplicates of an embedded set: pairs of samples that lie closer together than the set itself
explains.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from nearfar.evaluation.features import check_features
from nearfar.evaluation.kernels.principal import principal
from nearfar.evaluation.probes.knn import nearest

NEIGHBOURS = 12
"""Nearest neighbours of each sample that the distribution of distances is read from."""
SCALE = 6
"""The distance to this neighbour is the scale that a sample's nearer neighbours are measured by."""
FALSE_PAIRS = 0.5
"""Expected number of pairs in the whole set that are called near-duplicates by chance."""
WIDEST = 0.4
"""Near-duplicates are at most this share of the scale apart."""
IDENTICAL = 2e-5
"""Samples closer than this share of the distance of random pairs are the same, however many they
are.
"""
LARGE_SHARE = 0.1
"""If more samples than this share could go, a reader is warned."""
TOLERANCE = 1e-9
"""Of cosines, which are computed in float64."""
FLOOR = 1e-3
"""Directions of less than this share of the mean variance are rounding and noise, and are not drawn
up further.
"""
_FEWEST = 2 * NEIGHBOURS
_BLOCK = 1024


@dataclass(frozen=True)
class Duplicates:
    """Groups of near-duplicates.

    Attributes:
        groups: rows of each group, largest group first. The first row of a group is the one to
            keep. All members of a group are near-duplicates of each other.
        similarities: for each group the cosine of every member with the group's first member.
        typical: median over the samples of the cosine to the nearest neighbour.
        samples: number of samples that were looked at.
    """

    groups: tuple[tuple[int, ...], ...]
    similarities: tuple[tuple[float, ...], ...]
    typical: float
    samples: int

    @property
    def extra(self) -> int:
        """Number of samples that could go."""
        return sum(len(group) - 1 for group in self.groups)

    def notes(self) -> list[str]:
        """What a reader of the groups must know: the usual cosine, and a warning if suspiciously
        many could go.
        """
        if math.isnan(self.typical):
            return []
        told = [
            "For comparison: the median cosine of a sample to its nearest neighbour is "
            f"{self.typical:.4f}."
        ]
        share = self.extra / self.samples
        if share > LARGE_SHARE:
            told.append(
                f"Warning: {100 * share:.0f} % of the samples could go. Look at some groups before "
                "you remove anything, "
                "because an encoder that does not tell samples apart finds duplicates where there "
                "are none."
            )
        return told


def near_duplicates(features: Tensor, threshold: float | None = None) -> Duplicates:
    """Groups of samples that are near-duplicates of each other.

    By default a pair is judged by the distances around it. The features are scaled to unit length,
    centred and evened out, so that a direction that all samples share says nothing. Where the set
    has m dimensions near a sample, its nearest neighbour lies within a share s of the distance to
    its k-th neighbour with a probability of about (k - 1) s^m. The pair is a near-duplicate if s is
    so small that less than ``FALSE_PAIRS`` such pairs are expected in the whole set.

    Args:
        features: (N, D).
        threshold: in (-1, 1]; if given, a pair is a near-duplicate if the cosine of its features,
            which are not centred, is at least this.

    Source: the law of the ratio is that of Facco et al. 2017, "Estimating the intrinsic dimension
        of datasets by a
    minimal neighborhood information", section 2; its use as a test for duplicates is ours.
    """
    plain = normalize(check_features(features, "index").double(), dim=1)
    count = len(plain)
    if count == 1:
        return Duplicates((), (), math.nan, 1)
    if threshold is None:
        compared = _evened(plain)
        limits, most_similar = _limits(compared)
    else:
        compared = plain
        limits = plain.new_full((count,), float(threshold))
        most_similar = _without_own(*nearest(plain, plain, k=2))[:, 0]
    groups = _groups(compared, limits, most_similar >= limits - TOLERANCE)
    similarities = tuple(_cosines(plain, group) for group in groups)
    typical = _without_own(*nearest(plain, plain, k=2))[:, 0].median()
    return Duplicates(tuple(map(tuple, groups)), similarities, float(typical), count)


def _evened(unit: Tensor) -> Tensor:
    """Unit rows without their common direction, with the spreads of their principal directions
    drawn together.

    Copies agree in every direction, other samples only in the few directions of large spread that
    an encoder was trained for; the square root of the spread lets the others count. Few rows stay
    as they are, as they do not show a distribution.
    """
    if len(unit) < _FEWEST:
        return unit
    turn = principal(unit)
    if not len(turn.variance):
        return unit
    evened = turn(unit) * (turn.variance + FLOOR * turn.variance.mean()) ** -0.25
    return normalize(evened, dim=1)


def _limits(unit: Tensor) -> tuple[Tensor, Tensor]:
    """For each row the least cosine (N,) that a near-duplicate of it has, and its largest cosine
    (N,) to another row.
    """
    count = len(unit)
    random = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    apart = float(_distance((unit * unit[random.roll(1)[random.argsort()]]).sum(dim=1)).median())
    cosine = _without_own(*nearest(unit, unit, k=min(NEIGHBOURS, count - 1) + 1))
    distance = _distance(cosine)
    limit = distance.new_full((count,), IDENTICAL * apart)
    if count >= _FEWEST:
        share = _share(distance)
        limit = torch.maximum(limit, share * distance[:, SCALE - 1])
    return 1 - limit.square() / 2, cosine[:, 0]


def _share(distance: Tensor) -> float:
    """The share of the distance to neighbour ``SCALE`` below which a neighbour is a
    near-duplicate.
    """
    count = len(distance)
    ratio = (
        distance[:, NEIGHBOURS - 1] / distance[:, NEIGHBOURS // 2 - 1].clamp_min(1e-12)
    ).clamp_min(1 + 1e-9)
    # (distance 6 / distance 12) ** m has the median 1/2 where the set has m dimensions.
    dimension = math.log(2) / max(float(ratio.log().median()), 1e-9)
    share = math.exp(math.log(FALSE_PAIRS / (count * (SCALE - 1))) / dimension)
    return min(share, WIDEST)


def _distance(cosine: Tensor) -> Tensor:
    return (2 - 2 * cosine).clamp_min(0).sqrt()


def _without_own(cosine: Tensor, row: Tensor) -> Tensor:
    """Cosines (N, k) to the k nearest other rows, from those to the k + 1 nearest rows."""
    own = row == torch.arange(len(row))[:, None]
    own[:, -1] |= ~own.any(dim=1)  # of many equal rows the own one need not be among the nearest
    return cosine[~own].view(len(row), -1)


def _groups(unit: Tensor, limits: Tensor, has_near: Tensor) -> list[list[int]]:
    """Disjoint groups of rows, each near to every other of its group, largest group first.

    A pair is near if its cosine reaches the larger limit of the two. Each group is begun by the
    first row that is in none, and takes the rows that are near to all of its members, the most
    similar to its first row first.
    """
    rows = has_near.nonzero().flatten()
    left = torch.ones(len(rows), dtype=torch.bool)
    unit = unit[rows]
    limits = limits[rows]
    groups = []
    for start in range(0, len(rows), _BLOCK):
        near = _near(unit, limits, torch.arange(start, min(start + _BLOCK, len(rows))))
        for first in range(start, min(start + _BLOCK, len(rows))):
            if not left[first]:
                continue
            members = _clique(unit, limits, first, (near[first - start] & left).nonzero().flatten())
            left[members] = False
            if len(members) > 1:
                groups.append(sorted(rows[members].tolist()))
    return sorted(groups, key=lambda group: (-len(group), group[0]))


def _near(unit: Tensor, limits: Tensor, which: Tensor) -> Tensor:
    """Whether some rows (B,) are near to each row: (B, N). A row is near to itself."""
    cosine = unit[which] @ unit.T
    near = cosine >= torch.maximum(limits[which][:, None], limits[None, :]) - TOLERANCE
    near[torch.arange(len(which)), which] = True
    return near


def _clique(unit: Tensor, limits: Tensor, first: int, candidates: Tensor) -> list[int]:
    """The first row and those of its near rows that are near to all that were taken before."""
    order = (unit[candidates] @ unit[first]).argsort(descending=True, stable=True)
    candidates = candidates[order]
    members = [first]
    candidates = candidates[candidates != first]
    while len(candidates):
        taken = int(candidates[0])
        candidates = candidates[1:]
        members.append(taken)
        cosine = unit[candidates] @ unit[taken]
        candidates = candidates[
            cosine >= torch.maximum(limits[candidates], limits[taken]) - TOLERANCE
        ]
    return members


def _cosines(unit: Tensor, group: list[int]) -> tuple[float, ...]:
    found: list[float] = (unit[group] @ unit[group[0]]).clamp(-1, 1).tolist()
    return tuple(found)
