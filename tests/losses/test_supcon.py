"""SupCon: the authors' values and gradients, a loop twin, its limits, labels against masks,
errors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from nearfar.losses import nt_xent, supcon
from tests.losses.cases import close, leaves, named

F64 = torch.float64


def features(n: int, views: int, dimension: int = 4) -> Tensor:
    return normalize(torch.randn(n, views, dimension, dtype=F64), dim=2).requires_grad_()


def loop(z: Tensor, mask: Tensor, temperature: float, base: float, mode: str) -> Tensor:
    rows = [(n, z[n, v]) for v in range(z.shape[1]) for n in range(len(z))]
    losses = []
    for i in range(len(rows) if mode == "all" else len(z)):
        similar = {j: rows[i][1] @ rows[j][1] / temperature for j in range(len(rows)) if j != i}
        total = (
            torch.stack(list(similar.values())).exp().sum().log()
            if similar
            else torch.zeros((), dtype=z.dtype)
        )
        positives = [similar[j] - total for j in similar if mask[rows[i][0], rows[j][0]]]
        losses.append(
            -temperature / base * (sum(positives) / len(positives) if positives else 0 * z.sum())
        )
    return torch.stack(losses).mean()


@pytest.mark.parametrize("name", named("a-supcon-*"))
def test_reference(golden: Callable[[str], dict[str, Tensor]], name: str) -> None:
    case = golden(name)
    (z,) = leaves(case, "features")
    label = case["in_labels"]
    loss = supcon(
        z,
        None if (label < 0).all() else label,
        temperature=case["hp_temperature"].item(),
        base_temperature=case["hp_base_temperature"].item(),
        mode="all" if case["hp_mode_all"] else "one",
    )
    loss.backward()
    close(loss, case["out_loss"])
    close(z.grad, case["out_grad_features"])


@pytest.mark.parametrize("mode", ["all", "one"])
@pytest.mark.parametrize("views", [1, 2, 3])
@pytest.mark.parametrize("label", [None, [0, 1, 2, 3, 4], [3, 3, 3, 3, 3], [7, -1, 7, 2, -1]])
def test_loop_twin(label: list[int] | None, views: int, mode: str) -> None:
    z = features(5, views)
    classes = torch.tensor(range(5) if label is None else label)
    mask = classes[:, None] == classes
    expected = loop(z, mask, 0.2, 0.07, mode)
    ways = [
        {"mask": mask},
        {"mask": mask.double()},
        {"label": classes},
        {} if label is None else {"label": classes.double()},
    ]
    for way in ways:
        found = supcon(z, **way, temperature=0.2, mode=mode)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
        for x, y in zip(
            torch.autograd.grad(found, z),
            torch.autograd.grad(expected, z, retain_graph=True),
            strict=True,
        ):
            torch.testing.assert_close(x, y, rtol=1e-9, atol=1e-11)


def test_a_mask_may_lack_symmetry_and_diagonal() -> None:
    z = features(5, 2)
    mask = torch.rand(5, 5) < 0.4
    mask.fill_diagonal_(False)
    torch.testing.assert_close(
        supcon(z, mask=mask, temperature=0.3), loop(z, mask, 0.3, 0.07, "all")
    )


def test_without_labels_two_views_are_nt_xent() -> None:
    z = features(6, 2)
    torch.testing.assert_close(
        supcon(z, temperature=0.3, base_temperature=0.3), nt_xent(z[:, 0], z[:, 1], temperature=0.3)
    )


def test_base_temperature_scales() -> None:
    z = features(6, 2)
    torch.testing.assert_close(
        supcon(z, temperature=0.1, base_temperature=0.05),
        2 * supcon(z, temperature=0.1, base_temperature=0.1),
    )


def test_gradcheck_and_the_gradient_of_a_temperature() -> None:
    label = torch.tensor([0, 1, 0])
    t = torch.tensor(0.4, dtype=F64, requires_grad=True)
    for mode in ("all", "one"):
        assert torch.autograd.gradcheck(
            lambda z, t, mode=mode: supcon(z, label, temperature=t, mode=mode),
            (features(3, 2, 3), t),
        )


def test_order_of_samples_and_names_of_classes_do_not_matter() -> None:
    z = features(8, 2)
    label = torch.tensor([0, 0, 1, 2, 2, 2, 5, 1])
    order = torch.randperm(8)
    expected = supcon(z, label)
    torch.testing.assert_close(supcon(z[order], label[order]), expected)
    torch.testing.assert_close(supcon(z, -100 * label), expected)


@pytest.mark.parametrize("temperature", [1e-3, 10.0])
def test_finite_at_the_ends(temperature: float) -> None:
    rows = torch.stack([torch.ones(4), torch.zeros(4), torch.eye(4)[0], torch.ones(4)])
    z = normalize(rows, dim=1)[:, None].repeat(1, 2, 1).requires_grad_()
    loss = supcon(z, torch.tensor([0, 1, 0, 2]), temperature=temperature)
    loss.backward()
    assert loss.isfinite()
    assert z.grad is not None
    assert z.grad.isfinite().all()


def test_a_lone_row_counts_as_zero() -> None:
    z = features(1, 1)
    loss = supcon(z)
    loss.backward()
    assert loss == 0
    assert z.grad is not None
    assert (z.grad == 0).all()


def test_autocast_agrees_with_float64() -> None:
    z = features(24, 2, 8).detach().bfloat16()
    label = torch.arange(24) % 5
    with torch.autocast("cpu", torch.bfloat16):
        found = supcon(z, label, temperature=0.1)
    assert found.dtype == torch.float32
    torch.testing.assert_close(
        found.double(), supcon(z.double(), label, temperature=0.1), rtol=1e-6, atol=0
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda z: supcon(z[:, 0]),
            r"features must be \(samples, views, D\), none of them 0; found \(3, 4\)",
        ),
        (lambda z: supcon(z[:0]), r"found \(0, 2, 4\)"),
        (
            lambda z: supcon(z, torch.zeros(2)),
            r"label must have one entry for each of the 3 samples; found \(2,\)",
        ),
        (
            lambda z: supcon(z, mask=torch.ones(3, 2)),
            r"mask must be \(3, 3\), samples by samples; found \(3, 2\)",
        ),
        (lambda z: supcon(z, torch.zeros(3), mask=torch.ones(3, 3)), "labels or a mask, not both"),
        (lambda z: supcon(z, mode="two"), "Unknown mode 'two': valid are 'all' and 'one'"),
        (lambda z: supcon(z, temperature=0.0), "temperature must be above 0"),
    ],
)
def test_errors(call: Callable[[Tensor], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(torch.randn(3, 2, 4))
