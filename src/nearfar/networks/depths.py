"""The parameters of a network from its input to its output, for what depends on depth."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

Depths = list[list[nn.Parameter]]


def by_children(network: nn.Module) -> Depths:
    """The parameters of a network in the order in which its parts were added to it.

    A member of an ``nn.Sequential`` or ``nn.ModuleList`` is one depth, whatever is in it, and so is
    a part that holds no such container. Other parts are opened. A part that holds vectors alone (a
    norm, an activation) joins the depth before it. Parameters that an opened part holds itself
    (class tokens, positions) are at the first depth.

    Args:
        network: Any.

    Returns:
        Each parameter once; as many lists as there are depths.

    Example:
        >>> layers = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
        >>> [[tuple(p.shape) for p in depth] for depth in by_children(layers)]
        [[(4, 3), (4,), (4,), (4,)], [(2, 4), (2,)]]
    """
    bare: list[nn.Parameter] = []
    found: Depths = []

    def visit(part: nn.Module, is_member: bool) -> None:
        if not is_container(part) and (is_member or not any(map(is_container, part.modules()))):
            _add(found, list(part.parameters()))
            return
        bare.extend(part.parameters(recurse=False))
        for child in part.children():
            visit(child, is_container(part))

    visit(network, False)
    return once([[*bare, *(found[0] if found else [])], *found[1:]])


def blocks_of(network: nn.Module) -> list[nn.Module]:
    """The outermost members of ``nn.Sequential`` and ``nn.ModuleList`` that hold parts of their own
    and parameters. Such members are only ever called as a whole.

    Example:
        >>> block = nn.Module()
        >>> block.layer = nn.Linear(2, 2)
        >>> blocks_of(nn.Sequential(nn.Linear(3, 2), block)) == [block]
        True
    """
    found: dict[nn.Module, None] = {}

    def visit(part: nn.Module, is_member: bool) -> None:
        if is_member and not is_container(part):
            if any(True for _ in part.children()) and any(True for _ in part.parameters()):
                found[part] = None
            return
        for child in part.children():
            visit(child, is_container(part))

    visit(network, False)
    return list(found)


def is_container(part: nn.Module) -> bool:
    """Whether a part is a row of others."""
    return isinstance(part, nn.Sequential | nn.ModuleList | nn.ModuleDict)


def in_row(parts: Sequence[nn.Module], bare: Sequence[nn.Parameter] = ()) -> Depths:
    """A depth for each part; ``bare`` parameters are at the first."""
    first, *others = [list(part.parameters()) for part in parts]
    return once([[*bare, *first], *others])


def side_by_side(networks: Sequence[Depths]) -> Depths:
    """The depths of networks whose outputs are of one depth, the last."""
    longest = max(map(len, networks))
    padded: list[Depths] = [[[]] * (longest - len(depths)) + depths for depths in networks]
    return once(
        [[p for depth in together for p in depth] for together in zip(*padded, strict=True)]
    )


def once(depths: Depths) -> Depths:
    """The same with a shared parameter at its first depth alone, and without empty depths."""
    seen: set[nn.Parameter] = set()
    found: Depths = []
    for depth in depths:
        own = [parameter for parameter in dict.fromkeys(depth) if parameter not in seen]
        seen.update(own)
        if own:
            found.append(own)
    return found


def _add(found: Depths, own: list[nn.Parameter]) -> None:
    """A depth of its own for what holds a matrix; vectors join the depth before."""
    if found and all(parameter.ndim < 2 for parameter in own):
        found[-1].extend(own)
    elif own:
        found.append(own)
