"""A residual network over single frames of clips, open at its maps of several sizes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from nearfar.data.spec import Spec
from nearfar.networks.dense.pyramid import ResidualPyramid
from nearfar.networks.encoder import Encoder
from nearfar.views.samples import denormalise


class FramePyramid(Encoder):
    """Clips to the mean of the last map of their middle frame; ``pyramid`` gives maps of images.

    Args:
        spec: Of the clips.
        width: Channels of the first two maps; the others have 2, 4 and 8 times as many.
        blocks: Residual blocks of each stage; fewer than four numbers leave out the last stages.

    Shapes:
        forward: clips (N, C, F, H, W) in plain view to (N, dimension).
        pyramid: images (N, C, H, W) in [0, 1] to maps (N, widths[i], H / 2^(i+1), W / 2^(i+1)).

    Example:
        >>> import torch
        >>> from nearfar import networks
        >>> spec = Spec("clips", "video", (3, 3, 64, 64), 8, mean=(0.5,) * 3, std=(0.25,) * 3)
        >>> networks.build("frame-pyramid-small", spec)(torch.zeros(2, 3, 3, 64, 64)).shape
        torch.Size([2, 128])
    """

    def __init__(
        self, spec: Spec, *, width: int = 64, blocks: Sequence[int] = (2, 2, 2, 2)
    ) -> None:
        super().__init__()
        self.body = ResidualPyramid(spec.shape[0], width, blocks)
        self.widths = self.body.widths
        self.dimension = self.widths[-1]
        self._spec = spec

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """The maps of images in [0, 1], fine to coarse."""
        return self.body.pyramid(images)

    def feature_map(self, x: Tensor) -> Tensor:
        """The last map of the middle frame of clips."""
        return self.pyramid(denormalise(x[:, :, x.shape[2] // 2], self._spec))[-1]

    def forward(self, x: Tensor) -> Tensor:
        return self.feature_map(x).mean(dim=(2, 3))
