"""A run's method as files beside its encoder's, so that it opens without the training data and
without a checkpoint.

``method.safetensors`` holds all of the method's state but what is the encoder's, which lies in
``encoder.safetensors``; ``method.json`` says which method it is, with which settings and for which
data. Nothing is pickled, and only a registered method is opened (or one whose module the user has
imported).
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from nearfar import networks
from nearfar.data.spec import Spec, migrated
from nearfar.errors import UserError
from nearfar.files import replacing, write_text
from nearfar.methods import registry
from nearfar.methods.method import Method
from nearfar.methods.names import name_of as method_name
from nearfar.networks.catalogue import PRETRAINED, fresh
from nearfar.networks.encoder import Encoder
from nearfar.options import resolved_settings
from nearfar.runs.encoder_files import (
    DESCRIPTION,
    WEIGHTS,
    described_in,
    encoder_spec,
    name_of,
)
from nearfar.runs.portable import random_samples
from nearfar.stored import field_of, record

METHOD = "method.json"
METHOD_WEIGHTS = "method.safetensors"
_VERSION = 1
_ENCODER = "encoder."


def save_method(method: Method, folder: Path, encoder: str) -> None:
    """Write the two files; those of an earlier save are replaced, each at once.

    Args:
        method: On any device, in any mode.
        folder: Of the run, which holds the encoder's files.
        encoder: The name of the encoder that the method was built on, as ``networks.build`` takes
            it.
    """
    state = {
        name: value.detach().cpu().clone().contiguous()
        for name, value in _own_state(method).items()
    }
    described = {
        "version": _VERSION,
        "method": method_name(type(method)),
        "encoder": encoder,
        "settings": vars(method.settings),
        "spec": dataclasses.asdict(method.spec),
        "pretrained": _described_parts(method),
    }
    with replacing(folder / METHOD_WEIGHTS, overwrite=True) as temporary:
        temporary.write_bytes(save(state))
    write_text(
        folder / METHOD, json.dumps(described, indent=2, ensure_ascii=False) + "\n", overwrite=True
    )


def _described_parts(method: Method) -> dict[str, Any]:
    """What the finished parts are that the method was handed, so that they can be made again."""
    found: dict[str, Any] = {}
    for name in type(method).pretrained:
        part = getattr(method, name, None)
        if isinstance(part, Method):
            found[name] = {
                "method": method_name(type(part)),
                "encoder": name_of(part.encoder),
                "settings": vars(part.settings),
                "spec": dataclasses.asdict(part.spec),
                "shared": part.encoder is method.encoder,
                "pretrained": _described_parts(part),
            }
        elif isinstance(part, Encoder):
            found[name] = {
                "encoder": name_of(part),
                "spec": dataclasses.asdict(encoder_spec(part)),
                "shared": part is method.encoder,
            }
    return found


def _part_of(described: Any, where: str, *, anew: bool = False) -> tuple[Any, bool]:
    """A finished part with fresh weights, and whether its encoder is the method's."""
    encoder, spec = _fresh_encoder(described, where, anew=anew)
    shared = field_of(described, "shared", bool, where)
    if "method" not in described:
        return encoder, shared
    kind = registry.get(field_of(described, "method", str, where))
    given = field_of(described, "settings", dict[str, Any], where)
    inner = field_of(described, "pretrained", dict[str, Any], where)
    parts = {name: _part_of(one, where, anew=anew)[0] for name, one in inner.items()}
    return kind(encoder, spec, resolved_settings(kind.Settings, given), **parts), shared


def _fresh_encoder(described: Any, where: str, *, anew: bool) -> tuple[Encoder, Spec]:
    spec = record(
        Spec, migrated(field_of(described, "spec", dict[str, Any], where)), f"the spec in {where}"
    )
    name = field_of(described, "encoder", str, where).replace(PRETRAINED, "")
    return networks.build(fresh(name) if anew else name, spec), spec


def _own_state(method: Method) -> dict[str, Tensor]:
    """The state without the encoder's, also where the method knows the encoder's tensors under
    other names.
    """
    state = method.state_dict()
    encoders = {
        value.data_ptr()
        for name, value in state.items()
        if name.startswith(_ENCODER) and value.numel()
    }
    return {
        name: value
        for name, value in state.items()
        if not (name.startswith(_ENCODER) or value.data_ptr() in encoders)
    }


def open_method(folder: Path) -> Method:
    """The method that ``save_method`` wrote, with its encoder, on the CPU and in evaluation mode.

    Raises:
        UserError: If a file is missing, damaged or does not fit the others, or the method lies
            outside nearfar and is not imported.
    """
    with torch.random.fork_rng(devices=[]):
        method = _made(folder)
    try:
        own = load_file(folder / METHOD_WEIGHTS)
        encoders = load_file(folder / WEIGHTS)
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise UserError(
            f"The method in {folder} is damaged ({error}); restore its files."
        ) from error
    prefix = method.encoder.weights_prefix
    state = {
        _ENCODER + (key if key.startswith(prefix) else prefix + key): value
        for key, value in encoders.items()
    }
    _load(method, {**own, **state}, folder)
    return method.eval()


def fresh_method(folder: Path, *, seed: int) -> Method:
    """The method that ``save_method`` wrote with fresh random weights instead of its own, also in
    the finished parts that it started from; in evaluation mode.

    Args:
        folder: Of the run.
        seed: Of the weights.

    Raises:
        UserError: As ``open_method``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _made(folder, anew=True).eval()


def _made(folder: Path, *, anew: bool = False) -> Method:
    """The method as it is described, with weights as they are drawn; ``anew``: also those of an
    encoder of the user's own, which may have brought some.
    """
    described = _described(folder)
    where = str(folder / METHOD)
    if field_of(described, "version", int, where) > _VERSION:
        raise UserError(f"{where} was written by a newer nearfar; update nearfar.")
    kind = registry.get(field_of(described, "method", str, where))
    spec = record(
        Spec,
        migrated(field_of(described, "spec", dict[str, Any], where)),
        f"the spec in {where}",
    )
    settings = resolved_settings(
        kind.Settings, field_of(described, "settings", dict[str, Any], where)
    )
    name = field_of(described, "encoder", str, where).replace(PRETRAINED, "")
    described_parts = described.get("pretrained", {})
    each = {one: _part_of(part, where, anew=anew) for one, part in described_parts.items()}
    shared = next((part for part, is_shared in each.values() if is_shared), None)
    encoder = shared.encoder if isinstance(shared, Method) else shared
    if encoder is None:
        encoder = _encoder_of(folder, fresh(name) if anew else name, kind)
    parts = {one: part for one, (part, _) in each.items()}
    return kind(encoder, spec, settings, **parts)


def _encoder_of(folder: Path, name: str, kind: type[Method]) -> Encoder:
    """A fresh encoder as the run's, for the data that it was built for."""
    described = described_in(folder)
    held = record(Spec, migrated(described.get("spec")), f"the spec in {folder / DESCRIPTION}")
    return networks.build(name, held, kind=kind.encoder_kind)


def _described(folder: Path) -> Any:
    try:
        return json.loads((folder / METHOD).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{folder} holds no method: expected {METHOD} beside {DESCRIPTION}."
        ) from error
    except ValueError as error:
        raise UserError(f"{folder / METHOD} is damaged ({error}); restore it.") from error


def _load(method: Method, state: dict[str, Tensor], folder: Path) -> None:
    try:
        missing, unexpected = method.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise UserError(
            f"{METHOD_WEIGHTS} in {folder} does not fit {METHOD}; restore the pair."
        ) from error
    known = method.state_dict()
    loaded = {known[name].data_ptr() for name in state if name in known}
    lacking = [
        name for name in missing if known[name].data_ptr() not in loaded
    ]  # an alias of what was loaded lacks nothing
    if lacking or unexpected:
        named = (*lacking, *unexpected)[0]
        raise UserError(
            f"{METHOD_WEIGHTS} in {folder} does not fit {METHOD} (at {named}); restore the pair."
        )


def has_own_features(kind: type[Method]) -> bool:
    """Whether a method gives other features than its encoder."""
    return kind.encode is not Method.encode


class Encoding(Encoder):
    """A method as an encoder: its features are what the method's ``encode`` gives.

    Args:
        method: On an encoder that ``networks.build`` made.
    """

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method.eval()
        self.architecture = method.encoder.architecture
        with torch.no_grad():
            self.dimension = int(
                method.encode(random_samples(encoder_spec(method.encoder), 2)).shape[1]
            )

    def forward(self, x: Any) -> Tensor:
        return self.method.encode(x)

    def feature_map(self, x: Tensor) -> Tensor:
        return self.method.encoder.feature_map(x)

    def tokens(self, x: Tensor) -> Tensor:
        return self.method.encoder.tokens(x)
