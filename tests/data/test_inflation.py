"""Inflated training sets: reference composition, what stays as it is, the generator, and what is
refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nearfar.assembly.assemble import assemble
from nearfar.cli import main
from nearfar.data import load
from nearfar.data.prepare import prepared
from nearfar.data.prepare.inflation import generate, inflated
from nearfar.errors import UserError
from nearfar.evaluation.probes.knn import knn_predict
from nearfar.methods import registry
from nearfar.options import Config, PretrainOptions, changed, read_config


def _npz(folder: Path, count: int, value: int = 0) -> Path:
    path = folder / "made.npz"
    images = (
        np.full((count, 8, 8), value, dtype=np.uint8)
        + np.arange(count, dtype=np.uint8)[:, None, None]
    )
    np.savez(path, x=images)
    return path


def test_composition_equals_the_reference(golden: Any, tmp_path: Path) -> None:
    case = golden("b-adainf-composition")
    real, made, copies = (int(case[f"hp_{name}"]) for name in ("real", "generated", "dup"))
    source = load("digits", limit=real)
    found = inflated(source, str(_npz(tmp_path, made, 100)), copies)
    order = case["out_order"]
    assert len(found.trained) == found.spec.length == len(order) == case["out_len"]
    images = found.trained.take(torch.arange(len(order)))
    for row, place in enumerate(order.tolist()):
        expected = (
            source.train.take(torch.tensor([place]))[0]
            if place >= 0
            else torch.full((1, 8, 8), 100 - 1 - place)
        )
        assert torch.equal(images[row], expected.to(torch.uint8)), row
    assert found.trained.label is not None
    assert ((found.trained.label >= 0).double().mean() - case["out_real_fraction"]).abs() < 1e-12
    assert torch.equal(found.trained.label == -1, order < 0)


def test_paper_composition_of_cifar(golden: Any) -> None:
    case = golden("b-adainf-composition")
    assert case["out_cifar_len"] == 10 * 50_000 + 20 * 50_000
    assert 10 * 50_000 / case["out_cifar_len"].item() == pytest.approx(
        case["out_cifar_real_fraction"].item()
    )


def test_the_rest_of_the_source_stays() -> None:
    source = load("digits", limit=40)
    found = inflated(source, "mixture:30", 2)
    assert found.test is source.test
    assert found.train is source.train, "probes never see what was made"
    assert (found.spec.mean, found.spec.classes) == (source.spec.mean, source.spec.classes)
    assert found.trained.ids[:40] == found.trained.ids[40:80] == source.train.ids
    assert found.trained.ids[80] == "generated/0"
    assert "80 rows of 40 real images (72.7%) and 30 generated ones" in found.notes[-1]
    plain = inflated(source, None, 3)
    assert len(plain.trained) == 120
    assert torch.equal(
        plain.trained.take(torch.arange(80, 120)), source.train.take(torch.arange(40))
    )
    assert len(inflated(source, "mixture").trained) == 40 + 800


def test_generated_digits_look_like_digits_but_are_no_copies() -> None:
    """A nearest-neighbour classifier trained on real digits finds all classes among them; each lies
    near a real one, on none.
    """
    train = load("digits", limit=400).train
    made = generate(train, 300, seed=1)
    assert made.shape == (300, 1, 8, 8)
    assert made.dtype == torch.uint8
    assert torch.equal(made, generate(train, 300, seed=1))
    assert not torch.equal(made, generate(train, 300, seed=2))
    real = train.take(torch.arange(400)).flatten(1).float()
    found = knn_predict(real, train.label, made.flatten(1).float(), classes=10)
    assert len(found.unique()) >= 9
    distance = torch.cdist(made.flatten(1).float(), real).amin(1)
    noise = torch.cdist(torch.randint(0, 256, (300, 64)).float(), real).amin(1)
    assert distance.median() < 0.5 * noise.median()
    assert distance.min() > 0


def test_what_cannot_be_inflated_is_refused(tmp_path: Path) -> None:
    source = load("digits", limit=40)
    with pytest.raises(UserError, match="number of copies is 0"):
        inflated(source, None, 0)
    with pytest.raises(UserError, match="'mixture:many' does not say how many images"):
        inflated(source, "mixture:many")
    with pytest.raises(UserError, match="does not exist"):
        inflated(source, str(tmp_path / "nothing"))
    with pytest.raises(UserError, match="Generating 0 images from 40"):
        inflated(source, "mixture:0")
    options = PretrainOptions(data="digits", batch_size=16)
    with pytest.raises(UserError, match="some of what it would train on has none, such as gen"):
        assemble(Config("supcon", options), prepared(source, ["inflate:mixture:50"], seed=0))


def test_a_preparation_inflates_what_is_trained_on() -> None:
    source = load("digits", limit=40)
    training = prepared(source, ["inflate:mixture:50,copies=3"], seed=0)
    method = assemble(Config("adainf", PretrainOptions(batch_size=16)), training).method
    assert method.spec.length == len(training.trained) == 170
    assert len(training.train) == 40


def test_older_options_are_answered_or_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="option copies is no more: write --with inflate:copies"):
        changed(PretrainOptions(), {"copies": 2})
    older = tmp_path / "config.toml"
    older.write_text('method = "adainf"\ncopies = 3\ninflate = "mixture:50"\n')
    assert read_config(older).options.prepare == ("inflate:images=mixture:50,copies=3",)
    older.write_text('method = "adainf"\ncopies = 1\n')
    assert read_config(older).options == PretrainOptions()
    assert main(["pretrain", "adainf", "--inflate", "mixture:3"]) == 2


def test_adainf_is_simclr_with_weak_views() -> None:
    kind = registry.get("adainf")
    source = load("digits", limit=40)
    method = assemble(Config("adainf", PretrainOptions(batch_size=8)), source).method
    assert method.wanted_views.style == "weak"
    assert kind.Settings().temperature == 0.2
    sizes = [layer.out_features for layer in method.projector if isinstance(layer, torch.nn.Linear)]
    assert sizes == [512, 128]
