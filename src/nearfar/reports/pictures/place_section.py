"""The part of a run's page that shows what an encoder of images tells apart within an image."""

from __future__ import annotations

import contextlib
import math

import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.networks.encoder import TokenEncoder
from nearfar.networks.places import places_of
from nearfar.reports.document import Section
from nearfar.reports.look import Look
from nearfar.reports.pictures.samples import element
from nearfar.results.drawing import image_address
from nearfar.runs.encoder_files import encoder_spec
from nearfar.views import plain_view

SAMPLES = 8
"""Images that are shown."""
FEWEST_PLACES = 9
"""Places of an image below which there is nothing to see."""
_ENDS = (0.02, 0.98)
"""Quantiles that become black and white."""


def places(look: Look) -> Section | None:
    """Images, and the features of their places in colours; beside them, where the encoder has a
    class token, what that attends to. None for encoders without places on a grid.
    """
    encoder = look.run.encoder()
    spec = encoder_spec(encoder)
    samples = look.shown.take(torch.arange(min(SAMPLES, len(look.shown))))
    if spec.parts or not isinstance(samples, Tensor) or samples.ndim != 4:
        return None
    plain = plain_view(spec)(samples)
    found = places_of(encoder, plain[:1])
    if found is None:
        return None
    with torch.no_grad():
        maps = found(plain).float()
    if math.prod(maps.shape[2:]) < FEWEST_PLACES:
        return None
    rows = [
        ("image", look.pictures[: len(samples)]),
        ("features of places", [image_address(one) for one in in_colours(maps)]),
    ]
    attended = _attended(encoder, plain)
    if attended is not None:
        rows.append(("attention", [image_address(one) for one in attended]))
    shown = [element(picture, called) for pairs in _columns(rows) for called, picture in pairs]
    told = (
        f"Each of the {maps.shape[2]} x {maps.shape[3]} places has features of its own. Their "
        "first three principal components, over all images here, are drawn as red, green and blue: "
        "places of one colour are alike to the encoder."
    )
    if attended is not None:
        told += " Attention is that of the class token in the last block, the mean over its heads."
    return Section("What each place has", f'<p>{told}</p><div class="row">{"".join(shown)}</div>')


def _columns(rows: list[tuple[str, list[str]]]) -> list[list[tuple[str, str]]]:
    """From one list for each kind of picture to one list for each sample."""
    count = len(rows[0][1])
    return [[(called, pictures[place]) for called, pictures in rows] for place in range(count)]


def in_colours(maps: Tensor) -> Tensor:
    """The first three principal components of places as colours.

    Args:
        maps: (N, C, h, w) float; the components are those of all N h w places together.

    Returns:
        (N, 3, h, w) uint8; components that there are not are 0.
    """
    flat = maps.movedim(1, -1).flatten(0, -2).double()
    _, _, directions = torch.linalg.svd(flat - flat.mean(0), full_matrices=False)
    largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
    directions = directions * largest.sign()  # else the sign is the library's choice
    values = (flat - flat.mean(0)) @ directions[:3].T
    colours = _in_bytes(values)
    missing = 3 - colours.shape[1]
    colours = torch.nn.functional.pad(colours, (0, missing))
    return colours.view(len(maps), *maps.shape[2:], 3).movedim(-1, 1)


def _in_bytes(values: Tensor) -> Tensor:
    """Columns (M, K) to uint8, stretched between their outer quantiles."""
    ends = torch.tensor(_ENDS, dtype=values.dtype)
    low, high = torch.quantile(values, ends, dim=0)
    share = (values - low) / (high - low).clamp(min=1e-12)
    stretched: Tensor = (255 * share.clamp(0, 1)).round()
    return stretched.to(torch.uint8)


def _attended(encoder: object, plain: Tensor) -> Tensor | None:
    """What the class token attends to, (N, 1, h, w) uint8; None where there is none."""
    if not isinstance(encoder, TokenEncoder):
        return None
    with torch.no_grad(), contextlib.suppress(UserError):
        weights = encoder.attention(plain).mean(dim=1)[:, 0]
        if weights.shape[1] == 1 + math.prod(encoder.grid):
            shares = weights[:, 1:] / weights[:, 1:].amax(dim=1, keepdim=True)
            found: Tensor = (255 * shares).round().to(torch.uint8)
            return found.view(len(found), 1, *encoder.grid)
    return None

