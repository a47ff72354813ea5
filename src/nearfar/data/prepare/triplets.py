"""``--with triplets``: images that are known by two properties become queries with galleries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from nearfar.data.samples import Samples, Source
from nearfar.data.selection.mining import (
    TASKS,
    Fact,
    Task,
    Template,
    Triplet,
    mine_triplets,
    templates,
)
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


@dataclass(frozen=True, kw_only=True)
class Triplets:
    """Samples become three parts: "reference" (an image), "condition" (a text) and "target".

    Each image has two properties, an object and an attribute. "focus" asks for an image with the
    same object (or attribute) as the reference's, and the condition is the property's name.
    "change" asks for one with another object (or attribute), which is the condition, and the
    reference's attribute (or object). For training the target is one image. For testing it is a
    gallery with the right image first, whose other images meet the reference alone or the
    condition alone. A task needs both properties of every image: the columns ``object`` and
    ``attribute``, or a text of at least two words, the first of which is the attribute and the
    others the object.

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
            queries = {
                task: self._drawn(source, source.test, task, self.queries, self.gallery, draw)
                for task in tasks
            }
            lacking = [task for task in tasks if not queries.get(task)]
            if lacking:
                told.append(
                    f"The test images have no gallery of {self.gallery} for {', '.join(lacking)}: "
                    "those have no test queries; a smaller one may do (triplets:gallery=5)."
                )
            if any(queries.values()):
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
    ) -> dict[Task, list[Triplet]]:
        """Training triplets of each task, by row of the training samples."""
        if self.by == "facts":
            columns = [self._fact(source, name, source.train) for name in _FACT]
            facts = [Fact(row, *said) for row, said in enumerate(zip(*columns, strict=True))]
            mined = mine_triplets(facts, self.count, draw, images=self.least, tries=self.tries)
            return {tasks[0]: mined}
        share = -(-self.count // len(tasks))
        return {
            task: [
                Triplet(one.reference, one.condition, one.gallery[0])
                for one in self._drawn(source, source.train, task, share, 2, draw)
            ]
            for task in tasks
        }

    def _drawn(
        self,
        source: Source,
        samples: Samples,
        task: Task,
        count: int,
        gallery: int,
        draw: np.random.Generator,
    ) -> list[Template]:
        """Queries among the samples of which both properties are known, by row of the samples."""
        if self.by == "facts":
            second, relations, objects = (self._fact(source, name, samples) for name in _FACT)
            first = [" ".join(both) for both in zip(relations, objects, strict=True)]
            names = ("object", "subject")
        else:
            first, second, names = self._properties(source, samples)
        known = [row for row in range(len(first)) if first[row] and second[row]]
        if not known:
            return []
        found = templates(
            [first[row] for row in known],
            [second[row] for row in known],
            count,
            draw,
            task=task,
            gallery=gallery,
            names=names,
        )
        return [
            Template(
                known[one.reference],
                one.condition,
                tuple(known[row] for row in one.gallery),
                tuple(known[row] for row in one.right),
            )
            for one in found
        ]

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
    found: dict[Task, list[Triplet]],
    image: str,
    context: int,
) -> Samples:
    """The samples as triplets, which share the images."""
    triplets = [one for each in found.values() for one in each]
    content: Any = samples.content[image]
    rows = torch.arange(len(samples)) if samples.rows is None else samples.rows

    def picked(places: list[int]) -> Picked:
        return Picked(content, rows[torch.tensor(places)], _numbers(source, len(content), samples))

    parts = Parts(
        {
            REFERENCE: picked([one.reference for one in triplets]),
            CONDITION: _tokens(source, [one.condition for one in triplets], context),
            TARGET: picked([one.target for one in triplets]),
        }
    )
    ids = [
        f"{samples.ids[one.reference]}, {one.condition}: {samples.ids[one.target]}"
        for one in triplets
    ]
    return Samples(parts, ids, group={TASK: _task_of(found)})


def _testing(
    source: Source,
    samples: Samples,
    found: dict[Task, list[Template]],
    image: str,
    context: int,
) -> Samples:
    """The queries with galleries, which share the test images."""
    queries = [one for each in found.values() for one in each]
    rows = torch.arange(len(samples)) if samples.rows is None else samples.rows
    images = select(samples.content[image], rows)
    numbers = _numbers(source, len(images), samples, rows)
    reference = torch.tensor([one.reference for one in queries])
    longest = max(len(one.right) for one in queries)
    answers = torch.full((len(queries), longest), -1)
    for place, one in enumerate(queries):
        answers[place, : len(one.right)] = torch.tensor(one.right)
    parts = Parts(
        {
            REFERENCE: Picked(images, reference, numbers),
            CONDITION: _tokens(source, [one.condition for one in queries], context),
            TARGET: Picked(images, torch.tensor([one.gallery for one in queries]), numbers),
        }
    )
    ids = [
        f"{samples.ids[one.reference]}, {one.condition}: {samples.ids[one.gallery[0]]}"
        for one in queries
    ]
    return Samples(
        parts,
        ids,
        group={TASK: _task_of(found)},
        annotations={PLACE: reference, ANSWERS: answers},
    )


def _numbers(source: Source, count: int, samples: Samples, rows: Tensor | None = None) -> Tensor:
    """Which of all rows that were read each image is; -1 for images of other samples."""
    places = {one: place for place, one in enumerate(source.read)}
    read = torch.tensor([places[one] for one in samples.ids])
    if rows is not None:
        return read
    own = torch.arange(count) if samples.rows is None else samples.rows
    return torch.full((count,), -1).index_copy(0, own, read)


def _tokens(source: Source, texts: list[str], context: int) -> Tokens:
    assert source.tokenizer is not None
    return source.tokenizer.encode(texts, context)


def _task_of(found: dict[Task, Any]) -> Tensor:
    """(N,) int64 number of each sample's task."""
    return torch.tensor(
        [TASKS.index(task) for task, each in found.items() for _ in each], dtype=torch.int64
    )


PREPARATION = Triplets
