"""CVRL, RSPNet, TDL, PRP, DISCOVR and CTVIS: golden values and gradients, limits, errors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from nearfar.data.selection.clip_order import order_class, order_of_class, rotated
from nearfar.data.selection.clip_pairs import clip_frames, clip_gap, clip_starts
from nearfar.errors import UserError
from nearfar.evaluation.kernels.kernel_alignment import linear_alignment
from nearfar.losses import nt_xent
from nearfar.losses.kernels.sinkhorn import sinkhorn
from nearfar.losses.video.clusters import (
    cluster_distillation,
    masked_self_distillation,
    standard_tokens,
)
from nearfar.losses.video.instances import instance_contrast, instance_memory, match_instances
from nearfar.losses.video.speed import (
    motion_weights,
    rate_reconstruction,
    rspnet_terms,
    temporal_discrimination,
)
from nearfar.targets.centre import Centre
from tests.losses.cases import close, leaves, named
from tests.references import ReferenceCase

Golden = Callable[[str], ReferenceCase]
F64 = torch.float64


@pytest.mark.parametrize("name", named("d-cvrl-loss-*"))
def test_cvrl_is_twice_nt_xent(golden: Golden, name: str) -> None:
    case = golden(name)
    z1, z2 = leaves(case, "z1", "z2")
    temperature = case["hp_temperature"].item()
    loss = nt_xent(z1, z2, temperature=temperature, reduction="simclr_sum")
    loss.backward()
    close(loss, case["out_loss"])
    close(z1.grad, case["out_grad_z1"])
    close(z2.grad, case["out_grad_z2"])


@pytest.mark.parametrize("name", named("d-cvrl-interval-*"))
def test_gaps_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    for row, span in enumerate(case["hp_M"] if "hp_M" in case else case["in_M"]):
        assert torch.equal(clip_gap(case["in_u"], int(span)), case["out_delta"][row])


@pytest.mark.parametrize("name", named("d-lsvideo-rspnet-*"))
def test_rspnet_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    query, motion = leaves(case, "qA", "qM")
    keys = [case[f"in_{key}"] for key in ("kA", "kM", "negA", "negM", "queue")]
    terms = rspnet_terms(
        query, motion, *keys, temperature=case["hp_T"].item(), margin=case["hp_margin"].item()
    )
    close(terms["appearance"], case["out_A"])
    close(terms["motion"], case["out_M"])
    loss = terms["appearance"] + terms["motion"]
    loss.backward()
    close(loss, case["out_loss"])
    close(query.grad, case["out_grad_qA"])
    close(motion.grad, case["out_grad_qM"])


@pytest.mark.parametrize("name", named("d-lsvideo-tdl-*"))
def test_tdl_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    (query,) = leaves(case, "q")
    negative = case["in_neg"].clone().requires_grad_()
    temperature = case["hp_T"].item()
    loss = temporal_discrimination(
        query, case["in_k"], negative, case["in_queue"], temperature=temperature
    )
    loss.backward()
    close(loss, case["out_loss"])
    close(query.grad, case["out_grad_q"])
    assert negative.grad.abs().sum() > 0


@pytest.mark.parametrize("name", [n for n in named("d-lsvideo-prp-*") if "mask" not in n])
def test_reconstruction_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    given = case["in_out"], case["in_target"], case["in_mask"], case["in_flags"]
    close(rate_reconstruction(*given), case["out_loss"])


@pytest.mark.parametrize("name", named("d-lsvideo-prp-mask-*"))
def test_motion_weights_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    clip = np.random.default_rng(int(case["hp_seed"])).random((3, 16, 112, 112))
    frames = case["out_mask_mean"].shape[1]
    found = motion_weights(
        torch.from_numpy(clip), frames, low=case["hp_low"].item(), high=case["hp_high"].item()
    )
    close(found.mean(dim=(2, 3)), case["out_mask_mean"])
    close(found[:, ::8, ::28, ::28], case["out_mask_corner"])


@pytest.mark.parametrize("name", named("d-discovr-sinkhorn-*"))
def test_sinkhorn_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    found = sinkhorn(
        case["in_scores"], epsilon=case["hp_eps"].item(), iterations=int(case["hp_iters"])
    )
    close(found, case["out_q"])


@pytest.mark.parametrize("name", named("d-discovr-scd-*"))
def test_cluster_distillation_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    student, prototypes = leaves(case, "student", "prototypes")
    how = {
        "temperature": case["hp_temperature"].item(),
        "epsilon": case["hp_eps"].item(),
        "iterations": int(case["hp_iters"]),
    }
    terms = cluster_distillation(student, case["in_teacher"], prototypes, **how)
    close(terms["teacher"], case["out_l1"])
    close(terms["student"], case["out_l2"])
    total = terms["teacher"] + terms["student"]
    total.backward()
    close(total, case["out_total"])
    close(student.grad, case["out_grad_student"])
    close(prototypes.grad, case["out_grad_prototypes"])
    soft = cluster_distillation(student, case["in_teacher"], prototypes, **how, soft=True)
    close(soft["student"], case["out_soft"])


@pytest.mark.parametrize("name", named("d-discovr-dino-*"))
def test_self_distillation_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    (students,) = leaves(case, "students")
    teacher = case["in_teacher"]
    loss = masked_self_distillation(
        students,
        teacher,
        case["in_center"],
        temperature=case["hp_student_temp"].item(),
        teacher_temperature=case["hp_teacher_temp"].item(),
    )
    loss.backward()
    close(loss, case["out_loss"])
    close(students.grad, case["out_grad_students"])
    momentum = case["hp_center_momentum"].item()
    centre = momentum * case["in_center"] + (1 - momentum) * teacher.mean(dim=0)
    close(centre, case["out_center_raw"])
    ours = Centre(teacher.shape[1], momentum).double()
    ours.load_state_dict(
        {key: case["in_center"].view_as(x) for key, x in ours.state_dict().items()}
    )
    ours.update(teacher.sum(dim=0), len(teacher))
    (held,) = ours.state_dict().values()
    close(held.view_as(centre), case["out_center_raw"])


@pytest.mark.parametrize("name", named("d-ctvis-loss-*"))
def test_instances_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    several = range(len(case["hp_num_pos"]))
    anchors = leaves(case, *(f"anchor{i}" for i in several))
    candidates = leaves(case, *(f"posneg{i}" for i in several))
    terms = instance_contrast(torch.cat(anchors), candidates, case["hp_num_pos"].tolist())
    close(terms["embedding"], case["out_loss_reid"])
    close(terms["auxiliary"], case["out_loss_aux"])
    weights = case["hp_w"].tolist()
    total = weights[0] * terms["embedding"] + weights[1] * terms["auxiliary"]
    total.backward()
    close(total, case["out_total"])
    close(anchors[0].grad, case["out_grad_anchor0"])
    close(candidates[0].grad, case["out_grad_posneg0"])


@pytest.mark.parametrize("name", named("d-ctvis-memory-*"))
def test_memory_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    close(instance_memory(case["in_embeds"], case["in_present"].bool()), case["out_memory"])


@pytest.mark.parametrize("name", named("d-ctvis-match-*"))
def test_matching_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    scores, tracks = match_instances(
        case["in_det"], case["in_memory"], case["in_exist_frames"], threshold=case["hp_thr"].item()
    )
    close(scores, case["out_scores"])
    assert torch.equal(tracks, case["out_ids"])


def test_clips_stay_in_their_video_and_near_ones_are_more_frequent() -> None:
    draws = torch.rand(4000, 3)
    starts = clip_starts(100, 16, 2, draws)
    assert 0 <= int(starts.min()) <= int(starts.max()) < 100 - 30
    gap = (starts[:, 0] - starts[:, 1]).abs().double()
    assert abs(float(gap.mean()) / (70 / 3) - 1) < 0.1
    assert 0.45 < float((starts[:, 0] <= starts[:, 1]).double().mean()) < 0.6
    short = clip_starts(10, 16, 2, draws)
    assert int(short.max()) == 9
    assert clip_frames(short[0], 16, 2, 10).max() < 10


def test_orders_and_ranks_are_inverse() -> None:
    orders = torch.tensor([order_of_class(label, 4) for label in range(24)])
    assert torch.equal(order_class(orders), torch.arange(24))
    clip = torch.randn(2, 3, 4, 5, 5)
    assert torch.equal(rotated(rotated(clip, 1), 3), clip)


def test_alignment_does_not_see_rotation_and_scale() -> None:
    x = torch.randn(50, 4, dtype=F64)
    turn = torch.linalg.qr(torch.randn(4, 4, dtype=F64))[0]
    assert linear_alignment(x, 3 * x @ turn + 1) == pytest.approx(1)
    assert linear_alignment(x, torch.randn(50, 4, dtype=F64)) < 0.5


def test_no_items_no_negatives_and_no_tracks() -> None:
    nothing = torch.zeros(0, 3, requires_grad=True)
    assert instance_contrast(nothing, [], [])["embedding"].item() == 0
    alone = instance_contrast(torch.ones(1, 3), [torch.ones(1, 3)], [1])
    assert alone["embedding"].item() == 0
    assert match_instances(torch.ones(2, 3), nothing, torch.zeros(0))[1].tolist() == [-1, -1]


def test_standard_tokens_vary_alike() -> None:
    tokens = standard_tokens(5 + 3 * torch.randn(2, 7, 4, dtype=F64))
    close(tokens.std(dim=1), torch.ones(2, 4, dtype=F64), 1e-5)


def test_wrong_inputs_get_one_sentence() -> None:
    z = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="queue must hold"):
        temporal_discrimination(z, z, z, torch.zeros(0, 3))
    with pytest.raises(ValueError, match="margin"):
        rspnet_terms(z, z, z, z, z, z, z, margin=-1.0)
    with pytest.raises(ValueError, match="multiple of 16"):
        motion_weights(torch.zeros(3, 15, 32, 32))
    with pytest.raises(ValueError, match="smaller one first"):
        motion_weights(torch.zeros(3, 16, 32, 32), low=2.0, high=1.0)
    with pytest.raises(ValueError, match=r"real \(N, T\)"):
        rate_reconstruction(*[torch.zeros(1, 1, 2, 1, 1)] * 3, torch.zeros(1, 3))
    with pytest.raises(ValueError, match=r"prototypes \(K, D\)"):
        cluster_distillation(torch.zeros(1, 2, 3), torch.zeros(1, 2, 3), torch.zeros(2, 2))
    with pytest.raises(ValueError, match=r"teacher \(N, K\)"):
        masked_self_distillation(torch.zeros(1, 2, 3), torch.zeros(1, 3), torch.zeros(3))
    with pytest.raises(ValueError, match="for each item"):
        instance_contrast(z, [z], [1])
    with pytest.raises(ValueError, match="expected 1"):
        instance_contrast(z[:1], [z], [0])
    with pytest.raises(ValueError, match="present"):
        instance_memory(z, torch.ones(3))
    with pytest.raises(ValueError, match="memory"):
        match_instances(z, torch.zeros(2, 2), torch.ones(2))
    with pytest.raises(UserError, match="span of 0"):
        clip_gap(torch.zeros(1), 0)
    with pytest.raises(UserError, match="3 draws"):
        clip_starts(10, 2, 1, torch.zeros(2))
    with pytest.raises(UserError, match="expected 0 to 5"):
        order_of_class(6, 3)
    with pytest.raises(UserError, match="the same samples"):
        linear_alignment(z, torch.zeros(3, 3))
