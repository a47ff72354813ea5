"""GeneCIS: the combiner and its loss, and recall, against golden values; errors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import normalize

from nearfar.errors import UserError
from nearfar.evaluation.measures.conditional import (
    next_item_scores,
    recall_at,
    without_reference,
)
from nearfar.losses import info_nce
from nearfar.networks.paired.combiner import Combiner
from tests.losses.cases import close, leaves, named
from tests.references import ReferenceCase

Golden = Callable[[str], ReferenceCase]

LAYERS = {
    "text": "text_projection_layer",
    "image": "image_projection_layer",
    "combine": "combiner_layer",
    "output": "output_layer",
    "gate_hidden": "dynamic_scalar_0",
    "gate": "dynamic_scalar_3",
}


@pytest.mark.parametrize("name", named("c-genecis-combiner*"))
def test_combiner_and_loss_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    text, image, target = leaves(case, "text", "image", "target")
    width, dimension = case["in_text_projection_layer_weight"].shape
    hidden = len(case["in_combiner_layer_weight"])
    combiner = Combiner(dimension, width, hidden=hidden).double().eval()
    state = {
        f"{ours}.{part}": case[f"in_{theirs}_{part}"]
        for ours, theirs in LAYERS.items()
        for part in ("weight", "bias")
    }
    combiner.load_state_dict(state)
    query = combiner(text, image)
    loss = info_nce(query, target, temperature=1 / case["hp_scale"].item())
    loss.backward()
    close(query, case["out_combined"])
    close(loss, case["out_loss"])
    close(text.grad, case["out_grad_text"])
    close(image.grad, case["out_grad_image"])
    close(target.grad, case["out_grad_target"])


@pytest.mark.parametrize("name", named("c-genecis-recall*"))
def test_recall_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    for k in (1, 2, 3):
        found = recall_at(case["in_similarity"], k).double().mean()
        close(found, case[f"out_recall_at_{k}"])
    for k in (1, 3):
        found = recall_at(case["in_similarity"], k, targets=case["in_multi_targets"]).double()
        close(found.mean(), case[f"out_multi_recall_at_{k}"].double(), 1e-6)


def test_places_of_no_target_do_not_hide_the_first_candidate() -> None:
    similarity = torch.tensor([[0.9, 0.8, 0.1]])
    assert recall_at(similarity, 1, targets=torch.tensor([[0, 1, -1, -1]])).tolist() == [True]
    assert recall_at(similarity, 1, targets=torch.tensor([[1, -1]])).tolist() == [False]


def test_dropout_acts_in_training_alone_and_queries_are_unit() -> None:
    combiner = Combiner(4, 8)
    text, image = torch.randn(3, 4), torch.randn(3, 4)
    assert not torch.equal(combiner(text, image), combiner(text, image))
    combiner.eval()
    assert torch.equal(combiner(text, image), combiner(text, image))
    torch.testing.assert_close(combiner(text, image).norm(dim=1), torch.ones(3))
    with torch.no_grad():
        combiner.output.weight.zero_()
        combiner.output.bias.zero_()
        combiner.gate.weight.zero_()
        combiner.gate.bias.fill_(50.0)
    torch.testing.assert_close(combiner(text, image), normalize(text, dim=1))


def test_ties_count_against_the_target_and_the_reference_comes_last() -> None:
    assert recall_at(torch.ones(1, 3), 1).tolist() == [False]
    assert recall_at(torch.ones(1, 3), 3).tolist() == [True]
    similarity = torch.tensor([[0.3, 0.9, 0.1]])
    assert recall_at(without_reference(similarity, torch.tensor([1])), 1).tolist() == [True]
    assert recall_at(similarity, 1, targets=torch.tensor([[-1, -1]])).tolist() == [False]


def test_the_next_item_is_ranked_among_all_that_were_not_seen() -> None:
    scores = torch.tensor([[0.9, 0.8, 0.7, 0.6], [0.1, 0.2, 0.3, 0.4]])
    target = torch.tensor([2, 3])
    hit, gain = next_item_scores(scores, target, 3)
    assert hit.tolist() == [1, 1]
    torch.testing.assert_close(gain, torch.tensor([0.5, 1.0]))
    seen = torch.tensor([[True, True, True, False], [False] * 4])
    assert next_item_scores(scores, target, 1, seen=seen)[0].tolist() == [1, 1]
    assert next_item_scores(torch.ones(2, 4), target, 3)[0].tolist() == [0, 0]
    with pytest.raises(UserError, match="A rank from 1 on"):
        next_item_scores(scores, target, 0)


def test_wrong_inputs_get_one_sentence() -> None:
    with pytest.raises(UserError, match="embedded alike"):
        Combiner(4, 8)(torch.zeros(2, 4), torch.zeros(3, 4))
    with pytest.raises(UserError, match="at least 1"):
        recall_at(torch.zeros(1, 2), 0)
    with pytest.raises(UserError, match="gallery of 2"):
        recall_at(torch.zeros(1, 2), 1, targets=torch.tensor([[2]]))
    with pytest.raises(UserError, match="NaN"):
        recall_at(torch.full((1, 2), torch.nan), 1)
    with pytest.raises(UserError, match="queries, gallery"):
        recall_at(torch.zeros(2), 1)
    with pytest.raises(UserError, match="int64"):
        recall_at(torch.zeros(1, 2), 1, targets=torch.zeros(1, 1))
