"""MCL: stages through the real loop, groups in the loss, resuming between stages."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import nearfar
from nearfar.data.batches.wanted import Grouped, Shuffled
from nearfar.errors import UserError
from nearfar.losses.instance.masked_contrast import grouped_nt_xent
from nearfar.methods.instance.mcl import MCL
from nearfar.testing import METHOD_CHECKS, Case

from .toys import batch_for, build

SMALL = {"stages": 3, "hidden": 16, "projection": 8}


def test_mixed_batches_have_negatives_of_the_anchors_group_only() -> None:
    method = build(MCL, {**SMALL, "batches": "mixed"}).train()
    assert method.wanted_batches == Shuffled()
    batch = batch_for(method)
    method.groups[:8] = torch.arange(8) // 4
    outputs = method(batch)
    torch.testing.assert_close(
        method.loss(outputs)["nt_xent"],
        grouped_nt_xent(outputs["z1"], outputs["z2"], torch.arange(8) // 4, temperature=0.1),
    )
    grouped = build(MCL, SMALL).train()
    assert grouped.wanted_batches == Grouped()
    alone = grouped_nt_xent(outputs["z1"], outputs["z2"], torch.zeros(8).long(), temperature=0.1)
    torch.testing.assert_close(grouped.loss(outputs)["nt_xent"], alone)


def test_the_loop_ends_stages_and_every_stage_learns(tmp_path: Path) -> None:
    options = {
        "data": "digits",
        "batch_size": 32,
        "limit": 200,
        "epochs": 3,
        "evaluate": False,
        "quiet": True,
        "device": "cpu",
    }
    settings = {"stages": 3, "clusters": 2, "hidden": 16, "projection": 8}
    run = nearfar.pretrain("mcl", settings=settings, output=tmp_path / "run", **options)
    encoder = run.encoder()
    assert encoder.dimension == 3 * 256
    norms = [part.layers[1].running_mean.abs().sum() for part in encoder.parts]
    assert all(norm > 0 for norm in norms), "each part has seen data"
    again = nearfar.pretrain("mcl", settings=settings, output=tmp_path / "again", **options)
    for name, value in encoder.state_dict().items():
        assert torch.equal(again.encoder().state_dict()[name], value), name


def test_too_few_epochs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="2 epochs are too few for 3 stages"):
        nearfar.pretrain(
            "mcl",
            data="digits",
            limit=100,
            epochs=2,
            batch_size=32,
            output=tmp_path / "run",
            evaluate=False,
            quiet=True,
        )


@pytest.mark.parametrize(
    "check",
    [
        "runs",
        "gradient_reaches_parameters",
        "gradient_matches_differences",
        "shares_add_up",
        "resumes",
    ],
)
def test_mixed_batches_pass_the_battery(check: str) -> None:
    METHOD_CHECKS[check](Case(MCL, settings={"batches": "mixed"}))
