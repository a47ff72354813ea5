"""Mined triplets and templates: what they promise, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from nearfar.data.selection.blocks import Grid
from nearfar.data.selection.mining import Fact, concrete, crop_box, mine_triplets
from nearfar.data.selection.queries import TASKS, Templates, templates
from nearfar.errors import UserError


def facts() -> list[Fact]:
    objects = ["table", "sofa", "tree"]
    return [
        Fact(image, subject, "on", objects[(image + shift) % 3])
        for shift, subject in enumerate(["cat", "dog"])
        for image in range(9)
    ] + [Fact(20, "idea", "of", "truth")]


def test_a_triplet_has_one_subject_two_images_and_two_objects() -> None:
    known = facts()
    found = mine_triplets(known, 50, np.random.default_rng(0))
    assert len(found) == 50
    for one in found:
        relation, _, wanted = one.condition.partition(" ")
        assert relation == "on"
        assert one.reference != one.target
        shared = [
            fact.subject for fact in known if fact.image == one.target and fact.object == wanted
        ]
        assert any(
            fact.image == one.reference and fact.subject in shared and fact.object != wanted
            for fact in known
        )


def test_subjects_are_drawn_by_their_images_and_draws_repeat() -> None:
    one = mine_triplets(facts(), 20, np.random.default_rng(3))
    assert one == mine_triplets(facts(), 20, np.random.default_rng(3))
    assert one != mine_triplets(facts(), 20, np.random.default_rng(4))


def test_a_reference_without_a_partner_is_given_up_and_none_is_refused() -> None:
    same = [Fact(0, "cat", "on", "table"), Fact(0, "cat", "on", "sofa")] * 3
    assert mine_triplets(same, 2, np.random.default_rng(0), images=1, tries=5) == []
    with pytest.raises(UserError, match="None of 3 subjects has 50 images"):
        mine_triplets(facts(), 1, np.random.default_rng(0), images=50)


def test_only_concrete_triplets_are_kept() -> None:
    ratings = {"cat": 4.9, "table": 5.0, "sofa": 5.0, "tree": 5.0}
    found = mine_triplets(facts(), 20, np.random.default_rng(0), ratings=ratings)
    assert len(found) == 20
    assert concrete(["cats"], ratings)
    assert not concrete(["cat", "dog"], ratings)
    assert not concrete([], ratings)


def known() -> tuple[list[str], list[str]]:
    """Two properties of 60 images, of which every seventh is not known."""
    first = [str(n % 5) if n % 7 else "" for n in range(60)]
    return first, ["abcd"[n % 4] for n in range(60)]


@pytest.mark.parametrize("task", TASKS)
def test_a_template_has_one_answer_and_distractors_that_meet_half(task: str) -> None:
    first, second = known()
    found = templates(first, second, 40, np.random.default_rng(0), task=task, gallery=8)
    assert len(found) == 40
    asked, other = (first, second) if task.endswith("object") else (second, first)
    for reference, condition, gallery, answers in zip(
        found.reference.tolist(),
        found.condition,
        found.gallery.tolist(),
        found.answers().tolist(),
        strict=True,
    ):
        assert len(set(gallery)) == 8
        assert reference not in gallery
        assert all(first[one] for one in [reference, *gallery])
        wanted = condition if "change" in task else asked[reference]
        meets = [asked[image] == wanted for image in gallery]
        keeps = [other[image] == other[reference] for image in gallery]
        right = [
            row
            for row in range(60)
            if first[row]
            and row != reference
            and asked[row] == wanted
            and (other[row] == other[reference]) == ("change" in task)
        ]
        assert [one for one in answers if one >= 0] == right
        if "change" in task:
            assert [one and two for one, two in zip(meets, keeps, strict=True)] == [True] + [
                False
            ] * 7
            assert all(one or two for one, two in zip(meets, keeps, strict=True))
            assert sum(keeps[1:]) == 4
        else:
            assert meets == [True] + [False] * 7
            assert sum(keeps[1:]) == 4
            assert all(
                other[image] in (other[reference], other[gallery[0]]) for image in gallery[1:]
            )


def share(found: Templates, score: np.ndarray) -> float:
    """How often the target has the highest score of its gallery."""
    return float((score[found.gallery].argmax(axis=1) == 0).mean())


@pytest.mark.parametrize("task", ["focus-object", "focus-attribute"])
def test_a_liking_for_values_without_a_reference_does_not_find_the_target(task: str) -> None:
    draws = np.random.default_rng(0)
    digits, styles = draws.integers(0, 10, 4000), draws.integers(0, 10, 4000)
    found = templates(
        digits.astype(str).tolist(),
        styles.astype(str).tolist(),
        3000,
        draws,
        task=task,  # type: ignore[arg-type]
    )
    noise = draws.random(4000) * 0.1
    asked, other = (digits, styles) if task.endswith("object") else (styles, digits)
    assert share(found, draws.permutation(10)[other] + noise) == pytest.approx(0.1, abs=0.03)
    # The target alone has its value of the property that is asked for.
    different = np.mean([1 / len(set(row)) for row in asked[found.gallery].tolist()])
    assert different < 0.16
    liked = np.mean([share(found, draws.permutation(10)[asked] + noise) for _ in range(20)])
    assert liked == pytest.approx(different, abs=0.03)


def test_rows_are_drawn_in_equal_shares_from_sets_with_gaps() -> None:
    draws = np.random.default_rng(0)
    grid = Grid(np.array([0, 1, 0, 1, 2, 0, -1]), np.array([0, 0, 1, 1, 0, 0, -1]))
    twice = np.zeros(3000, dtype=np.int64)
    block = grid.with_beside(twice).without(grid.cell(twice + 1, twice))
    assert block.every()[0].tolist() == [0, 4, 5]
    pairs = np.sort(block.drawn(twice + 2, draws), axis=1)
    counts = np.unique(pairs, axis=0, return_counts=True)
    assert counts[0].tolist() == [[0, 4], [0, 5], [4, 5]]
    assert counts[1].min() > 900
    assert block.without_rows(twice + 4).every()[0].tolist() == [0, 5]


def test_too_few_images_give_fewer_templates() -> None:
    draws = np.random.default_rng(0)
    assert len(templates([], [], 5, draws)) == 0
    for task in TASKS:
        assert len(templates(["a", "b"], ["x", "y"], 5, draws, task=task, gallery=3)) == 0


def test_wrong_inputs_get_one_sentence() -> None:
    draws = np.random.default_rng(0)
    with pytest.raises(UserError, match="expected one of change-object"):
        templates(["a"], ["b"], 1, draws, task="other")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="found 1 and 2"):
        templates(["a"], ["b", "c"], 1, draws)
    with pytest.raises(UserError, match="at least 2"):
        templates(["a"], ["b"], 1, draws, gallery=1)
    with pytest.raises(UserError, match="is not known"):
        crop_box((0, 0, 1, 1), (2, 2), form="other")  # type: ignore[arg-type]


def test_boxes_stay_in_the_image() -> None:
    assert crop_box((0, 0, 10, 10), (12, 12), form="symmetric") == (0, 0, 12, 12)
    assert crop_box((5, 5, 10, 10), (100, 100)) == (0, 0, 17, 17)
