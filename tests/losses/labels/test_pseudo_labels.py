"""PLS-LSA: golden values and gradients of the loss and of the detection; errors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import cross_entropy

from nearfar.errors import UserError
from nearfar.losses.labels.pseudo_labels import (
    mixed_class_contrast,
    mixed_pseudo_cross_entropy,
    pseudo_targets,
    uniform_prior,
)
from nearfar.targets.labels.noise import (
    confidence_weights,
    high_mode,
    linear_noise,
    small_loss_noise,
)
from tests.losses.cases import close, leaves, named
from tests.references import ReferenceCase

Golden = Callable[[str], ReferenceCase]
F64 = torch.float64


@pytest.mark.parametrize("name", named("e-lsa-plsloss-*"))
def test_loss_reference(golden: Golden, name: str) -> None:
    """The authors' code adds small constants, so 1e-6 is asked for."""
    case = golden(name)
    logits, mixed, second = leaves(case, "logits", "feat_mixed", "feat_second_view")
    guess, target = pseudo_targets(
        case["in_weak_logits"],
        case["in_labels"],
        case["in_is_noisy"].bool(),
        gamma=case["hp_gamma"].item(),
    )
    close(guess, case["out_pseudo_labels"], 1e-6)
    close(target, case["out_targets"], 1e-6)
    on = bool(case["hp_mixup"])
    share = case["hp_mix_lambda"].item() if on else 1.0
    order = case["in_mix_perm"] if on else torch.arange(len(logits))
    terms = {
        "class": mixed_pseudo_cross_entropy(logits, target, case["in_weights"], order, share=share),
        "contrastive": mixed_class_contrast(
            mixed, second, target, order, share=share, temperature=case["hp_temperature"].item()
        ),
    }
    if int(case["hp_uniform_penalty"]):
        terms["penalty"] = uniform_prior(logits)
    for key, value in terms.items():
        close(value, case[f"out_loss_{key}"], 1e-6)
    loss = torch.stack(list(terms.values())).sum()
    loss.backward()
    close(loss, case["out_loss"], 1e-6)
    close(logits.grad, case["out_grad_logits"], 1e-6)
    close(mixed.grad, case["out_grad_feat_mixed"], 1e-6)
    close(second.grad, case["out_grad_feat_second_view"], 1e-6)


@pytest.mark.parametrize("name", named("e-lsa-detect-*"))
def test_detection_reference(golden: Golden, name: str) -> None:
    """A mixture starts at random, so its values are asked for to 1e-3, as the reference says."""
    case = golden(name)
    threshold = case["hp_threshold"].item()
    noisy = small_loss_noise(case["in_losses"], threshold=threshold)
    assert torch.equal(noisy, case["out_noisy_loss"].bool())
    weights = confidence_weights(case["in_pseudo_losses"], noisy)
    torch.testing.assert_close(weights, case["out_weights_loss"].double(), atol=1e-3, rtol=0)
    linear, chance = linear_noise(case["in_features"], noisy, unit=False)
    assert torch.equal(linear, case["out_noisy_linear"].bool())
    torch.testing.assert_close(chance, case["out_linear_proba"], atol=1e-3, rtol=0)
    weights = confidence_weights(case["in_pseudo_losses"], linear)
    torch.testing.assert_close(weights, case["out_weights_linear"].double(), atol=1e-3, rtol=0)


def test_mixed_cross_entropy_is_its_plain_form() -> None:
    logits, target = torch.randn(4, 3, dtype=F64), torch.rand(4, 3, dtype=F64).softmax(1)
    weight, order = torch.rand(4, dtype=F64), torch.tensor([2, 0, 3, 1])
    one = (weight * cross_entropy(logits, target, reduction="none")).sum() / weight.sum()
    both = weight[order] * cross_entropy(logits, target[order], reduction="none")
    expected = 0.6 * one + 0.4 * both.sum() / weight.sum()
    close(mixed_pseudo_cross_entropy(logits, target, weight, order, share=0.6), expected)
    nothing = mixed_pseudo_cross_entropy(logits, target, 0 * weight, order, share=0.6)
    assert nothing.item() == 0


def test_equal_losses_make_no_noise_and_one_kind_of_flag_no_line() -> None:
    assert not small_loss_noise(torch.ones(5)).any()
    flags, chance = linear_noise(torch.randn(4, 2), torch.zeros(4, dtype=torch.bool))
    assert not flags.any()
    assert chance.sum() == 0
    infinite = torch.tensor([0.0, 0.1, 0.0, 4.0, torch.inf])
    assert high_mode(infinite).round().tolist() == [0, 0, 0, 1, 1]
    assert confidence_weights(infinite, torch.tensor([True, True, False, False, False])).sum() == 5


def test_a_line_on_unit_features_finds_what_losses_have_missed() -> None:
    features = torch.randn(200, 4)
    truth = features[:, 0] > 0
    first = truth.clone()
    first[:20] = False
    found, _ = linear_noise(features, first)
    assert (found == truth).float().mean() > 0.9


def test_wrong_inputs_get_one_sentence() -> None:
    with pytest.raises(ValueError, match="expected 0 to 1"):
        mixed_class_contrast(
            torch.eye(2), torch.eye(2), torch.eye(2), torch.tensor([0, 1]), share=2.0
        )
    with pytest.raises(ValueError, match=r"noisy \(N\)"):
        pseudo_targets(torch.zeros(2, 2), torch.zeros(2), torch.zeros(3))
    with pytest.raises(UserError, match="at least 2 finite numbers"):
        high_mode(torch.tensor([1.0]))
    with pytest.raises(UserError, match="Features"):
        linear_noise(torch.zeros(3, 2), torch.zeros(2))
