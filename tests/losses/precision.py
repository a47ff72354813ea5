"""What training asks of any loss: the number types it uses, and how much is kept for the backward
pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


def agrees_in_lower_precision(
    loss: Callable[..., Tensor], *inputs: Tensor, rtol: float = 1e-4
) -> None:
    """Under bfloat16 autocast, float32 inputs give the float64 value to ``rtol``, and so do
    bfloat16 inputs.

    Inputs are rounded to bfloat16 beforehand, so that all types see the same numbers. Gradients are
    compared relative to their largest entry; those of bfloat16 inputs are themselves rounded to
    2^-8.
    """
    rounded = [x.to(torch.bfloat16) for x in inputs]
    exact = [x.double().requires_grad_() for x in rounded]
    value = loss(*exact)
    gradients = torch.autograd.grad(value, exact, allow_unused=True)
    for kind, rounding in ((torch.float32, 0.0), (torch.bfloat16, 2**-8)):
        lower = [x.to(kind).requires_grad_() for x in rounded]
        with torch.autocast("cpu", torch.bfloat16):
            found = loss(*lower)
        assert found.dtype == torch.float32
        assert abs(found.item() - value.item()) <= rtol * max(1.0, abs(value.item()))
        for x, expected in zip(
            torch.autograd.grad(found, lower, allow_unused=True), gradients, strict=True
        ):
            assert (x is None) == (expected is None)
            if x is not None:
                scale = expected.abs().max().item()
                torch.testing.assert_close(
                    x.double(), expected, rtol=rounding, atol=10 * rtol * scale
                )


@contextmanager
def saved_sizes() -> Iterator[list[int]]:
    """Collects the number of entries of every tensor that autograd keeps for backward meanwhile."""
    sizes: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield sizes


class Work(TorchDispatchMode):
    """Counts, forwards and backwards, what costs time over all pairs.

    Attributes:
        products: multiplications of all matrix products, also of those in place, which PyTorch's
            own counter does not see.
        exponentials: entries of exponentials, logarithms and the like.
    """

    dear = (
        "exp",
        "exp2",
        "log",
        "log2",
        "log1p",
        "sigmoid",
        "softplus",
        "log_sigmoid_forward",
        "_softmax",
        "_log_softmax",
    )

    def __init__(self) -> None:
        super().__init__()
        self.products = self.exponentials = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        name = func.overloadpacket.__name__.removesuffix("_")
        if name in ("mm", "bmm", "addmm", "baddbmm"):
            first, second = args[-2:]
            self.products += first.numel() * second.shape[-1]
        if name in self.dear:
            self.exponentials += args[0].numel()
        return func(*args, **(kwargs or {}))
