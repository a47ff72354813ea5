"""Which samples a method wants together in a batch, as a small value."""

from __future__ import annotations

from dataclasses import dataclass

KINDS = ("shuffled", "repeated", "episodes", "grouped")


@dataclass(frozen=True)
class WantedBatches:
    """What a method asks of the sampler.

    Attributes:
        kind: "shuffled" (a random order, each sample once an epoch), "repeated" (each sample
            ``copies`` times in a row, with views of its own each time), "episodes" (``way`` classes
            with ``shot + query`` samples each, class by class; needs class labels), "grouped" (all
            samples of a batch from one group, by the method's int64 buffer ``groups``).
        copies: of a sample in a "repeated" batch.
        way: classes of an episode.
        shot: support samples of each class, the first of its rows.
        query: query samples of each class, its other rows.
    """

    kind: str = "shuffled"
    copies: int = 1
    way: int = 0
    shot: int = 0
    query: int = 0

    @property
    def rows(self) -> int:
        """Samples of an episode, which is the batch size; 0 for other kinds."""
        return self.way * (self.shot + self.query) if self.kind == "episodes" else 0
