"""Which curves a report shows."""

from __future__ import annotations

from typing import Any

from nearfar.reports.sections import terms


def test_every_term_and_diagnostic_has_a_curve_where_there_is_more_than_the_loss() -> None:
    rows: list[dict[str, Any]] = [
        {"step": 1, "loss": 3.0, "terms": {"info_nce": 3.0, "positive_score": 0.2}},
        {"step": 1, "knn": 0.5},
        {"step": 2, "loss": 2.0, "terms": {"info_nce": 2.0, "positive_score": 0.1}},
    ]
    charts = terms(rows)
    assert set(charts) == {"term-info_nce", "term-positive_score"}
    chart = charts["term-positive_score"]
    assert chart["title"] == "positive score"
    (points,) = chart["datasets"].values()
    assert points == [{"step": 1, "value": 0.2}, {"step": 2, "value": 0.1}]
    assert terms([{"step": 1, "loss": 3.0, "terms": {"nt_xent": 3.0}}]) == {}
