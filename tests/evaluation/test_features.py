"""Features: computed once, in order, in evaluation mode, and never silently broken."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nearfar.data.samples import Samples
from nearfar.errors import UserError
from nearfar.evaluation.features import (
    RAW_VALUES,
    Labelled,
    averaged,
    extract,
    extract_pairs,
    raw_features,
    token_counts,
)
from nearfar.rows import Parts, Tokens

from .toys import Flatten


def samples(*shape: int) -> Samples:
    return Samples(torch.randn(*shape), [str(i) for i in range(shape[0])])


def plain(x: torch.Tensor) -> torch.Tensor:
    return x


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_features_do_not_depend_on_the_batch_size_and_keep_the_order(batch_size: int) -> None:
    data = samples(10, 1, 8, 8)
    encoder = Flatten().eval()
    features = extract(encoder, data, plain, batch_size=batch_size)
    assert torch.allclose(features, encoder(data.content), atol=1e-6)
    assert features.dtype == torch.float32
    assert not features.requires_grad


def test_bfloat16_features_become_float32() -> None:
    assert extract(lambda x: x.bfloat16(), samples(4, 5), plain).dtype == torch.float32


@pytest.mark.parametrize("bound", [False, True])
def test_an_encoder_in_training_mode_is_refused(bound: bool) -> None:
    encoder = Flatten().train()
    with pytest.raises(UserError, match=r"Flatten is in training mode.*call its eval\(\)"):
        extract(encoder.forward if bound else encoder, samples(4, 1, 8, 8), plain)
    extract(encoder.eval().forward, samples(4, 1, 8, 8), plain)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_counted(bad: float) -> None:
    data = samples(5, 3)
    data.content[[1, 4], 0] = bad
    with pytest.raises(
        UserError,
        match="encoder\\) of 2 of 5 samples are NaN or infinite; training has probably diverged",
    ):
        extract(plain, data, plain)


def test_no_samples_and_wrong_shapes_are_errors() -> None:
    with pytest.raises(UserError, match="no samples to evaluate"):
        extract(plain, samples(0, 3), plain)
    with pytest.raises(UserError, match=r"have shape \(4,\); expected \(samples, dimensions\)"):
        extract(lambda x: x[:, 0], samples(4, 3), plain)


def test_both_parts_of_pairs_are_extracted() -> None:
    data = Samples(Parts(image=torch.randn(7, 3), text=torch.randn(7, 2)), list("abcdefg"))
    first, second = extract_pairs(
        lambda pair: (pair.image, pair.text), data, lambda pair: pair, batch_size=3
    )
    assert torch.equal(first, data.content.image)
    assert torch.equal(second, data.content.text)


def test_raw_features_are_the_flattened_view() -> None:
    data = samples(6, 2, 4, 5)
    assert torch.equal(raw_features(data, plain, averaged), data.content.flatten(1))


@pytest.mark.parametrize("shape", [(3, 3, 96, 80), (3, 1, 200, 20), (3, 2, 5000)])
def test_large_raw_samples_are_averaged_down(shape: tuple[int, ...]) -> None:
    data = samples(*shape)
    raw = raw_features(data, plain, averaged)
    assert RAW_VALUES / 8 < raw.shape[1] <= RAW_VALUES
    flat = Samples(torch.full(shape, 2.5), ["a", "b", "c"])
    assert torch.allclose(raw_features(flat, plain, averaged), torch.tensor(2.5))


def test_raw_features_of_texts_count_their_tokens() -> None:
    ids = torch.tensor([[2, 7, 7, 9, 3], [2, 9, RAW_VALUES + 7, 3, 0]])
    found = raw_features(Samples(Tokens(ids, ids > 0), list("ab")), plain, token_counts)
    assert found.shape == (2, RAW_VALUES)
    assert found.sum(dim=1).tolist() == [3, 2], "start, end and padding are not counted"
    assert found[:, [7, 9]].tolist() == [[2, 1], [1, 1]]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0.0, 1.0, 1.0]), "float32; expected int64"),
        (torch.tensor([0, 1, 1], dtype=torch.int32), "int32; expected int64"),
        (torch.tensor([0, 1]), r"have shape \(2,\) for 3 samples"),
        (torch.tensor([0, 1, 2]), "run from 0 to 2; expected 0 to 1 for 2 classes"),
        (torch.tensor([-1, 1, 0]), "run from -1 to 1"),
    ],
)
def test_labels_that_do_not_fit_are_named(labels: torch.Tensor, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Labelled(torch.randn(3, 2), labels, 2)


def test_a_module_with_dropout_is_stable_once_in_evaluation_mode() -> None:
    encoder = nn.Sequential(Flatten(), nn.Dropout(0.5)).eval()
    data = samples(6, 1, 8, 8)
    assert torch.equal(extract(encoder, data, plain), extract(encoder, data, plain))
