"""Rendered rooms through which a camera moves, with the depth of every pixel. Made from nothing but
numbers, always the same.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from nearfar.data.content.arrays import ReadyClips
from nearfar.data.tables.table import Table

__all__ = ["FOCAL", "read_moving_rooms", "rooms"]

SEED = 0
TRAIN = 400
TEST = 100
HEIGHT = 64
WIDTH = 96
FOCAL = 0.7
"""Focal length over the width of a frame."""
BOXES = 5
_TEXTURES = 24
_TEXTURE_SIDE = 128
_BLOCK = 50
"""Rooms that are rendered at a time."""


def read_moving_rooms() -> Table:
    """500 clips of three frames, uint8 (3, 3, 64, 96), and the depth of the middle frame.

    A room is a floor, a far wall at a depth of 8 to 12 and five upright boards at 2 to 7, each with
    a texture of its own. From frame to frame the camera moves by the same small step, mostly
    sideways and forwards, and turns a little, so that near things move more than far ones.
    ``annotations["depth"]`` is (N, 64, 96) float32; ``extra["intrinsics"]`` holds the focal lengths
    and the principal point over width and height.
    """
    clips, depth = rooms(TRAIN + TEST, SEED)
    names = [str(number) for number in range(TRAIN + TEST)]
    part = ["train"] * TRAIN + ["test"] * TEST
    intrinsics = [FOCAL, FOCAL * WIDTH / HEIGHT, 0.5, 0.5]
    return Table(
        "moving-rooms",
        names,
        ReadyClips(clips.numpy(), "moving-rooms"),
        part=part,
        annotations={"depth": depth.numpy()},
        extra={"intrinsics": intrinsics},
    )


@cache
def rooms(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Clips (N, 3, 3, 64, 96) uint8 and the depth (N, 64, 96) of their middle frames.

    Args:
        count: Number of rooms.
        seed: Of what is drawn.
    """
    draw = torch.Generator().manual_seed(seed)
    textures = _textures(draw)
    blocks = [
        _rendered(_drawn(min(_BLOCK, count - start), draw), textures)
        for start in range(0, count, _BLOCK)
    ]
    return torch.cat([one for one, _ in blocks]), torch.cat([depth for _, depth in blocks])


def _textures(draw: torch.Generator) -> Tensor:
    """(T, 3, S, S) colours in [0, 1]: noise of several sizes between two colours."""
    noise = torch.zeros(_TEXTURES, 1, _TEXTURE_SIDE, _TEXTURE_SIDE)
    for cells in (4, 8, 16, 32):
        coarse = torch.randn(_TEXTURES, 1, cells, cells, generator=draw)
        noise += interpolate(coarse, size=(_TEXTURE_SIDE,) * 2, mode="bicubic") / math.sqrt(cells)
    share = torch.sigmoid(3 * noise)
    colours = torch.rand(2, _TEXTURES, 3, 1, 1, generator=draw)
    return colours[0] * share + colours[1] * (1 - share)


def _drawn(count: int, draw: torch.Generator) -> dict[str, Tensor]:
    """What is drawn for some rooms."""

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=draw)

    return {
        "wall": uniform(8, 12),
        "floor": uniform(0.8, 1.4),
        "depth": uniform(2, 7, BOXES),
        "place": uniform(-0.6, 0.6, BOXES),
        "half": uniform(0.25, 0.9, BOXES),
        "top": uniform(-1.2, 0.3, BOXES),
        "texture": torch.randint(_TEXTURES, (count, BOXES + 2), generator=draw).float(),
        "offset": uniform(0, 1, BOXES + 2, 2),
        "step": torch.stack(
            [uniform(-0.18, 0.18), uniform(-0.03, 0.03), uniform(-0.02, 0.2)], dim=1
        ),
        "turn": uniform(-0.012, 0.012),
    }


def _rendered(room: dict[str, Tensor], textures: Tensor) -> tuple[Tensor, Tensor]:
    frames = []
    depth = torch.zeros(0)
    for time in (-1, 0, 1):
        colour, far = _seen(room, textures, time * room["step"], time * room["turn"])
        frames.append((255 * colour).round().clamp(0, 255).to(torch.uint8))
        depth = far if time == 0 else depth
    return torch.stack(frames, dim=2), depth


def _seen(
    room: dict[str, Tensor], textures: Tensor, eye: Tensor, turn: Tensor
) -> tuple[Tensor, Tensor]:
    """Colours (N, 3, H, W) and depths (N, H, W) from an eye (N, 3) that is turned about the
    vertical.

    Every surface lies across the room or on its floor, so that a ray meets it at one distance.
    """
    v, u = torch.meshgrid(
        torch.arange(HEIGHT, dtype=torch.float32),
        torch.arange(WIDTH, dtype=torch.float32),
        indexing="ij",
    )
    across = (u - 0.5 * WIDTH) / (FOCAL * WIDTH)
    down = (v - 0.5 * HEIGHT) / (FOCAL * WIDTH)
    cosine = turn.cos()[:, None, None]
    sine = turn.sin()[:, None, None]
    x = cosine * across + sine
    z = cosine - sine * across
    y = down.expand_as(x)
    ex, ey, ez = eye[:, :, None, None].unbind(dim=1)
    shape = (len(eye), HEIGHT, WIDTH)
    nearest = torch.full(shape, 1e6)
    place = torch.zeros(*shape, 2)
    number = torch.zeros(shape, dtype=torch.int64)

    def meets(distance: Tensor, first: Tensor, second: Tensor, inside: Tensor, at: int) -> None:
        shown = inside & (distance > 0) & (distance < nearest)
        nearest.copy_(torch.where(shown, distance, nearest))
        spots = torch.stack([first, second], dim=3) / 4 + room["offset"][:, at, None, None]
        place.copy_(torch.where(shown[..., None], spots, place))
        number.masked_fill_(shown, at)

    everywhere = torch.ones(shape, dtype=torch.bool)
    distance = (room["wall"][:, None, None] - ez) / z
    meets(distance, ex + distance * x, ey + distance * y, everywhere, BOXES)
    distance = (room["floor"][:, None, None] - ey) / y.where(y > 1e-6, torch.full_like(y, 1e-6))
    meets(distance, ex + distance * x, ez + distance * z, y > 1e-6, BOXES + 1)
    for board in range(BOXES):
        far = room["depth"][:, board, None, None]
        distance = (far - ez) / z
        right = ex + distance * x
        low = ey + distance * y
        middle = room["place"][:, board, None, None] * far
        inside = (right - middle).abs() < room["half"][:, board, None, None]
        inside &= low > room["top"][:, board, None, None]
        meets(distance, right, low, inside & (low < room["floor"][:, None, None]), board)
    chosen = room["texture"].gather(1, number.flatten(1)).view(shape).long()
    colours = _looked_up(textures, chosen, place)
    return colours, nearest


def _looked_up(textures: Tensor, chosen: Tensor, place: Tensor) -> Tensor:
    """Colours (N, 3, H, W) of textures that repeat, mirrored, at places (N, H, W, 2)."""
    folded = (place.remainder(2) - 1).abs() * 2 - 1
    depth = 2 * (chosen.float() + 0.5) / len(textures) - 1
    grid = torch.cat([folded, depth[..., None]], dim=3)[:, None]
    stacked = textures.movedim(0, 1)[None].expand(len(place), -1, -1, -1, -1)
    found: Tensor = grid_sample(
        stacked, grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return found[:, :, 0]
