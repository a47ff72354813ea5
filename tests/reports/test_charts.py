"""No colour stands for two things, every curve of kNN is in per cent beside its baselines, and
axes are as long as the data.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from nearfar.data import load
from nearfar.data.spec import Spec
from nearfar.evaluation.kernels.similarities import BINS
from nearfar.evaluation.result import Evaluation, Score
from nearfar.options import Config, PretrainOptions
from nearfar.reports.charts import similarity_histograms
from nearfar.reports.intervals import intervals
from nearfar.reports.look import Look
from nearfar.reports.maps import embedding_map, neighbourhoods
from nearfar.reports.palette import (
    COLOURS,
    OTHERS,
    ROWS,
    at_most_colours,
    colours_of_arms,
    colours_of_rows,
    marks_of,
)
from nearfar.reports.pictures.samples import pictures, view_pictures
from nearfar.reports.pictures.series_pictures import MOST_CHANNELS, legend, scale_of
from nearfar.reports.pictures.view_parameters import parameters, parameters_table
from nearfar.reports.sections import baseline_levels, curves, knn_curve, overview
from nearfar.verbs.run import Run
from nearfar.views import WantedViews, make_views


def _light(colour: str) -> np.ndarray:
    """Linear light of a colour's channels, as sRGB defines it."""
    parts = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def _oklab(colour: str) -> np.ndarray:
    """Where equal distances look equal (Ottosson 2020)."""
    to_cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    to_lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return np.asarray(to_lab @ np.cbrt(to_cones @ _light(colour)))


def test_twenty_colours_differ_from_each_other_and_from_both_backgrounds() -> None:
    assert len(set(COLOURS)) == 20
    for one, other in itertools.combinations(COLOURS, 2):
        assert np.linalg.norm(_oklab(one) - _oklab(other)) > 0.12, (one, other)
    weights = np.array([0.2126, 0.7152, 0.0722])
    for colour in COLOURS:
        light = float(weights @ _light(colour))
        assert 1.05 / (light + 0.05) > 2.2, colour  # beside white
        assert (light + 0.05) / (float(weights @ _light("#121212")) + 0.05) > 2.9, colour


@pytest.mark.parametrize("count", [1, 10, 20])
def test_no_two_classes_look_alike(count: int) -> None:
    assert len(set(zip(*marks_of(["x"] * count), strict=True))) == count
    assert len(set(marks_of(["x"] * count)[0])) == count


def test_more_classes_than_colours_are_joined_the_rarest_first() -> None:
    values = [f"class {number}" for number in range(30) for _ in range(30 - number)]
    joined = at_most_colours(values)
    assert len(set(joined)) == 20
    assert joined.count(OTHERS) == sum(30 - number for number in range(19, 30))
    spec = embedding_map([{"x": 0, "y": 0, "label": value} for value in values], {"label": "label"})
    scale = spec["encoding"]["color"]["scale"]
    assert len(scale["domain"]) == len(set(scale["range"])) == 20


def test_arms_have_colours_that_are_no_baselines() -> None:
    colours = colours_of_arms([f"arm {number}" for number in range(17)])
    assert len(set(colours.values())) == 17
    baselines = {colour for row, colour in ROWS.items() if row != "trained"}
    assert not set(colours.values()) & baselines
    rows = colours_of_rows(["trained", "random encoder", "raw input", "chance", "shuffled pairs"])
    assert len(set(rows.values())) == 5


def evaluation() -> Evaluation:
    values = {"trained": 0.9, "random encoder": 0.6, "raw input": 0.7, "simple features": 0.8}
    shares = [
        Score(row, protocol, metric, v, v - 0.02, v + 0.02, "test samples", 100, "%")
        for protocol, metric in (("knn-v1", "kNN accuracy"), ("linear-v1", "linear accuracy"))
        for row, v in values.items()
    ]
    return Evaluation("toys", (*shares, Score("trained", "g", "effective rank", 12.0)))


def test_all_rows_stand_in_one_picture_with_their_intervals() -> None:
    ((name, (_, spec)),) = overview(evaluation()).items()
    assert name == "scores-0"
    bars, points = spec["layer"]
    for layer in (bars, points):
        values = spec["datasets"][layer["data"]["name"]]
        assert {(v["metric"], v["arm"]) for v in values} == {
            (metric, row) for metric in ("kNN accuracy", "linear accuracy") for row in ROWS
        }
        first = next(v for v in values if v["arm"] == "trained")
        assert (first["value"], first["low"], first["high"]) == pytest.approx((90, 88, 92))
        scale = layer["encoding"]["color"]["scale"]
        assert dict(zip(scale["domain"], scale["range"], strict=True)) == ROWS


def test_values_that_are_no_shares_get_a_picture_of_their_own() -> None:
    scores = [
        Score(row, "ridge-v2", metric, 0.5, 0.4, 0.6, "test samples", 100)
        for metric in ("R2", "mean absolute error")
        for row in ROWS
    ]
    assert [title for title, _ in overview(Evaluation("t", tuple(scores))).values()] == [
        "R2",
        "mean absolute error",
    ]


def test_knn_is_in_per_cent_beside_its_baselines() -> None:
    levels = baseline_levels(evaluation())
    assert levels == {"random encoder": 0.6, "raw input": 0.7, "simple features": 0.8}
    rows = [{"step": 1, "knn": 0.5}, {"step": 2, "knn": 0.875}]
    spec = knn_curve(rows, levels, ROWS)
    assert spec["title"] == "online kNN accuracy, %"
    points, lines = (list(values) for values in spec["datasets"].values())
    if "step" not in points[0]:
        points, lines = lines, points
    assert [point["value"] for point in points] == [50, 87.5]
    assert {line["run"]: line["value"] for line in lines} == {
        "random encoder": 60,
        "raw input": 70,
        "simple features": 80,
    }
    scale = spec["layer"][0]["encoding"]["color"]["scale"]
    colours = dict(zip(scale["domain"], scale["range"], strict=True))
    assert colours == {**{row: ROWS[row] for row in levels}, "this run": ROWS["trained"]}


def test_histograms_reach_over_what_the_data_fill() -> None:
    shares = [0.0] * BINS
    shares[-1] = 0.25
    shares[-4] = 0.75
    row = {"step": 7, "positive_similarity": shares, "negative_similarity": shares}
    (spec,) = similarity_histograms([row]).values()
    low, high = spec["encoding"]["x"]["scale"]["domain"]
    assert (low, high) == pytest.approx((1 - 8 / BINS, 1))
    (values,) = spec["datasets"].values()
    assert all(value["share"] > 0 for value in values)


def test_the_picture_of_a_comparison_is_in_per_cent_and_draws_only_known_intervals() -> None:
    known = {"arm": "a", "value": 0.5, "low": 0.4, "high": 0.6}
    open_one = {"arm": "b", "value": 0.6, "low": None, "high": None, "each": [0.55, 0.65]}
    spec = intervals([known, open_one], "kNN accuracy", {"a": COLOURS[0]}, percent=True)
    bars, points, rings = (spec["datasets"][one["data"]["name"]] for one in spec["layer"])
    assert [(one["arm"], one["low"], one["high"]) for one in bars] == [("a", 40, 60)]
    assert [one["value"] for one in points] == [50, 60]
    assert [one["value"] for one in rings] == pytest.approx([55, 65])
    alone = intervals([open_one], "kNN accuracy", {}, percent=True)
    assert len(alone["layer"]) == 2  # no line without an interval: its axis would have no range


def test_the_map_by_neighbours_is_the_same_every_time_and_keeps_groups_apart() -> None:
    torch.manual_seed(0)
    features = torch.randn(60, 8) + 6 * torch.eye(8)[torch.arange(60) % 3]
    found = neighbourhoods(features)
    assert torch.equal(found, neighbourhoods(features))
    nearest = torch.cdist(found, found).fill_diagonal_(torch.inf).argmin(dim=1)
    assert float((nearest % 3 == torch.arange(60) % 3).float().mean()) > 0.9


def _svg(address: str) -> str:
    return base64.b64decode(address.partition(",")[2]).decode()


def test_channels_of_a_series_have_their_colours_on_one_scale_with_axes() -> None:
    low = torch.zeros(3, 50)
    high = torch.full((3, 50), 10.0)
    high[0] = 5.0
    first, second = map(_svg, pictures(torch.stack([low, high]), Spec("s", "series", (3, 50), 2)))
    for svg in (first, second):
        assert re.findall(r'stroke="(#\w+)" stroke-width="1.2"', svg) == list(COLOURS[:3])
        assert ">50 steps<" in svg
    assert re.findall(r">(-?[\d.]+)</text>", first) == re.findall(r">(-?[\d.]+)</text>", second)
    heights = [
        float(points.split(",")[1].split(" ")[0])
        for points in re.findall(r'points="([^"]+)"', second)
    ]
    bottom = [
        float(points.split(",")[1].split(" ")[0])
        for points in re.findall(r'points="([^"]+)"', first)
    ]
    assert heights[0] == pytest.approx((bottom[0] + heights[1]) / 2, abs=0.2)
    assert heights[1] == heights[2] < bottom[0]


def test_more_channels_than_can_be_told_apart_are_counted() -> None:
    assert "The first 8 of 19 channels are drawn" in legend(19)
    svg = _svg(pictures(torch.randn(1, 19, 30), Spec("s", "series", (19, 30), 1))[0])
    assert svg.count("<polyline") == MOST_CHANNELS
    assert scale_of(torch.zeros(1, 2, 4)) == (-0.5, 0.5)


def test_views_of_series_are_drawn_in_the_units_of_the_data() -> None:
    spec = Spec("s", "series", (2, 40), 10, mean=(100.0, 100.0), std=(5.0, 5.0))
    raw = 100 + torch.randn(4, 2, 40)
    scale = scale_of(raw)
    plain = (raw - 100) / 5
    assert view_pictures(plain, spec, scale) == pictures(raw.float(), spec, scale)


@pytest.mark.parametrize(
    ("wanted", "views"),
    [
        (WantedViews(), ["view 1, view 2"]),
        (
            WantedViews(whole=2, local=3, style="asymmetric"),
            ["view 1", "view 2", "local view 1, local view 2, local view 3"],
        ),
        (WantedViews(whole=1, further=("plain",)), ["view 1", "further view 1"]),
    ],
)
def test_the_parameters_of_every_view_are_told(wanted: WantedViews, views: list[str]) -> None:
    spec = Spec("p", "image", (3, 96, 96), 10, mean=(0.5,) * 3, std=(0.2,) * 3)
    told = dict(parameters(spec, wanted))
    assert list(told) == views
    kinds = make_views(spec, wanted).kinds  # type: ignore[attr-defined]
    text = next(iter(told.values()))
    assert f"scale {kinds[0][0].scale[0]:.3g} to 1" in text
    assert f"Style {wanted.style}" in parameters_table(spec, wanted)
    if wanted.further:
        assert told["further view 1"] == "size 96 x 96"


def test_what_was_measured_once_is_a_sentence_and_no_chart(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(Config("simclr", PretrainOptions()).to_toml())
    rows = [{"step": 3, "loss": 2.5}, {"step": 3, "knn": 0.5, "effective_rank": 7.0}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    section = curves(Look(Run(tmp_path), load("digits", limit=20)))
    assert section.charts == {}
    assert (
        "Measured once: training loss 2.5 at step 3; online kNN accuracy 50.0 % at step 3; "
        "effective rank of the features 7 at step 3."
    ) in section.body


def test_the_legend_says_what_colours_mean_where_no_box_does() -> None:
    points = [{"x": 0, "y": 0, "cluster": f"cluster {number}", "label": "a"} for number in (1, 2)]
    alone = embedding_map(points, {"cluster": "k-means cluster"})
    assert alone["encoding"]["color"]["title"] == "k-means cluster"
    both = embedding_map(points, {"cluster": "k-means cluster", "label": "label"})
    assert both["encoding"]["color"]["title"] is None


def test_the_axis_of_shares_ends_where_shares_do() -> None:
    rows = [
        {"arm": "trained", "value": 0.5, "low": 0.45, "high": 0.55},
        {"arm": "random encoder", "value": 0.02, "low": 0.01, "high": 0.04},
        {"arm": "simple features", "value": 0.97, "low": 0.95, "high": 0.98},
    ]
    colours = {str(row["arm"]): "#123456" for row in rows}
    ends = [
        layer["encoding"]["x"]["scale"]
        for layer in intervals(rows, "accuracy", colours, percent=True)["layer"]
    ]
    assert all((end["domainMin"], end["domainMax"]) == (0, 100) for end in ends)
    inside = intervals(rows[:1], "accuracy", colours, percent=True)["layer"][0]
    assert not {"domainMin", "domainMax"} & set(inside["encoding"]["x"]["scale"])
