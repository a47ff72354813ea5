"""Encoders as files: saved to be loaded again by nearfar, or exported to run without it.

A saved encoder is two files in a folder: ``encoder.safetensors`` (the weights) and ``encoder.json``
(the architecture's name, the data's spec, preprocessing, versions and the card of the run); an
encoder of texts has its ``tokenizer.json`` beside them. Nothing is pickled; reading one runs no
code from it.

An exported encoder ("onnx", "torch") is one file with the normalisation inside;
``nearfar.runs.portable`` says what it takes and gives.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import itertools
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save
from torch import nn

from nearfar import modalities, networks, own
from nearfar.data.content.folder_tokenizer import read_tokenizer
from nearfar.data.content.tokenizer import Tokenizer
from nearfar.data.spec import Spec, migrated
from nearfar.errors import UserError, unknown_name
from nearfar.files import replacing, write_text
from nearfar.modalities.check import check_spec
from nearfar.networks.catalogue import PRETRAINED
from nearfar.networks.encoder import Encoder
from nearfar.ranges import checked
from nearfar.runs import portable, program_files
from nearfar.stored import check_file, field_of, read_json, read_text, record
from nearfar.version import __version__

WEIGHTS = "encoder.safetensors"
DESCRIPTION = "encoder.json"
TOKENIZER = "tokenizer.json"
FORMATS = ("safetensors", "onnx", "torch")
_PORTABLE = {
    "onnx": (program_files.write_onnx, program_files.read_onnx),
    "torch": (program_files.write_program, program_files.read_program),
}
_VERSION = 1
_MEND = "restore it, or export or train the encoder again"


def save_encoder(
    encoder: Encoder,
    folder: Path | str,
    card: dict[str, Any] | None = None,
    *,
    tokenizer: Tokenizer | None = None,
) -> None:
    """Write the files of an encoder that ``networks.build`` made; files of an earlier save are
    replaced, each at once.

    Args:
        encoder: on any device, in any mode.
        folder: made if it does not exist.
        card: where the encoder comes from, JSON values only; by default the card it was loaded
            with.
        tokenizer: of its texts; by default the one it was loaded with.

    Raises:
        UserError: if ``networks.build`` did not make the encoder.
    """
    folder = Path(folder)
    prefix = encoder.weights_prefix
    state = {name.removeprefix(prefix): value for name, value in encoder.state_dict().items()}
    weights = save({name: value.detach().cpu().contiguous() for name, value in state.items()})
    described = {
        **_description(encoder, card),
        "digest": hashlib.blake2b(weights, digest_size=16).hexdigest(),
    }
    description = json.dumps(described, indent=2, ensure_ascii=False)
    with replacing(folder / WEIGHTS, overwrite=True) as temporary:
        temporary.write_bytes(weights)  # save_file would hide the file from other users
    tokenizer = tokenizer or _architecture(encoder).get("tokenizer")
    if tokenizer is not None:
        write_text(folder / TOKENIZER, tokenizer.to_json(), overwrite=True)
    write_text(folder / DESCRIPTION, description + "\n", overwrite=True)


def load_encoder(folder: Path | str) -> tuple[Encoder, dict[str, Any]]:
    """The encoder and the card that ``save_encoder`` wrote, on the CPU and in evaluation mode.

    Raises:
        UserError: if the folder holds no encoder, a file is damaged, or the two files do not belong
            together.
    """
    folder = Path(folder)
    described = described_in(folder)
    where = str(folder / DESCRIPTION)
    try:
        check_file(folder / WEIGHTS, _MEND)
        weights = load_file(folder / WEIGHTS)
        digest = digest_of(folder)
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"The encoder in {folder} is damaged ({error}); {_MEND}.") from error
    if described.get("digest", digest) != digest:
        raise UserError(
            f"The encoder in {folder} is damaged: {WEIGHTS} does not hold the weights that "
            f"{DESCRIPTION} was written with; "
            "restore the pair, or export or train it again."
        )
    if field_of(described, "version", int, where) > _VERSION:
        writer = str(
            field_of(described, "versions", dict[str, Any], where).get(
                "nearfar", "of unknown version"
            )
        )
        raise UserError(
            f"The encoder in {folder} was written by nearfar {writer}, a newer version than this; "
            "update nearfar."
        )
    name = field_of(described, "architecture", str, where)
    spec = record(
        Spec,
        migrated(field_of(described, "spec", dict[str, Any], where)),
        f"the spec in {where}",
    )
    card = field_of(described, "card", dict[str, Any], where)
    check_spec(spec, f"the spec in {where}")
    bare = name.replace(PRETRAINED, "")
    _refuse_other_shapes(bare, spec, weights, folder)
    with torch.random.fork_rng(devices=[]):
        encoder = networks.build(bare, spec)
    prefix = encoder.weights_prefix
    try:
        encoder.load_state_dict(
            {
                name if name.startswith(prefix) else prefix + name: value
                for name, value in weights.items()
            }
        )
    except RuntimeError as error:
        raise _misfit(encoder, weights, folder, name) from error
    _architecture(encoder).update(name=name, card=card)
    if os.path.lexists(folder / TOKENIZER):
        tokenizer = read_tokenizer(read_text(folder / TOKENIZER, _MEND))
        texts = spec.of("text")
        known = 0 if texts is None else texts.vocabulary
        if len(tokenizer) > known:
            raise UserError(
                f"{folder / TOKENIZER} has {len(tokenizer):,} tokens, and the encoder knows "
                f"{known:,}; {_MEND}."
            )
        _architecture(encoder)["tokenizer"] = tokenizer
    return encoder.eval(), card


def _misfit(
    encoder: Encoder, weights: dict[str, torch.Tensor], folder: Path, name: str
) -> UserError:
    """The error for weights that an encoder cannot take, with the first one that differs."""
    if not own.is_own(name):
        return UserError(
            f"{WEIGHTS} in {folder} does not fit {name}, which {DESCRIPTION} names; restore the "
            "pair."
        )
    prefix = encoder.weights_prefix
    expected = {key.removeprefix(prefix): one.shape for key, one in encoder.state_dict().items()}
    found = {key: one.shape for key, one in weights.items()}
    keys = [key for key in {**found, **expected} if found.get(key) != expected.get(key)]
    key = min(keys, key=lambda one: one not in found or one not in expected, default="?")
    has, wants = (
        f"of shape {tuple(each[key])}" if key in each else "missing" for each in (found, expected)
    )
    return UserError(
        f"The weights in {folder} do not fit the encoder that was handed over: {key} is {has} in "
        f"the file and {wants} in the encoder; hand over the encoder that the run was trained with."
    )


def _refuse_other_shapes(
    name: str, spec: Spec, weights: dict[str, torch.Tensor], folder: Path
) -> None:
    """Refuse weights that the described encoder cannot have, before any memory is taken for it.

    Raises:
        UserError: If a weight has another shape.
    """
    expected = networks.weight_shapes(name, spec)
    for key, value in weights.items():
        shape = expected.get(key, value.shape)
        if shape != value.shape:
            raise UserError(
                f"{WEIGHTS} in {folder} does not fit {name}, which {DESCRIPTION} names (at {key}); "
                "restore the pair."
            )


def described_in(folder: Path) -> dict[str, Any]:
    """What ``encoder.json`` in a folder says.

    Raises:
        UserError: if there is no such file, or it is damaged.
    """
    if not all(os.path.lexists(folder / name) for name in (DESCRIPTION, WEIGHTS)):
        raise UserError(
            f"{folder} holds no encoder: expected {DESCRIPTION} and {WEIGHTS}; give a folder that "
            "nearfar wrote."
        )
    found: dict[str, Any] = checked(
        dict[str, Any], str(folder / DESCRIPTION), read_json(folder / DESCRIPTION, _MEND)
    )
    return found


def versions_of(folder: Path) -> dict[str, Any]:
    """What the encoder in a folder was written with: names and versions.

    Raises:
        UserError: if ``encoder.json`` is missing or damaged.
    """
    found: dict[str, Any] = field_of(
        described_in(folder), "versions", dict[str, Any], str(folder / DESCRIPTION)
    )
    return found


def digest_of(folder: Path | str) -> str:
    """A digest of an encoder's weights, which tells it from any other."""
    with (Path(folder) / WEIGHTS).open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def encoder_spec(encoder: Encoder) -> Spec:
    """The spec of the data that the encoder was built for.

    Raises:
        UserError: if ``networks.build`` did not make the encoder.
    """
    spec: Spec = _architecture(encoder)["spec"]
    return spec


def tower_for(encoder: Encoder, modality: str) -> Encoder:
    """The encoder itself, or of several towers the one that takes this modality alone."""
    from nearfar.networks.towers import Towers

    if not isinstance(encoder, Towers):
        return encoder
    name = encoder_spec(encoder).part_name(modality)
    return encoder if name is None else encoder.part(name)


def tokenizer_of(encoder: Encoder) -> Tokenizer | None:
    """The tokenizer that lay beside an encoder of texts; None for others."""
    found: Tokenizer | None = _architecture(encoder).get("tokenizer")
    return found


def name_of(encoder: Encoder) -> str:
    """The name from which ``networks.build`` makes such an encoder again.

    Raises:
        UserError: if ``networks.build`` did not make the encoder.
    """
    name: str = _architecture(encoder)["name"]
    return name


def check_input(encoder: Encoder, spec: Spec) -> None:
    """Refuse data that the encoder was not built for; towers for pairs take images or texts alone
    as well, and an encoder of one part takes samples that have it.

    Raises:
        UserError: if modality, shape of a sample or vocabulary differ.
    """
    whole = encoder_spec(encoder)
    if spec.parts and not whole.parts:
        spec = spec.of(whole.modality) or spec
    trained = whole.of(spec.modality) or whole
    pairs = [(spec, trained)]
    if len(spec.parts) == len(trained.parts):
        pairs += zip(spec.parts.values(), trained.parts.values(), strict=True)
    elif trained.parts and all(trained.of(one.modality) for one in spec.parts.values()):
        # parts of the same kinds in another number, such as two images and a text
        pairs = [(one, trained.of(one.modality) or trained) for one in spec.parts.values()]
    facts = ("modality", "shape", "vocabulary")
    for (one, other), what in itertools.product(pairs, facts):
        found = getattr(one, what)
        expected = getattr(other, what)
        if what == "shape" and encoder.any_size:
            found = found[:1]
            expected = expected[:1]
        if found != expected:
            raise UserError(
                f"{spec.name} does not fit this encoder, which was trained on {trained.name}: its "
                f"{what} is {found}, expected {expected}; "
                "choose data of the same kind or train on these."
            )


def export_encoder(
    encoder: Encoder,
    path: Path | str,
    format: str = "safetensors",  # noqa: A002
    *,
    overwrite: bool = False,
    tell: Callable[[str], None] | None = None,
) -> Path:
    """Write an encoder for use elsewhere and check the written file's features on random inputs.

    Args:
        encoder: made by ``networks.build``. Of several towers, "onnx" and "torch" hold
            the first.
        path: a file, or for "safetensors" a folder.
        format: "safetensors" (what ``load_encoder`` reads), "onnx" (needs the extra "export") or
            "torch" (``torch.export``).
        overwrite: whether an existing ``path`` may be replaced.
        tell: gets a sentence on the largest difference of features, and the lines that load what
            was written.

    Returns:
        ``path``.

    Raises:
        UserError: for an unknown format, an existing path, a missing package, or text with "onnx"
            or "torch".
        RuntimeError: if the file's features differ from the encoder's by more than
            ``portable.TOLERANCE``; the file is then not kept.
    """
    path = Path(path)
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    spec = encoder_spec(encoder)
    if format == "safetensors":
        if path.exists() and not overwrite:
            raise UserError(f"{path} exists already; choose another name or remove it first.")
        save_encoder(encoder, path)
        examples = [portable.random_samples(spec, count) for count in (1, 5)]
        original = copy.deepcopy(encoder).cpu().eval()
        difference = portable.check_features(original, load_encoder(path)[0], examples)
        _tell(tell, difference, portable.loading_lines(format, path, name_of(encoder), spec))
        return path
    model = portable.Portable(encoder, spec)
    write, read = _PORTABLE[format]
    with replacing(path, overwrite=overwrite) as temporary:
        write(model, temporary, _description(encoder, None))
        difference = portable.check_features(model.of_samples, read(temporary), model.examples())
    lines = portable.loading_lines(format, path, name_of(encoder), model.spec, model.inputs)
    _tell(tell, difference, lines)
    return path


def _tell(tell: Callable[[str], None] | None, difference: float, lines: list[str]) -> None:
    if tell is not None:
        tell(
            f"Features of random samples differ from the original's by at most {difference:.2g}. "
            "To load it:"
        )
        for line in lines:
            tell(f"  {line}")


def _description(encoder: Encoder, card: dict[str, Any] | None) -> dict[str, Any]:
    architecture = _architecture(encoder)
    spec: Spec = architecture["spec"]
    first = spec.first
    scale = modalities.get(first.modality).scale
    return {
        "version": _VERSION,
        "architecture": architecture["name"],
        "dimension": encoder.dimension,
        "spec": dataclasses.asdict(spec),
        "preprocessing": {
            "shape": first.shape,
            "scale": scale,
            "mean": first.mean,
            "std": first.std,
            **({"range": first.extra["range"]} if "range" in first.extra else {}),
        },
        "versions": {
            "nearfar": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "card": architecture.get("card", {}) if card is None else card,
    }


def _architecture(encoder: nn.Module) -> dict[str, Any]:
    architecture: Any = getattr(encoder, "architecture", None)
    if not isinstance(architecture, dict) or "spec" not in architecture:
        raise UserError(
            f"{type(encoder).__name__} was not made by nearfar.networks.build, so no file of it "
            "could be read again; "
            "save its state_dict yourself."
        )
    return architecture
