"""Labels of any type become class numbers or values, and say when they are of no use."""

from __future__ import annotations

import numpy as np
import pytest

from nearfar.data.labels import as_groups, as_labels, group_names


@pytest.mark.parametrize(
    ("values", "names", "numbers", "classes"),
    [
        (np.array(["dog", "cat", "dog"]), (), [1, 0, 1], ("cat", "dog")),
        (np.array(["dog", "cat", "dog"], dtype=object), (), [1, 0, 1], ("cat", "dog")),
        (np.array([10, 9, 10]), (), [1, 0, 1], ("9", "10")),
        (np.array([2, 0, 2]), ["a", "b", "c"], [2, 0, 2], ("a", "b", "c")),
        (np.array([3, 0]), ["a", "b"], [1, 0], ("0", "3")),
        (np.array([2.0, 1.0]), (), [1, 0], ("1", "2")),
        (np.array([True, False]), (), [1, 0], ("False", "True")),
    ],
)
def test_classes_are_numbered_in_order(
    values: np.ndarray, names: list[str], numbers: list[int], classes: tuple[str, ...]
) -> None:
    found = as_labels(values, names, "label")
    assert found.target == "class"
    assert found.values is not None
    assert found.values.dtype == np.int64
    assert found.values.tolist() == numbers
    assert found.classes == classes
    assert found.notes == []


@pytest.mark.parametrize("values", [np.array([0.5, 1.0, 2.0]), np.arange(60.0)])
def test_real_numbers_stay_values(values: np.ndarray) -> None:
    found = as_labels(values, (), "age")
    assert found.target == "value"
    assert found.classes == ()
    assert found.values is not None
    assert found.values.dtype == np.float32
    assert found.values.tolist() == values.tolist()


@pytest.mark.parametrize("values", [np.array([1.0, np.nan]), np.array(["a", None], dtype=object)])
def test_labels_with_gaps_are_not_used(values: np.ndarray) -> None:
    found = as_labels(values, (), "kind")
    assert found.values is None
    assert found.target == "none"
    assert "'kind' are not used: 1 of 2 are missing" in found.notes[0]


def test_one_class_only_is_noted() -> None:
    found = as_labels(np.array(["cat"] * 3), (), "label")
    assert found.target == "class"
    assert found.notes == ["All 3 samples are of one class, 'cat': such labels can judge nothing."]


def test_groups_are_numbered() -> None:
    assert as_groups(np.array(["b", "a", "b"])).tolist() == [1, 0, 1]
    assert group_names(np.array(["b", "a", "b"])) == ("a", "b")
    assert group_names(np.array([7, 3], dtype=np.int16)) == ("3", "7")
    assert as_groups(np.array(["b", None, "b"], dtype=object)).tolist() == [1, 0, 1]
