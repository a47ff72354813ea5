"""LAF: what moves, what stays, and that it forgets."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

import nearfar
from nearfar.errors import UserError
from nearfar.methods.labels.laf import LAF
from nearfar.methods.method import Recipe
from nearfar.networks.labels.embedding_vae import EmbeddingVAE, fit_embedding_vae
from nearfar.testing.steps import train
from nearfar.testing.toys import toy
from nearfar.training.phases import Optimizers


def test_only_the_encoder_moves_and_its_statistics_stay() -> None:
    method, batch = toy(LAF)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    train(method, batch, [0.1, 0.2])
    moved = {
        name
        for name, value in method.state_dict().items()
        if not torch.equal(value, before[name]) and not name.startswith("classifier.encoder.")
    }
    learning = {f"encoder.{name}" for name, _ in method.encoder.named_parameters()}
    assert moved
    assert moved <= learning


def test_two_optimisers_hold_one_set_of_weights() -> None:
    method, _ = toy(LAF, settings={"align_rate": 3.0})
    optimizers = Optimizers(method, Recipe(optimizer="adam", learning_rate=0.1, scale=False))
    each = optimizers.each()
    assert list(each) == ["unlearning", "alignment"]
    held = [{id(p) for g in one.param_groups for p in g["params"]} for one in each.values()]
    assert held[0] == held[1]
    optimizers.schedule(5, 10)
    rates = [one.param_groups[0]["lr"] for one in each.values()]
    assert rates[1] == pytest.approx(3 * rates[0])


def test_the_origin_is_what_was_predicted_before() -> None:
    method, batch = toy(LAF)
    method.eval()
    before = method.predict(batch.views[0]).probabilities
    assert_close(method.origin(batch.views[0]).probabilities, before, rtol=0, atol=0)
    train(method, batch, [0.1, 0.2])
    method.eval()
    assert_close(method.origin(batch.views[0]).probabilities, before, rtol=0, atol=0)
    assert not torch.equal(method.predict(batch.views[0]).probabilities, before)


def test_fitting_an_autoencoder_is_repeated_to_the_bit_and_lowers_the_error() -> None:
    torch.manual_seed(0)
    features = torch.rand(64, 12)
    first = EmbeddingVAE(12, 4)
    second = copy.deepcopy(first)
    zeros = torch.zeros(64, 4)
    before = (first(features, zeros).prediction - features).square().mean()
    for vae in (first, second):
        generator = torch.Generator().manual_seed(1)
        fit_embedding_vae(vae, features, epochs=30, learning_rate=1e-2, generator=generator)
    assert_close(first.state_dict(), second.state_dict(), rtol=0, atol=0)
    assert not any(p.requires_grad or p.grad is not None for p in first.parameters())
    assert (first(features, zeros).prediction - features).square().mean() < before


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> nearfar.Run:
    return nearfar.pretrain(
        "laf",
        data="digits",
        limit=400,
        prepare=("forget:name=3",),
        epochs=2,
        output=tmp_path_factory.mktemp("laf") / "run",
        precision="float32",
        evaluate=False,
        quiet=True,
    )


def test_from_data_to_a_classifier_that_forgot(run: nearfar.Run) -> None:
    assert (run.folder / "pretrained" / "classifier" / "method.json").exists()
    found = nearfar.evaluate(run.folder, protocols="accuracy,forgetting")
    rows = {"trained", "random encoder", "commonest class", "classifier before"}
    assert rows <= set(found.rows())
    known = found.value("accuracy, forgotten training", "classifier before")
    assert known > 0.9
    assert found.value("accuracy, forgotten training", "trained") < known
    assert 0 <= found.value("membership attack", "trained") <= 1


def test_it_starts_from_a_finished_run(run: nearfar.Run, tmp_path: Path) -> None:
    again = nearfar.pretrain(
        "laf",
        data="digits",
        limit=400,
        prepare=("forget:name=3",),
        steps=2,
        start_from=run.folder / "pretrained" / "classifier",
        output=tmp_path / "again",
        precision="float32",
        evaluate=False,
        quiet=True,
    )
    assert not (again.folder / "pretrained").exists()


def test_groups_of_other_members_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    import numpy as np

    images = np.random.default_rng(0).integers(0, 255, (60, 8, 8), dtype=np.uint8)
    path = tmp_path / "some.npz"
    roles = np.array(["a", "b"] * 30)
    np.savez(path, images=images, label=np.arange(60) % 3, role=roles)
    with pytest.raises(UserError, match="members remember, forget"):
        nearfar.pretrain("laf", data=str(path), group="role", output=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
