"""Which rows a verdict compares a method with."""

from __future__ import annotations

import math

import pytest

from nearfar.comparison.judged import baselines_of
from nearfar.evaluation import Evaluation
from nearfar.evaluation.protocol import Protocol
from nearfar.evaluation.protocols import all_protocols
from nearfar.evaluation.result import BASELINES, Score

DECISIVE = [one for one in all_protocols() if one.judges is not None and one.beats]


@pytest.mark.parametrize("protocol", DECISIVE, ids=lambda one: one.name)
def test_a_method_that_predicts_must_beat_the_simple_answers(protocol: Protocol) -> None:
    rows = ("trained", "another answer", *protocol.beats, BASELINES[0])
    scores = tuple(
        Score(row, protocol.version, "made", 0.5, math.nan, math.nan, "", 0, "") for row in rows
    )
    found = baselines_of(Evaluation("made", scores), "made")
    assert found == [BASELINES[0], *protocol.beats]
