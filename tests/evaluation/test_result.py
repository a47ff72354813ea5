"""Scores: to JSON and back, to the terminal, to HTML."""

from __future__ import annotations

import io
import json
import math

import pytest
from rich.console import Console

from nearfar.errors import UserError
from nearfar.evaluation import Evaluation, Score


def example() -> Evaluation:
    scores = (
        Score("trained", "knn-v1", "kNN accuracy", 0.873, 0.85, 0.894, "test samples", 540, "%"),
        Score("trained", "ridge-v1", "R2", 0.1, -0.05, 0.25, "test samples", 540),
        Score("trained", "geometry-v1", "effective rank", 12.3456),
        Score(
            "<b>raw", "knn-v1", "kNN accuracy", 0.4, 0.3, 0.5, "test samples", 540, "%", "k [20]"
        ),
        Score("<b>raw", "ridge-v1", "R2", math.nan),
    )
    return Evaluation("digits [bold]", scores, {"knn-v1": "k=20"}, ("a note",))


def test_json_round_trip_is_exact_and_strict() -> None:
    text = example().to_json()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    again = Evaluation.from_json(text)
    assert again.to_json() == text
    assert again.scores[0] == example().scores[0]
    assert math.isnan(again.scores[2].low)


def test_lookup() -> None:
    found = example()
    assert found.value("kNN accuracy") == 0.873
    assert found.score("kNN accuracy", "<b>raw").setting == "k [20]"
    assert found.rows() == ["trained", "<b>raw"]
    assert found.metrics() == ["kNN accuracy", "R2", "effective rank"]
    with pytest.raises(
        UserError,
        match=r"no 'recall' of 'trained'; measured were kNN accuracy, R2, effective rank of "
        r"trained",
    ):
        found.value("recall")


def test_a_later_evaluation_replaces_the_protocols_that_it_holds() -> None:
    later = Evaluation(
        "digits",
        (Score("trained", "knn-v2", "kNN accuracy", 0.5), Score("trained", "ood-v1", "AUROC", 0.9)),
        {"knn-v2": "k=5", "ood-v1": "outsiders"},
        ("another", "a note"),
    )
    found = example().updated(later)
    assert [
        (s.protocol, s.value)
        for s in found.scores
        if s.row == "trained" and s.protocol != "ridge-v1"
    ] == [
        ("geometry-v1", 12.3456),
        ("knn-v2", 0.5),
        ("ood-v1", 0.9),
    ]
    assert found.protocols == {"knn-v2": "k=5", "ood-v1": "outsiders"}
    assert found.notes == ("a note", "another")


def test_the_table_shows_numbers_intervals_and_protocols() -> None:
    output = io.StringIO()
    Console(file=output, width=120).print(example().table())
    text = output.getvalue()
    for part in (
        "digits [bold]",
        "87.3 (85.0–89.4)",
        "0.100 (-0.050 to 0.250)",
        "12.346",
        "undefined",
        "–",
        "knn-v1: k=20",
        "a note",
    ):
        assert part in text


def test_protocols_with_other_rows_get_their_own_table() -> None:
    found = example()
    assert found.to_html().count("<table>") == 2  # no effective rank of the raw input
    scores = tuple(s for s in found.scores if s.protocol != "geometry-v1")
    assert Evaluation("digits", scores).to_html().count("<table>") == 1


def test_html_is_escaped() -> None:
    page = example().to_html()
    assert "<th scope='col'>&lt;b&gt;raw</th>" in page
    assert "<td>87.3 (85.0–89.4)</td>" in page
    assert "<b>" not in page
