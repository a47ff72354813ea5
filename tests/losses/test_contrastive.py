"""The InfoNCE family: authors' values and gradients, loop twins, invariances, ends of the
temperature range, errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from nearfar.losses import clip, info_nce, moco_v3, nnclr, nt_xent, queue_info_nce
from tests.losses.cases import close, degenerate, finite_with_gradient, leaves, named

Golden = Callable[[str], dict[str, Tensor]]
F64 = torch.float64


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=F64).requires_grad_()


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a / a.norm()) @ (b / b.norm())


def nt_xent_loop(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    rows = [*z1, *z2]
    n = len(z1)
    losses = []
    for i in range(2 * n):
        similar = [cosine(rows[i], rows[j]) / temperature for j in range(2 * n)]
        losses.append(
            torch.stack(similar[:i] + similar[i + 1 :]).exp().sum().log()
            - similar[(i + n) % (2 * n)]
        )
    return torch.stack(losses)


def info_nce_loop(query: Tensor, key: Tensor, temperature: float) -> Tensor:
    losses = []
    for i in range(len(query)):
        similar = torch.stack([cosine(query[i], k) / temperature for k in key])
        losses.append(similar.exp().sum().log() - similar[i])
    return torch.stack(losses)


@pytest.mark.parametrize("name", [*named("a-ntxent-*"), *named("b-scatsimclr-ntxent-*")])
def test_nt_xent_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    z1, z2 = leaves(case, "z1", "z2")
    loss = nt_xent(z1, z2, temperature=case["hp_temperature"].item())
    loss.backward()
    close(loss, case["out_loss"])
    close(z1.grad, case["out_grad_z1"])
    close(z2.grad, case["out_grad_z2"])
    if "out_loss_simclr_sum" in case:
        close(
            nt_xent(z1, z2, temperature=case["hp_temperature"].item(), reduction="simclr_sum"),
            case["out_loss_simclr_sum"],
        )


@pytest.mark.parametrize("name", named("a-infonce-inbatch-*"))
def test_info_nce_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    query, key = leaves(case, "q", "k")
    temperature = case["hp_temperature"].item()
    close(info_nce(query, key, temperature=temperature), case["out_loss_q2k"])
    close(info_nce(key, query, temperature=temperature), case["out_loss_k2q"])
    loss = info_nce(query, key, temperature=temperature, symmetric=True)
    loss.backward()
    close(loss, case["out_loss"])
    close(query.grad, case["out_grad_q"])
    close(key.grad, case["out_grad_k"])


@pytest.mark.parametrize("name", named("a-moco-queue-*"))
def test_queue_info_nce_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    x, weight = leaves(case, "x_q", "w_q")
    query = x @ weight.T + case["in_b_q"]
    key = case["in_x_k"] @ case["out_w_k_after"].T + case["out_b_k_after"]
    loss = queue_info_nce(query, key, case["in_queue"].T, temperature=case["hp_temperature"].item())
    loss.backward()
    close(loss, case["out_loss"])
    close(x.grad, case["out_grad_x_q"])
    close(weight.grad, case["out_grad_w_q"])


@pytest.mark.parametrize("name", named("a-mocov3-*"))
def test_moco_v3_reference(golden: Golden, name: str) -> None:
    """The reference holds one direction; given twice, the loss is twice as much."""
    case = golden(name)
    (query,) = leaves(case, "q")
    loss = moco_v3(
        query, query, case["in_k"], case["in_k"], temperature=case["hp_temperature"].item()
    )
    (loss / 2).backward()
    close(loss / 2, case["out_loss"])
    close(query.grad, case["out_grad_q"])


@pytest.mark.parametrize("name", named("b-genview-mocov3-*"))
def test_info_nce_with_a_weight_for_each_pair_equals_the_reference(
    golden: Golden, name: str
) -> None:
    """GenView weighs MoCo v3's pairs by the quality of their views."""
    case = golden(name)
    q1, q2 = leaves(case, "q1", "q2")
    temperature = case["hp_temperature"].item()
    weight = case["in_weight"]
    losses = [
        info_nce(q, case[k], temperature=temperature, reduction="none")
        for q, k in ((q1, "in_k2"), (q2, "in_k1"))
    ]
    loss = 2 * temperature * (weight * (losses[0] + losses[1])).mean()
    loss.backward()
    close(loss, case["out_loss"])
    close(q1.grad, case["out_grad_q1"])
    close(q2.grad, case["out_grad_q2"])


@pytest.mark.parametrize("name", named("a-nnclr-*"))
def test_nnclr_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    p1, p2 = leaves(case, "p1", "p2")
    nn1, nn2 = (
        case["in_queue"][(case[f"in_z{view}"] @ case["in_queue"].T).argmax(dim=1)]
        for view in (1, 2)
    )
    loss = nnclr(nn1, nn2, p1, p2, temperature=case["hp_temperature"].item())
    loss.backward()
    close(loss, case["out_loss"])
    close(p1.grad, case["out_grad_p1"])
    close(p2.grad, case["out_grad_p2"])


@pytest.mark.parametrize("name", named("c-clip-*"))
def test_clip_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    image, text = leaves(case, "image", "text")
    log_scale = case["hp_log_scale"].clone().requires_grad_()
    loss = clip(image, text, logit_scale=log_scale.exp())
    loss.backward()
    close(loss, case["out_loss"])
    close(image.grad, case["out_grad_image"])
    close(text.grad, case["out_grad_text"])
    close(log_scale.grad, case["out_grad_log_scale"])


@pytest.mark.parametrize("name", named("c-cliprocket-clip-*"))
def test_clip_reference_of_rows_of_any_length(golden: Golden, name: str) -> None:
    case = golden(name)
    image, text = leaves(case, "z_image", "z_text")
    log_scale = case["hp_log_scale"].clone().requires_grad_()
    loss = clip(unit(image), unit(text), logit_scale=log_scale.exp())
    loss.backward()
    close(loss, case["out_loss"])
    close(image.grad, case["out_grad_z_image"])
    close(text.grad, case["out_grad_z_text"])
    close(log_scale.grad, case["out_grad_log_scale"])


def test_nt_xent_value_of_optax() -> None:
    """The number frozen in optax's tests: four points, classes 0 0 1 1, temperature 0.07."""
    points = torch.tensor(
        [[-1.9540, 1.0780], [0.2380, -0.5703], [1.8745, -0.0195], [-0.6719, -1.9210]]
    )
    torch.testing.assert_close(
        nt_xent(points[::2], points[1::2], temperature=0.07), torch.tensor(14.01032)
    )


@pytest.mark.parametrize("n", [2, 3, 7])
@pytest.mark.parametrize("temperature", [0.05, 0.5, 10.0])
def test_loop_twins(n: int, temperature: float) -> None:
    a = random(n, 4)
    b = random(n, 4)
    queue = normalize(torch.randn(5, 4, dtype=F64), dim=1)
    pairs = [
        (nt_xent(a, b, temperature=temperature, reduction="none"), nt_xent_loop(a, b, temperature)),
        (
            info_nce(a, b, temperature=temperature, reduction="none"),
            info_nce_loop(a, b, temperature),
        ),
        (
            info_nce(a, b, temperature=temperature, symmetric=True, reduction="none"),
            (info_nce_loop(a, b, temperature) + info_nce_loop(b, a, temperature)) / 2,
        ),
        (
            queue_info_nce(a, b, queue, temperature=temperature, reduction="none"),
            torch.cat(
                [
                    info_nce_loop(
                        a[i : i + 1], torch.cat([b[i : i + 1].detach(), queue]), temperature
                    )
                    for i in range(n)
                ]
            ),
        ),
    ]
    for found, expected in pairs:
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
        for x, y in zip(
            *(torch.autograd.grad(v.sum(), (a, b), allow_unused=True) for v in (found, expected)),
            strict=True,
        ):
            torch.testing.assert_close(x, y, rtol=1e-9, atol=1e-12)


def unit(x: Tensor) -> Tensor:
    """Unit rows, as their owner would store them: in float32 at least."""
    return normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=1)


LOSSES: dict[str, Callable[..., Tensor]] = {
    "nt_xent": nt_xent,
    "info_nce": info_nce,
    "symmetric": lambda a, b, **settings: info_nce(a, b, symmetric=True, **settings),
    "clip": lambda a, b, temperature, **settings: clip(
        unit(a), unit(b), logit_scale=1 / temperature, **settings
    ),
    "queue": lambda a, b, **settings: queue_info_nce(a, b, unit(-b), **settings),
    "moco_v3": lambda a, b, **settings: moco_v3(a, a.roll(1, 0), b.roll(1, 0), b, **settings),
    "nnclr": lambda a, b, **settings: nnclr(b.roll(1, 0), b, a, a.roll(1, 0), **settings),
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


@every_loss
def test_gradcheck(loss: Callable[..., Tensor]) -> None:
    partners = torch.randn(5, 3, dtype=F64)
    assert torch.autograd.gradcheck(lambda a: loss(a, partners, temperature=0.3), random(5, 3))


@every_loss
def test_permutation_rotation_scale(loss: Callable[..., Tensor]) -> None:
    a = random(8, 5)
    b = random(8, 5)
    value = loss(a, b, temperature=0.2)
    order = torch.randperm(8)
    turn = torch.linalg.qr(torch.randn(5, 5, dtype=F64)).Q
    for first, second in ((a[order], b[order]), (a @ turn, b @ turn), (3 * a, 0.1 * b)):
        torch.testing.assert_close(
            loss(first, second, temperature=0.2), value, rtol=1e-12, atol=1e-14
        )


def test_views_may_be_exchanged() -> None:
    a, b, c, d = (random(8, 5) for _ in range(4))
    for name in ("nt_xent", "symmetric", "clip"):
        torch.testing.assert_close(
            LOSSES[name](a, b, temperature=0.2), LOSSES[name](b, a, temperature=0.2)
        )
    torch.testing.assert_close(moco_v3(a, b, c, d), moco_v3(b, a, d, c))
    torch.testing.assert_close(nnclr(a, b, c, d), nnclr(b, a, d, c))


@every_loss
@pytest.mark.parametrize("z", degenerate())
@pytest.mark.parametrize("temperature", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_finite_on_degenerate_rows(
    loss: Callable[..., Tensor], z: Tensor, temperature: float, dtype: torch.dtype
) -> None:
    a, b = (z.to(dtype).clone().requires_grad_() for _ in range(2))
    finite_with_gradient(loss(a, b, temperature=temperature), a, b)


@every_loss
@pytest.mark.parametrize("temperature", [0.02, 0.1, 1.0])
def test_half_precision_and_autocast_agree_with_float64(
    loss: Callable[..., Tensor], temperature: float
) -> None:
    """bfloat16 embeddings are promoted, not rounded again: only float32's rounding of the exponent,
    1e-6 / temperature.
    """
    a = torch.randn(48, 16).bfloat16()
    b = torch.randn(48, 16).bfloat16()
    exact = loss(a.double(), b.double(), temperature=temperature)
    with torch.autocast("cpu", torch.bfloat16):
        for x, y in ((a, b), (a.float(), b.float())):
            found = loss(x, y, temperature=temperature)
            assert found.dtype == torch.float32
            torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=1e-6 / temperature)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "queue"])
def test_a_batch_of_one_is_already_solved(name: str) -> None:
    a = random(1, 4)
    b = random(1, 4)
    value = LOSSES[name](a, b, temperature=0.1)
    assert value == 0
    for gradient in torch.autograd.grad(value, (a, b), allow_unused=True):
        assert gradient is None or (gradient == 0).all()


def test_a_tiny_loss_keeps_its_digits() -> None:
    """Partners agree, all else is opposite: the loss is log(1 + 2 e^(-2 / tau)), far below
    float32's rounding of 1.
    """
    z = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    expected = math.log1p(2 * math.exp(-20))
    assert nt_xent(z, z, temperature=0.1).item() == pytest.approx(expected, rel=1e-5)
    assert clip(z, z, logit_scale=10.0).item() == pytest.approx(expected / 2, rel=1e-5)


@pytest.mark.parametrize("name", ["nt_xent", "info_nce", "symmetric", "queue", "moco_v3", "nnclr"])
def test_a_temperature_tensor_gives_the_same_and_gets_its_gradient(name: str) -> None:
    a = random(6, 4)
    b = random(6, 4)
    temperature = torch.tensor(0.3, dtype=F64, requires_grad=True)
    torch.testing.assert_close(
        LOSSES[name](a, b, temperature=temperature), LOSSES[name](a, b, temperature=0.3)
    )
    assert torch.autograd.gradcheck(lambda t: LOSSES[name](a, b, temperature=t), temperature)


def test_reductions_and_their_order() -> None:
    a = random(5, 4)
    b = random(5, 4)
    assert nt_xent(a, b, reduction="none").shape == (10,)
    torch.testing.assert_close(
        nt_xent(b, a, reduction="none"), nt_xent(a, b, reduction="none").roll(5)
    )
    for call in (
        lambda how: nt_xent(a, b, reduction=how),
        lambda how: info_nce(a, b, reduction=how),
        lambda how: info_nce(a, b, symmetric=True, reduction=how),
        lambda how: queue_info_nce(a, b, b, reduction=how),
        lambda how: clip(a, b, logit_scale=2.0, reduction=how),
    ):
        torch.testing.assert_close(call("none").mean(), call("mean"))


def test_constants_receive_no_gradient() -> None:
    a = random(4, 3)
    b = random(4, 3)
    queue = random(6, 3)
    assert torch.autograd.grad(queue_info_nce(a, b, queue), (b, queue), allow_unused=True) == (
        None,
        None,
    )
    assert torch.autograd.grad(moco_v3(a, a, b, b), b, allow_unused=True) == (None,)
    assert torch.autograd.grad(nnclr(b, b, a, a), b, allow_unused=True) == (None,)


def test_nt_xent_keeps_no_matrix_for_backward() -> None:
    z1, z2 = (torch.randn(2048, 64, requires_grad=True) for _ in range(2))
    kept: dict[int, int] = {}

    def keep(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        nt_xent(z1, z2)
    embeddings = 2 * 2048 * 64 * 4
    assert sum(kept.values()) < 4 * embeddings  # 4 MiB; the matrix alone would be 64 MiB


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x: nt_xent(x, x[:2]),
            r"z1, z2 must be matrices of one shape \(N, D\); found \(3, 4\), \(2, 4\)",
        ),
        (lambda x: nt_xent(x[:0], x[:0]), "z1, z2 need at least 1 rows; found 0"),
        (lambda x: nt_xent(x, x, temperature=0.0), "The temperature must be above 0; found 0.0"),
        (lambda x: info_nce(x, x, temperature=-1.0), "The temperature must be above 0; found -1.0"),
        (lambda x: info_nce(x, x, reduction="sum"), "Unknown reduction 'sum'"),
        (lambda x: queue_info_nce(x, x[:, :2], x), "query, key must be matrices of one shape"),
        (lambda x: clip(x, x[0], logit_scale=1.0), "first, second must be matrices of one shape"),
    ],
)
def test_errors(call: Callable[[Tensor], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(torch.randn(3, 4))
