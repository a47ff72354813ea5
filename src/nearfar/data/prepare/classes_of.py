"""What preparations that look at class labels share."""

from __future__ import annotations

from torch import Tensor

from nearfar.data.samples import Source
from nearfar.errors import UserError


def class_labels(source: Source, preparation: str) -> Tensor:
    """(N,) int64 classes of the training samples, on the CPU.

    Raises:
        UserError: If the data have no class labels, or fewer than two classes.
    """
    label = source.train.label
    if label is None or source.spec.target != "class" or len(source.spec.classes) < 2:
        raise UserError(
            f"The preparation {preparation} needs class labels of at least 2 classes, which "
            f"{source.spec.name} has not; name the label column with --label, or leave it out."
        )
    return label.cpu()
