"""The bundle of small encoders: trained by the recipes, judged, and written as cards and weights.

    python models/build.py --data FOLDER [--only NAME ...] [--steps N] [--recipes FILE]
                           [--output FOLDER]

Each encoder becomes a folder with encoder.json, encoder.safetensors, config.toml and README.md, its
card. ``make models`` then builds the wheel from ``models/``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

import nearfar
from nearfar.files import write_text
from nearfar.runs.encoder_files import load_encoder, name_of, save_encoder
from nearfar.runs.folder import CONFIG
from nearfar.runs.hub import public_config
from nearfar.version import __version__

HERE = Path(__file__).parent
ENCODERS = HERE / "nearfar_models" / "encoders"
BUNDLE = "bundle.json"
MOST_BYTES = 60 << 20
_METRIC = "kNN accuracy"
_RANDOM = "random encoder"
_POINTS = 256


def main() -> None:
    """Build by the words of the command line."""
    words = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    words.add_argument("--data", type=Path, default=None, help="folder with the recipes' files")
    words.add_argument("--only", nargs="*", default=[], help="names; by default all")
    words.add_argument("--steps", type=int, default=None, help="fewer steps, for a trial")
    words.add_argument("--recipes", type=Path, default=HERE / "recipes.toml")
    words.add_argument("--output", type=Path, default=ENCODERS)
    given = words.parse_args()
    recipes = tomllib.loads(given.recipes.read_text(encoding="utf-8"))
    for name in given.only or recipes:
        if name not in recipes:
            raise SystemExit(f"There is no recipe {name}; expected one of {', '.join(recipes)}.")
        built = built_encoder(name, recipes[name], given.data, given.output, given.steps)
        print(built, flush=True)
    write_bundle(given.output)


def built_encoder(
    name: str, recipe: dict[str, Any], data: Path | None, output: Path, steps: int | None
) -> str:
    """Train and judge one encoder and write its folder; a line about it, or why it was left out.

    Args:
        name: Of the encoder.
        recipe: Its table in recipes.toml.
        data: The folder with the files that recipes name.
        output: Where the encoders' folders lie.
        steps: Instead of the recipe's.
    """
    with tempfile.TemporaryDirectory() as place:
        source = _data_of(recipe["data"], data, Path(place))
        if source is None:
            return f"{name} was left out: {recipe['data']} is not in --data {data}."
        options = dict(recipe["options"])
        if steps is not None:
            options["steps"] = min(steps, options["steps"])
        started = time.process_time()
        run = nearfar.pretrain(
            recipe["method"],
            data=source,
            output=Path(place) / name,
            evaluate=False,
            quiet=True,
            device="cpu",
            **options,
        )
        seconds = time.process_time() - started
        found = nearfar.evaluate(run.folder, protocols="knn")
        scores = {one.row: one.value for one in found.scores if one.metric == _METRIC}
        folder = output / name
        encoder, _ = load_encoder(run.folder)
        save_encoder(encoder, folder, _facts(name, recipe, scores))
        write_text(folder / CONFIG, public_config(run.config).to_toml(), overwrite=True)
        command = _command(recipe, options)
        card = card_of(name, recipe, command, scores, name_of(encoder), seconds)
        write_text(folder / "README.md", card, overwrite=True)
    return f"{name}: {_METRIC} {scores['trained']:.3f}, {_RANDOM} {scores[_RANDOM]:.3f}"


def card_of(
    name: str,
    recipe: dict[str, Any],
    command: str,
    scores: dict[str, float],
    architecture: str,
    seconds: float,
) -> str:
    """The card of an encoder: its data and their licence, the command, and how good it is."""
    better = scores["trained"] > scores[_RANDOM]
    verdict = "better" if better else "not better"
    lines = [
        f"# nearfar:{name}",
        "",
        f"`{architecture}` for {recipe['kind']} data, pretrained with {recipe['method']}.",
        "",
        f"- data: {recipe['origin']}",
        f"- licence of the data: {recipe['licence']}",
        f"- command: `{command}`, with nearfar {__version__}, {seconds:.0f} processor seconds",
        f"- {_METRIC} on held-out samples: {scores['trained']:.3f}; the same network with random "
        f"weights: {scores[_RANDOM]:.3f}. One run, by which it is {verdict}.",
        "",
        "```",
        f"nearfar pretrain {recipe['method']} --data DATA --start-from nearfar:{name}",
        f"nearfar embed nearfar:{name} --data DATA -o features.npz",
        "```",
        "",
    ]
    return "\n".join(lines)


def write_bundle(output: Path) -> None:
    """Write what the bundle holds beside the encoders, and refuse one that is too large."""
    held = {
        folder.name: json.loads((folder / "encoder.json").read_text())["digest"]
        for folder in sorted(output.iterdir())
        if (folder / "encoder.json").is_file()
    }
    size = sum(file.stat().st_size for file in output.rglob("*") if file.is_file())
    if size > MOST_BYTES:
        raise SystemExit(f"The bundle has {size:,} bytes; expected at most {MOST_BYTES:,}.")
    told = {"nearfar": __version__, "encoders": held}
    write_text(output.parent / BUNDLE, json.dumps(told, indent=1) + "\n", overwrite=True)
    print(f"{len(held)} encoders, {size / 1e6:.1f} MB")


def _data_of(name: str, folder: Path | None, place: Path) -> str | None:
    if name == "digit-points":
        return str(digit_points(place / "digit-points.npz"))
    if "." not in name:
        return name
    file = None if folder is None else folder / name
    return str(file) if file is not None and file.exists() else None


def digit_points(path: Path) -> Path:
    """Handwritten digits as clouds of points: each point lies in a pixel that was drawn in
    proportion to the ink, and as high as the ink there.

    Args:
        path: The npz to write: x (1797, 256, 3) float32, label (1797,).
    """
    from sklearn.datasets import load_digits

    images, label = load_digits(return_X_y=True)
    generator = np.random.default_rng(0)
    clouds = np.empty((len(images), _POINTS, 3), dtype=np.float32)
    for number, ink in enumerate(images):
        pixels = generator.choice(64, size=_POINTS, p=ink / ink.sum())
        clouds[number, :, 0] = pixels % 8 + generator.random(_POINTS)
        clouds[number, :, 1] = 7 - pixels // 8 + generator.random(_POINTS)
        clouds[number, :, 2] = ink[pixels] / 8 * generator.random(_POINTS)
    clouds -= clouds.mean(axis=1, keepdims=True)
    np.savez(path, x=clouds, label=label)
    return path


def _facts(name: str, recipe: dict[str, Any], scores: dict[str, float]) -> dict[str, Any]:
    return {
        "name": f"nearfar:{name}",
        "method": recipe["method"],
        "data": recipe["origin"],
        "licence": recipe["licence"],
        _METRIC: scores["trained"],
        f"{_METRIC} of the {_RANDOM}": scores[_RANDOM],
    }


def _command(recipe: dict[str, Any], options: dict[str, Any]) -> str:
    words = " ".join(f"--{key.replace('_', '-')} {value}" for key, value in options.items())
    return f"nearfar pretrain {recipe['method']} --data {recipe['data']} --device cpu {words}"


if __name__ == "__main__":
    main()
