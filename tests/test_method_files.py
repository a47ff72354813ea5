"""A run's method opens without data and without a checkpoint, and its own features are what every
verb uses.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import nearfar
from nearfar import networks
from nearfar.errors import UserError
from nearfar.methods import registry
from nearfar.networks.encoder import Encoder
from nearfar.runs.folder import CHECKPOINTS
from nearfar.runs.method_files import METHOD, METHOD_WEIGHTS, Encoding, open_method, save_method
from nearfar.testing.toys import own_spec, spec_for, toy, toy_finished
from nearfar.verbs.run import Run

SMALL = {
    "data": "digits",
    "limit": 80,
    "batch_size": 20,
    "evaluate": False,
    "encoder": "perceptron",
}


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """MCL with stages of unit length: its features are not its encoder's."""
    folder = tmp_path_factory.mktemp("staged") / "run"
    settings = {
        "unit_stages": True,
        "stages": 2,
        "clusters": 2,
        "hidden": 16,
        "projection": 8,
        "batches": "mixed",
    }
    return nearfar.pretrain("mcl", settings=settings, epochs=2, output=folder, quiet=True, **SMALL)


@pytest.mark.parametrize("name", registry.names())
def test_every_method_is_what_it_was_when_opened_again(name: str, tmp_path: Path) -> None:
    """On an encoder of the catalogue: parameters, buffers and features are the same to the bit."""
    kind = registry.get(name)
    spec = spec_for(kind)
    torch.manual_seed(0)
    encoder = networks.build(kind.default_encoder, own_spec(kind, spec), kind=kind.encoder_kind)
    base = encoder.architecture["name"]
    small = vars(toy(name)[0].settings)
    finished = toy_finished(kind, encoder, spec)
    for part, one in finished.items():
        if isinstance(one, Encoder):
            finished[part] = networks.build(None, spec)
    method = kind(encoder, spec, kind.Settings(**small), **finished).eval()
    from nearfar.runs.encoder_files import save_encoder

    save_encoder(method.encoder, tmp_path, {})
    save_method(method, tmp_path, base)
    found = open_method(tmp_path)
    expected = method.state_dict()
    state = found.state_dict()
    assert expected.keys() == state.keys()
    assert all(torch.equal(expected[key], state[key]) for key in expected)
    assert not found.training


def test_a_run_opens_without_data_and_without_a_checkpoint(staged: Run, tmp_path: Path) -> None:
    folder = tmp_path / "moved"
    shutil.copytree(staged.folder, folder, ignore=shutil.ignore_patterns(CHECKPOINTS))
    text = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(text.replace('data = "digits"', 'data = "/nowhere/at/all"'))
    opened = Run(folder).method()
    expected = staged.method().state_dict()
    assert all(torch.equal(expected[name], value) for name, value in opened.state_dict().items())


def test_an_older_run_opens_by_its_checkpoint(staged: Run, tmp_path: Path) -> None:
    folder = tmp_path / "older"
    shutil.copytree(staged.folder, folder, ignore=shutil.ignore_patterns(METHOD, METHOD_WEIGHTS))
    expected = staged.method().state_dict()
    assert all(
        torch.equal(expected[name], value)
        for name, value in Run(folder).method().state_dict().items()
    )


def test_every_verb_uses_the_methods_own_features(staged: Run, tmp_path: Path) -> None:
    method = staged.method()
    samples = staged.source().test.take(torch.arange(6))
    from nearfar.views import plain_view

    view = plain_view(method.spec)(samples)
    with torch.no_grad():
        own = method.encode(view)
        bare = method.encoder(view)
    assert not torch.allclose(own, bare), "else this test shows nothing"
    np.testing.assert_allclose(staged.embed(samples), own.numpy(), rtol=1e-5, atol=1e-6)
    nearfar.embed(staged.folder, output=tmp_path / "e.npz")
    with np.load(tmp_path / "e.npz") as arrays:
        rows = [list(arrays["id"]).index(name) for name in staged.source().test.ids[:6]]
        np.testing.assert_allclose(arrays["embedding"][rows], own.numpy(), rtol=1e-5, atol=1e-6)
    program = torch.export.load(
        nearfar.export(staged.folder, format="torch", output=tmp_path / "e.pt2")
    ).module()
    np.testing.assert_allclose(
        program(samples.float() / 255).detach().numpy(), own.numpy(), rtol=1e-4, atol=1e-5
    )
    assert isinstance(staged.features(), Encoding)


def test_evaluation_judges_the_methods_own_features(staged: Run, tmp_path: Path) -> None:
    from nearfar.evaluation.features import extract
    from nearfar.evaluation.measures.geometry import effective_rank
    from nearfar.views import plain_view

    found = nearfar.evaluate(staged.folder, protocols="geometry", output=tmp_path / "e.json")
    features = extract(
        staged.method().encode, staged.source().test, plain_view(staged.method().spec)
    )
    assert found.value("effective rank") == pytest.approx(effective_rank(features), rel=1e-4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text[:40], "is damaged"),
        (
            lambda text: json.dumps({**json.loads(text), "method": "mlc"}),
            "Unknown method 'mlc': did you mean mcl",
        ),
        (
            lambda text: json.dumps({**json.loads(text), "version": 99}),
            "was written by a newer nearfar",
        ),
        (
            lambda text: json.dumps({**json.loads(text), "method": "evil:Class"}),
            "lies outside nearfar",
        ),
        (
            lambda text: json.dumps({**json.loads(text), "settings": {"stages": -1}}),
            "Setting stages is -1",
        ),
        (
            lambda text: json.dumps({**json.loads(text), "method": "simclr", "settings": {}}),
            "does not fit method.json",
        ),
        (
            lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "spec"}),
            "lacks spec",
        ),
    ],
)
def test_a_changed_file_is_one_sentence(
    staged: Run, tmp_path: Path, change: object, words: str
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(staged.folder, folder)
    text = (folder / METHOD).read_text()
    assert callable(change)
    (folder / METHOD).write_text(change(text))
    with pytest.raises(UserError, match=words):
        open_method(folder)
