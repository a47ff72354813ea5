"""What each test sample adds is kept, read back, and never mixed up with another evaluation."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest

from nearfar.evaluation import Evaluation, Wanted, evaluate
from nearfar.evaluation.answers import Answers, fingerprint
from nearfar.views import plain_view

from .toys import Flatten, image_source


def judged(target: str = "class") -> Evaluation:
    source = image_source(target=target, train=150)
    return evaluate(Flatten(16).eval(), source, plain_view(source.spec), wanted=Wanted(seeds=2))


@pytest.mark.parametrize(
    ("target", "metrics"), [("class", {"kNN accuracy", "linear accuracy"}), ("value", {"R2"})]
)
def test_their_mean_is_the_score(target: str, metrics: set[str]) -> None:
    found = judged(target)
    assert {metric for metric, _ in found.answers.values} == metrics
    for (metric, row), values in found.answers.values.items():
        assert values.mean(dtype=np.float64) == pytest.approx(found.value(metric, row), abs=1e-6)


def test_they_are_read_back_and_stay_out_of_the_json(tmp_path: Path) -> None:
    found = judged()
    found.answers.write(tmp_path / "a.npz")
    again = Answers.read(tmp_path / "a.npz")
    assert again.test == found.answers.test
    assert again.values.keys() == found.answers.values.keys()
    assert all((again.values[key] == value).all() for key, value in found.answers.values.items())
    assert "answers" not in found.to_json()
    assert Evaluation.from_json(found.to_json()) == found


def test_damaged_missing_and_pickled_files_are_empty(tmp_path: Path) -> None:
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 and no more")
    names = np.array([["m", "trained"]])
    np.savez(
        tmp_path / "object.npz",
        test=np.array("t"),
        names=names,
        **{"0": np.array([pickle.dumps, 1], dtype=object)},
    )
    np.savez(
        tmp_path / "nan.npz",
        test=np.array("t"),
        names=names,
        **{"0": np.array([np.nan], dtype=np.float32)},
    )
    for name in ("cut.npz", "object.npz", "nan.npz", "none.npz"):
        assert Answers.read(tmp_path / name) == Answers()


def test_values_of_another_evaluation_are_not_used() -> None:
    answers = Answers("t", {("m", "trained"): np.array([0, 1, 1, 0], dtype=np.float32)})
    assert answers.of("m", "trained", 0.5) is not None
    assert answers.of("m", "trained", 0.6) is None
    assert answers.of("m", "raw input", 0.5) is None
    later = Answers("t", {("n", "trained"): np.ones(4, dtype=np.float32)})
    assert answers.updated(later).values.keys() == {("m", "trained"), ("n", "trained")}
    assert answers.updated(dataclasses.replace(later, test="u")).values.keys() == {("n", "trained")}


def test_the_fingerprint_is_of_names_and_labels() -> None:
    test = image_source().test
    assert test is not None
    assert fingerprint(test) == fingerprint(dataclasses.replace(test, label=test.label.clone()))
    assert fingerprint(test) != fingerprint(dataclasses.replace(test, label=test.label.flip(0)))
    assert fingerprint(test) != fingerprint(dataclasses.replace(test, ids=[*test.ids[1:], "other"]))
