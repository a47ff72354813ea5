"""Restoration networks as encoders: built by name, saved, started from, compared and exported."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from nearfar.data.spec import Spec
from nearfar.errors import UserError, unknown_name
from nearfar.found import at_home
from nearfar.networks.encoder import Encoder
from nearfar.rows import Parts

__all__ = ["Restorer"]

_ENLARGERS = {
    "srresnet": "nearfar.networks.restorers.residual:SRResNet",
    "edsr": "nearfar.networks.restorers.residual:EDSR",
}
_OF_ONE_SIZE = {"nafnet": "nearfar.networks.restorers.nafnet:NAFNet"}


class Restorer(Encoder):
    """Degraded images to restored ones; its features are the mean of the network's last map.

    The images are as their plain view gives them. Of samples with several parts it takes the first.

    Args:
        spec: Of the degraded images; ``extra["factor"]`` says how much larger the restored ones are
            a side, 1 where it is not there.
        network: "srresnet" or "edsr", which enlarge, or "nafnet", which keeps the size.
        options: Of the network.

    Shapes:
        restore: (N, C, H, W) to (N, C, factor H, factor W).
        forward: (N, C, H, W) to (N, dimension).

    Raises:
        UserError: If a network that keeps the size is asked to enlarge, or for an unknown one.

    Example:
        >>> import torch
        >>> from nearfar import networks
        >>> from nearfar.data.spec import Spec
        >>> spec = Spec("photos", "image", (3, 12, 12), 10, extra={"factor": 2})
        >>> networks.build("srresnet-small", spec).restore(torch.zeros(1, 3, 5, 6)).shape
        torch.Size([1, 3, 10, 12])
    """

    weights_prefix: ClassVar[str] = "network."
    any_size: ClassVar[bool] = True
    architecture: dict[str, Any]

    def __init__(self, spec: Spec, *, network: str = "srresnet", **options: Any) -> None:
        super().__init__()
        self.factor = int(spec.extra.get("factor", 1))
        if network in _ENLARGERS:
            options["factor"] = self.factor
        elif network not in _OF_ONE_SIZE:
            raise unknown_name("restoration network", network, [*_ENLARGERS, *_OF_ONE_SIZE])
        elif self.factor != 1:
            raise UserError(
                f"{network} keeps the size of images, and {spec.name} asks for images that are "
                f"{self.factor} times larger; choose srresnet or edsr."
            )
        home = {**_ENLARGERS, **_OF_ONE_SIZE}[network]
        made: Any = at_home(home)(spec.shape[0], **options)
        self.network: nn.Module = made
        self.dimension = made.dimension

    def restore(self, x: Tensor | Parts) -> Tensor:
        """The restored images."""
        made: Tensor = self.network.restore(first_part(x))  # type: ignore[operator]
        return made

    def forward(self, x: Tensor | Parts) -> Tensor:
        features: Tensor = self.network(first_part(x))
        return features

    def feature_map(self, x: Tensor | Parts) -> Tensor:
        """The last map before the network's output."""
        found: Tensor = self.network.body(first_part(x))  # type: ignore[operator]
        return found


def first_part(x: Tensor | Parts) -> Tensor:
    """The first of several parts; bare images as they are."""
    if not isinstance(x, Parts):
        return x
    found: Tensor = next(iter(x.values()))
    return found
