"""Models of the transformers library (an extra) that lie in a folder on this machine."""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from nearfar import modalities
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.networks.catalogue import HF, PRETRAINED
from nearfar.networks.encoder import Encoder
from nearfar.rows import Tokens

_PIXELS = "pixel_values"
_IDS = "input_ids"
_CONFIG = "config.json"
_WEIGHTS = "*.safetensors"
_OFF = ("dropout", "drop_path", "layerdrop")
"""Parts of the names of settings that make a model drop values at random."""
_WORDS = 5
"""Numbers of nearfar's tokens that stand for no word: padding, unknown, start, end and mask."""


@dataclass(frozen=True)
class Description:
    """All it takes to build a model without its folder.

    Attributes:
        config: The library's configuration of the model.
        pooled: Whether features are what the model pools; else the mean of its tokens.
        special: Of a model of texts, its numbers of nearfar's first tokens.
    """

    config: Mapping[str, Any]
    pooled: bool
    special: tuple[int, ...] = ()

    def packed(self) -> str:
        """As letters that may stand in the name of an encoder."""
        text = json.dumps(vars(self), sort_keys=True, separators=(",", ":"))
        return base64.urlsafe_b64encode(zlib.compress(text.encode(), 9)).decode().rstrip("=")

    @classmethod
    def unpacked(cls, packed: str) -> Description:
        """The inverse of ``packed``.

        Raises:
            UserError: If it is something else.
        """
        try:
            whole = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
            unzip = zlib.decompressobj()
            found = json.loads(unzip.decompress(whole, 1 << 20))
            return cls(dict(found["config"]), bool(found["pooled"]), tuple(found["special"]))
        except (ValueError, KeyError, TypeError, zlib.error, RecursionError) as error:
            raise UserError(
                "The name of an encoder holds a damaged description of its model; restore the "
                "folder that it was read from."
            ) from error


class FolderEncoder(Encoder):
    """Samples to features (N, dimension) by a model of the transformers library.

    Images enter as ``pixel_values``, resized to the size that the model's configuration names.
    Texts enter as ``input_ids`` in the numbers of the folder's own tokenizer. Sound enters as
    ``input_values``: log-mel bands (N, frames, bands), and series of one channel (N, T). Features
    are what the model pools, or the mean of its tokens where it pools nothing.

    Dropout and its like are switched off, so that a run can be repeated to the bit.

    Args:
        spec: Of the data.
        name: PATH of a folder with config.json, or PATH@pretrained for its weights too
            (model.safetensors); behind a "#" follows what a finished run remembers of the folder,
            which is then not read.

    Raises:
        UserError: If the library is not installed, the folder holds no such model, or the model
            does not fit the data. No code of the folder is run, and nothing is fetched.
    """

    weights_prefix = "model."

    def __init__(self, spec: Spec, name: str) -> None:
        super().__init__()
        place, _, packed = name.partition("#")
        bare = place.removesuffix(PRETRAINED)
        self.enters = modalities.get(spec.modality).model_input
        if not self.enters or (spec.nodes or spec.parts):
            raise UserError(
                f"{HF}{bare} takes images, texts, sound or series, and {spec.name} holds "
                f"{spec.modality} data; choose another encoder."
            )
        library = _library(bare)
        known = Description.unpacked(packed) if packed else None
        try:
            self._make(library, bare, place.endswith(PRETRAINED), known, spec)
            with torch.no_grad():
                features = self.eval()(_nothing(spec))
        except UserError:
            raise
        except Exception as error:  # the library raises whatever it likes
            raise UserError(_failure(bare, spec, error)) from error
        self.train()
        self.dimension: int = features.shape[1]
        self.described = f"{HF}{place}#{self.description.packed()}"

    def forward(self, x: Any) -> Tensor:
        found = self._output(x)
        if self.description.pooled:
            pooled: Tensor = found.pooler_output
            return pooled.flatten(1)
        last: Tensor = found.last_hidden_state
        if last.ndim == 4:
            return last.mean(dim=(2, 3))
        if isinstance(x, Tokens):
            weight = x.mask[:, :, None].to(last)
            return (last * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
        return last.mean(dim=1)

    def feature_map(self, x: Tensor) -> Tensor:
        found: Tensor = self._output(x).last_hidden_state
        return found if found.ndim == 4 else super().feature_map(x)

    def _make(
        self, library: Any, place: str, weights: bool, known: Description | None, spec: Spec
    ) -> None:
        if known is None:
            config = _config(library, place)
            special = _special(place, config) if self.enters == _IDS else ()
        else:
            values = dict(known.config)
            config = library.AutoConfig.for_model(str(values.pop("model_type", "")), **values)
            special = known.special
        _settle(config, None if weights or known is not None else spec)
        lacking: tuple[str, ...] = ()
        if weights:
            self.model, lacking = _with_weights(library, place, config)
        else:
            self.model = library.AutoModel.from_config(
                config, trust_remote_code=False, attn_implementation="eager"
            )
        self.size = _size(config) if self.enters == _PIXELS else None
        drawn = any("pooler" in one for one in lacking)
        pooled = getattr(self.model, "pooler", None) is not None and not drawn
        if known is not None:
            pooled = known.pooled
        if not pooled and isinstance(getattr(self.model, "pooler", None), nn.Module):
            self.model.pooler = None
        held = json.loads(config.to_json_string(use_diff=True))
        self.description = Description(held, pooled, special)

    def _output(self, x: Any) -> Any:
        if isinstance(x, Tokens):
            special = torch.tensor(self.description.special, device=x.ids.device)
            named = special[x.ids.clamp(max=_WORDS - 1)]
            ids = torch.where(x.ids < _WORDS, named, x.ids - _WORDS)
            return self.model(input_ids=ids, attention_mask=x.mask.long())
        if self.enters != _PIXELS:
            return self.model(input_values=x[:, 0] if x.shape[1] == 1 else x.transpose(1, 2))
        if self.size not in (None, tuple(x.shape[2:])):
            x = interpolate(x, self.size, mode="bilinear")
        return self.model(pixel_values=x)


def _library(place: str) -> Any:
    try:
        import transformers
    except ImportError as error:
        raise UserError(
            f"{HF}{place} needs the transformers library, which is not installed: pip install "
            "'nearfar[hf]'."
        ) from error
    library: Any = transformers
    library.logging.set_verbosity_error()
    library.logging.disable_progress_bar()
    return library


def _config(library: Any, place: str) -> Any:
    if not os.path.isfile(Path(place) / _CONFIG):
        raise UserError(
            f"{HF}{place} names no model: expected a folder with {_CONFIG} on this machine; "
            "nothing is fetched from the hub, so load the model's folder first."
        )
    return library.AutoConfig.from_pretrained(place, trust_remote_code=False, local_files_only=True)


def _special(place: str, config: Any) -> tuple[int, ...]:
    """Which of the folder's tokens stand for padding, unknown, start, end and mask."""
    from nearfar.data.content.folder_tokenizer import special_of

    known = special_of(place)
    pad = getattr(config, "pad_token_id", None)
    return known if pad is None else (pad, *known[1:])


def _settle(config: Any, spec: Spec | None) -> None:
    """Switch off what drops at random, and fit a fresh model to the data's channels and bands."""
    for name, value in vars(config).items():
        if isinstance(value, float) and any(part in name for part in _OFF):
            setattr(config, name, 0.0)
    if hasattr(config, "apply_spec_augment"):
        config.apply_spec_augment = False
    if spec is None:
        return
    if len(spec.shape) == 3 and hasattr(config, "num_channels"):
        config.num_channels = spec.shape[0]
    if len(spec.shape) == 2 and hasattr(config, "num_mel_bins"):
        config.num_mel_bins, config.max_length = spec.shape


def _with_weights(library: Any, place: str, config: Any) -> tuple[Any, tuple[str, ...]]:
    """The model with the folder's weights, and the names of those that the folder lacks."""
    if not any(Path(place).glob(_WEIGHTS)):
        raise UserError(
            f"{place} holds no weights as safetensors; save the model in that format, or leave "
            f"{PRETRAINED} out."
        )
    model, told = library.AutoModel.from_pretrained(
        place,
        config=config,
        trust_remote_code=False,
        local_files_only=True,
        use_safetensors=True,
        output_loading_info=True,
        attn_implementation="eager",
        dtype=torch.float32,
    )
    lacking = tuple(told["missing_keys"])
    others = [one for one in lacking if "pooler" not in one]
    if others:
        raise UserError(
            f"The weights in {place} lack {len(others):,} of the model that {_CONFIG} describes, "
            f"such as {min(others)}; restore the folder, or leave {PRETRAINED} out."
        )
    return model, lacking


def _size(config: Any) -> tuple[int, ...] | None:
    """Height and width that the model takes; None for any."""
    size = getattr(config, "image_size", None)
    if size is None:
        return None
    return (size, size) if isinstance(size, int) else tuple(size)


def _nothing(spec: Spec) -> Any:
    """Two samples of zeros."""
    if spec.vocabulary:
        ids = torch.full((2, spec.context), _WORDS, dtype=torch.int64)
        return Tokens(ids, ids > 0)
    return torch.zeros(2, *spec.shape)


def _failure(place: str, spec: Spec, error: Exception) -> str:
    reason = str(error).strip().partition("\n")[0].rstrip(".:") or type(error).__name__
    return (
        f"Cannot build {HF}{place} for {spec.modality} data of {spec.size} values: {reason}; "
        "choose another model or other data."
    )
