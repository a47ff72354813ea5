"""A combined modality, made of those of its parts. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

from nearfar.data.spec import Spec
from nearfar.modalities.modality import Modality


def combined(modalities: Sequence[Modality], name: str) -> Modality:
    """What is known of samples with one part of each of these modalities, in this order.

    Args:
        modalities: Two or more.
        name: Of the combination, such as "image+text".
    """
    first = modalities[0]
    parts = part_names(name)
    toys = {part: one.toy for part, one in zip(parts, modalities, strict=True)}
    toy = Spec(
        f"toy {name}",
        name,
        (),
        first.toy.length,
        classes=first.toy.classes,
        target=first.toy.target,
        parts=toys,
    )
    return Modality(
        axes=0,
        plain="nearfar.views.parts:plain_parts",
        views="nearfar.views.parts:part_views",
        raw="nearfar.evaluation.features:first_part" if first.raw else None,
        simple="nearfar.evaluation.simple:components" if first.raw else None,
        pictures="nearfar.reports.pictures.samples:first_pictures",
        toy=toy,
        toy_samples="nearfar.testing.toys:toy_parts",
        tiny={},
        networks={},
        encoders={"towers": "+".join(one.encoders.get("any", "") for one in modalities)},
        channels_last=any(one.channels_last for one in modalities),
        whole=any(one.whole for one in modalities),
        query=", ".join(dict.fromkeys(one.query for one in modalities if one.query)),
    )


def part_names(name: str) -> tuple[str, ...]:
    """Names of the parts of a combination that have no others: their modalities, numbered where
    one comes twice.

    Example:
        >>> part_names("image+text"), part_names("image+image")
        (('image', 'text'), ('image_1', 'image_2'))
    """
    modalities = name.split("+")
    found = []
    for place, one in enumerate(modalities):
        number = modalities[: place + 1].count(one)
        found.append(one if modalities.count(one) == 1 else f"{one}_{number}")
    return tuple(found)
