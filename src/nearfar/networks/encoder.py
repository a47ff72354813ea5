"""What every encoder gives, whatever its modality."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from nearfar.errors import UserError
from nearfar.networks.depths import Depths, blocks_of, by_children


class Encoder(nn.Module):
    """Samples to features: ``encoder(x)`` is (N, dimension). Subclasses set ``dimension`` and
    define ``forward``.

    Where the architecture has them, ``feature_map`` gives (N, C, H, W) (series: (N, C, T)) and
    ``tokens`` gives (N, L, D).
    """

    dimension: int
    weights_prefix: ClassVar[str] = ""
    """What stands before the names of the weights and is left out in files, so that another
    library's model takes them as they are.
    """

    spare_weights: tuple[str, ...] = ()
    """Parts of a file of weights that this encoder has no use for, such as a classifier."""

    any_size: ClassVar[bool] = False
    """Whether it takes samples of any length along the axes after the first."""

    @property
    def map_dimension(self) -> int:
        """Channels C of ``feature_map``; those of the features unless an encoder says otherwise."""
        return self.dimension

    def feature_map(self, x: Tensor) -> Tensor:
        """Last spatial features before pooling.

        Raises:
            UserError: if this architecture has none.
        """
        raise UserError(
            f"{type(self).__name__} has no feature map; choose a convolutional encoder."
        )

    def with_map(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, dimension) and the map (N, C, ...) behind them, in one pass where the
        architecture allows; of transformers the tokens in their places are the map.

        Raises:
            UserError: if this architecture has no map.
        """
        found = self.feature_map(x)
        return self(x), found

    def tokens(self, x: Tensor) -> Tensor:
        """Patch tokens (N, L, D) after the last block, without the class token.

        Raises:
            UserError: if this architecture has none.
        """
        raise UserError(
            f"{type(self).__name__} has no tokens; choose a transformer encoder such as vit-tiny."
        )

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """Spatial features of every resolution, (N, C, H, W) each, from fine to coarse; the last is
        ``feature_map``.

        Raises:
            UserError: if this architecture has none.
        """
        raise UserError(
            f"{type(self).__name__} has no features of several resolutions; choose a convolutional "
            "encoder such as resnet18."
        )

    def token_layers(self, x: Any) -> list[Tensor]:
        """Tokens (N, L, D) after each block, as ``tokens`` gives them; the last is ``tokens``.

        Raises:
            UserError: if this architecture has none.
        """
        raise UserError(
            f"{type(self).__name__} has no layers of tokens; choose a transformer encoder such as "
            "vit-tiny."
        )

    def attention(self, x: Any) -> Tensor:
        """Weights of the last block's attention, (N, heads, L, L): how much each token (line) takes
        of each other (column), class token first where there is one. Lines add up to 1.

        Raises:
            UserError: if this architecture has none.
        """
        raise UserError(
            f"{type(self).__name__} has no attention; choose a transformer encoder such as "
            "vit-tiny."
        )

    def freeze_patches(self) -> None:
        """Keep the first projection of raw patches as it is drawn, which steadies the training of
        transformers (MoCo v3).

        Raises:
            UserError: if this architecture has none.
        """
        raise UserError(
            f"{type(self).__name__} has no projection of patches; choose a transformer encoder "
            "such as vit-tiny."
        )

    def try_on(self, x: Any) -> None:
        """Refuse views that the architecture cannot take; nothing by default, as built-in ones are
        checked by the spec.

        Args:
            x: Some samples of a view.

        Raises:
            UserError: If it cannot take them.
        """

    def opened_blocks(self) -> list[nn.Module]:
        """The parts, one after another, that are only ever called as a whole; by default see
        ``depths.blocks_of``. ``--activation-checkpointing`` recomputes them.
        """
        return blocks_of(self)

    def by_depth(self) -> Depths:
        """All parameters from the input to the features, those of one depth together; by default in
        the order of the parts, see ``depths.by_children``.

        It says which layers ``--layer-decay`` slows down, and by how much.
        """
        return by_children(self)


class NodeEncoder(Encoder):
    """A network over graphs that is open between its nodes and their read-out.

    ``encoder(x)`` is (N, dimension): one row a graph of ``Graphs``, or one a seed of ``Nodes``.
    """

    def nodes(self, graphs: Any) -> Tensor:
        """Hidden nodes (M, dimension) of all M nodes of ``Graphs`` or ``Nodes``.

        Subclasses may take further options by keyword.
        """
        raise NotImplementedError


class TokenEncoder(Encoder):
    """A transformer over patches, open in the middle so that masked methods can drop tokens.

    Attributes:
        patches: number L of patches of one sample.
        patch_values: number P of raw values in one patch.
        grid: patches along each axis, (rows, columns) or (steps,).
    """

    patches: int
    patch_values: int
    grid: tuple[int, ...]

    def with_map(self, x: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.encode_tokens(self.embed(x))
        patches = tokens[:, 1:].mT
        return tokens[:, 0], patches.reshape(*patches.shape[:2], *self.grid)

    def patchify(self, x: Tensor) -> Tensor:
        """Raw patches (N, L, P); for images in the order (row in patch, column in patch,
        channel).
        """
        raise NotImplementedError

    def unpatchify(self, patches: Tensor) -> Tensor:
        """The inverse of ``patchify``."""
        raise NotImplementedError

    def embed(self, x: Tensor, hidden: Tensor | None = None, token: Tensor | None = None) -> Tensor:
        """Patch tokens with their positions added, before any block: (N, L, D); no class token.

        Args:
            x: N samples.
            hidden: (N, L) bool, true where ``token`` stands for what the patch shows.
            token: (D,) or (1, 1, D), given together with ``hidden``.
        """
        raise NotImplementedError

    def encode_tokens(self, tokens: Tensor, visible: Tensor | None = None) -> Tensor:
        """Prepend the class token, run all blocks and the last norm: (N, M, D) to (N, 1 + M, D),
        for any subset of M tokens.

        Args:
            tokens: (N, M, D).
            visible: (N, M) bool, false where a token must not be attended to; None: all are seen.
        """
        raise NotImplementedError
