"""NP-Edit: an editor learns from a judge's answers and a teacher's distribution, without pairs.

Velocity is noise minus data: x_t = (1 - t) x_0 + t noise.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, softplus

from nearfar.errors import UserError
from nearfar.losses.kernels.similarity import full_precision
from nearfar.losses.restoration.inputs import expect_choice, expect_pictures, per_image

__all__ = ["answer_loss", "distribution_matching", "two_step_edit"]


def two_step_edit(
    velocity: Callable[[Tensor, Tensor], Tensor],
    noise: Tensor,
    time: Tensor,
    *,
    through: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """An edit in two steps: from pure noise, and once more from what was made, noised again.

        first = noise - v(noise, 1),  x_t = (1 - t) first + t noise,  edit = x_t - t v(x_t, t)

    Args:
        velocity: From x (N, ...) and times (N,) to velocities; knows the reference and instruction.
        noise: (N, ...).
        time: (N,) of the second step, above 0 and below 1; the paper draws 0.25, 0.5 or 0.75.
        through: Whether gradient flows through x_t into the first step.

    Returns:
        The first estimate, x_t and the edit.

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.editing import two_step_edit
        >>> made = two_step_edit(lambda x, t: x, torch.ones(1, 2), torch.tensor([0.5]))
        >>> [part.tolist() for part in made]
        [[[0.0, 0.0]], [[0.5, 0.5]], [[0.25, 0.25]]]

    Source: "Learning an Image Editing Model without Image Editing Pairs" 2025, algorithm 1.
    """
    if time.shape != noise.shape[:1]:
        raise UserError(
            f"Expected one time for each of {len(noise)} samples; found {tuple(time.shape)}."
        )
    t = time.view(-1, *[1] * (noise.ndim - 1))
    first = noise - velocity(noise, torch.ones_like(time))
    noised = (1 - t) * first + t * noise
    if not through:
        noised = noised.detach()
    return first, noised, noised - t * velocity(noised, time)


@full_precision
def answer_loss(
    logits: Tensor,
    answers: Tensor,
    yes: int,
    no: int,
    *,
    form: str = "pair",
    reduction: str = "mean",
) -> Tensor:
    """How unlikely the right answers are to a frozen judge.

        pair: sum_j -log s(l_right - l_wrong)        vocabulary: mean_j -log softmax(l)_right

    Args:
        logits: (N, Q, V) of the next token after each of Q questions.
        answers: (N, Q), 1 where Yes is right.
        yes: Token of Yes, from 0 to V - 1.
        no: Token of No.
        form: "pair" compares both answers; "vocabulary" all tokens, which does worse in the paper.
        reduction: "mean" for a scalar, or "none" for (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.editing import answer_loss
        >>> answer_loss(torch.zeros(1, 2, 5), torch.ones(1, 2), 3, 1)
        tensor(1.3863)

    Source: NP-Edit 2025, equation 4.
    """
    expect_choice("form", form, ("pair", "vocabulary"))
    expect_pictures(logits=(logits, "N Q V"))
    words = logits.shape[2]
    if answers.shape != logits.shape[:2] or not (0 <= yes < words and 0 <= no < words) or yes == no:
        raise UserError(
            f"Expected answers {tuple(logits.shape[:2])} and two tokens below {words};"
            f" found {tuple(answers.shape)}, {yes} and {no}."
        )
    is_yes = answers.bool()
    if form == "pair":
        margin = logits[:, :, yes] - logits[:, :, no]
        each = softplus(torch.where(is_yes, -margin, margin))
    else:
        right = torch.where(is_yes, yes, no)
        among = cross_entropy(logits.flatten(0, 1), right.flatten(), reduction="none")
        each = among.view(is_yes.shape) / is_yes.shape[1]
    return per_image(each.sum(dim=1), reduction)


@full_precision
def distribution_matching(
    edit: Tensor,
    noised: Tensor,
    time: Tensor,
    teacher: Tensor,
    auxiliary: Tensor,
    *,
    normalise: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """A loss whose gradient moves edits from their own distribution to the teacher's.

        x_real = x_s - s v_teacher,  x_made = x_s - s v_auxiliary,  g = x_made - x_real
        loss = mean (x - sg(x - g))^2 / 2;  its gradient is g over the number of elements

    Args:
        edit: (N, ...) x, with gradient.
        noised: (N, ...) x_s = (1 - s) sg(x) + s noise.
        time: (N,) s.
        teacher: (N, ...) velocity of the frozen teacher at x_s.
        auxiliary: (N, ...) velocity of the network that follows the edits.
        normalise: Divide each sample's g by its mean |x - x_real|.
        reduction: "mean" for a scalar, or "none" for (N,).

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.editing import distribution_matching
        >>> x = torch.zeros(1, 2, requires_grad=True)
        >>> one = torch.ones(1, 2)
        >>> distribution_matching(x, one, torch.ones(1), one, 0 * one).backward()
        >>> x.grad
        tensor([[0.5000, 0.5000]])

    Source: Yin et al. 2024 (DMD2); NP-Edit 2025, equation 6, with the sign that descends.
    """
    axes = " ".join(["N", *(f"A{axis}" for axis in range(1, edit.ndim))])
    expect_pictures(
        edit=(edit, axes),
        noised=(noised, axes),
        teacher=(teacher, axes),
        auxiliary=(auxiliary, axes),
        time=(time, "N"),
    )
    s = time.view(-1, *[1] * (edit.ndim - 1))
    real, own = noised - s * teacher, noised - s * auxiliary
    direction = (own - real).detach()
    if normalise:
        size = per_image((edit - real).detach().abs(), "none")
        direction = direction / size.view(s.shape)
    target = (edit - direction).detach()
    return per_image((edit - target).square(), reduction) / 2
