"""The battery finds each kind of defect in a loss, and says what it found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from nearfar.errors import UserError
from nearfar.losses.instance.contrastive import nt_xent
from nearfar.testing import LOSS_CHECKS, LossCase, check_loss


def make(rows: int, generator: torch.Generator) -> dict[str, Any]:
    z1, z2 = torch.randn(2, rows, 5, generator=generator, dtype=torch.float64).unbind()
    return {"z1": z1.requires_grad_(), "z2": z2.requires_grad_()}


def all_pairs(z1: Tensor, z2: Tensor, *, temperature: float = 0.1) -> Tensor:
    scores = (z1 @ z2.T / temperature).exp()
    return -(scores.diagonal() / scores.sum(1)).log().mean()


def in_order(z1: Tensor, z2: Tensor) -> Tensor:
    return (z1 * z2.roll(1, 0)).sum()


def one_sided(z1: Tensor, z2: Tensor) -> Tensor:
    return (z1 * z2.detach()).square().mean()


def constant_weights(z1: Tensor, z2: Tensor) -> Tensor:
    return ((z1 - z2).square() * (z1 * z2).detach().exp()).mean()


def rows(z1: Tensor, z2: Tensor) -> Tensor:
    return (z1 * z2).sum(1)


def deviation(z1: Tensor, z2: Tensor) -> Tensor:
    return z1.std(0).mean() + z2.std(0).mean()


def in_place(z1: Tensor, z2: Tensor) -> Tensor:
    with torch.no_grad():
        z2.div_(2)
    return (z1 * z2).mean()


def rounded(z1: Tensor, z2: Tensor) -> Tensor:
    return (
        (z1.float() @ z2.float().T)
        .bfloat16()
        .to(torch.promote_types(z1.dtype, torch.float32))
        .square()
        .sum()
    )


def hidden_pairs(z1: Tensor, z2: Tensor) -> Tensor:
    with torch.no_grad():
        nearest = (z1 @ z2.T).argmax(1)
    return (z1 - z2[nearest]).square().sum()


class _Square(torch.autograd.Function):
    """Right once; the second derivative is lost."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.kept = x
        return x.square()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 2 * ctx.kept.detach() * gradient


class _ReadTwice(torch.autograd.Function):
    """Right, but it reads its saved tensors twice, and has no rule for vmap."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.square()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return (ctx.saved_tensors[0] + ctx.saved_tensors[0]) * gradient


def read_twice(z1: Tensor, z2: Tensor) -> Tensor:
    return _ReadTwice.apply(z1).sum() + _ReadTwice.apply(z2).sum()


def in_checkpoints(z1: Tensor, z2: Tensor) -> Tensor:
    return checkpoint(lambda: (z1 * z2).square().sum(), use_reentrant=False)


def by_storage(z1: Tensor, z2: Tensor) -> Tensor:
    """Looks at the numbers as they lie in memory."""
    beside = torch.as_strided(z1.detach(), (len(z1),), (1,))
    return ((z1 * z2).sum(1) * beside).sum()


def on_the_cpu(z1: Tensor, z2: Tensor) -> Tensor:
    return (z1 * z2 * torch.ones(z1.shape[1], device="cpu")).sum()


class _Hoarder(torch.autograd.Function):
    """Holds a matrix of all pairs as long as the loss lives."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(x, y)
        ctx.pairs = x @ y.T
        return ctx.pairs.square().sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, y = ctx.saved_tensors
        return 2 * gradient * ctx.pairs @ y, 2 * gradient * ctx.pairs.T @ x


def hoarder(z1: Tensor, z2: Tensor) -> Tensor:
    return _Hoarder.apply(z1, z2)


def constant_slope(z1: Tensor, z2: Tensor) -> Tensor:
    return _Square.apply(z1).sum() + _Square.apply(z2).sum()


def root(z1: Tensor, z2: Tensor) -> Tensor:
    return (z1 * z2).sum(1).abs().sqrt().sum()


DEFECTS: list[tuple[Callable[..., Tensor], str, str]] = [
    (rows, "finite_with_gradient", r"the loss has the shape \(7,\); expected a scalar"),
    (one_sided, "finite_with_gradient", "no gradient reaches the input z2"),
    (in_place, "finite_with_gradient", "the input z2 is changed in place"),
    (constant_weights, "gradient_matches_differences", "Jacobian mismatch"),
    (in_order, "order_does_not_matter", "the order of samples matters"),
    (
        in_order,
        "half_types_compute_in_float32",
        "bfloat16 inputs under autocast give a torch.bfloat16",
    ),
    (all_pairs, "finite_at_any_temperature", "the loss is (nan|inf) at temperature 0.001"),
    (deviation, "few_samples_are_right_or_refused", "the loss is nan for one sample"),
    (
        rounded,
        "half_types_compute_in_float32",
        "float32 inputs under autocast lose precision: the .* errs by",
    ),
    (all_pairs, "memory_is_linear", r"160 samples keep \d+ bytes for backward, 640 samples \d+"),
    (
        hidden_pairs,
        "memory_is_linear",
        r"the largest tensor takes \d+ bytes with 160 samples, \d+ with 640",
    ),
    (
        constant_slope,
        "second_derivative_matches_differences",
        "Jacobian mismatch|not reentrant|numerical",
    ),
    (read_twice, "checkpointing_changes_nothing", "use_reentrant=False fails: .*unpacked"),
    (
        in_checkpoints,
        "functional_gradient_is_the_gradient",
        "torch.func.grad of 7 samples fails: .*saved tensor hooks",
    ),
    (read_twice, "vmap_equals_a_loop_or_is_refused", "vmap fails: .*vmap support"),
    (
        by_storage,
        "layout_in_memory_does_not_matter",
        "inputs that are not contiguous change the value",
    ),
    (on_the_cpu, "meta_tensors_give_a_shape_or_are_refused", "the meta device fails: .*device"),
    (
        hoarder,
        "nothing_is_held_after_backward",
        r"\d+ bytes are held after backward; a matrix of all pairs takes 204800",
    ),
    (
        root,
        "degenerate_embeddings_stay_finite",
        "the gradient of z1 is not finite for zero samples in torch.float32",
    ),
]


@pytest.mark.filterwarnings("ignore:std():UserWarning")
@pytest.mark.parametrize(("loss", "check", "message"), DEFECTS)
def test_a_defect_is_found(loss: Callable[..., Tensor], check: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        LOSS_CHECKS[check](LossCase(loss, make))


def test_every_check_can_fail() -> None:
    assert {check for _, check, _ in DEFECTS} | {"views_may_be_exchanged"} == set(LOSS_CHECKS)


def test_views_that_may_not_be_exchanged_are_found() -> None:
    def one_way(z1: Tensor, z2: Tensor) -> Tensor:
        return (z1 * z2.square()).sum()

    with pytest.raises(AssertionError, match="exchanging the views matters"):
        LOSS_CHECKS["views_may_be_exchanged"](LossCase(one_way, make, exchanged=(("z1", "z2"),)))
    LOSS_CHECKS["views_may_be_exchanged"](LossCase(deviation, make, exchanged=(("z1", "z2"),)))


def test_check_loss_names_the_loss_and_the_check() -> None:
    check_loss(nt_xent, make)
    check_loss(in_order, make, skip=["order_does_not_matter", "half_types_compute_in_float32"])
    with pytest.raises(
        AssertionError, match=r"in_order fails order_does_not_matter: the order of samples matters"
    ):
        check_loss(in_order, make)
    with pytest.raises(UserError, match=r"Unknown check 'memory': did you mean memory_is_linear"):
        check_loss(nt_xent, make, skip=["memory"])


def test_terms_in_a_dict_are_added() -> None:
    def terms(z1: Tensor, z2: Tensor) -> dict[str, Tensor]:
        return {"a": (z1 * z2).mean(), "b": z1.square().mean()}

    check_loss(terms, make, skip=["half_types_compute_in_float32"])
