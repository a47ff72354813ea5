"""Runs of a comparison share the rows that are the same for all, and only those."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from nearfar.data.samples import Source
from nearfar.evaluation import Evaluation, Wanted, evaluate
from nearfar.evaluation.shared import SharedRows
from nearfar.views import plain_view

from .toys import Flatten, image_source


class Counted(Flatten):
    """An encoder that counts the samples that it is asked for."""

    asked = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        Counted.asked += len(x)
        return super().forward(x)


def judged(
    source: Source,
    folder: Path | None,
    *,
    made: str = "seed 1",
    seeds: int = 1,
    protocols: str = "knn",
) -> Evaluation:
    shared = (
        None if folder is None else SharedRows(folder, {"random encoder": made, "raw input": ""})
    )
    return evaluate(
        Flatten().eval(),
        source,
        plain_view(source.spec),
        baselines={"random encoder": Counted(8).eval()},
        wanted=Wanted(protocols.split(), seeds),
        shared=shared,
    )


def test_a_second_run_reads_what_the_first_has_judged(tmp_path: Path) -> None:
    source = image_source()
    plain = judged(source, None)
    first = judged(source, tmp_path)
    Counted.asked = 0
    second = judged(source, tmp_path)
    assert Counted.asked == 0
    assert plain == first == second
    assert plain.answers.values.keys() == second.answers.values.keys()
    assert all(
        (second.answers.values[key] == values).all() for key, values in plain.answers.values.items()
    )
    assert second.answers.test == plain.answers.test


@pytest.mark.parametrize("change", ["pixel", "label", "encoder", "seeds", "protocols", "test"])
def test_nothing_is_shared_where_anything_differs(change: str, tmp_path: Path) -> None:
    source = image_source()
    judged(source, tmp_path)
    Counted.asked = 0
    if change in ("pixel", "test"):
        samples = source.train if change == "pixel" else source.test
        assert samples is not None
        content = samples.content.clone()
        content[0, 0, 0, 0] += 1
        part = "train" if change == "pixel" else "test"
        source = dataclasses.replace(
            source, **{part: dataclasses.replace(samples, content=content)}
        )
    if change == "label":
        assert source.train.label is not None
        source = dataclasses.replace(
            source, train=dataclasses.replace(source.train, label=source.train.label.roll(1))
        )
    judged(
        source,
        tmp_path,
        made="seed 2" if change == "encoder" else "seed 1",
        seeds=2 if change == "seeds" else 1,
        protocols="knn linear" if change == "protocols" else "knn",
    )
    assert Counted.asked > 0


def test_a_damaged_file_is_judged_anew(tmp_path: Path) -> None:
    source = image_source()
    first = judged(source, tmp_path)
    for path in tmp_path.glob("*.json"):
        path.write_text("{")
    assert judged(source, tmp_path) == first


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    source = image_source()
    evaluate(
        Flatten().eval(),
        source,
        plain_view(source.spec),
        wanted=Wanted(("knn", "linear")),
        watch=told.append,
    )
    assert told == [
        "trained: knn (1 of 6)",
        "trained: linear (2 of 6)",
        "raw input: knn (3 of 6)",
        "raw input: linear (4 of 6)",
        "simple features: knn (5 of 6)",
        "simple features: linear (6 of 6)",
    ]
