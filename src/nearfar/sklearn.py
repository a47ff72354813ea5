"""Pretraining as a scikit-learn transformer: learn features from unlabelled samples, in a
Pipeline.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, check_random_state, validate_data
from torch import Tensor

from nearfar import networks
from nearfar.data.samples import Samples, Source
from nearfar.data.spec import Spec
from nearfar.data.statistics import channel_statistics
from nearfar.evaluation.features import extract
from nearfar.methods import registry
from nearfar.methods.method import STEPS_OF_SMALL, Method
from nearfar.methods.names import name_of as method_name
from nearfar.options import resolved_settings
from nearfar.precision import device_of
from nearfar.training.loop import fit
from nearfar.training.plan import Plan
from nearfar.views import plain_view


class SelfSupervisedEncoder(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """``fit`` pretrains an encoder on X, ``transform`` gives its features.

    X is uint8 images (N, C, H, W), (N, H, W, C) or grey (N, H, W), float series (N, C, T), or rows
    of numbers (N, D), which are taken as series of one channel and get the encoder
    "series-perceptron" unless another is named.

    Args:
        method: a name from ``nearfar methods``, or a ``Method`` class of your own, for samples of
            this kind.
        encoder: a name; by default a small one that fits the data.
        epochs: passes over the data; by default those of the method's recipe.
        batch_size: at most half of the samples are used.
        settings: of the method, by name.
        device: "auto", "cpu", "cuda" ...
        random_state: of the weights, the order of samples and the views.

    Attributes:
        encoder_: the trained encoder, in evaluation mode.
        n_features_in_: number of values of the second axis of X.
    """

    def __init__(
        self,
        method: str | type[Method] = "vicreg",
        *,
        encoder: str | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        settings: Mapping[str, Any] | None = None,
        device: str = "auto",
        random_state: Any = 0,
    ) -> None:
        self.method = method
        self.encoder = encoder
        self.epochs = epochs
        self.batch_size = batch_size
        self.settings = settings
        self.device = device
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Pretrain on X; y is used by methods that learn from labels alone.

        Raises:
            UserError: for an unknown method or encoder, or settings that do not fit.
            ValueError: for samples that are not as above, or fewer than 2.
        """
        content = self._content(X, reset=True)
        label, classes = self._labels(y)
        kind = _kind_of(self.method)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        source = _source(content, label, classes)
        recipe = kind.recipe("small")
        fitting = recipe.batch_for(len(content), steps=STEPS_OF_SMALL)
        batch_size = max(2, min(self.batch_size or fitting, len(content) // 2 or 2, len(content)))
        recipe = dataclasses.replace(
            recipe, batch_size=batch_size, epochs=self.epochs or recipe.epochs
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            name = self.encoder or ("series-perceptron" if self._rows else None)
            encoder = networks.build(name, source.spec, kind=kind.encoder_kind)
            settings = resolved_settings(
                kind.Settings, kind.recipe("small").settings, self.settings or {}
            )
            method = kind(encoder, source.spec, settings)
            views = method.views()
            fit(method, source, views, Plan(recipe, seed=seed, device=device_of(self.device)))
        self.encoder_ = method.encoder.cpu().eval()
        self.spec_ = source.spec
        self._n_features_out = self.encoder_.dimension
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Features (N, D) of samples of the same shape as those of ``fit``."""
        check_is_fitted(self)
        content = self._content(X, reset=False)
        if tuple(content.shape[1:]) != self.spec_.shape:
            raise ValueError(
                f"X has samples of shape {tuple(content.shape[1:])}; expected {self.spec_.shape}, "
                "as in fit."
            )
        found: NDArray[np.float32] = extract(
            self.encoder_, _samples(content, None), plain_view(self.spec_)
        ).numpy()
        return found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        tags.input_tags.three_d_array = True
        return tags

    def _content(self, X: Any, *, reset: bool) -> Tensor:
        """X as images uint8 (N, C, H, W) or series float32 (N, C, T)."""
        X = _grey_images_with_channels(X)
        dtype = None if getattr(X, "ndim", 2) == 4 else np.float32
        array = validate_data(
            self, X, reset=reset, allow_nd=True, ensure_min_samples=2 if reset else 1, dtype=dtype
        )
        if array.ndim == 4 and array.dtype != np.uint8:
            raise ValueError(f"X has images of {array.dtype}; expected uint8, 0 to 255.")
        if array.ndim > 4:
            raise ValueError(
                f"X has {array.ndim} axes; expected rows (N, D), series (N, C, T) or images (N, C, "
                "H, W)."
            )
        if reset:
            self._rows = array.ndim == 2
        return torch.from_numpy(np.array(array[:, None] if array.ndim == 2 else array, order="C"))

    def _labels(self, y: Any) -> tuple[Tensor | None, tuple[str, ...]]:
        kind = _kind_of(self.method)
        if not kind.needs_labels:
            return None, ()
        if y is None:
            raise ValueError(
                f"{method_name(kind)} requires y to be passed, but the target y is None."
            )
        if kind.label_kind == "value":
            return torch.as_tensor(np.asarray(y, dtype=np.float32)), ()
        classes, number = np.unique(np.asarray(y), return_inverse=True)
        return torch.from_numpy(number.astype(np.int64)), tuple(map(str, classes))


def _kind_of(method: str | type[Method]) -> type[Method]:
    return registry.named_by_user(method) if isinstance(method, str) else method


def _grey_images_with_channels(X: Any) -> Any:
    """Bytes (N, H, W) as grey images (N, 1, H, W), bytes (N, H, W, C) as (N, C, H, W); all else as
    it is.
    """
    if str(getattr(X, "dtype", "")).removeprefix("torch.") != "uint8":
        return X
    if X.ndim == 3:
        return X[:, None]
    if X.ndim == 4 and X.shape[1] not in (1, 3) and X.shape[3] in (1, 3):
        return np.ascontiguousarray(np.moveaxis(np.asarray(X), 3, 1))
    return X


def _source(content: Tensor, label: Tensor | None, classes: tuple[str, ...]) -> Source:
    mean, std = channel_statistics(content, torch.arange(len(content)))
    modality = "image" if content.ndim == 4 else "series"
    target = "none" if label is None else "class" if classes else "value"
    spec = Spec(
        "X", modality, tuple(content.shape[1:]), len(content), classes, target, mean=mean, std=std
    )
    return Source(spec, _samples(content, label), None)


def _samples(content: Tensor, label: Tensor | None) -> Samples:
    return Samples(content, [str(row) for row in range(len(content))], label)
