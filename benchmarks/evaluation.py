"""Evaluation of 10,000 samples at D = 512: CPU seconds of each protocol, one thread.

    python benchmarks/evaluation.py [CLASSES]

8,000 training and 2,000 test samples of 10 classes (or as many as asked for), features as encoders
give them: correlated, rectified, badly scaled; the linear probe reaches about 95 % on 10 classes.
Encoding is not part of it. The bar: kNN, linear probe (3 seeds) and geometry together in 60 s on 2
cores.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from record import Table, finish, parser_of
from torch import Tensor

from nearfar.data.samples import Samples, Source
from nearfar.data.spec import Spec
from nearfar.evaluation.protocol import Row, Task, Wanted
from nearfar.evaluation.protocols import ALL, chosen
from nearfar.views import plain_view

TRAIN = 8000
TEST = 2000
DIMENSION = 512
BARRED = ("knn", "linear", "geometry")
MEASURED = (*BARRED, "few-labels", "few-shot", "retrieval", "clustering", "ood")


def features(labels: Tensor, classes: int, seed: int) -> Tensor:
    """(N, 512): class centres and noise in 64 dimensions, mixed into 512 correlated ones,
    rectified, with scales over two decades.
    """
    world = torch.Generator().manual_seed(0)
    own = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, 64, generator=world)
    mixing = torch.randn(64, DIMENSION, generator=world)
    hidden = centres[labels] + 2.2 * torch.randn(len(labels), 64, generator=own)
    noise = 4 * torch.randn(len(labels), DIMENSION, generator=own)
    return (hidden @ mixing + noise).relu() * torch.logspace(-1, 1, DIMENSION)


def task_of(classes: int) -> tuple[Task, dict[int, Tensor]]:
    """A task on blank pictures, and the ready features of its parts."""
    parts = []
    for count, seed in ((TRAIN, 1), (TEST, 2), (TEST, 3)):
        label = torch.randint(classes, (count,), generator=torch.Generator().manual_seed(seed))
        blank = torch.zeros(count, 1, 8, 8, dtype=torch.uint8)
        parts.append(
            (Samples(blank, [str(i) for i in range(count)], label), features(label, classes, seed))
        )
    names = tuple(map(str, range(classes)))
    spec = Spec("ready", "image", (1, 8, 8), TRAIN, names, "class", mean=(0.0,), std=(1.0,))
    (train, first), (test, second), (outside, third) = parts
    task = Task(
        Source(spec, train, test),
        train,
        test,
        plain_view(spec),
        "class",
        Wanted(MEASURED, 3, outside),
    )
    return task, {
        id(train): first,
        id(test): second,
        id(outside): third + torch.rand(DIMENSION) * third.mean(),
    }


def main() -> None:
    torch.set_num_threads(1)
    parser = parser_of(__doc__)
    parser.add_argument("classes", type=int, nargs="?", default=10)
    options = parser.parse_args()
    classes = options.classes
    task, ready = task_of(classes)

    def encode(samples: Any, view: Any) -> Tensor:
        if id(samples) in ready:
            return ready[id(samples)]
        found = ready[id(task.test)][: len(samples)]  # the two views of the geometry
        return found + 0.1 * torch.randn(
            found.shape, generator=torch.Generator().manual_seed(len(found))
        )

    row = Row("ready", encode, task)
    seconds = {}
    rows = []
    for one in chosen(BARRED if options.quick else MEASURED, task)[0]:
        start = time.process_time()
        scores = list(one.judge(row))
        seconds[one.name] = time.process_time() - start
        rows.append(
            {
                "protocol": one.name,
                "CPU s": seconds[one.name],
                "score": f"{scores[0].metric}: {scores[0].text()}",
            }
        )
        print(
            f"{one.name:<12}{seconds[one.name]:>8.1f} s   {scores[0].metric}: {scores[0].text()}",
            flush=True,
        )
    rows.append(
        {
            "protocol": " + ".join(BARRED),
            "CPU s": sum(seconds[name] for name in BARRED),
            "score": "",
        }
    )
    about = f"""{TRAIN:,} training and {TEST:,} test samples of {classes} classes, D =
{DIMENSION}, features ready; CPU time on one thread,
once. The bar is 60 s on 2 cores for kNN, linear probe (3 seeds) and geometry."""
    finish([Table("Evaluation", about, rows)], options)
    print(
        f"{' + '.join(BARRED)}: {sum(seconds[name] for name in BARRED):.1f} s of CPU time on one "
        f"thread, {classes} classes"
    )


if __name__ == "__main__":
    assert set(MEASURED) <= {one.name for one in ALL}
    main()
