"""The templates of GeneCIS: JSON files of queries with galleries, beside folders of images.

A template has a "reference", a "condition" (a word or phrase), a "target" and a "gallery" of
further images. An image is {"val_image_id": NUMBER}, whole, or {"image_id": NUMBER,
"instance_bbox": [left, top, width, height]}, of which the enlarged box is seen on a black square.

Source: Vaze et al. 2023, "GeneCIS", released templates.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from nearfar import named
from nearfar.data.content.decode import measure, pixels
from nearfar.data.content.files.encoded import UnreadableError
from nearfar.data.content.pictures import Pictures
from nearfar.data.options import DataOptions
from nearfar.data.prepare.triplets import CONDITION, REFERENCE, TARGET, TASK
from nearfar.data.selection.mining import crop_box
from nearfar.data.selection.queries import TASKS
from nearfar.data.spec import Spec
from nearfar.data.tables.table import Loaded, Table
from nearfar.errors import UserError, brief
from nearfar.rows import Parts, Picked

_FORMAT = '{"reference": IMAGE, "condition": TEXT, "target": IMAGE, "gallery": [IMAGE, ...]}'
_ENDINGS = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Options:
    """How templates are read.

    Attributes:
        images: Folder of the images; by default "images" beside the templates.
        crop: Where a box is enlarged: "released" at the left and the top alone, as the released
            code does; "symmetric" on each side.
    """

    images: str = ""
    crop: Literal["released", "symmetric"] = "released"


@dataclass(frozen=True)
class Seen:
    """An image of a template: a file, and the box that is seen of it, or all of it."""

    path: Path
    number: int
    box: tuple[float, float, float, float] | None = None


def read_genecis(text: str) -> Table:
    """The templates of one JSON file, or of all in a folder.

    Args:
        text: PATH, or PATH,images=FOLDER,crop=symmetric.

    Raises:
        UserError: If a file, an image or a key is missing, a condition is empty or a gallery has no
            target.
    """
    place, _, rest = text.partition(",")
    values = named.parse(f"genecis:{rest}" if rest else "genecis", "The data")
    options: Options = Options(**named.made(Options, values, "data"))
    path = Path(place).expanduser()
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise UserError(
            f"There are no GeneCIS templates in {path}; give a .json file or a folder of such."
        )
    above = path if path.is_dir() else path.parent
    folder = Path(options.images).expanduser() if options.images else above / "images"
    ids: list[str] = []
    texts: list[str] = []
    tasks: list[str] = []
    queries: list[tuple[Seen, list[Seen]]] = []
    for file in files:
        task = file.stem.replace("_", "-")
        for number, template in enumerate(_templates(file)):
            where = f"template {number} of {file}"
            queries.append(_query(template, folder, where))
            texts.append(_condition(template, where))
            ids.append(f"{file.stem} {number}")
            tasks.append(task if task in TASKS else file.stem)
    return Table(
        path.stem,
        ids,
        Galleries(queries, ids, options.crop, path.stem),
        texts,
        {TASK: np.array(tasks, dtype=object)},
        ["test"] * len(ids),
        parts={REFERENCE: "image", CONDITION: "text", TARGET: "image"},
        groups=(TASK,),
    )


@dataclass(frozen=True)
class Galleries:
    """References, targets and galleries of N templates, not decoded yet.

    Attributes:
        queries: Reference and gallery, the target first, of each template.
        ids: N names.
        crop: Where boxes are enlarged.
        name: Of the data, for errors.
    """

    queries: Sequence[tuple[Seen, Sequence[Seen]]]
    ids: Sequence[str]
    crop: Literal["released", "symmetric"]
    name: str

    @property
    def modality(self) -> str:
        return "image"

    def load(self, rows: NDArray[np.int64], options: DataOptions, like: Spec | None) -> Loaded:
        chosen = [self.queries[row] for row in rows]
        things = list(dict.fromkeys(one for first, rest in chosen for one in (first, *rest)))
        places = {one: place for place, one in enumerate(things)}
        facts = (
            "genecis",
            self.crop,
            [(*map(str, (one.path, one.box)), *_facts(one.path)) for one in things],
        )
        pictures = Pictures(
            lambda wanted: [self._picture(things[place]) for place in wanted],
            [one.path.name for one in things],
            facts,
            self.name,
        )
        loaded = pictures.load(np.arange(len(things)), options, like)
        numbers = torch.tensor([one.number for one in things])
        longest = max(len(rest) for _, rest in chosen)
        index = torch.full((len(chosen), longest), -1)
        for row, (_, rest) in enumerate(chosen):
            index[row, : len(rest)] = torch.tensor([places[one] for one in rest])
        first = torch.tensor([places[one] for one, _ in chosen])
        content = Parts(
            {
                REFERENCE: Picked(loaded.content, first, numbers),
                TARGET: Picked(loaded.content, index, numbers),
            }
        )
        readable = np.array(
            [all(loaded.readable[places[one]] for one in (first, *rest)) for first, rest in chosen]
        )
        return Loaded(content, readable, loaded.notes, loaded.extra)

    def _picture(self, seen: Seen) -> Image.Image | bytes:
        """The image, or its box on a black square; b"" for a file that cannot be read."""
        try:
            about = measure(seen.path)
            shown = pixels(seen.path, (3, about.height, about.width))
        except UnreadableError:
            return b""
        image = Image.fromarray(shown.transpose(1, 2, 0))
        return image if seen.box is None else squared(cropped(image, seen.box, self.crop))


def cropped(
    image: Image.Image,
    box: tuple[float, float, float, float],
    form: Literal["released", "symmetric"] = "released",
) -> Image.Image:
    """The enlarged box of an image.

    Args:
        image: The whole image.
        box: Left, top, width and height.
        form: As for ``crop_box``.
    """
    left, top, right, bottom = crop_box(box, image.size, form=form)
    corners = round(left), round(top), round(right), round(bottom)
    return image.crop(corners)


def squared(image: Image.Image) -> Image.Image:
    """The image in the middle of a black square of its longer side."""
    side = max(image.size)
    square = Image.new(image.mode, (side, side))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def _facts(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _templates(file: Path) -> list[Mapping[str, Any]]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read as JSON ({brief(error)}); restore it.") from error
    if not isinstance(found, list) or not found or not all(isinstance(x, dict) for x in found):
        raise UserError(f"{file} holds no templates; expected a list of {_FORMAT}.")
    return found


def _query(template: Mapping[str, Any], folder: Path, where: str) -> tuple[Seen, list[Seen]]:
    for key in ("reference", "condition", "target", "gallery"):
        if key not in template:
            told = "its gallery has no target" if key == "target" else f"it has no {key!r}"
            raise UserError(f"The {where} is incomplete: {told}; expected {_FORMAT}.")
    gallery = template["gallery"]
    if not isinstance(gallery, list) or not gallery:
        raise UserError(f"The gallery of {where} is empty; expected a list of images.")
    rest = [_seen(one, folder, where) for one in (template["target"], *gallery)]
    return _seen(template["reference"], folder, where), rest


def _condition(template: Mapping[str, Any], where: str) -> str:
    found = template["condition"]
    if not isinstance(found, str) or not found.strip():
        raise UserError(f"The condition of {where} is empty; expected a word or phrase.")
    return found


def _seen(described: Any, folder: Path, where: str) -> Seen:
    """The image that a template names."""
    kinds = ("val_image_id", "image_id")
    key = next((key for key in kinds if isinstance(described, dict) and key in described), None)
    number = described[key] if key is not None else None
    if key is None or isinstance(number, bool) or not isinstance(number, int):
        raise UserError(
            f"An image of {where} has no 'val_image_id' or 'image_id' with a whole number; found "
            f"{str(described)[:60]}."
        )
    stem = f"{number:012d}" if key == "val_image_id" else str(number)
    path = next(
        (folder / f"{stem}{end}" for end in _ENDINGS if (folder / f"{stem}{end}").exists()), None
    )
    if path is None:
        raise UserError(
            f"The image {stem}.jpg of {where} is not in {folder}; lay it there, or name the folder "
            "with genecis:PATH,images=FOLDER."
        )
    return Seen(path, number, None if key == "val_image_id" else _box(described, where))


def _box(described: Mapping[str, Any], where: str) -> tuple[float, float, float, float]:
    found = described.get("instance_bbox")
    numbers = [x for x in found if isinstance(x, int | float)] if isinstance(found, list) else []
    if len(numbers) != 4 or numbers[2] <= 0 or numbers[3] <= 0:
        raise UserError(
            f"An image of {where} has the 'instance_bbox' {found!r}; expected left, top, width and "
            "height."
        )
    left, top, width, height = map(float, numbers)
    return left, top, width, height
