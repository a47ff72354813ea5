"""SogCLR and iSogCLR: a running estimate of each sample's denominator over all data, and a
temperature for each sample.

Robust global contrastive loss of anchor i with margins h_i(z) = s(i, z) - s(i, i+) over its
negatives z:

    F_i = tau_i log E_z exp(h_i(z) / tau_i) + tau_i rho

the dual of the worst case over all weightings of the negatives within KL divergence rho of uniform.
A step is a pure function from the batch's rows of the state to the loss and the rows' new values;
the rows live in a table by sample number.

The gradient is that of the weighted margins, the weights held constant; matrices of all pairs are
made in blocks of samples.

Rulings where paper and code differ: the first estimate of a sample is its batch value whenever it
is first met (the authors: only in epoch 0; later, and with two modalities, it grows from 0, which
``seen`` set from the start reproduces); with two modalities the positive is left out of the sums.
LibAUC's two-modality loss is (N - 1) / 2 times ours.

Source: Yuan et al. 2022, "Provable Stochastic Optimization for Global Contrastive Learning"
(SogCLR: constant temperature); Qiu et al. 2023, "Not All Semantics are Created Equal" (iSogCLR),
equations 6 to 8 and algorithms 1 and 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from nearfar.losses.kernels.blocks import mapped_together, row_blocks
from nearfar.losses.kernels.similarity import (
    expect_rows,
    expect_shapes,
    full_precision,
    reduce,
    values_can_be_read,
)

__all__ = [
    "BIMODAL",
    "LIBAUC",
    "Rule",
    "SampleState",
    "bimodal_step",
    "cosine_gamma",
    "fresh_state",
    "robust_contrastive",
    "unimodal_step",
]


class SampleState(NamedTuple):
    """What is kept for each of N samples; each part is (N,).

    Attributes:
        estimate: s, running mean over negatives of exp(score / tau - shift).
        temperature: tau.
        momentum: u, running gradient with respect to the temperature.
        shift: b, running maximum of score / tau with two modalities; with one it is 0 unless
            exponents outgrow the number type.
        seen: bool, whether ``estimate`` holds anything yet.
    """

    estimate: Tensor
    temperature: Tensor
    momentum: Tensor
    shift: Tensor
    seen: Tensor


@dataclass(frozen=True)
class Rule:
    """How a state changes; the defaults are the authors' for one modality.

    Attributes:
        gamma: share of the batch in the running estimate, in (0, 1].
        rho: strength of the regulariser on temperatures, at least 0; None keeps them constant
            (SogCLR).
        rate: eta, step size of temperatures.
        beta: share of the batch in their running gradient, in (0, 1].
        bounds: least and greatest temperature.
        clip: largest absolute gradient of a temperature.
        floor: least estimate that weights are divided by.
        epsilon: added to the estimate that weights are divided by.
    """

    gamma: float = 0.8
    rho: float | None = 0.4
    rate: float = 0.03
    beta: float = 0.5
    bounds: tuple[float, float] = (0.05, 1.0)
    clip: float = 3.0
    floor: float = 0.0
    epsilon: float = 0.0


BIMODAL = Rule(rho=6.0, beta=0.9, bounds=(0.005, 1.0), clip=5.0, epsilon=1e-10)
"""The authors' rule for images with texts; temperatures start at 0.01."""

LIBAUC = Rule(
    gamma=0.9, rho=0.3, rate=0.01, beta=0.9, bounds=(0.05, 0.7), clip=math.inf, floor=1e-8
)
"""LibAUC's rule for one modality; temperatures start at 0.1. It takes ``gamma`` as 1 for a whole
batch, not for samples."""


def fresh_state(temperature: Tensor) -> SampleState:
    """The state of samples not met before, from their first temperatures (N,)."""
    zero = torch.zeros_like(temperature)
    return SampleState(
        zero, temperature, zero, zero, torch.zeros_like(temperature, dtype=torch.bool)
    )


def cosine_gamma(gamma: float, progress: float) -> float:
    """LibAUC's schedule of ``gamma``: from 1 down to ``gamma`` along half a cosine; ``progress`` in
    [0, 1] of the descent."""
    return gamma + (1.0 - gamma) * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))


@full_precision
def unimodal_step(
    z1: Tensor, z2: Tensor, state: SampleState, *, rule: Rule = Rule(), hinge: float | None = None
) -> tuple[Tensor, SampleState]:
    """One step with two views, whose rows of other samples in both views are the 2N - 2 negatives.

        loss = mean_i sum over views of ( sum_j w_ij s_ij - s_ii+ ),  weights constant

    Args:
        z1: (N, D) unit rows of view 1, N at least 2.
        z2: (N, D) of view 2.
        state: of the N samples.
        rule: how the state changes; temperatures that learn start within its bounds.
        hinge: c, takes max(0, s_ij - s_ii+ + c)^2 of all other 2N - 1 rows for the scores (the
            authors' variant has 0.8).

    Returns:
        the loss, and the new state of the N samples.

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.individual_temperature import fresh_state, unimodal_step
        >>> z, state = torch.eye(3), fresh_state(torch.full((3,), 0.5))
        >>> loss, state = unimodal_step(z, z, state)
        >>> loss, state.temperature
        (tensor(-2.), tensor([0.4940, 0.4940, 0.4940]))
    """
    expect_rows(least=2, z1=z1, z2=z2)
    expect_shapes(z1=(z1, "N D"), state=(state.temperature, "N"))
    _expect_bounds(rule, state)
    z1, z2, _ = mapped_together(z1, z2, state.temperature)
    samples = len(z1)
    rows = torch.cat([z1, z2])
    paired = (z1 * z2).sum(dim=1)
    force = torch.zeros_like(rows)
    pull = torch.zeros_like(rows[:, 0])
    value = paired.new_zeros(())
    states = []
    column = torch.arange(2 * samples, device=z1.device)
    for block in row_blocks(z1, columns=4 * samples):
        place = torch.cat([column[block], column[block] + samples])
        with torch.no_grad():
            query = rows[place]
            own = paired[block].repeat(2)
            similarity = query @ rows.T
            itself = place[:, None] == column
            if hinge is None:
                other = (place[:, None] - column) % samples != 0
                slope, new = _step(
                    similarity, other, SampleState(*(part[block] for part in state)), rule
                )
                value += (slope * similarity).sum() - own.sum()
                pull[place] = 1.0
            else:
                margin = (similarity - own[:, None] + hinge).clamp(min=0.0)
                weights, new = _step(
                    margin.square(), ~itself, SampleState(*(part[block] for part in state)), rule
                )
                value += (weights * margin.square()).sum()
                slope = 2.0 * weights * margin
                pull[place] = slope.sum(dim=1)
            force[place] += slope @ rows
            force += slope.T @ query
            states.append(new)
    moved = (rows * force).sum() - (pull * paired.repeat(2)).sum()
    return (value + moved - moved.detach()) / samples, _joined(states)


@full_precision
def bimodal_step(
    first: Tensor,
    second: Tensor,
    first_state: SampleState,
    second_state: SampleState,
    *,
    rule: Rule = BIMODAL,
    with_positive: bool = False,
) -> tuple[Tensor, SampleState, SampleState]:
    """One step with two modalities, each with its own state: rows of the similarity matrix for one,
    columns for the other.

        loss = mean_i sum_j w_ij (s_ij - s_ii)  +  mean_j sum_i w'_ij (s_ij - s_jj),
          weights constant

    Args:
        first: (N, D) unit rows of one modality, N at least 2.
        second: (N, D) of the other.
        first_state: of the samples' first modality.
        second_state: of the samples' second modality.
        rule: how the states change; temperatures that learn start within its bounds.
        with_positive: keep j = i in the sums, although their divisor stays N - 1, as released.

    Returns:
        the loss, and the two new states.

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.individual_temperature import bimodal_step, fresh_state
        >>> z, state = torch.eye(3), fresh_state(torch.full((3,), 0.5))
        >>> loss, first, second = bimodal_step(z, z, state, state)
        >>> loss
        tensor(-2.)
    """
    expect_rows(least=2, first=first, second=second)
    expect_shapes(
        first=(first, "N D"),
        first_state=(first_state.temperature, "N"),
        second_state=(second_state.temperature, "N"),
    )
    _expect_bounds(rule, first_state, second_state)
    first, second, _, _ = mapped_together(
        first, second, first_state.temperature, second_state.temperature
    )
    samples = len(first)
    paired = (first * second).sum(dim=1)
    modalities = (first, second)
    forces = (torch.zeros_like(first), torch.zeros_like(second))
    pull = torch.zeros_like(paired.detach())
    value = paired.new_zeros(())
    states: tuple[list[SampleState], list[SampleState]] = ([], [])
    for block in row_blocks(first):
        for here, state in enumerate((first_state, second_state)):
            with torch.no_grad():
                query = modalities[here][block]
                key = modalities[1 - here]
                similarity = query @ key.T
                margin = (
                    similarity - similarity.diagonal(block.start)[:, None]
                )  # exactly 0 for a pair with itself
                counted = torch.ones_like(margin, dtype=torch.bool)
                if not with_positive:
                    counted.diagonal(block.start).fill_(False)
                weights, new = _step(
                    margin,
                    counted,
                    SampleState(*(part[block] for part in state)),
                    rule,
                    count=samples - 1,
                    shifted=True,
                )
                value += (weights * margin).sum()
                pull[block] += weights.sum(dim=1)
                forces[here][block] += weights @ key
                forces[1 - here].add_(weights.T @ query)
                states[here].append(new)
    moved = (first * forces[0]).sum() + (second * forces[1]).sum() - (pull * paired).sum()
    return (value + moved - moved.detach()) / samples, _joined(states[0]), _joined(states[1])


def _joined(states: list[SampleState]) -> SampleState:
    return SampleState(*(torch.cat(parts) for parts in zip(*states, strict=True)))


@torch.no_grad()
def _step(
    scores: Tensor,
    negative: Tensor,
    state: SampleState,
    rule: Rule,
    *,
    count: int | None = None,
    shifted: bool = False,
) -> tuple[Tensor, SampleState]:
    """Weights of the scores (V N, M), which sum to about 1 in each row, and the new state of the N
    samples.

    The V views of a sample share its state, view-major: each has its own estimate, of which the
    mean is kept.

    Args:
        negative: (V N, M) bool, which scores count, equally many in each row.
        count: what the sums over negatives are divided by; None for their number.
        shifted: take the running maximum out of the exponent, as the authors do with two
            modalities; else no more than needed.
    """
    samples = len(state.seen)
    exponent = scores.view(-1, samples, scores.shape[1]) / state.temperature[:, None]
    masked = exponent.masked_fill(~negative.view_as(exponent), -math.inf)
    shift = _running_shift(exponent, state) if shifted else _least_shift(masked, state)
    terms = (masked - shift[..., None]).exp() / (negative[0].sum() if count is None else count)
    share = torch.where(state.seen, rule.gamma, torch.ones_like(state.estimate))
    # Where the shift stays, the estimate keeps its bits.
    moved = torch.where(
        state.shift == shift, state.estimate, (state.estimate.log() + state.shift - shift).exp()
    )
    estimate = (1.0 - share) * moved + share * terms.sum(dim=2)
    scale = torch.ones_like(shift) if shifted else (-shift).exp()
    weights = (
        terms / (torch.maximum(estimate, rule.floor * scale) + rule.epsilon * scale)[..., None]
    )
    temperature = state.temperature
    momentum = state.momentum
    if rule.rho is not None:
        slope = estimate.log() + shift + rule.rho - (weights * exponent).sum(dim=2)
        slope = slope.mean(dim=0).clamp(-rule.clip, rule.clip)
        momentum = (1.0 - rule.beta) * momentum + rule.beta * slope
        temperature = (temperature - rule.rate * momentum).clamp(*rule.bounds)
    common = shift.amax(dim=0)
    mean = (estimate * (shift - common).exp()).mean(dim=0)
    new = SampleState(mean, temperature, momentum, common, torch.ones_like(state.seen))
    return weights.view_as(scores), new


def _running_shift(exponent: Tensor, state: SampleState) -> Tensor:
    """The largest exponent (V, N) of each sample so far."""
    return torch.maximum(state.shift, exponent.amax(dim=(0, 2))).expand(exponent.shape[:2])


def _least_shift(exponent: Tensor, state: SampleState) -> Tensor:
    """What is taken off the exponents (V, N, M) so that terms and estimates fit the number type: 0
    where they fit as they are.

    The estimate of the past must fit too. It may be the larger one, when the temperature has risen
    since.
    """
    largest = torch.maximum(exponent.amax(dim=2), state.estimate.log() + state.shift)
    return (largest - 0.45 * math.log(torch.finfo(exponent.dtype).max)).clamp(min=0.0)


def _expect_bounds(rule: Rule, *states: SampleState) -> None:
    """Raise ValueError where temperatures that learn are below their bounds; on CPUs only, since a
    look would stall a GPU.

    A first step would bring them to the bounds, but estimates made at a smaller temperature are
    larger by many orders, and repulsion is divided by them. From above, estimates are smaller, and
    recover in one step.
    """
    low = rule.bounds[0]
    least = low * (1 - 1e-6)  # a bound that was rounded to single precision may lie below itself
    for state in states:
        temperature = state.temperature
        if rule.rho is None or not values_can_be_read(temperature):
            continue
        if not bool(((temperature >= least) & temperature.isfinite()).all()):
            found = f"{float(temperature.min()):.4g}: start within its bounds"
            raise ValueError(
                f"The samples' temperatures may not lie below the rule's least, {low}; found "
                f"{found}."
            )


@full_precision
def robust_contrastive(
    margins: Tensor, temperature: Tensor, *, rho: float = 0.4, reduction: str = "mean"
) -> Tensor:
    """The objective itself, tau log mean_z exp(h(z) / tau) + tau rho, which the steps estimate.

    Args:
        margins: (N, M), h of each anchor with its M negatives.
        temperature: (N,) above 0.
        rho: at least 0.
        reduction: "mean", or "none" for (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses.instance.individual_temperature import robust_contrastive
        >>> robust_contrastive(torch.zeros(2, 3), torch.tensor([0.5, 1.0]), rho=0.4)
        tensor(0.3000)
    """
    expect_shapes(margins=(margins, "N M"), temperature=(temperature, "N"))
    if not temperature.is_floating_point():
        raise ValueError(
            f"temperature must hold floating-point numbers; found {temperature.dtype}: convert it "
            "with .float()."
        )
    logs = torch.logsumexp(margins / temperature[:, None], dim=1) - math.log(margins.shape[1])
    return reduce(temperature * (logs + rho), reduction)
