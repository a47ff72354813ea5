"""The infinite schedule: down to a rate that can be held for ever, and a fall when it is wanted.

A run of known length falls at its end. A stream of data sets is trained at the held rate; before
the model is handed on, a branch of some steps falls and the stream goes on from where the branch
began (``backbone``, ``annealing``).
"""

from __future__ import annotations

import math
from typing import Annotated

from nearfar.errors import UserError
from nearfar.ranges import above, checked, unit_interval
from nearfar.training.schedules.warmup import expect_run, expect_share, rise

__all__ = ["SHAPES", "annealing", "backbone", "factor"]

SHAPES = ("cosine", "inverse-root", "linear")
"""How the rate cools down to the held one."""


def backbone(
    step: int,
    warmup: int,
    cooldown: int,
    *,
    constant: float = 0.25,
    shape: str = "cosine",
    timescale: float = 10.0,
) -> float:
    """The factor of a stream without end: a rise, a cooldown and ``constant`` for ever.

    With x the share of the cooldown that is done, c = ``constant`` and
    h(x) = 1 / sqrt(1 + timescale x) - 1:

        cosine: c + (1 - c)(1 + cos(pi x)) / 2,  inverse-root: 1 + (c - 1) h(x) / h(1),
        linear: 1 + (c - 1) x

    Args:
        step: Finished steps.
        warmup: Steps of the rise.
        cooldown: Steps of the cooldown, at least 0.
        constant: Share of the peak that is held, above 0 and at most 1.
        shape: One of ``SHAPES``.
        timescale: Bend of the inverse root, above 0.

    Example:
        >>> from nearfar.training.schedules.infinite import backbone
        >>> [round(backbone(step, 2, 2, constant=0.5), 2) for step in range(7)]
        [0.0, 0.5, 1.0, 0.75, 0.5, 0.5, 0.5]

    Source: Singh et al. 2025, "Beyond Cosine Decay", equation 3; Ibrahim et al. 2024.
    """
    expect_run(step, max(1, step, warmup + cooldown), warmup)
    expect_share("constant", constant, unit_interval(zero=False))
    checked(Annotated[float, above(0)], "timescale", timescale)
    if cooldown < 0:
        raise UserError(f"cooldown is {cooldown}; expected at least 0 steps.")
    if shape not in SHAPES:
        raise UserError(f"shape is {shape!r}; valid are 'cosine', 'inverse-root', 'linear'.")
    early = rise(step, warmup)
    if early is not None:
        return early
    done = 1.0 if step >= warmup + cooldown else (step - warmup) / cooldown
    if done == 1:
        return constant
    if shape == "cosine":
        return constant + (1 - constant) * (1 + math.cos(math.pi * done)) / 2
    if shape == "linear":
        return 1 + (constant - 1) * done
    bent = (1 / math.sqrt(1 + timescale * done) - 1) / (1 / math.sqrt(1 + timescale) - 1)
    return 1 + (constant - 1) * bent


def annealing(
    step: int,
    start: int,
    length: int,
    *,
    constant: float = 0.25,
    final: float = 0.01,
    printed: bool = False,
) -> float:
    """The factor of a branch: constant (final / constant)^((step - start) / length).

    Args:
        step: Finished steps of the stream, at least ``start``.
        start: Where the branch begins.
        length: Steps of the branch, at least 1; at its end the factor is ``final``.
        constant: Share of the peak that is held, above 0 and at most 1.
        final: Share of the peak at the end, above 0 and at most 1.
        printed: Divide by length + start in place of length, as the paper's equation is printed;
            the factor then ends above ``final``.

    Example:
        >>> from nearfar.training.schedules.infinite import annealing
        >>> [round(annealing(step, 8, 2, constant=0.25, final=0.01), 2) for step in (8, 9, 10, 11)]
        [0.25, 0.05, 0.01, 0.01]

    Source: Singh et al. 2025, "Beyond Cosine Decay"; the exponent as in GPT-NeoX.
    """
    expect_share("constant", constant, unit_interval(zero=False))
    expect_share("final", final, unit_interval(zero=False))
    if step < start or start < 0 or length < 1:
        raise UserError(
            f"A branch has at least 1 step and begins at or before its steps; found {length} steps"
            f" from {start} and step {step}."
        )
    over = length + start if printed else length
    done = (min(step, start + length) - start) / over
    return constant * math.exp(math.log(final / constant) * done)


def factor(
    step: int,
    steps: int,
    warmup: int = 0,
    *,
    cooldown: int | None = None,
    hold: int | None = None,
    constant: float = 0.25,
    final: float = 0.01,
    shape: str = "cosine",
    timescale: float = 10.0,
    printed: bool = False,
    falls: bool = True,
) -> float:
    """A run of known length: rise, cooldown, hold, and an exponential fall to the end.

    Args:
        step: Finished steps.
        steps: Of the whole run.
        warmup: Steps of the rise.
        cooldown: Steps of the cooldown; None for a quarter of the run.
        hold: Steps at the held rate; None to hold until the last fifth of the run. What is left of
            the run falls.
        constant: Share of the peak that is held, above 0 and at most 1.
        final: Share of the peak at the end, above 0 and at most 1.
        shape: One of ``SHAPES``.
        timescale: Bend of the inverse root, above 0.
        printed: As in ``annealing``.
        falls: Whether the run falls at its end; without, the rate is held, and branches fall.

    Raises:
        UserError: If the parts are longer than the run, or a share is out of range.

    Example:
        >>> from nearfar.training.schedules.infinite import factor
        >>> parts = {"cooldown": 2, "hold": 2, "constant": 0.25, "final": 0.0625}
        >>> [round(factor(step, 8, 2, **parts), 3) for step in range(9)]
        [0.0, 0.5, 1.0, 0.625, 0.25, 0.25, 0.25, 0.125, 0.062]

    Source: Singh et al. 2025, "Beyond Cosine Decay: On the effectiveness of Infinite Learning Rate
    Schedule for Continual Pre-training"; GPT-NeoX.
    """
    expect_run(step, steps, warmup)
    cool = min(steps // 4, steps - warmup) if cooldown is None else cooldown
    held = max(0, steps - steps // 5 - warmup - cool) if hold is None else hold
    start = warmup + cool + held
    if held < 0 or start > steps:
        raise UserError(
            f"A warm-up of {warmup}, a cooldown of {cool} and a hold of {held} steps do not fit"
            f" into {steps} steps."
        )
    if step <= start or start == steps or not falls:
        return backbone(step, warmup, cool, constant=constant, shape=shape, timescale=timescale)
    return annealing(step, start, steps - start, constant=constant, final=final, printed=printed)
