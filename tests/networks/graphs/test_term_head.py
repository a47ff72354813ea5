"""Heads of terms and the loss over branches; what nodes the scores depend on."""

from __future__ import annotations

import dataclasses

import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.testing import assert_close

from nearfar import modalities
from nearfar.losses.graphs.terms import branch_entropy
from nearfar.networks.graphs.saliency import saliency
from nearfar.networks.graphs.term_head import TermHead


def test_each_branch_has_its_head_and_a_loss_of_its_own_samples() -> None:
    extra = {"above": [[0], [0, 1], [2]], "branches": ["function", "function", "process"]}
    spec = dataclasses.replace(modalities.get("graph").toy, target="classes", extra=extra)
    torch.manual_seed(0)
    head = TermHead(4, spec, 0.0).double()
    assert head.branches.tolist() == [[True, True, False], [False, False, True]]
    read = torch.randn(5, 4, dtype=torch.float64)
    logits = head(read)
    shares = head.probabilities(read)
    assert_close(shares[:, 0], logits[:, :2].amax(dim=1).sigmoid())
    assert_close(shares[:, 1:], logits[:, 1:].sigmoid())
    terms = torch.tensor([[1, 0, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0], [0, 0, 1]])
    functions = binary_cross_entropy_with_logits(logits[[0, 2], :2], terms[[0, 2], :2].double())
    processes = binary_cross_entropy_with_logits(
        logits[[1, 2, 4], 2:], terms[[1, 2, 4], 2:].double()
    )
    assert_close(branch_entropy(logits, terms, head.branches), functions + processes)
    nobody = branch_entropy(logits, torch.zeros_like(terms), head.branches)
    assert float(nobody.detach()) == 0


def test_a_node_that_the_scores_ignore_does_not_matter() -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, 0.0], [5.0, 1.0]])
    weight = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    found = saliency(lambda given: given * weight, x, torch.tensor([0, 0, 1]), 2)
    assert_close(found, torch.tensor([1 / 3, 1.0, 0.0]))
