"""Small data sets and encoders for the evaluation's tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nearfar.data.samples import Samples, Source
from nearfar.data.spec import Spec
from nearfar.evaluation.features import Labelled
from nearfar.methods.method import Method
from nearfar.rows import Parts, Tokens


def blobs(
    samples: int, *, classes: int = 4, dimension: int = 12, spread: float = 1.0, seed: int = 0
) -> Labelled:
    """Gaussian classes; one seed, one set of class centres."""
    centres = torch.randn(classes, dimension, generator=torch.Generator().manual_seed(99))
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(classes, (samples,), generator=generator)
    return Labelled(
        centres[label] + spread * torch.randn(samples, dimension, generator=generator),
        label,
        classes,
    )


def images(samples: int, seed: int, classes: int = 3) -> tuple[Tensor, Tensor]:
    """(N, 1, 8, 8) uint8: noise with a bright bar whose row is the class."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(samples) % classes
    picture = torch.randint(0, 90, (samples, 1, 8, 8), dtype=torch.uint8, generator=generator)
    picture[torch.arange(samples), 0, 2 * label] = 255
    return picture, label


def image_source(
    *, target: str = "class", train: int = 60, test: int | None = 30, classes: int = 3
) -> Source:
    """Pictures with classes, with values (the class plus noise) or without labels."""

    def part(count: int, seed: int) -> Samples:
        picture, label = images(count, seed, classes)
        noise = 0.1 * torch.randn(count, generator=torch.Generator().manual_seed(seed))
        labels = {"class": label, "value": label + noise, "none": None}[target]
        return Samples(picture, [str(i) for i in range(count)], labels)

    names = tuple("abcdefgh"[:classes]) if target == "class" else ()
    spec = Spec("bars", "image", (1, 8, 8), train, names, target, mean=(0.3,), std=(0.3,))
    return Source(spec, part(train, 0), None if test is None else part(test, 1))


class Flatten(nn.Module):
    """An encoder that is a fixed random projection of the pixels."""

    def __init__(self, dimension: int = 16, values: int = 64) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.weight = nn.Parameter(
            torch.randn(values, dimension, generator=generator) / values**0.5
        )

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight


class Words:
    """A tokenizer of single letters."""

    def encode(self, texts: list[str], context: int = 1) -> Tokens:
        ids = torch.tensor([[ord(text[0]) - ord("a") + 1] for text in texts])
        return Tokens(ids, torch.ones_like(ids, dtype=torch.bool))


class BarsAndLetters(Method):
    """A perfect method for pairs: a bar's row and a letter meet in one space, apart from each
    sample's number in its text.
    """

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def embed_part(self, name: str, x: Any) -> Tensor:
        if name == "text":
            return nn.functional.one_hot(x.ids[:, 0] - 1, 3).float()
        return nn.functional.one_hot(x[:, 0, [0, 2, 4]].mean(dim=2).argmax(dim=1), 3).float()

    def encode(self, x: Any) -> Tensor:
        return (x.image if isinstance(x, Parts) else x).flatten(1)

    def forward(self, batch: Any) -> Tensor:
        raise AssertionError("a method's forward is its training step, not its features")


def pair_source(train: int = 30, test: int = 3) -> Source:
    """Bars with the letter of their class."""

    def part(count: int, seed: int) -> Samples:
        picture, label = images(count, seed)
        words = Words().encode(["abc"[i] for i in label.tolist()])
        return Samples(Parts(image=picture, text=words), [str(i) for i in range(count)], label)

    image = Spec("letters", "image", (1, 8, 8), train, mean=(0.3,), std=(0.3,))
    text = Spec("letters", "text", (1,), train, vocabulary=4, context=1)
    spec = Spec(
        "letters",
        "image+text",
        (),
        train,
        ("a", "b", "c"),
        "class",
        parts={"image": image, "text": text},
    )
    return Source(spec, part(train, 0), part(test, 1), tokenizer=Words())  # type: ignore[arg-type]
