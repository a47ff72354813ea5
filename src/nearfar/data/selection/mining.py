"""Triplets of a reference, a condition and a target, from (subject, relation, object) captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nearfar.errors import UserError

__all__ = ["Fact", "Triplet", "concrete", "crop_box", "mine_triplets"]


@dataclass(frozen=True)
class Fact:
    """What a caption says of its image: "a cat", "on", "a table".

    Attributes:
        image: Row number of the image.
        subject: Noun.
        relation: Words between.
        object: Noun.
    """

    image: int
    subject: str
    relation: str
    object: str


@dataclass(frozen=True)
class Triplet:
    """A reference image, the condition, and the image that meets it.

    Attributes:
        reference: Row number.
        condition: The target's relation and object.
        target: Row number of another image of the same subject.
    """

    reference: int
    condition: str
    target: int


def concrete(words: Sequence[str], ratings: Mapping[str, float], least: float = 4.8) -> bool:
    """Whether words name things one can see: their mean concreteness exceeds ``least``.

    A plural takes its singular's rating; a word without a rating has -1.

    >>> concrete(["cats", "table"], {"cat": 4.9, "table": 4.95}), concrete(["idea"], {"idea": 1.6})
    (True, False)

    Source: Brysbaert et al. 2014, "Concreteness ratings for 40 thousand generally known English
    word lemmas", as GeneCIS uses them.
    """
    if not words:
        return False
    rated = dict(ratings)
    for word, rating in ratings.items():
        rated.setdefault(f"{word}s", rating)
    return sum(rated.get(word, -1.0) for word in words) / len(words) > least


def mine_triplets(
    facts: Sequence[Fact],
    count: int,
    generator: np.random.Generator,
    *,
    images: int = 5,
    objects: int = 2,
    tries: int = 100,
    ratings: Mapping[str, float] | None = None,
    concreteness: float = 4.8,
) -> list[Triplet]:
    """Draw triplets: two images of one subject with different objects.

    A subject is drawn in proportion to its images, a reference fact of it uniformly, and for the
    target first an object, then a fact with it, until object and image differ from the reference's.

    Args:
        facts: Parsed captions.
        count: Triplets that are wanted.
        generator: Source of the draws.
        images: Fewest images of a subject.
        objects: Fewest different objects of a subject.
        tries: Draws of a target before its reference is given up, and draws of a reference for each
            triplet.
        ratings: Concreteness of nouns, 1 to 5; None takes all.
        concreteness: Least mean rating of subject and objects, exclusive.

    Returns:
        ``count`` triplets; fewer where ``tries`` draws for each do not find them.

    Raises:
        UserError: If no subject has enough images and objects.

    Example:
        >>> facts = [Fact(0, "cat", "on", "table"), Fact(1, "cat", "under", "chair")]
        >>> mine_triplets(facts, 1, np.random.default_rng(0), images=2)[0].condition
        'on table'

    Source: Vaze et al. 2023, "GeneCIS", section 4.1.
    """
    of_subject: dict[str, list[Fact]] = {}
    for fact in facts:
        of_subject.setdefault(fact.subject, []).append(fact)
    fit = {
        subject: known
        for subject, known in of_subject.items()
        if len({one.image for one in known}) >= images
        and len({one.object for one in known}) >= objects
    }
    if not fit:
        raise UserError(
            f"None of {len(of_subject):,} subjects has {images} images and {objects} objects;"
            " give more captions or ask for fewer."
        )
    subjects = sorted(fit)
    weight = np.array([len({one.image for one in fit[subject]}) for subject in subjects], float)
    found: list[Triplet] = []
    for _ in range(tries * count):
        if len(found) == count:
            break
        known = fit[subjects[generator.choice(len(subjects), p=weight / weight.sum())]]
        reference = known[generator.integers(len(known))]
        target = _target(known, reference, generator, tries)
        if target is None:
            continue
        words = [reference.subject, reference.object, target.object]
        if ratings is None or concrete(words, ratings, concreteness):
            condition = f"{target.relation} {target.object}"
            found.append(Triplet(reference.image, condition, target.image))
    return found


def crop_box(
    box: tuple[float, float, float, float],
    size: tuple[float, float],
    *,
    share: float = 0.7,
    form: Literal["released", "symmetric"] = "released",
) -> tuple[float, float, float, float]:
    """An object's box enlarged by a share of its size, within the image.

    Args:
        box: Left, top, width and height.
        size: Width and height of the image.
        share: Of the box's size, from 0 on.
        form: "released" adds the share at the left and the top only, as the released code does, so
            that scores can be compared; "symmetric" adds it on each side.

    Returns:
        Left, top, right and bottom.

    Example:
        >>> crop_box((10, 10, 10, 10), (100, 100))
        (3.0, 3.0, 20.0, 20.0)
        >>> crop_box((10, 10, 10, 10), (100, 100), form="symmetric")
        (3.0, 3.0, 27.0, 27.0)

    Source: Vaze et al. 2023, "GeneCIS", released evaluation.
    """
    left, top, width, height = box
    if form not in ("released", "symmetric") or not share >= 0:
        raise UserError(f"A box enlarged by {share} in the form {form!r} is not known.")
    begin = max(0.0, left - share * width), max(0.0, top - share * height)
    if form == "released":
        end = begin[0] + (1 + share) * width, begin[1] + (1 + share) * height
    else:
        end = left + (1 + share) * width, top + (1 + share) * height
    return *begin, min(float(size[0]), end[0]), min(float(size[1]), end[1])


def _target(
    known: Sequence[Fact], reference: Fact, generator: np.random.Generator, tries: int
) -> Fact | None:
    """A fact with another object in another image; None where ``tries`` draws find none."""
    objects = sorted({one.object for one in known})
    for _ in range(tries):
        wanted = objects[generator.integers(len(objects))]
        having = [one for one in known if one.object == wanted]
        target = having[generator.integers(len(having))]
        if target.object != reference.object and target.image != reference.image:
            return target
    return None
