"""Queries with galleries are judged beside what each half alone finds."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar import data
from nearfar.data.prepare import prepared
from nearfar.data.prepare.triplets import ANSWERS
from nearfar.data.samples import Source
from nearfar.errors import UserError
from nearfar.evaluation import Wanted, evaluate
from nearfar.evaluation.result import Evaluation
from nearfar.methods.method import Method
from nearfar.reports.meanings import meaning
from nearfar.results.ranking import Ranking
from nearfar.testing.toys import toy
from nearfar.views import plain_view

WANTED = Wanted(("conditional",))


@cache
def source() -> Source:
    return prepared(
        data.load("digit-cis", limit=200), ("triplets:count=20,queries=25,gallery=3",), seed=0
    )


class Told(Method):
    """A method that ranks as it is told to."""

    predicts = Ranking
    answer: Any = None

    def predict(self, x: Any) -> Ranking:
        return Ranking(self.answer(x), x.target.called)

    def encode(self, x: Any) -> Tensor:
        return torch.ones(len(x), 2)


def told(answer: Any) -> Told:
    method = Told(toy("simclr")[0].encoder, source().spec).eval()
    method.answer = answer
    return method


def judged(answer: Any) -> Evaluation:
    return evaluate(told(answer), source(), plain_view(source().spec), wanted=WANTED)


def knowing(x: Any) -> Tensor:
    """Scores of one who knows the right image of each gallery, by what it looks like."""
    right = x.target.index[:, :1]
    known = dict(zip(told_rows(x), source().test.annotations[ANSWERS], strict=True))
    held = source().test.content["target"].numbers
    answers = [held[known[row][known[row] >= 0]] for row in told_rows(x)]
    hits = [torch.isin(x.target.called[place], answers[place]) for place in range(len(right))]
    return torch.stack(hits).float()


def told_rows(x: Any) -> list[int]:
    return list(range(len(x)))


def test_one_who_knows_is_always_right_also_among_all_images() -> None:
    found = judged(knowing)
    for metric in ("R@1", "R@1, focus-object", "R@3", "R@1, whole set"):
        assert found.value(metric) == 1
        assert meaning(metric) is not None
    assert found.value("R@1", "chance") == pytest.approx(1 / 3)
    assert 0 < found.value("R@1, whole set", "chance") < 0.5


def test_one_who_knows_nothing_is_never_right_as_ties_count_against_him() -> None:
    found = judged(lambda x: torch.zeros(x.target.index.shape))
    assert found.value("R@1") == found.value("R@2") == found.value("R@3, whole set") == 0
    assert found.value("R@3") == 1  # of three candidates


def test_the_headline_is_the_mean_over_tasks_of_unequal_size() -> None:
    first = source()
    assert first.test is not None
    kept = torch.arange(60)  # 25 of two tasks and 10 of a third
    some = first.test.subset(kept)

    def answer(x: Any) -> Tensor:
        scores = torch.zeros(x.target.index.shape)
        scores[:25, 0] = 1
        return scores

    method = told(answer)
    few = Source(first.spec, first.train, some, members=first.members)
    found = evaluate(method, few, plain_view(first.spec), wanted=WANTED)
    tasks = [s for s in found.scores if s.metric.startswith("R@1, ") and "whole" not in s.metric]
    own = [s.value for s in tasks if s.row == "trained"]
    assert sorted(own) == [0, 0, 1]
    assert found.value("R@1") == pytest.approx(1 / 3)
    low, high = found.score("R@1").low, found.score("R@1").high
    assert low == high == pytest.approx(1 / 3)  # nothing varies within a task
    kept_values = found.answers.values["R@1", "trained"]
    assert float(kept_values.mean()) == pytest.approx(1 / 3)


def test_data_without_galleries_are_asked_for_them() -> None:
    plain = Source(source().spec, source().train, None, members=source().members)
    with pytest.raises(UserError, match="queries with galleries"):
        evaluate(told(knowing), plain, plain_view(plain.spec), wanted=WANTED)


def test_a_ranking_names_its_candidates_and_leaves_out_places_without_one() -> None:
    scores = torch.tensor([[0.1, 0.9, 0.5], [0.3, -torch.inf, 0.4]])
    candidates = torch.tensor([[2, 0, 1], [1, -1, 0]])
    columns = Ranking(scores, candidates).named(["a", "b", "c"]).columns(["x", "y"])
    assert columns["best"] == [["a", "b", "c"], ["a", "b"]]
    assert [len(row) for row in columns["score"]] == [3, 2]
    assert Ranking(scores).columns(["x", "y"])["best"][0] == [1, 2, 0]
