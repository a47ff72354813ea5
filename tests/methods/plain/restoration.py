"""Images that are restored: their squared error, and a critic that is deceived."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from nearfar.batch import Batch

from .formulas import plain_form


@plain_form
def srresnet(method: Any, batch: Batch) -> dict[str, Tensor]:
    (pair,) = batch.views
    difference = method.encoder.network.restore(pair["degraded"]) - pair["clean"]
    if method.settings.distance == "absolute":
        return {"absolute": difference.abs().mean()}
    return {"squared": (difference**2).mean()}


@plain_form
def srgan(method: Any, batch: Batch) -> dict[str, Tensor]:
    """The critic's loss is of images that are made without gradient."""
    (pair,) = batch.views
    made = method.encoder.network.restore(pair["degraded"])
    says_real = method.critic(pair["clean"]).sigmoid()
    says_made = method.critic(made.detach()).sigmoid()
    says_own = method.critic(made).sigmoid()
    return {
        "critic": -says_real.log().mean() - (1 - says_made).log().mean(),
        "content": ((made - pair["clean"]) ** 2).mean(),
        "adversarial": -method.settings.adversarial * says_own.log().mean(),
    }
