"""MCL for pairs: reference loss among alike pairs, stages put side by side, the scale starts again
with each stage.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from nearfar.errors import UserError
from nearfar.methods.paired.mcl_clip import MCLClip
from nearfar.networks.locking import layer_groups
from nearfar.rows import Parts
from nearfar.testing import METHOD_CHECKS, Case
from tests.losses.cases import close, leaves, named

from .toys import SAMPLES, batch_for, build

SMALL = {"stages": 3, "clusters": 2, "projection": 16}


class Samples:
    """Training pairs as a method sees them between epochs."""

    label = None
    seed = 0

    def __init__(self, pairs: Parts) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def features(self, encode: Any) -> torch.Tensor:
        with torch.no_grad():
            return encode(self.pairs)


@pytest.mark.parametrize("name", named("b-mcl-masked-*"))
def test_reference_loss_among_alike_pairs(golden: Any, name: str) -> None:
    case = golden(name)
    first, second = leaves(case, "z1", "z2")
    method = build(MCLClip, {**SMALL, "batches": "mixed"}).double()
    with torch.no_grad():
        method.log_scale.copy_(-case["hp_temperature"].log())
    loss = method.loss({"first": first, "second": second, "group": case["in_pseudo_labels"]})[
        "clip"
    ]
    loss.backward()
    close(loss, case["out_loss_clip"])
    close(first.grad, case["out_grad_clip_z1"])
    close(second.grad, case["out_grad_clip_z2"])


def test_a_finished_stage_leaves_its_networks_and_groups_and_the_next_starts_anew() -> None:
    method = build(MCLClip, SMALL, length=SAMPLES).eval()
    batch = batch_for(method)
    (pairs,) = batch.views
    with torch.no_grad():
        for parameter in method.parts[0][-1].parameters():
            parameter += 0.01 * torch.randn_like(parameter)
        method.log_scale.fill_(1.0)
    before = method.embeddings("image", pairs)[-1]
    method.progress = 1 / 3
    method.before_epoch(1, Samples(pairs))
    assert int(method.stages.current) == 1
    assert method.log_scale.item() == pytest.approx(-math.log(0.07))
    assert set(method.groups.tolist()) == {0, 1}
    torch.testing.assert_close(method.embeddings("image", pairs)[0], before)
    method.before_epoch(1, Samples(pairs))
    assert int(method.stages.current) == 1, "only once"
    embedded = method.embed_part("image", pairs.image)
    assert embedded.shape == (SAMPLES, 3 * 16)
    assert embedded[:, 16:32].eq(0).all(), "the second stage has not learned yet"
    torch.testing.assert_close(embedded.norm(dim=1), torch.ones(SAMPLES))
    assert method.embed_part("text", pairs.text).shape == (SAMPLES, 3 * 16)


@pytest.mark.parametrize("restart", ["same", "fresh"])
def test_stages_start_from_the_same_or_from_fresh_weights(restart: str) -> None:
    method = build(MCLClip, {**SMALL, "restart": restart})
    for parts in method.parts:
        weights = [torch.cat([p.flatten() for p in part.parameters()]) for part in parts]
        assert [torch.equal(w, weights[0]) for w in weights] == [
            True,
            restart == "same",
            restart == "same",
        ]


def test_locked_towers_stay_and_their_projections_learn() -> None:
    method = build(MCLClip, {**SMALL, "lock_texts": True, "image_layers": 1}).train()
    images, texts = (parts[-1] for parts in method.parts)
    torch.stack(
        [value for value in method.loss(method(batch_for(method))).values() if value.requires_grad]
    ).sum().backward()
    assert all(p.grad is None for p in texts.parameters())
    learned = [group[0].grad is not None for group in layer_groups(images)]
    assert learned == [False] * (len(learned) - 1) + [True]
    assert all(heads[-1].weight.grad.abs().sum() > 0 for heads in method.projections)


def test_locked_towers_cannot_start_fresh() -> None:
    with pytest.raises(UserError, match="so stages cannot start fresh: set restart to same"):
        build(MCLClip, {**SMALL, "lock_texts": True, "restart": "fresh"})


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
    METHOD_CHECKS[check](Case(MCLClip, settings={"batches": "mixed"}))
