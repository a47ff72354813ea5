"""Hydra, SLA, SuSana Distancia and Core-tuning: reference losses through the method, what their
switches mean, what they refuse.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from nearfar.errors import UserError
from nearfar.losses.supervised.episodes import neighbour_score
from nearfar.losses.supervised.gated_pairs import gated_contrast
from nearfar.methods.method import Method
from nearfar.methods.supervised.core_tuning import CoreTuning
from nearfar.methods.supervised.hydra import Hydra
from nearfar.methods.supervised.sla import SLA
from nearfar.methods.supervised.susana_distancia import SuSanaDistancia
from tests.losses.cases import close, named

from .toys import ToyEncoder, batch_for, build, spec_of

HYDRA = {"hidden": 8, "projection": 5, "embedding": 6, "gate_hidden": 7}
CORE = {"hidden": 8, "projection": 6}


def made(kind: type[Method], classes: int, **settings: Any) -> Method:
    """The method for so many classes, on a small encoder."""
    spec = dataclasses.replace(spec_of(kind), classes=tuple("abcdefghij"[:classes]))
    return kind(ToyEncoder(), spec, kind.Settings(**settings))


@pytest.mark.parametrize("kind", [Hydra, SLA, SuSanaDistancia, CoreTuning])
def test_real_numbers_are_refused(kind: type[Method]) -> None:
    spec = dataclasses.replace(spec_of(kind), target="value", classes=())
    with pytest.raises(
        UserError, match="needs classes; the labels of toy are real numbers: take another method"
    ):
        kind(ToyEncoder(), spec)


@pytest.mark.parametrize("name", named("b-hydra-loss-*"))
def test_hydra_equals_the_reference(
    golden: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = golden(name)
    method = made(Hydra, 5, temperature=case["hp_temperature"].item(), **HYDRA)
    monkeypatch.setattr(method, "_partners", lambda label: case["in_y2"])
    monkeypatch.setattr(method.gate, "forward", lambda first, second: case["in_gate"])
    logits = torch.zeros(len(case["in_y1"]), 5)
    terms = method.loss({"z": case["in_z"], "logits": logits, "label": case["in_y1"]})
    close(terms["contrast"], case["out_loss"])
    assert terms["probe"].item() == pytest.approx(torch.tensor(5.0).log().item())


def test_hydras_partners_are_of_the_kind_asked_for_and_other_ones_at_each_step() -> None:
    label = torch.arange(40) % 10
    for partners in ("identical", "distinct", "arbitrary"):
        method = made(Hydra, 10, partners=partners, **HYDRA)
        found = method._partners(label)
        assert torch.equal(method._partners(label), found)
        method.after_step({})
        same = torch.equal(method._partners(label), found)
        if partners == "identical":
            assert torch.equal(found, label)
        else:
            assert not same
        if partners == "distinct":
            assert not bool((found == label).any())
        if partners == "arbitrary":
            assert torch.equal(found.sort().values, label.sort().values)
    with pytest.raises(UserError, match="Unknown setting partners 'any'"):
        made(Hydra, 10, partners="any", **HYDRA)


def test_without_a_gate_hydra_contrasts_class_pairs_and_its_probe_moves_no_encoder() -> None:
    method = made(Hydra, 2, gate="none", partners="identical", **HYDRA).train()
    outputs = method(batch_for(method))
    label = outputs["label"]
    plain = gated_contrast(outputs["z"], torch.ones_like(outputs["z"]), label, label)
    terms = method.loss(outputs)
    torch.testing.assert_close(terms["contrast"], plain)
    terms["probe"].backward()
    assert all(p.grad is None for p in method.encoder.parameters())
    assert method.probe.weight.grad is not None


def test_hydras_class_similarity_is_symmetric_with_a_unit_diagonal() -> None:
    similar = made(Hydra, 4, **HYDRA).class_similarity()
    torch.testing.assert_close(similar, similar.T)
    torch.testing.assert_close(similar.diagonal(), torch.ones(4))


@pytest.mark.parametrize("name", named("b-sla-loss-*"))
def test_sla_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    count = int(case["hp_M"])
    (rows, classes) = case["in_single_logits"].shape
    expansion = {4: "rotation", 6: "colour"}[count]
    total = bool(case["hp_sum_over_transforms"])
    method = made(
        SLA,
        classes,
        expansion=expansion,
        distillation=True,
        temperature=case["hp_T"].item(),
        total=total,
    )
    logits = case["in_joint_logits"].view(rows, count, -1)
    terms = method.loss(
        {"logits": logits, "plain": case["in_single_logits"], "label": case["in_labels"]}
    )
    close(terms["joint"], case["out_sla_loss"])
    close(sum(terms.values()), case["out_total_sd"])


def test_sla_without_transformations_is_plain_classification() -> None:
    method = made(SLA, 2, expansion="none")
    batch = batch_for(method)
    outputs = method(batch)
    expected = cross_entropy(outputs["logits"][:, 0], batch.label)
    torch.testing.assert_close(method.loss(outputs)["joint"], expected)


def test_slas_objectives_it_is_compared_with_name_the_class_of_every_row() -> None:
    method = made(SLA, 2, objective="multi-task")
    batch = batch_for(method)
    outputs = method(batch)
    rows = [
        (outputs["logits"][n, m], batch.label[n], torch.tensor(m))
        for n in range(8)
        for m in range(4)
    ]
    terms = method.loss(outputs)
    torch.testing.assert_close(
        terms["classes"], sum(cross_entropy(row[:2], label) for row, label, _ in rows) / 32
    )
    torch.testing.assert_close(
        terms["transformations"], sum(cross_entropy(row[2:], turn) for row, _, turn in rows) / 32
    )
    assert set(
        made(SLA, 2, objective="augmentation").loss(
            {**outputs, "logits": outputs["logits"][..., :2]}
        )
    ) == {"classes"}
    with pytest.raises(
        UserError, match="Unknown setting objective 'multitask': did you mean multi-task"
    ):
        made(SLA, 2, objective="multitask")


@pytest.mark.parametrize(
    "settings",
    [{}, {"distillation": True}, {"objective": "augmentation"}, {"objective": "multi-task"}],
)
def test_sla_predicts_probabilities(settings: dict[str, Any]) -> None:
    method = made(SLA, 3, **settings).eval()
    x = torch.randn(5, 3, 16, 16)
    for aggregate in (True, False):
        found = method.probabilities(x, aggregate=aggregate)
        assert found.shape == (5, 3)
        torch.testing.assert_close(found.sum(1), torch.ones(5))
    turned = torch.rot90(x, 1, dims=(2, 3))
    if (
        not settings
    ):  # a turned image gives the same four rows, but each under another transformation's name
        assert not torch.allclose(method.probabilities(turned), method.probabilities(x))


def test_sla_refuses_turns_of_images_that_are_not_square() -> None:
    spec = dataclasses.replace(spec_of(SLA), shape=(3, 8, 9))
    with pytest.raises(UserError, match="turns images by 90 degrees but they are 8 x 9"):
        SLA(ToyEncoder(), spec)


def episode(way: int = 3, each: int = 6) -> dict[str, torch.Tensor]:
    label = torch.tensor([7, 2, 4, 0, 9][:way]).repeat_interleave(each)
    return {
        "features": torch.randn(way * each, 5, dtype=torch.float64, requires_grad=True),
        "label": label,
    }


def test_susana_terms_equal_their_parts_and_are_averaged() -> None:
    outputs = episode()
    features = outputs["features"]
    label = outputs["label"]
    rows = features.view(3, 6, 5)
    means = rows[:, :2].mean(1)
    query = rows[:, 2:].flatten(0, 1)
    distance = ((query[:, None] - means).square().sum(2) + 1e-6).sqrt()
    own = torch.arange(3).repeat_interleave(4)
    others = distance.masked_fill(torch.nn.functional.one_hot(own, 3).bool(), torch.inf).amin(1)
    expected = {
        "icnn": -neighbour_score(features, label, looked_at=6)["score"].log(),
        "icnn-support": -neighbour_score(
            rows[:, :2].flatten(0, 1), label.view(3, 6)[:, :2].flatten()
        )["score"].log(),
        "icnn-query-support": -neighbour_score(
            query, own, rows[:, :2].flatten(0, 1), own.view(3, 4)[:, :2].flatten()
        )["score"].log(),
        "triplet": (distance[torch.arange(12), own] - others + 0.5).clamp(min=0).mean(),
        "cross-entropy": cross_entropy(-distance.square(), own),
    }
    method = made(SuSanaDistancia, 10, terms=tuple(expected), way=3, shot=2, query=4)
    terms = method.loss(outputs)
    for name, value in expected.items():
        # Means and neighbours do not know the order in which classes are named.
        torch.testing.assert_close(terms[name], value / 5)
    sum(terms.values()).backward()
    assert bool((features.grad.abs().sum(1) > 0).all())


@pytest.mark.parametrize("name", named("b-susana-icnn-supp5way5shot"))
def test_susana_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    features = torch.cat(
        [case["in_features"].view(5, 5, -1), torch.zeros(5, 1, 6, dtype=torch.float64)], dim=1
    ).flatten(0, 1)
    label = case["in_labels"].view(5, 5)
    assert bool((label == label[:, :1]).all())
    outputs = {"features": features, "label": label[:, :1].expand(5, 6).flatten()}
    method = made(SuSanaDistancia, 5, terms=("icnn-support",), way=5, shot=5, query=1)
    close(method.loss(outputs)["icnn-support"], case["out_loss"])


def test_susana_asks_for_episodes_no_wider_than_the_data_and_refuses_what_is_none() -> None:
    wanted = made(SuSanaDistancia, 4).wanted_batches
    assert (wanted.way, wanted.size(1000, 8)) == (4, 80)
    with pytest.raises(UserError, match="An episode needs at least 2 classes with 2 samples each"):
        made(SuSanaDistancia, 4).loss(episode(way=1))
    with pytest.raises(UserError, match="Setting way is 1; expected a whole number from 2"):
        made(SuSanaDistancia, 4, way=1)
    with pytest.raises(UserError, match="Unknown setting terms 'fullicn': did you mean icnn"):
        made(SuSanaDistancia, 4, terms=("fullicn",))


@pytest.mark.parametrize("name", named("b-coretuning-mix-*"))
def test_core_tuning_mixes_as_the_reference(
    golden: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = golden(name)
    classes = int(case["hp_num_classes"])
    size = len(case["in_features"])
    method = made(CoreTuning, classes, contrast=0.0, **CORE).double()
    method.classifier = torch.nn.Linear(case["in_features"].shape[1], classes, bias=False).double()
    method.projector = torch.nn.Identity()
    monkeypatch.setattr(
        method,
        "_draws",
        lambda *_: (case["in_perm"], case["in_lambda_neg_raw"], case["in_lambda_pos"]),
    )
    rows = torch.cat([case["in_features"], case["out_hardneg"], case["out_hardpos_exact"]])
    one_hot = torch.nn.functional.one_hot(case["in_labels"].long(), classes).double()
    soft = torch.cat([one_hot, case["out_hardneg_labels"], case["out_hardpos_labels_exact"]])
    expected = sum(
        cross_entropy(method.classifier(row), target)
        for row, target in zip(rows, soft, strict=True)
    ) / (3 * size)
    terms = method.loss({"features": case["in_features"], "label": case["in_labels"].long()})
    torch.testing.assert_close(terms["cross_entropy"], expected, rtol=1e-8, atol=0)


@pytest.mark.parametrize("name", named("b-coretuning-focal-*"))
@pytest.mark.parametrize(("official", "suffix"), [(True, ""), (False, "_paper")])
def test_core_tuning_contrasts_as_the_reference(
    golden: Any, name: str, official: bool, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = golden(name)
    mixed = (case["in_z_raw"], case["in_soft_labels"])
    monkeypatch.setattr(
        "nearfar.methods.supervised.core_tuning.mixed_pairs", lambda *_, **__: mixed
    )
    method = made(
        CoreTuning,
        mixed[1].shape[1],
        contrast=2.0,
        official=official,
        temperature=case["hp_temperature"].item(),
        **CORE,
    )
    method.double().projector = torch.nn.Identity()
    method.classifier = torch.nn.Linear(mixed[0].shape[1], mixed[1].shape[1], bias=False).double()
    outputs = {"features": mixed[0], "label": torch.zeros(len(mixed[0]), dtype=torch.int64)}
    close(method.loss(outputs)["contrast"], 2 * case[f"out_loss{suffix}"])


def test_core_tuning_learns_through_originals_only_if_asked() -> None:
    label = torch.arange(8) % 2
    for detach in (True, False):
        method = build(CoreTuning, {"detach": detach, "contrast": 0.0} | CORE)
        features = torch.randn(8, 12, requires_grad=True)
        rows = []
        method.classifier.register_forward_pre_hook(
            lambda _, given, rows=rows: rows.append(given[0])
        )
        method.loss({"features": features, "label": label})
        gradient = torch.autograd.grad(rows[0][:8].sum() + 0 * rows[0].sum(), features)[0]
        assert bool((gradient != 0).any()) != detach


def test_core_tuning_predicts_probabilities() -> None:
    made_of = build(CoreTuning, CORE).eval().predict(torch.randn(5, 3, 16, 16))
    found = made_of.probabilities
    torch.testing.assert_close(found.sum(1), torch.ones(5))
