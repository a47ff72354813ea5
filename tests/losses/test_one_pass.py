"""Losses whose gradient is made together with their value: right against the plain form, twice,
compiled, for the promised work.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize, softplus

from nearfar.losses import info_nce, moco_v3, nnclr, queue_info_nce, siglip
from nearfar.losses.instance.decoupled import cross_view_dcl, nnclr_dcl, queue_dcl
from nearfar.losses.kernels.blocks import with_gradients
from nearfar.losses.kernels.cross_entropy import row_cross_entropy
from nearfar.testing.allocations import Allocations
from tests.losses.precision import Work

F64 = torch.float64
Loss = Callable[..., Tensor]


def pair(rows: int, dimension: int = 5, dtype: torch.dtype = F64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [
        torch.randn(rows, dimension, generator=generator, dtype=dtype).requires_grad_()
        for _ in range(2)
    ]


def scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=F64).requires_grad_()


def plain_info_nce(query: Tensor, key: Tensor, temperature: Tensor) -> Tensor:
    return cross_entropy(
        normalize(query, dim=1) @ normalize(key, dim=1).T / temperature, torch.arange(len(query))
    )


def plain_cross_view_dcl(query: Tensor, key: Tensor, temperature: Tensor) -> Tensor:
    logits = normalize(query, dim=1) @ normalize(key, dim=1).T / temperature
    others = logits.masked_fill(torch.eye(len(logits), dtype=torch.bool), -torch.inf)
    return (others.logsumexp(dim=1) - logits.diagonal()).mean()


def plain_siglip(first: Tensor, second: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    logits = scale * first @ second.T + bias
    return softplus(
        logits * (1 - 2 * torch.eye(len(first), dtype=F64)), threshold=40.0
    ).sum() / len(first)


def close(found: Tensor, expected: Tensor, inputs: list[Tensor]) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    for a, b in zip(
        torch.autograd.grad(found, inputs), torch.autograd.grad(expected, inputs), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12 * max(1.0, b.abs().max().item()))


@pytest.mark.parametrize("tensor", [False, True])
@pytest.mark.parametrize("temperature", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("rows", [2, 9])
@pytest.mark.parametrize(
    ("loss", "plain"), [(info_nce, plain_info_nce), (cross_view_dcl, plain_cross_view_dcl)]
)
def test_row_losses_equal_the_plain_form(
    loss: Loss,
    plain: Loss,
    rows: int,
    temperature: float,
    tensor: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "nearfar.losses.kernels.similarity_blocks.block_height", lambda columns, device: 2
    )
    inputs = pair(rows)
    tau = scalar(temperature)
    close(
        loss(*inputs, temperature=tau if tensor else temperature),
        plain(*inputs, tau),
        inputs + [tau] * tensor,
    )


@pytest.mark.parametrize(
    ("scale", "bias"), [(1.0, 0.0), (10.0, -10.0), (100.0, -12.0), (1000.0, 0.0), (10.0, 300.0)]
)
@pytest.mark.parametrize("rows", [1, 2, 9])
def test_siglip_equals_the_plain_form(
    rows: int, scale: float, bias: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "nearfar.losses.kernels.similarity_blocks.block_height", lambda columns, device: 2
    )
    inputs = [normalize(x.detach(), dim=1).requires_grad_() for x in pair(rows)] + [
        scalar(scale),
        scalar(bias),
    ]
    found = siglip(*inputs[:2], logit_scale=inputs[2], logit_bias=inputs[3])
    close(found, plain_siglip(*inputs), inputs)


@pytest.mark.parametrize(
    ("scale", "bias"), [(10.0, -10.0), (10.0, -60.0), (100.0, -12.0), (1000.0, 0.0)]
)
def test_siglip_keeps_its_relative_precision_in_float32(scale: float, bias: float) -> None:
    """Also of a loss of 1e-20, of whose terms 1 + v is 1, and of one of thousands, whose powers are
    infinite.
    """
    exact = [normalize(x.detach(), dim=1) for x in pair(40, 8)]
    exact[1] = exact[0].roll(1, 0)  # partners are unlike
    half = [x.float() for x in exact]
    wrong = (
        softplus(half[0].double() @ half[1].double().T * scale + bias, threshold=40.0)
        .fill_diagonal_(0.0)
        .sum()
    )
    right = softplus(
        -(half[0].double() * half[1].double()).sum(1) * scale - bias, threshold=40.0
    ).sum()
    found = siglip(half[0], half[1], logit_scale=scale, logit_bias=bias)
    torch.testing.assert_close(found.double(), (wrong + right) / 40, rtol=2e-6, atol=0.0)


def test_values_of_a_loss_that_is_nearly_zero_stay_precise() -> None:
    near = torch.eye(8, dtype=torch.float32).requires_grad_()
    found = siglip(near, near.detach(), logit_scale=80.0, logit_bias=-40.0)
    assert found.item() == pytest.approx(8 * 4.248354255291589e-18, rel=1e-5)


def test_a_zero_row_has_a_finite_gradient_and_a_row_alone_none() -> None:
    query, key = pair(4)
    with torch.no_grad():
        query[1] = key[2] = 0
    for loss in (info_nce, cross_view_dcl):
        assert all(
            gradient.isfinite().all()
            for gradient in torch.autograd.grad(loss(query, key), (query, key))
        )
    alone = pair(1)
    value = info_nce(*alone)
    assert value == 0
    assert all((gradient == 0).all() for gradient in torch.autograd.grad(value, alone))


@pytest.mark.parametrize("bound", [10.0, float("inf")])
@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("cosine", [False, True])
def test_first_and_second_derivatives(
    cosine: bool, decoupled: bool, bound: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "nearfar.losses.kernels.similarity_blocks.block_height", lambda columns, device: 1
    )
    query, key = pair(6, 3)
    inputs = (query.detach()[:4].requires_grad_(), key)

    def loss(query: Tensor, key: Tensor) -> Tensor:
        return row_cross_entropy(
            query,
            key,
            temperature=0.7,
            start=1,
            cosine=cosine,
            decoupled=decoupled,
            bound=bound,
            of=5,
        )

    assert torch.autograd.gradcheck(loss, inputs)
    assert torch.autograd.gradgradcheck(loss, inputs)
    found = torch.autograd.grad(loss(*inputs), inputs)
    for a, b in zip(torch.func.grad(loss, argnums=(0, 1))(*inputs), found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.filterwarnings("ignore")  # of the compiler's own
def test_compile_traces_forward_and_backward_without_a_break(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "nearfar.losses.kernels.similarity_blocks.block_height", lambda columns, device: 2
    )
    inputs = pair(9)

    def total(a: Tensor, b: Tensor) -> Tensor:
        scale = a.square().mean()
        return (
            info_nce(a, b)
            + queue_info_nce(a, b, b.detach())
            + siglip(a, b, logit_scale=scale, logit_bias=-scale)
        )

    torch._dynamo.reset()
    close(
        torch.compile(total, backend="aot_eager", fullgraph=True)(*inputs), total(*inputs), inputs
    )


QUEUE = normalize(torch.randn(600, 8, generator=torch.Generator().manual_seed(3)), dim=1)
PRODUCTS: dict[str, tuple[Loss, int, int]] = {
    "info_nce": (info_nce, 1, 3),
    "info_nce, tensor": (lambda a, b: info_nce(a, b, temperature=torch.tensor(0.1)), 1, 3),
    "info_nce, tiny": (lambda a, b: info_nce(a, b, temperature=1e-3), 1, 3),
    "cross_view_dcl": (cross_view_dcl, 1, 3),
    "siglip": (lambda a, b: siglip(a, b, logit_scale=1.0), 1, 3),
    "queue_info_nce": (lambda a, b: queue_info_nce(a, b.detach(), QUEUE) + 0 * b.sum(), 1, 2),
    "queue_info_nce, none": (
        lambda a, b: queue_info_nce(a, b.detach(), QUEUE, reduction="none").sum() + 0 * b.sum(),
        1,
        2,
    ),
    "queue_dcl": (lambda a, b: queue_dcl(a, b.detach(), QUEUE) + 0 * b.sum(), 1, 2),
    "moco_v3": (lambda a, b: moco_v3(a, b, b, a), 2, 4),
    "nnclr": (lambda a, b: nnclr(a, b, a, b), 2, 4),
    "nnclr_dcl": (lambda a, b: nnclr_dcl(a, b, a, b), 2, 4),
}
"""The loss; how many products of N x N x D it needs alone; and with gradients: of each side that
has one, one more.
"""


@pytest.mark.parametrize("name", PRODUCTS)
def test_no_block_is_made_twice_and_no_gradient_without_need(name: str) -> None:
    loss, alone, trained = PRODUCTS[name]
    size = 600
    inputs = pair(size, 8, torch.float32)
    with Work() as done, torch.no_grad():
        loss(*inputs)
    assert done.products == alone * size * size * 8
    with Work() as done:
        torch.autograd.grad(loss(*inputs), inputs)
    assert done.products == trained * size * size * 8
    # SigLIP takes a logarithm of every four.
    assert alone * size**2 <= done.exponentials <= alone * size * (1.25 * size + 8)


@pytest.mark.parametrize("name", PRODUCTS)
def test_no_tensor_is_larger_than_a_block(name: str) -> None:
    inputs = pair(2048, 8, torch.float32)
    with Allocations() as made:
        value = PRODUCTS[name][0](*inputs)
        kept = made.living()
        torch.autograd.grad(value, inputs)
    assert made.largest <= 4 * 256 * 2048
    assert kept <= 40 * 4 * 8 * 2048


def test_autocast_does_not_lower_the_precision_of_a_second_derivative() -> None:
    inputs = pair(9, 8, torch.float32)

    def gradients() -> tuple[Tensor, ...]:
        return torch.autograd.grad(info_nce(*inputs), inputs, create_graph=True)

    def second(gradients: tuple[Tensor, ...]) -> Tensor:
        return torch.autograd.grad(
            gradients[0].square().sum() + gradients[1].square().sum(), inputs
        )[0]

    with torch.autocast("cpu", torch.bfloat16):
        found = gradients()
    assert torch.equal(second(found), second(gradients()))


def test_a_gradient_may_be_taken_twice_and_of_one_input_alone() -> None:
    inputs = pair(9)
    value = info_nce(*inputs)
    first, second = (torch.autograd.grad(value, inputs, retain_graph=True) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(
        torch.autograd.grad(info_nce(inputs[0], inputs[1].detach()), inputs[0])[0], first[0]
    )
    assert torch.equal(
        torch.autograd.grad(info_nce(inputs[0].detach(), inputs[1]), inputs[1])[0], first[1]
    )


def test_with_gradients_asks_only_for_what_is_wanted() -> None:
    asked: list[tuple[bool, ...]] = []

    def rows(wanted: tuple[bool, ...], x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        asked.append(wanted)
        made = (3 * x.square()[:, None] * torch.ones_like(x)[:, None], torch.ones_like(y))
        return (
            x.pow(3) + y,
            *(gradient for gradient, one in zip(made, wanted, strict=True) if one),
        )

    x = torch.tensor([1.0, 2.0])
    y = torch.tensor([0.5, 0.5], requires_grad=True)
    value = with_gradients(rows, x, y)
    assert torch.equal(
        torch.autograd.grad(value, y, torch.tensor([2.0, 3.0]))[0], torch.tensor([2.0, 3.0])
    )
    with torch.no_grad():
        with_gradients(rows, x, y)
    assert asked == [(False, True), (False, False)]
