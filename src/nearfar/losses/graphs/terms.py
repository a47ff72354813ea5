"""Which samples share labels of which each may have several, and the loss of dropping members."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from nearfar.errors import unknown_name
from nearfar.losses.kernels.similarity import expect_shapes, full_precision

__all__ = ["branch_entropy", "pruning_loss", "shared_terms"]


def shared_terms(terms: Tensor, *, kind: str = "any") -> Tensor:
    """How much the label sets of each two samples have in common.

        any      w_ij = 1 if |T_i n T_j| > 0, else 0
        jaccard  w_ij = |T_i n T_j| / |T_i u T_j|, 0 for two empty sets

    Args:
        terms: (N, C), 1 or True where the sample has the label.
        kind: "any" or "jaccard".

    Returns:
        (N, N) in the terms' dtype, float64 for whole numbers; the weights of ``masked_supcon``.

    Example:
        >>> import torch
        >>> shared_terms(torch.tensor([[1, 1], [0, 1]]), kind="jaccard")
        tensor([[1.0000, 0.5000],
                [0.5000, 1.0000]], dtype=torch.float64)

    Source: Khosla et al. 2020 with the Jaccard index as the weight, as ProteinRPN 2024 suggests.
    """
    expect_shapes(terms=(terms, "N C"))
    if kind not in ("any", "jaccard"):
        raise unknown_name("kind of shared terms", kind, ["any", "jaccard"])
    held = terms if terms.is_floating_point() else terms.double()
    common = held @ held.T
    if kind == "any":
        return (common > 0).to(held)
    sizes = held.sum(dim=1)
    union = sizes[:, None] + sizes - common
    return common / union.clamp(min=1)


@full_precision
def pruning_loss(logits: Tensor, target: Tensor, anchor: Tensor) -> Tensor:
    """Cross-entropy of keeping members: the mean within each anchor, then the mean over anchors.

        loss = mean over anchors i of mean over members j of i of BCE(sigmoid(l_ij), y_j)

    Args:
        logits: (P,) of each (anchor, member) pair.
        target: (P,) 0 or 1.
        anchor: (P,) int64, the anchor of each pair; an anchor without pairs does not count.

    Example:
        >>> import torch
        >>> pruning_loss(torch.zeros(3), torch.tensor([1.0, 0.0, 1.0]), torch.tensor([4, 4, 9]))
        tensor(0.6931)

    Source: ProteinRPN 2024, authors' loss.
    """
    expect_shapes(logits=(logits, "P"), target=(target, "P"), anchor=(anchor, "P"))
    losses = binary_cross_entropy_with_logits(logits, target.to(logits), reduction="none")
    _, place, count = torch.unique(anchor, return_inverse=True, return_counts=True)
    total: Tensor = (losses / count[place]).sum()
    return total / len(count)


@full_precision
def branch_entropy(logits: Tensor, terms: Tensor, branches: Tensor) -> Tensor:
    """Cross-entropy of terms, a mean for each branch of an ontology, summed over the branches.

        loss = sum over branches b of mean over samples i with a term of b,
               mean over terms c of b of BCE(sigmoid(l_ic), t_ic)

    A sample without a term of a branch is not annotated there and teaches it nothing.

    Args:
        logits: (N, C).
        terms: (N, C), 1 or True where the sample has the term.
        branches: (B, C) bool, the terms of each branch.

    Example:
        >>> import torch
        >>> terms = torch.tensor([[1, 0, 1], [0, 1, 0]])
        >>> branches = torch.tensor([[True, True, False], [False, False, True]])
        >>> branch_entropy(torch.zeros(2, 3), terms, branches)
        tensor(1.3863)

    Source: Gu et al. 2023, HEAL, whose heads for the branches are trained apart.
    """
    expect_shapes(logits=(logits, "N C"), terms=(terms, "N C"), branches=(branches, "B C"))
    target = terms.to(logits)
    each = binary_cross_entropy_with_logits(logits, target, reduction="none")
    total = logits.new_zeros(())
    for branch in branches:
        annotated = target[:, branch].any(dim=1).to(logits)
        means = each[:, branch].mean(dim=1) * annotated
        total = total + means.sum() / annotated.sum().clamp(min=1)
    return total
