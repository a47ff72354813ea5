"""A method may change its batch before it is embedded, and tell of failures that it is known
for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import Tensor

from nearfar import networks
from nearfar.assembly.callbacks import Display, MetricsLog, OnlineEvaluation, Probes
from nearfar.batch import Batch, joined, rows_of
from nearfar.claims.harness import digits
from nearfar.errors import UserError
from nearfar.methods.instance.simclr import SimCLR
from nearfar.methods.method import Outputs, Recipe
from nearfar.rows import Tokens
from nearfar.training.loop import fit
from nearfar.training.plan import Plan


class Flattering(SimCLR):
    """SimCLR whose second view is the first of another sample, and which is never content."""

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        partner = torch.randperm(len(batch), generator=generator)
        return replace(
            batch,
            views=[batch.views[0], batch.views[0][partner]],
            extra={"partner": batch.index[partner]},
        )

    def forward(self, batch: Batch) -> Outputs:
        first, second = batch.views
        assert torch.equal(second, first[rows_of(batch.extra["partner"], batch.index)])
        return super().forward(batch)

    def alarm(self, terms: Mapping[str, float]) -> str | None:
        return f"The loss is {terms['nt_xent']:.1f}."


def trained(folder: Path, told: list[str], accumulate: int = 1) -> Tensor:
    torch.manual_seed(0)
    source = digits()
    method = Flattering(
        networks.build("perceptron", source.spec),
        source.spec,
        SimCLR.Settings(hidden=16, projection=8),
    )
    console = Console(quiet=True)
    log = MetricsLog(folder)
    probes = Probes(lambda encode: ({"knn": 0.5}, None), lambda encode: {})
    health = OnlineEvaluation(probes, 1, log, Display(console), told.append)
    views = method.views()
    fit(
        method,
        source,
        views,
        Plan(Recipe(batch_size=512, epochs=2), log_every=1, accumulate=accumulate),
        None,
        [log, health],
    )
    return next(method.encoder.parameters()).detach()


def test_the_loop_embeds_the_prepared_batch_and_passes_the_alarm_on_once(tmp_path: Path) -> None:
    told: list[str] = []
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = trained(tmp_path / "a", told)
    second = trained(tmp_path / "b", told)
    assert torch.equal(first, second), "draws come from the batch's generator"
    assert len(told) == 2, "one alarm a run"
    assert told[0].startswith("The loss is ")
    rows = [
        json.loads(line) for line in (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()
    ]
    assert [row["alarm"] for row in rows if "alarm" in row] == told[:1]


def test_parts_of_an_accumulated_batch_are_prepared_each_by_itself(tmp_path: Path) -> None:
    assert trained(tmp_path, [], accumulate=3).isfinite().all(), (
        "forward checks that every partner is in its part"
    )


def test_parts_join_to_the_batch() -> None:
    words = Tokens(torch.arange(12).reshape(6, 2), torch.ones(6, 2, dtype=torch.bool))
    batch = Batch(
        [torch.randn(6, 3), words], torch.randperm(6), torch.arange(6), {"who": torch.arange(6) % 2}
    )
    again = joined([batch[:1], batch[1:4], batch[4:]])
    for found, expected in (
        (again.views[0], batch.views[0]),
        (again.views[1].ids, words.ids),
        (again.index, batch.index),
    ):
        assert torch.equal(found, expected)
    assert torch.equal(again.label, batch.label)
    assert torch.equal(again.extra["who"], batch.extra["who"])
    assert joined([batch]) is batch
    assert torch.equal(rows_of(batch.index[[4, 0]], batch.index), torch.tensor([4, 0]))
    with pytest.raises(UserError, match="1 of them, such as number 9, are not in it"):
        rows_of(torch.tensor([3, 9]), batch.index)
