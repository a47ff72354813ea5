"""LeJEPA: views predict the centre of their sample, and all embeddings together look like draws
from a standard normal distribution.

SIGReg looks at embeddings along random directions a of unit length. Along each it compares the
empirical characteristic function with that of the standard normal, phi(t) = exp(-t^2 / 2):

    T(a) = N integral from -r to r of | mean_n exp(i t a.z_n) - phi(t) |^2 phi(t) dt

This is Epps and Pulley's statistic. The integrand is even, so that twice the trapezoid rule from 0
to r gives the trapezoid rule of both sides. Directions must be drawn anew for each step, and alike
on all processes. For normal samples the expectation of T is sqrt(2 pi) (1 - 1 / sqrt(3)), about
1.06 over the whole line, whatever N; for all others T grows with N. Centres receive gradient too.

Source: Balestriero and LeCun 2025, "LeJEPA: Provable and Scalable Self-Supervised Learning Without
the Heuristics", algorithms 1 and 2; Epps and Pulley 1983, "A test for normality based on the
empirical characteristic function".
"""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.losses.kernels.blocks import in_row_blocks
from nearfar.losses.kernels.similarity import expect_shapes, full_precision

__all__ = ["centre_prediction", "draw_directions", "sigreg"]


def draw_directions(dimensions: int, count: int, *, generator: torch.Generator) -> Tensor:
    """Unit vectors that are uniform on the sphere, (count, dimensions), on the generator's device.

    Args:
        dimensions: Of the embedding.
        count: Number of directions.
        generator: Source of the draws.

    Example:
        >>> import torch
        >>> from nearfar.losses.redundancy.gaussianity import draw_directions
        >>> draw_directions(5, 3, generator=torch.Generator().manual_seed(0)).norm(dim=1)
        tensor([1., 1., 1.])
    """
    drawn = torch.randn(count, dimensions, generator=generator, device=generator.device)
    directions: Tensor = drawn / drawn.norm(dim=1, keepdim=True)
    return directions


@full_precision
def sigreg(views: Tensor, directions: Tensor, *, largest: float = 5.0, knots: int = 17) -> Tensor:
    """The mean of Epps and Pulley's statistic over views and directions.

    The plain form, for a view z and t = linspace(-largest, largest, 2 knots - 1):

        e = exp(1j * (z @ directions.T)[..., None] * t).mean(0) - exp(-t**2 / 2)
        (N * trapezoid(e.abs()**2 * exp(-t**2 / 2), t)).mean()

    A block of directions is made at a time, so that memory does not grow with their number.

    Args:
        views: (V, N, D) embeddings of V views; each view is compared by itself.
        directions: (M, D) unit vectors; constants.
        largest: r, the end of the integral, above 0.
        knots: Points of the trapezoid rule from 0 to r, at least 2.

    Raises:
        ValueError: If shapes do not fit, or a number is out of its range.

    Example:
        >>> import torch
        >>> from nearfar.losses.redundancy.gaussianity import sigreg
        >>> normal = torch.randn(1, 1000, 2, generator=torch.Generator().manual_seed(0))
        >>> sigreg(normal, torch.eye(2)) < 3, sigreg(0 * normal, torch.eye(2)) > 100
        (tensor(True), tensor(True))
    """
    expect_shapes(views=(views, "V N D"), directions=(directions, "M D"))
    if not largest > 0 or knots < 2:
        raise ValueError(
            f"The integral needs an end above 0 and at least 2 knots; found {largest} and {knots}."
        )
    t = torch.linspace(0, largest, knots, dtype=views.dtype, device=views.device)
    normal = (-t.square() / 2).exp()
    weights = torch.full_like(t, 2 * largest / (knots - 1))
    weights[0] /= 2
    weights[-1] /= 2
    weights = weights * normal
    along = directions.detach().to(views)

    def statistic(block: slice) -> Tensor:
        phases = (views @ along[block].T)[..., None] * t
        real = phases.cos().mean(dim=1) - normal
        imaginary = phases.sin().mean(dim=1)
        return ((real.square() + imaginary.square()) @ weights).mean(dim=0)

    samples = views.shape[0] * views.shape[1]
    statistics = in_row_blocks(statistic, along, columns=samples * knots)
    return views.shape[1] * statistics.mean()


@full_precision
def centre_prediction(views: Tensor, *, whole: int = 2) -> Tensor:
    """The mean squared distance of all views' embeddings from the mean of the whole views' ones.

        loss = mean over v, n, d of (mean_{w < whole} z_wnd - z_vnd)^2

    Args:
        views: (V, N, D) embeddings, those of the whole views first.
        whole: Number of whole views, from 1 to V.

    Raises:
        ValueError: If shapes or numbers do not fit.

    Example:
        >>> import torch
        >>> from nearfar.losses.redundancy.gaussianity import centre_prediction
        >>> centre_prediction(torch.tensor([[[1.0]], [[3.0]], [[5.0]]]))
        tensor(3.6667)
    """
    expect_shapes(views=(views, "V N D"))
    if not 1 <= whole <= len(views):
        raise ValueError(f"Of {len(views)} views 1 to all can be whole; found {whole}.")
    return (views[:whole].mean(dim=0) - views).square().mean()
