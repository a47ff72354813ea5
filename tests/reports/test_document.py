"""Pages hold what they promise, escape what they show, and findings say what the numbers say."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch

from nearfar.data.spec import Spec
from nearfar.evaluation.answers import Answers
from nearfar.evaluation.kernels.similarities import BINS, histograms
from nearfar.evaluation.result import Evaluation, Score
from nearfar.reports.charts import confusion, curve
from nearfar.reports.document import Section, chart, document
from nearfar.reports.health import findings, gain
from nearfar.reports.maps import embedding_map
from nearfar.reports.pictures.samples import element, pictures


def test_a_page_is_self_contained_escaped_and_navigable() -> None:
    spec = curve([{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}], "loss", "</script><b>")
    page = document(
        "<i>title</i>",
        "<p>lead</p>",
        [Section("One & two", chart("c", 'say "this"'), {"c": spec}), Section("Three", "")],
    )
    assert "&lt;i&gt;title&lt;/i&gt;" in page
    assert 'aria-label="say &quot;this&quot;"' in page
    assert '<a href="#part-one---two">' in page
    assert 'id="part-one---two"' in page
    assert "</script><b>" not in page
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
    assert '<html lang="en">' in page
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_the_map_has_a_select_box_for_the_colours() -> None:
    points = [
        {"x": 0.0, "y": 1.0, "label": "a", "cluster": "c1", "image": "data:", "caption": "x"}
    ] * 3
    spec = embedding_map(points, {"label": "label", "cluster": "k-means"})
    (choice,) = [p for p in spec["params"] if p["name"] == "colour"]
    assert choice["bind"]["options"] == ["colour0", "colour1"]
    assert choice["bind"]["labels"] == ["label", "k-means"]
    (values,) = spec["datasets"].values()
    assert values[0] == {
        "x": 0.0,
        "y": 1.0,
        "colour0": "a",
        "colour1": "c1",
        "image": "data:",
        "caption": "x",
    }
    assert "params" in embedding_map(points, {})


def test_confusion_counts_true_by_predicted() -> None:
    spec = confusion(torch.tensor([[3, 1], [0, 2]]), ["cat", "dog"])
    (cells,) = spec["datasets"].values()
    assert {(c["true"], c["predicted"]): c["samples"] for c in cells} == {
        ("cat", "cat"): 3,
        ("cat", "dog"): 1,
        ("dog", "cat"): 0,
        ("dog", "dog"): 2,
    }
    squares, numbers = spec["layer"]
    assert squares["encoding"]["color"]["scale"]["domain"] == [0, 1]
    assert numbers["mark"]["type"] == "text"
    assert {c["true"]: sum(o["share"] for o in cells if o["true"] == c["true"]) for c in cells} == {
        "cat": 1.0,
        "dog": 1.0,
    }


def test_histograms_part_positives_from_negatives() -> None:
    features = torch.eye(30)
    found = histograms(features, features)
    assert found["positive_similarity"] == [0.0] * (BINS - 1) + [1.0]
    middle = BINS // 2
    assert found["negative_similarity"][middle] == 1.0
    collapsed = histograms(torch.ones(5, 4), torch.ones(5, 4))
    assert collapsed["positive_similarity"] == collapsed["negative_similarity"]


def evaluation(
    trained: float, metric: str = "kNN accuracy", unit: str = "%", width: float = 0.02
) -> Evaluation:
    values = {"trained": trained, "random encoder": 0.4, "raw input": 0.3}
    protocol = {"R2": "ridge-v2"}.get(metric, "knn-v1")
    scores = (
        Score(row, protocol, metric, v, v - width, v + width, "test samples", 100, unit)
        for row, v in values.items()
    )
    return Evaluation("toys", tuple(scores))


@pytest.mark.parametrize(
    ("found", "state", "told"),
    [
        (
            evaluation(0.7),
            "good",
            "By kNN accuracy the encoder is 30.0 points above the random encoder, the better "
            "baseline.",
        ),
        (
            evaluation(0.2),
            "bad",
            "By kNN accuracy the encoder is 20.0 points below the random encoder, the better "
            "baseline.",
        ),
        (
            evaluation(0.41),
            "open",
            "above the random encoder, the better baseline; this is not sure, the",
        ),
        (
            evaluation(0.4),
            "open",
            "is level with the random encoder, the better baseline; this is not sure",
        ),
        (evaluation(0.7, "R2", ""), "good", "By R2 the encoder is 0.300 above the random encoder"),
        (
            evaluation(0.7, width=math.nan),
            "open",
            "above the random encoder, the better baseline; whether that is more than",
        ),
    ],
)
def test_the_gain_is_told_with_its_doubt(found: Evaluation, state: str, told: str) -> None:
    better = gain(found)
    assert better is not None
    assert better.state == state
    assert told in better.text()


def with_linear(knn: float, linear: float, paired: bool = False) -> Evaluation:
    values = {}
    scores = []
    for metric, of in (("kNN accuracy", (knn, 0.4)), ("linear accuracy", (linear, 0.4))):
        for row, share in zip(("trained", "random encoder"), of, strict=True):
            right = (np.arange(1000) * 0.61803 % 1 < share).astype(np.float32)
            values[metric, row] = right
            scores.append(
                Score(
                    row,
                    "p-v1",
                    metric,
                    float(right.mean()),
                    share - 0.03,
                    share + 0.03,
                    "test samples",
                    1000,
                    "%",
                )
            )
    return Evaluation("toys", tuple(scores), answers=Answers("t", values) if paired else Answers())


@pytest.mark.parametrize(
    ("knn", "linear", "state", "learned"),
    [
        (0.3, 0.5, "open", True),
        (0.41, 0.5, "good", True),
        (0.3, 0.41, "bad", False),
        (0.41, 0.39, "open", False),
        (0.5, 0.6, "good", True),
    ],
)
def test_nothing_learned_never_stands_beside_a_sure_gain(
    knn: float, linear: float, state: str, learned: bool
) -> None:
    better = gain(with_linear(knn, linear))
    assert better is not None
    assert (better.state, better.learned) == (state, learned)
    said = " ".join(text for _, text in findings([], with_linear(knn, linear), 128))
    assert ("learned nothing useful" in said) == (not learned)
    assert ("not sure" in said) == any(abs(v - 0.4) < 0.02 for v in (knn, linear))


def test_a_gain_that_overlapping_intervals_hide_is_seen_by_pairing() -> None:
    paired = gain(with_linear(0.43, 0.43, paired=True))
    alone = gain(with_linear(0.43, 0.43))
    assert paired is not None
    assert alone is not None
    assert (paired.state, alone.state) == ("good", "open")


def test_what_is_neither_better_high_nor_low_is_no_gain() -> None:
    assert gain(evaluation(0.7, "uniformity", "")) is None


def test_findings_say_what_the_numbers_say() -> None:
    rows = [
        {
            "step": i,
            "loss": 5.0 - i / 10,
            "knn": 0.3 + i / 50,
            "effective_rank": 40.0,
            "relative_std": 0.9,
        }
        for i in range(8)
    ]
    said = findings(rows, evaluation(0.7), 128)
    assert all(fine for fine, _ in said)
    assert (
        "By kNN accuracy the encoder is 30.0 points above the random encoder, the better baseline."
        in [text for _, text in said]
    )
    assert any("a longer run should help" in text for _, text in said)
    bad = dict(
        enumerate(
            findings(
                [{**row, "relative_std": 1e-4, "loss": 1.0 + row["step"]} for row in rows],
                evaluation(0.2),
                128,
            )
        )
    )
    said = [text for fine, text in bad.values() if not fine]
    assert any("All samples have nearly the same features" in text for text in said)
    assert any(
        "20.0 points below the random encoder, the better baseline. It may have learned nothing "
        "useful" in text
        for text in said
    )
    assert any(text.startswith("The loss went from 1.5 to 7.5") for text in said)


def test_pictures_are_small_and_captions_escaped() -> None:
    colour = Spec("c", "image", (3, 200, 100), 2)
    large = pictures(torch.randint(0, 256, (2, 3, 200, 100), dtype=torch.uint8), colour)
    assert all(p.startswith("data:image/jpeg;base64,") and len(p) < 9000 for p in large)
    grey = Spec("g", "image", (1, 8, 8), 1)
    assert pictures(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), grey)[0].startswith(
        "data:image/png"
    )
    series = Spec("s", "series", (2, 50), 1)
    assert pictures(torch.randn(1, 2, 50), series)[0].startswith("data:image/svg+xml")
    assert "<b>" not in element("", "<b>bold</b>")
