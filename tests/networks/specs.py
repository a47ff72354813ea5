"""Specs that the tests of networks and export share."""

from __future__ import annotations

from nearfar.data.spec import Spec


def images(*shape: int) -> Spec:
    """Images (C, H, W)."""
    return Spec(
        "pictures",
        "image",
        shape,
        100,
        mean=(0.5, 0.4, 0.3)[: shape[0]],
        std=(0.2, 0.25, 0.3)[: shape[0]],
    )


def series(*shape: int) -> Spec:
    """Series (C, T) of up to three channels far from zero."""
    return Spec(
        "sensors",
        "series",
        shape,
        100,
        mean=(5.0, -2.0, 0.0)[: shape[0]],
        std=(2.0, 0.5, 1.0)[: shape[0]],
    )


def texts(vocabulary: int = 50, context: int = 12) -> Spec:
    """Texts of up to ``context`` tokens."""
    return Spec("sentences", "text", (context,), 100, vocabulary=vocabulary, context=context)


def pairs() -> Spec:
    """Images of 3 x 32 x 32 with texts."""
    image = Spec("captioned", "image", (3, 32, 32), 100, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3))
    return Spec("captioned", "image+text", (), 100, parts={"image": image, "text": texts()})
