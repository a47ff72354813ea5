"""The options of a comparison as one of its arms has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nearfar.comparison.arms import Arm
from nearfar.methods import registry
from nearfar.options import PretrainOptions, changed

if TYPE_CHECKING:
    from nearfar.methods.method import Method


def options_of(arm: Arm, shared: PretrainOptions) -> PretrainOptions:
    """The shared options with the arm's own of training, and with the starts that are for its
    method.

    Args:
        arm: One competitor.
        shared: What is the same for all.
    """
    starts = starts_for(registry.named_by_user(arm.method), shared.start_from)
    return changed(shared, {**arm.of_training, "start_from": starts})


def starts_for(kind: type[Method], starts: tuple[str, ...]) -> tuple[str, ...]:
    """Those starts that are for a method: without a name, of its encoder, or of a part it has.

    Args:
        kind: The method's class.
        starts: As the user gave them: START or NAME=START.
    """
    from nearfar.assembly.starts import ENCODER

    found = []
    for text in starts:
        name, equals, _ = text.partition("=")
        is_named = bool(equals) and name.isidentifier()
        if not is_named or name == ENCODER or name in kind.pretrained:
            found.append(text)
    return tuple(found)
