"""Mined triplets and templates: what they promise, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from nearfar.data.selection.mining import (
    TASKS,
    Fact,
    concrete,
    crop_box,
    mine_triplets,
    templates,
)
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


@pytest.mark.parametrize("task", TASKS)
def test_a_template_has_one_answer_and_distractors_that_meet_half(task: str) -> None:
    first, second = [str(n % 5) for n in range(60)], ["abcd"[n % 4] for n in range(60)]
    found = templates(first, second, 12, np.random.default_rng(0), task=task, gallery=8)
    assert len(found) == 12
    asked, other = (first, second) if task.endswith("object") else (second, first)
    for one in found:
        assert len(set(one.gallery)) == 8
        assert one.reference not in one.gallery
        for place, image in enumerate(one.gallery):
            keeps = other[image] == other[one.reference]
            meets = asked[image] == (one.condition if "change" in task else asked[one.reference])
            if "change" in task:
                assert (keeps and meets) == (place == 0)
                assert keeps or meets
            else:
                assert meets == (place == 0)
                assert keeps == (place != 0)


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
