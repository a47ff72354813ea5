"""The probe that watches a run."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nearfar.data.samples import Source
from nearfar.errors import UserError
from nearfar.evaluation.features import Labelled, extract
from nearfar.evaluation.online import OnlineProbe
from nearfar.evaluation.probes.knn import knn_accuracy
from nearfar.evaluation.splits import held_out, validation_part
from nearfar.views import plain_view

from .toys import BarsAndLetters, Flatten, image_source, pair_source


def probe_of(source: Source, **options: int) -> OnlineProbe:
    return OnlineProbe(source, plain_view(source.spec), **options)


def test_it_gives_knn_rank_and_spread_and_no_alarm() -> None:
    source = image_source()
    encoder = Flatten().eval()
    values, alarm = probe_of(source)(encoder)
    view = plain_view(source.spec)
    parts = validation_part(source)
    train, test = (Labelled(extract(encoder, s, view), s.label, 3) for s in parts)
    assert values.keys() == {"knn", "linear", "effective_rank", "relative_std"}
    assert values["knn"] == knn_accuracy(train, test)
    assert values["linear"] == pytest.approx(by_scikit_learn(train, test), abs=0.02)
    assert alarm is None


def by_scikit_learn(train: Labelled, test: Labelled) -> float:
    """Accuracy of the same regression: standardised features, and C = 1 / (penalty N)."""
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=1 / (0.1 * len(train.labels))))
    pipeline.fit(train.features.numpy(), train.labels.numpy())
    return float(pipeline.score(test.features.numpy(), test.labels.numpy()))


def test_the_probe_draws_nothing_and_sends_no_gradient() -> None:
    """A run that is looked at has the weights of one that is not."""
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(8))
    probe = probe_of(image_source())
    probe(network.eval())  # makes the lazy weights
    before = torch.get_rng_state()
    probe(network.eval())
    assert torch.equal(torch.get_rng_state(), before)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_labels_of_one_class_have_no_linear_probe() -> None:
    source = image_source()
    assert source.train.label is not None
    source.train.label.zero_()
    assert "linear" not in probe_of(source)(Flatten().eval())[0]


def test_it_looks_at_few_samples_always_the_same() -> None:
    seen: list[int] = []

    def encode(x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        return x.flatten(1)

    probe = probe_of(image_source(train=300, test=100), bank=40, queries=20)
    first = probe(encode)
    again = probe(encode)
    assert first == again
    assert seen == [40, 20, 40, 20]


def test_a_collapsed_encoder_raises_the_alarm() -> None:
    values, alarm = probe_of(image_source())(
        lambda x: torch.ones(len(x), 16) + 1e-5 * x.flatten(1)[:, :16]
    )
    assert alarm is not None
    assert "nearly the same features" in alarm
    assert values["relative_std"] < 0.01


def test_values_are_regressed_and_unlabelled_data_are_looked_at() -> None:
    values, _ = probe_of(image_source(target="value", train=150))(Flatten(32).eval())
    assert values.keys() == {"r2", "effective_rank", "relative_std"}
    assert values["r2"] > 0.5
    values, _ = probe_of(image_source(target="none"))(Flatten().eval())
    assert values.keys() == {"effective_rank", "relative_std"}


def test_pairs_and_sources_without_test_samples() -> None:
    assert probe_of(pair_source(test=6))(BarsAndLetters().eval().encode)[0]["knn"] > 0.5
    probe = probe_of(image_source(test=None))
    assert not set(probe.train.ids) & set(probe.test.ids)
    assert probe(Flatten().eval())[0]["knn"] > 0.5


@pytest.mark.parametrize("test", [None, 40])
@pytest.mark.parametrize("target", ["class", "value", "none"])
def test_no_test_sample_is_ever_looked_at(test: int | None, target: str) -> None:
    source = image_source(train=100, test=test, target=target)
    if source.test is not None:
        named = dataclasses.replace(source.test, ids=[f"test {name}" for name in source.test.ids])
        source = dataclasses.replace(source, test=named)
    probe = probe_of(source)
    tested = set(held_out(source)[1].ids)
    assert not tested & {*probe.train.ids, *probe.test.ids}
    assert not set(probe.train.ids) & set(probe.test.ids)
    assert len(probe.test) == pytest.approx(0.2 * (100 if test else 80), abs=2)


def test_nan_features_and_training_mode_are_errors() -> None:
    with pytest.raises(UserError, match="training has probably diverged"):
        probe_of(image_source())(lambda x: x.flatten(1) * float("nan"))
    with pytest.raises(UserError, match="in training mode"):
        probe_of(image_source())(Flatten().train())
