"""``--with triplets``: images that are known by two properties become queries with galleries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.data.samples import Samples, Source
from nearfar.data.selection.mining import Fact, mine_triplets
from nearfar.data.selection.queries import TASKS, Task, Templates, templates
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.ranges import whole_number
from nearfar.rows import Parts, Picked, Tokens, select

REFERENCE = "reference"
CONDITION = "condition"
TARGET = "target"
TASK = "task"
"""The group column that says which task a query is of."""
PLACE = "place of the reference"
"""The annotation that says where in the test set's images a query's reference is."""
ANSWERS = "answers"
"""The annotation that says where the images are that answer a query; filled up with -1."""
_CAPTION = "caption"
_FACT = ("subject", "relation", "object")


@dataclass(frozen=True)
class _Triples:
    """Rows of references, what is asked, and rows of targets."""

    reference: NDArray[np.int64]
    condition: Sequence[str]
    target: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.reference)


@dataclass(frozen=True, kw_only=True)
class Triplets:
    """Samples become three parts: "reference" (an image), "condition" (a text) and "target".

    Each image has two properties, an object and an attribute. "focus" asks for an image with the
    same object (or attribute) as the reference's, and the condition is the property's name.
    "change" asks for one with another object (or attribute), which is the condition, and the
    reference's attribute (or object). For training the target is one image. For testing it is a
    gallery with the right image first, whose other images meet one of the two alone, or, with
    "focus", share what was not asked for with the reference or with the target. A task needs both
    properties of every image: the columns ``object`` and ``attribute``, or a text of at least two
    words, the first of which is the attribute and the others the object.

    Attributes:
        task: "change-object", "focus-object", "change-attribute" or "focus-attribute"; "focus" and
            "change" stand for two of them and "all" for the four, in equal shares as far as the
            data allow.
        object: Column of the object; "caption": the text without its first word; "": the column
            that the data name, or the caption.
        attribute: Column of the attribute; "caption": the first word of the text; "": as for
            ``object``.
        gallery: Images of a test query's gallery, the right one among them.
        count: Training triplets of all tasks together.
        queries: Test queries of each task, at most.
        by: "properties", or "facts": training triplets are mined as in the paper from the columns
            subject, relation and object (change-object alone): two images of one subject with
            different objects, and the condition says relation and object of the second.
        least: Images that a subject has at least, where facts are mined.
        tries: Draws of a target, and of a reference, before they are given up.
    """

    makes_parts: ClassVar[bool] = True

    task: Literal[
        "all",
        "focus",
        "change",
        "change-object",
        "focus-object",
        "change-attribute",
        "focus-attribute",
    ] = "all"
    object: str = ""
    attribute: str = ""
    gallery: Annotated[int, whole_number(2, 10_000)] = 10
    count: Annotated[int, whole_number(1, 10_000_000)] = 4000
    queries: Annotated[int, whole_number(1, 1_000_000)] = 200
    by: Literal["properties", "facts"] = "properties"
    least: Annotated[int, whole_number(2)] = 5
    tries: Annotated[int, whole_number()] = 100

    def __call__(self, source: Source, *, seed: int) -> Source:
        image, text = _both(source)
        whole = self.task == "all"
        tasks = tuple(one for one in TASKS if whole or one.startswith(self.task))
        if self.by == "facts":
            tasks = TASKS[:1]
        draw = np.random.default_rng(seed)
        told: list[str] = []
        train = self._triplets(source, tasks, draw)
        if sum(map(len, train.values())) < 2:
            raise UserError(self._told_none(source))
        spec = self._spec(source.spec, image, text, sum(map(len, train.values())))
        context = spec.parts[CONDITION].context
        made_train = _training(source, source.train, train, image, context)
        test = None
        if source.test is not None:
            queries = self._drawn(source, source.test, tasks, self.queries, self.gallery, draw)
            lacking = [task for task in tasks if not len(queries[task])]
            if lacking:
                told.append(
                    f"The test images have no gallery of {self.gallery} for {', '.join(lacking)}: "
                    "those have no test queries; a smaller one may do (triplets:gallery=5)."
                )
            if len(lacking) < len(tasks):
                test = _testing(source, source.test, queries, image, context)
        count = 0 if test is None else len(test)
        names = self._properties(source, source.train)[2]
        note = (
            f"{len(made_train):,} triplets for training and {count:,} queries with galleries of "
            f"{self.gallery} for testing, of images known by {names[0]} and {names[1]}."
        )
        return replace(
            source,
            spec=spec,
            train=made_train,
            test=test,
            seen=None,
            members={TASK: TASKS},
            notes=[*source.notes, note, *told],
        )

    def _triplets(
        self, source: Source, tasks: Sequence[Task], draw: np.random.Generator
    ) -> dict[Task, _Triples]:
        """Training triplets of each task, by row of the training samples."""
        if self.by == "facts":
            columns = [self._fact(source, name, source.train) for name in _FACT]
            facts = [Fact(row, *said) for row, said in enumerate(zip(*columns, strict=True))]
            mined = mine_triplets(facts, self.count, draw, images=self.least, tries=self.tries)
            return {
                tasks[0]: _Triples(
                    np.array([one.reference for one in mined], dtype=np.int64),
                    [one.condition for one in mined],
                    np.array([one.target for one in mined], dtype=np.int64),
                )
            }
        share = -(-self.count // len(tasks))
        return {
            task: _Triples(one.reference, one.condition, one.gallery[:, 0])
            for task, one in self._drawn(source, source.train, tasks, share, 2, draw).items()
        }

    def _drawn(
        self,
        source: Source,
        samples: Samples,
        tasks: Sequence[Task],
        count: int,
        gallery: int,
        draw: np.random.Generator,
    ) -> dict[Task, Templates]:
        """Queries of each task among the samples, by row of the samples."""
        if self.by == "facts":
            second, relations, objects = (self._fact(source, name, samples) for name in _FACT)
            first = [" ".join(both) for both in zip(relations, objects, strict=True)]
            names = ("object", "subject")
        else:
            first, second, names = self._properties(source, samples)
        return {
            task: templates(first, second, count, draw, task=task, gallery=gallery, names=names)
            for task in tasks
        }

    def _fact(self, source: Source, name: str, samples: Samples) -> list[str]:
        if name not in source.columns:
            raise UserError(
                f"triplets:by=facts needs the columns {', '.join(_FACT)}, and {source.spec.name} "
                f"has no {name!r}; leave by=facts out, or add the column."
            )
        return source.column(name, samples)

    def _properties(
        self, source: Source, samples: Samples
    ) -> tuple[list[str], list[str], tuple[str, str]]:
        """Object and attribute of each sample, "" where a text does not say them, and what the
        two are called.

        Raises:
            UserError: If there is no such column.
        """
        facts = source.spec.first.extra
        values = []
        names = []
        for kind, asked in (("object", self.object), ("attribute", self.attribute)):
            column = asked or str(facts.get(kind, kind if kind in source.columns else _CAPTION))
            if column == _CAPTION:
                words = [text.split() for text in source.column("text", samples)]
                values.append(
                    [
                        "" if len(one) < 2 else one[0] if kind == "attribute" else " ".join(one[1:])
                        for one in words
                    ]
                )
                names.append(kind)
            else:
                values.append(source.column(column, samples))
                names.append(column)
        return values[0], values[1], (names[0], names[1])

    def _told_none(self, source: Source) -> str:
        if self.by == "facts":
            wanted = "subjects with images of different objects"
        else:
            names = self._properties(source, source.train)[2]
            wanted = f"images that share {names[0]} or {names[1]}"
        return (
            f"The task {self.task} needs two properties of every image, and {source.spec.name} has "
            f"too few {wanted} for 2 triplets; name other columns with "
            "triplets:object=COLUMN,attribute=COLUMN."
        )

    def _spec(self, spec: Spec, image: str, text: str, count: int) -> Spec:
        picture = replace(spec.parts[image], classes=(), target="none", groups=(TASK,))
        words = replace(spec.parts[text], classes=(), target="none", groups=(TASK,))
        return replace(
            spec,
            modality="image+text+image",
            length=count,
            classes=(),
            target="none",
            values=1,
            groups=(TASK,),
            parts={REFERENCE: picture, CONDITION: words, TARGET: picture},
        )


def _both(source: Source) -> tuple[str, str]:
    """The names of the image and of the text among the parts."""
    image = source.spec.part_name("image")
    text = source.spec.part_name("text")
    if image is None or text is None or len(source.spec.parts) != 2 or source.tokenizer is None:
        raise UserError(
            f"triplets takes images with texts, and {source.spec.name} holds "
            f"{source.spec.modality} data; choose data with an image and a text column."
        )
    return image, text


def _training(
    source: Source,
    samples: Samples,
    found: dict[Task, _Triples],
    image: str,
    context: int,
) -> Samples:
    """The samples as triplets, which share the images."""
    conditions = _joined(found)
    content: Any = samples.content[image]
    rows = torch.arange(len(samples)) if samples.rows is None else samples.rows
    numbers = _numbers(source, len(content), samples)
    reference = np.concatenate([one.reference for one in found.values()])
    target = np.concatenate([one.target for one in found.values()])
    parts = Parts(
        {
            REFERENCE: Picked(content, rows[torch.from_numpy(reference)], numbers),
            CONDITION: _tokens(source, conditions, context),
            TARGET: Picked(content, rows[torch.from_numpy(target)], numbers),
        }
    )
    ids = _ids(samples, reference, conditions, target)
    return Samples(parts, ids, group={TASK: _task_of(found)})


def _testing(
    source: Source,
    samples: Samples,
    found: dict[Task, Templates],
    image: str,
    context: int,
) -> Samples:
    """The queries with galleries, which share the test images."""
    conditions = _joined(found)
    rows = torch.arange(len(samples)) if samples.rows is None else samples.rows
    images = select(samples.content[image], rows)
    numbers = _numbers(source, len(images), samples, rows)
    reference = np.concatenate([one.reference for one in found.values()])
    gallery = np.concatenate([one.gallery for one in found.values()])
    answers = [one.answers() for one in found.values()]
    longest = max(one.shape[1] for one in answers)
    filled = [
        np.pad(one, ((0, 0), (0, longest - one.shape[1])), constant_values=-1) for one in answers
    ]
    place = torch.from_numpy(reference)
    parts = Parts(
        {
            REFERENCE: Picked(images, place, numbers),
            CONDITION: _tokens(source, conditions, context),
            TARGET: Picked(images, torch.from_numpy(gallery), numbers),
        }
    )
    return Samples(
        parts,
        _ids(samples, reference, conditions, gallery[:, 0]),
        group={TASK: _task_of(found)},
        annotations={PLACE: place, ANSWERS: torch.from_numpy(np.concatenate(filled))},
    )


def _joined(found: Mapping[Task, _Triples | Templates]) -> list[str]:
    """The conditions of all tasks, one after the other."""
    return [said for one in found.values() for said in one.condition]


def _ids(
    samples: Samples,
    reference: NDArray[np.int64],
    conditions: Sequence[str],
    target: NDArray[np.int64],
) -> list[str]:
    triplets = zip(reference.tolist(), conditions, target.tolist(), strict=True)
    return [f"{samples.ids[one]}, {said}: {samples.ids[other]}" for one, said, other in triplets]


def _numbers(source: Source, count: int, samples: Samples, rows: Tensor | None = None) -> Tensor:
    """Which of all rows that were read each image is; -1 for images of other samples."""
    places = {one: place for place, one in enumerate(source.read)}
    read = torch.tensor([places[one] for one in samples.ids])
    if rows is not None:
        return read
    own = torch.arange(count) if samples.rows is None else samples.rows
    return torch.full((count,), -1).index_copy(0, own, read)


def _tokens(source: Source, texts: list[str], context: int) -> Tokens:
    """The texts, of which there are few, each encoded once."""
    assert source.tokenizer is not None
    different, which = np.unique(np.array(texts, dtype=object), return_inverse=True)
    encoded = source.tokenizer.encode(different.tolist(), context)
    return encoded[torch.from_numpy(which)]


def _task_of(found: Mapping[Task, _Triples | Templates]) -> Tensor:
    """(N,) int64 number of each sample's task."""
    tasks = torch.tensor([TASKS.index(task) for task in found])
    return tasks.repeat_interleave(torch.tensor([len(each) for each in found.values()]))


PREPARATION = Triplets
