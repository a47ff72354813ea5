"""The estimator keeps scikit-learn's promises, and its features are those of the methods."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from nearfar.errors import UserError
from nearfar.sklearn import SelfSupervisedEncoder


@parametrize_with_checks([SelfSupervisedEncoder(epochs=1, settings={"projection": 8})])
def test_scikit_learns_own_checks(estimator, check):  # type: ignore[no-untyped-def]
    check(estimator)


def test_images_series_and_rows_become_features_in_a_pipeline() -> None:
    images, label = load_digits(return_X_y=True)
    pixels = (images.reshape(-1, 1, 8, 8) * 255 / 16).astype(np.uint8)[:200]
    encoder = SelfSupervisedEncoder("simclr", epochs=2, batch_size=50)
    pipeline = make_pipeline(encoder, LogisticRegression(max_iter=200)).fit(pixels, label[:200])
    assert pipeline.score(pixels, label[:200]) > 0.5
    assert encoder.transform(pixels[:3]).shape == (3, len(encoder.get_feature_names_out()))
    series = np.random.default_rng(0).normal(size=(40, 2, 32))
    assert SelfSupervisedEncoder(epochs=1).fit_transform(series).shape[0] == 40
    assert np.array_equal(
        SelfSupervisedEncoder(epochs=1).fit_transform(series),
        SelfSupervisedEncoder(epochs=1).fit_transform(series),
    )


def test_the_global_random_state_is_left_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    SelfSupervisedEncoder(epochs=1).fit(np.random.default_rng(0).normal(size=(20, 6)))
    assert torch.equal(torch.get_rng_state(), before)


def test_labels_are_used_by_methods_that_need_them_and_asked_for() -> None:
    rows = np.random.default_rng(0).normal(size=(40, 6))
    SelfSupervisedEncoder("supcon", epochs=1).fit(rows, np.array(["a", "b"] * 20))
    with pytest.raises(ValueError, match="supcon requires y to be passed"):
        SelfSupervisedEncoder("supcon", epochs=1).fit(rows)


def test_mistakes_are_named() -> None:
    rows = np.random.default_rng(0).normal(size=(20, 6))
    with pytest.raises(UserError, match="did you mean vicreg"):
        SelfSupervisedEncoder("vicregg").fit(rows)
    with pytest.raises(ValueError, match="expected uint8"):
        SelfSupervisedEncoder().fit(np.zeros((4, 1, 8, 8)))
    fitted = SelfSupervisedEncoder(epochs=1).fit(rows[:, None])
    with pytest.raises(ValueError, match=r"samples of shape \(1, 5\); expected \(1, 6\)"):
        fitted.transform(rows[:, None, :5])
