"""Triplets of a reference, a condition and a target, from (subject, relation, object) captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nearfar.errors import UserError

__all__ = ["Fact", "Template", "Triplet", "concrete", "crop_box", "mine_triplets", "templates"]

Task = Literal["change-object", "focus-object", "change-attribute", "focus-attribute"]
TASKS: tuple[Task, ...] = ("change-object", "focus-object", "change-attribute", "focus-attribute")


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


@dataclass(frozen=True)
class Template:
    """A query with its gallery.

    Attributes:
        reference: Row number.
        condition: A word or phrase.
        gallery: Row numbers, the target first.
        right: Row numbers of all images that answer the query, ascending.
    """

    reference: int
    condition: str
    gallery: tuple[int, ...]
    right: tuple[int, ...] = ()


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


def templates(
    first: Sequence[str],
    second: Sequence[str],
    count: int,
    generator: np.random.Generator,
    *,
    task: Task = "change-object",
    gallery: int = 10,
    names: tuple[str, str] = ("object", "attribute"),
) -> list[Template]:
    """Queries that neither the image nor the condition answers alone.

    Each image has two properties. With "focus" the condition is the name of one property, and the
    target shares its value with the reference while the other property differs; distractors share
    the other property with the reference. With "change" the condition is a new value of one
    property, and the target has this value and the reference's other property; half of the
    distractors have the new value alone, the others the reference's other property alone.

    Args:
        first: Value of the first property of each image, such as its object or digit.
        second: Value of the second property, such as its attribute or style.
        count: Templates that are wanted.
        generator: Source of the draws.
        task: Which property the condition is about: "object" is the first, "attribute" the second.
        gallery: Images of a gallery, the target among them; at least 2.
        names: What the conditions of the "focus" tasks call the two properties.

    Returns:
        ``count`` templates; fewer where the images do not allow them.

    Raises:
        UserError: For an unknown task, or properties of different length.

    Example:
        >>> digits, styles = ["1", "2", "3"] * 4, ["thin", "bold"] * 6
        >>> found = templates(digits, styles, 1, np.random.default_rng(0), gallery=3)
        >>> len(found[0].gallery)
        3

    Source: Vaze et al. 2023, "GeneCIS", section 3; the rule for two known properties is made here.
    """
    if task not in TASKS:
        raise UserError(f"The task is {task!r}; expected one of {', '.join(TASKS)}.")
    if len(first) != len(second):
        raise UserError(f"Two properties of the same images; found {len(first)} and {len(second)}.")
    if gallery < 2:
        raise UserError(f"A gallery of {gallery} images was asked for; expected at least 2.")
    change = task.startswith("change")
    asked, other = (first, second) if task.endswith("object") else (second, first)
    values, about = np.unique(np.asarray(asked), return_inverse=True)
    beside = np.unique(np.asarray(other), return_inverse=True)[1]
    found: list[Template] = []
    for _ in range(100 * count):
        if len(found) == count:
            break
        reference = int(generator.integers(len(about)))
        here = np.arange(len(about)) != reference
        same_about, same_beside = about == about[reference], beside == beside[reference]
        if change:
            wanted = int(generator.integers(len(values)))
            if wanted == about[reference]:
                continue
            meets = about == wanted
            right, condition_alone = here & meets & same_beside, here & meets & ~same_beside
            image_alone = here & ~meets & same_beside
            condition = str(values[wanted])
        else:
            right, image_alone = here & same_about & ~same_beside, here & ~same_about & same_beside
            condition_alone = np.zeros_like(here)
            condition = names[0] if task.endswith("object") else names[1]
        distractors = _distractors(condition_alone, image_alone, gallery - 1, generator)
        if distractors is None or not right.any():
            continue
        answers = np.flatnonzero(right)
        target = int(generator.choice(answers))
        gallery_rows = (target, *distractors)
        found.append(Template(reference, condition, gallery_rows, tuple(answers.tolist())))
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


def _distractors(
    condition_alone: np.ndarray, image_alone: np.ndarray, count: int, generator: np.random.Generator
) -> tuple[int, ...] | None:
    """Different images, half of each kind where both are there; None where they are too few."""
    kinds = [np.flatnonzero(kind) for kind in (condition_alone, image_alone)]
    if sum(map(len, kinds)) < count:
        return None
    half = min(len(kinds[0]), max(count // 2, count - len(kinds[1])))
    chosen = [generator.choice(kinds[0], half, replace=False)]
    chosen.append(generator.choice(kinds[1], count - half, replace=False))
    return tuple(int(one) for one in generator.permutation(np.concatenate(chosen)))
