"""LAF: golden values and gradients, loops, the autoencoder, errors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from nearfar.errors import UserError
from nearfar.losses.labels.forgetting import (
    embedding_vae_loss,
    extractor_unlearning,
    reconstruction_score,
    representation_alignment,
)
from nearfar.networks.labels.embedding_vae import EmbeddingVAE
from tests.losses.cases import close, leaves, named
from tests.references import ReferenceCase

Golden = Callable[[str], ReferenceCase]
F64 = torch.float64


@pytest.mark.parametrize("name", named("e-laf-extract-*"))
def test_extractor_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    names = ("e_remain", "ehat_remain", "e_forget", "ehat_forget")
    inputs = leaves(case, *names)
    loss = extractor_unlearning(*inputs)
    loss.backward()
    close(loss, case["out_loss"])
    close(reconstruction_score(*inputs[:2]), case["out_term_remain"])
    close(reconstruction_score(*inputs[2:]), case["out_term_forget"])
    for key, given in zip(names, inputs, strict=True):
        close(given.grad, case[f"out_grad_{key}"])


@pytest.mark.parametrize("name", named("e-laf-align-*"))
def test_alignment_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    remain, forget = leaves(case, "e_remain", "e_forget")
    loss = representation_alignment(
        remain,
        case["in_teacher_remain"],
        forget,
        case["in_teacher_forget"],
        temperature=case["hp_temperature"].item(),
    )
    loss.backward()
    close(loss, case["out_loss"])
    close(remain.grad, case["out_grad_e_remain"])
    close(forget.grad, case["out_grad_e_forget"])


@pytest.mark.parametrize("name", named("e-laf-vae-*"))
def test_vae_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    made, mean, sigma = leaves(case, "xhat", "mu", "sigma")
    weight = case["hp_kl_weight"].item()
    loss = embedding_vae_loss(made, case["in_x"], mean, sigma, weight=weight)
    loss.backward()
    close(loss, case["out_loss"])
    close(made.grad, case["out_grad_xhat"])
    close(mean.grad, case["out_grad_mu"])
    close(sigma.grad, case["out_grad_sigma"])


def test_alignment_equals_the_loop() -> None:
    a, b, c, d = (torch.randn(n, 3, dtype=F64) for n in (4, 4, 2, 2))
    distance = 1 - torch.cosine_similarity(a, b)
    away = torch.logsumexp((1 - torch.cosine_similarity(c, d)) / 5, dim=0)
    expected = sum(one - away for one in distance)
    close(representation_alignment(a, b, c, d, temperature=5.0), expected)


def test_a_zero_embedding_has_a_finite_gradient() -> None:
    zero = torch.zeros(2, 3, dtype=F64, requires_grad=True)
    other = torch.ones(2, 3, dtype=F64)
    representation_alignment(zero, other, zero, other).backward()
    assert torch.isfinite(zero.grad).all()


def test_the_autoencoder_learns_its_embeddings() -> None:
    torch.manual_seed(0)
    x = torch.rand(32, 6)
    model = EmbeddingVAE(6, 2, hidden=(16, 8))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        made = model(x, torch.randn(32, 2))
        loss = embedding_vae_loss(made.prediction, x, made.mean, made.deviation)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert model(x, torch.zeros(32, 2)).prediction.min() >= 0
    assert EmbeddingVAE(6, 2, output="linear")(x - 3, torch.zeros(32, 2)).prediction.min() < 0


def test_wrong_inputs_get_one_sentence() -> None:
    x, y = torch.zeros(2, 3), torch.zeros(3, 3)
    with pytest.raises(ValueError, match=r"prediction \(N, D\)"):
        reconstruction_score(x, y)
    with pytest.raises(ValueError, match=r"forget_teacher \(M, D\)"):
        representation_alignment(x, x, x, y)
    with pytest.raises(ValueError, match="temperature"):
        representation_alignment(x, x, y, y, temperature=0)
    with pytest.raises(ValueError, match="at least 0"):
        embedding_vae_loss(x, x, x, x, weight=-1)
    with pytest.raises(UserError, match="noise must be"):
        EmbeddingVAE(3, 2)(x, torch.zeros(2, 3))
    with pytest.raises(UserError, match="'sigmoid' or 'linear'"):
        EmbeddingVAE(3, 2, output="tanh")  # type: ignore[arg-type]
