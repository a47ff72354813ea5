"""The bundle of small encoders: built by its script from a tiny recipe, found by name, small, and
made of nothing that may not be released.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from nearfar.cli import main
from nearfar.methods import registry
from nearfar.runs import bundle

MODELS = Path(__file__).parents[1] / "models"
RECIPE = """
[tiny]
kind = "image"
method = "simclr"
data = "digits"
origin = "digits of scikit-learn"
licence = "CC BY 4.0"
options = { steps = 2, limit = 64, batch_size = 32, encoder = "perceptron" }
"""
RESEARCH_ONLY = ("face_ages", "captions_en", "points.npz", "photos", "amazon")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages with a tiny bundle, as a wheel would install it."""
    place = tmp_path_factory.mktemp("packages")
    recipes = place / "recipes.toml"
    recipes.write_text(RECIPE)
    package = place / bundle.PACKAGE
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('a bundle is never imported')\n")
    words = ["--recipes", str(recipes), "--output", str(package / bundle.FOLDER)]
    subprocess.run([sys.executable, str(MODELS / "build.py"), *words], check=True, timeout=240)
    return place


@pytest.mark.slow
def test_an_encoder_of_the_bundle_is_found_by_its_name(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(built)
    monkeypatch.chdir(tmp_path)
    assert bundle.names() == ["tiny"]
    folder = bundle.bundled("nearfar:tiny")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert set(before) == {"README.md", "config.toml", "encoder.json", "encoder.safetensors"}
    card = (folder / "README.md").read_text()
    for told in ("CC BY 4.0", "nearfar pretrain simclr --data digits", "kNN accuracy on held-out"):
        assert told in card
    told = json.loads((folder.parents[1] / "bundle.json").read_text())
    assert list(told["encoders"]) == ["tiny"]
    line = "pretrain simclr --data digits --limit 64 --steps 1 --batch-size 32 --no-evaluate"
    words = [*line.split(), "--learning-rate", "0", "--device", "cpu", "--output", "run"]
    assert main([*words, "--start-from", "nearfar:tiny"]) == 0
    assert main(["embed", "nearfar:tiny", "--data", "digits", "-o", "mine.npz"]) == 0
    assert main(["embed", str(folder), "--data", "digits", "-o", "same.npz"]) == 0
    with np.load("mine.npz") as mine, np.load("same.npz") as same:
        assert np.array_equal(mine["embedding"], same["embedding"])
    assert before == {file.name: file.read_bytes() for file in folder.iterdir()}
    capsys.readouterr()
    assert main([*words[:-1], "other", "--start-from", "nearfar:tini"]) == 2
    assert "did you mean tiny" in capsys.readouterr().err
    assert not Path("other").exists()


def test_without_the_wheel_the_command_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    line = "pretrain simclr --data digits --limit 64 --steps 1 --start-from nearfar:digits-small"
    assert main(line.split()) == 2
    assert "come with the wheel nearfar-models" in capsys.readouterr().err
    assert main(["embed", "nearfar:digits-small", "--data", "digits", "-o", "x.npz"]) == 2
    assert not list(tmp_path.iterdir())


def test_recipes_name_licences_and_nothing_for_research_only() -> None:
    recipes = tomllib.loads((MODELS / "recipes.toml").read_text(encoding="utf-8"))
    kinds = {one["kind"] for one in recipes.values()}
    assert kinds >= {"image", "series", "audio", "points"}
    for name, recipe in recipes.items():
        assert recipe["licence"], name
        assert recipe["origin"], name
        assert not any(one in recipe["data"] for one in RESEARCH_ONLY), name
        assert recipe["method"] in registry.names(), name
    with (MODELS / "pyproject.toml").open("rb") as file:
        about = tomllib.load(file)["project"]
    assert about["name"] == "nearfar-models"
    assert "dependencies" not in about
