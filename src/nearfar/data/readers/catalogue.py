"""The data sets that are known by name. Nothing here imports torch."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from nearfar.data.cache_folder import cache_folder

EMBEDDED = {
    "cluttered-digits": "embedded:read_cluttered_digits",
    "digits": "embedded:read_digits",
    "colour-digits": "composites:read_colour_digits",
    "striped-digits": "composites:read_striped_digits",
    "digit-cis": "styled_digits:read_digit_cis",
    "moving-rooms": "moving_rooms:read_moving_rooms",
}
"""Sets made from what is installed: the module and the function that makes each."""
TORCHVISION = "torchvision:"
HUGGING_FACE = "hf:"
AEON = "aeon:"
GENECIS = "genecis:"
PREFIXES = (TORCHVISION, HUGGING_FACE, AEON, GENECIS)

_NEEDS = {
    TORCHVISION: ("torchvision", ""),
    HUGGING_FACE: ("datasets", "hub"),
    AEON: ("aeon", "series"),
    GENECIS: ("PIL", ""),
}
"""The module that a source needs and the extra that installs it."""


@dataclass(frozen=True)
class Entry:
    """A data set known by name.

    Attributes:
        name: as given to ``load``.
        modality: as in ``Spec``.
        samples: number of training and test samples, and their shape.
        what: what they show.
        bundled: whether it comes with an installed package, so that no network is needed.
    """

    name: str
    modality: str
    samples: str
    what: str
    bundled: bool = False

    @property
    def here(self) -> str:
        """Whether it can be loaded on this machine: "yes", or what it takes."""
        prefix = next((p for p in PREFIXES if self.name.startswith(p)), None)
        if prefix is None:
            return "yes"
        hint = missing(prefix)
        if hint:
            return hint
        return "yes" if self.bundled or self._is_downloaded(prefix) else "downloads on first use"

    def _is_downloaded(self, prefix: str) -> bool:
        return (
            prefix == TORCHVISION
            and (cache_folder() / "torchvision" / self.name.removeprefix(prefix)).is_dir()
        )


def missing(prefix: str) -> str:
    """How to install what a source needs; "" if it is there."""
    module, extra = _NEEDS[prefix]
    return (
        ""
        if importlib.util.find_spec(module)
        else f"needs {module}: pip install 'nearfar[{extra}]'"
    )


_ENTRIES = (
    Entry(
        "cluttered-digits",
        "image",
        "1,437 + 360, 1 x 32 x 32",
        "a handwritten digit among fragments of others; the default",
        True,
    ),
    Entry("digits", "image", "1,437 + 360, 1 x 8 x 8", "handwritten digits (scikit-learn)", True),
    Entry(
        "colour-digits",
        "image",
        "1,437 + 360, 3 x 16 x 16",
        "a white digit on one of 8 colours; --label digit or colour",
        True,
    ),
    Entry(
        "striped-digits",
        "image",
        "2,874 + 720, 1 x 16 x 16",
        "stripes alone (background) or with a digit (target)",
        True,
    ),
    Entry(
        "digit-cis",
        "image+text",
        "1,437 + 360, 1 x 16 x 16",
        "a digit in one of 4 styles with a text that says both; --with triplets",
        True,
    ),
    Entry(
        "moving-rooms",
        "video",
        "400 + 100, 3 x 3 x 64 x 96",
        "rendered rooms through which a camera moves, with the depth of every pixel",
        True,
    ),
    Entry(
        "torchvision:CIFAR10",
        "image",
        "50,000 + 10,000, 3 x 32 x 32",
        "small photographs, 10 classes",
    ),
    Entry(
        "torchvision:CIFAR100",
        "image",
        "50,000 + 10,000, 3 x 32 x 32",
        "small photographs, 100 classes",
    ),
    Entry("torchvision:MNIST", "image", "60,000 + 10,000, 1 x 28 x 28", "handwritten digits"),
    Entry(
        "torchvision:FashionMNIST", "image", "60,000 + 10,000, 1 x 28 x 28", "clothes, 10 classes"
    ),
    Entry("torchvision:STL10", "image", "5,000 + 8,000, 3 x 96 x 96", "photographs, 10 classes"),
    Entry("torchvision:SVHN", "image", "73,257 + 26,032, 3 x 32 x 32", "house numbers"),
    Entry("torchvision:Flowers102", "image", "1,020 + 6,149, mixed sizes", "flowers, 102 classes"),
    Entry(
        "torchvision:OxfordIIITPet",
        "image",
        "3,680 + 3,669, mixed sizes",
        "cats and dogs, 37 breeds",
    ),
    Entry(
        "hf:NAME",
        "image, text, image+text",
        "any",
        "any Hugging Face data set with an image or a text column",
    ),
    Entry(
        "aeon:BasicMotions",
        "series",
        "40 + 40, 6 x 100",
        "accelerometer and gyroscope, 4 activities",
        True,
    ),
    Entry(
        "aeon:ItalyPowerDemand",
        "series",
        "67 + 1,029, 1 x 24",
        "power demand of a day, 2 seasons",
        True,
    ),
    Entry(
        "aeon:ArrowHead", "series", "36 + 175, 1 x 251", "outlines of arrow heads, 3 kinds", True
    ),
    Entry("aeon:GunPoint", "series", "50 + 150, 1 x 150", "hand movements, 2 kinds", True),
    Entry(
        "aeon:JapaneseVowels",
        "series",
        "270 + 370, 12 x 7 to 29",
        "spoken vowels, 9 speakers",
        True,
    ),
    Entry(
        "genecis:PATH",
        "image+text+image",
        "any",
        "templates of GeneCIS: JSON files beside a folder of images; for judging alone",
    ),
    Entry("aeon:NAME", "series", "any", "any set of the time series classification archive"),
)


def entries() -> tuple[Entry, ...]:
    """The known data sets, those that come with nearfar first."""
    return _ENTRIES


def names() -> list[str]:
    """Names of the known data sets."""
    return [entry.name for entry in _ENTRIES]
