"""The parts of a run's page about its samples: maps, neighbours, mistakes and suspects."""

from __future__ import annotations

import html

import torch

from nearfar import modalities
from nearfar.errors import counted
from nearfar.evaluation.probes.knn import nearest
from nearfar.finding.duplicates import near_duplicates
from nearfar.finding.index import doubtful_labels
from nearfar.reports.charts import Chart, confusion
from nearfar.reports.document import Section, chart
from nearfar.reports.look import Look
from nearfar.reports.maps import embedding_map, neighbourhoods, plane
from nearfar.reports.pictures.samples import element

QUERIES = 8
NEIGHBOURS = 6
WORST = 16
DOUBTED = 12
GROUPS = 4
MEMBERS = 8
FEWEST_MAPPED = 8
"""Samples below which t-SNE says nothing."""
MOST_CONFUSED = 30
"""Classes above which a matrix of them could not be read."""


def embedding(look: Look) -> Section:
    """Two maps of the shown samples side by side, coloured by label, probe error, cluster or
    group.
    """
    columns: dict[str, list[str]] = {}
    colours: dict[str, str] = {}

    def colour(key: str, called: str, values: list[str]) -> None:
        if len(set(values)) > 1:
            columns[key], colours[key] = values, called

    if look.source.spec.target == "class":
        colour("label", "label", look.labels)
    colour("probe", "linear probe right or wrong", _right_or_wrong(look))
    colour("cluster", "k-means cluster", look.clusters)
    for name, numbers in look.shown.group.items():
        colour(f"group_{name}", name, [f"{name} {number}" for number in numbers.tolist()])
    charts: dict[str, Chart] = {}
    places = []
    for name, called, positions in _layouts(look):
        points = [
            {
                "x": round(x, 4),
                "y": round(y, 4),
                "sample": row,
                "caption": look.captions[row],
                **{key: values[row] for key, values in columns.items()},
            }
            for row, (x, y) in enumerate(positions)
        ]
        charts[name] = embedding_map(points, colours, shared="pictures")
        place = chart(name, f"Map of {len(points)} samples by {called}")
        places.append(f"<div><h3>{html.escape(called)}</h3>{place}</div>")
    told = (
        f"{len(look.shown):,} samples by their features: point at one to see it, drag to move, "
        "scroll to zoom. Principal components keep large distances, t-SNE keeps neighbours; sizes "
        "of t-SNE's clusters and distances between them mean nothing."
    )
    shared = [{"sample": row, "image": picture} for row, picture in enumerate(look.pictures)]
    return Section(
        "Map of the embeddings",
        f'<p>{told}</p><div class="side">{"".join(places)}</div>',
        charts,
        {"pictures": shared},
    )


def _layouts(look: Look) -> list[tuple[str, str, list[list[float]]]]:
    """The chart's name, what it is called, and two coordinates for each shown sample."""
    import importlib.util

    made = [("map", "principal components", plane(look.features).tolist())]
    if len(look.features) < FEWEST_MAPPED:
        return made
    made.append(("map-tsne", "t-SNE", neighbourhoods(look.features).tolist()))
    if importlib.util.find_spec("umap") is not None and len(look.features) >= 50:
        import umap

        model = umap.UMAP(metric="cosine", random_state=0, n_jobs=1)
        made.append(("map-umap", "UMAP", model.fit_transform(look.features.numpy()).tolist()))
    return made


def _right_or_wrong(look: Look) -> list[str]:
    if look.predictions is None:
        return []
    right = look.predictions.argmax(dim=1) == look.shown.label
    return ["right" if one else "wrong" for one in right.tolist()]


def neighbours(look: Look) -> Section:
    """Some queries and what lies nearest to them, each on one line."""
    features = look.features
    queries = torch.linspace(0, len(features) - 1, min(QUERIES, len(features))).long()
    _, rows = nearest(features, features[queries], k=min(NEIGHBOURS + 1, len(features)))
    lines = []
    wide = " wide" if modalities.get(look.source.spec.first.modality).wide else ""
    for query, found in zip(queries.tolist(), rows.tolist(), strict=True):
        order = [query, *[row for row in found if row != query][:NEIGHBOURS]]
        cells = [
            element(
                look.pictures[row],
                look.labels[row] or look.captions[row],
                first=row == query,
                kind="" if row == query else _kinship(look, query, row),
            )
            for row in order
        ]
        lines.append(f'<div class="row line{wide}" tabindex="0">{"".join(cells)}</div>')
    told = "The query comes first in each row, then its nearest samples, the nearest first."
    if look.has_classes:
        told += " A full line below a sample: the query's class; a dashed one: another."
    return Section("Nearest neighbours", f"<p>{told}</p>" + "".join(lines))


def _kinship(look: Look, query: int, row: int) -> str:
    """Whether two samples have the same class, as the name of a style; "" without classes."""
    if not look.has_classes:
        return ""
    return "same" if look.labels[query] == look.labels[row] else "other"


def mistakes(look: Look) -> Section | None:
    """Confusion of a linear probe and the samples it gets wrong most surely; for values, the
    largest errors.
    """
    if look.predictions is not None:
        classes = look.source.spec.classes
        guess = look.predictions.argmax(dim=1)
        truth = look.shown.label
        counts = torch.zeros(len(classes), len(classes), dtype=torch.int64).index_put_(
            (truth, guess), torch.tensor(1), accumulate=True
        )
        doubt = look.predictions.max(dim=1).values * (guess != truth)
        rows = doubt.argsort(descending=True)[: min(WORST, int((guess != truth).sum()))].tolist()
        cells = [
            element(look.pictures[r], f"{look.labels[r]}, taken for {classes[int(guess[r])]}")
            for r in rows
        ]
        place = (
            chart("confusion", "Confusion of a linear probe: true class by predicted class")
            if len(classes) <= MOST_CONFUSED
            else ""
        )
        told = (
            f"A linear probe on the features gets {int((guess != truth).sum())} of "
            f"{len(guess)} shown samples wrong; the surest of them:"
        )
        body = f"{place}<p>{told}</p>" + f'<div class="row">{"".join(cells)}</div>'
        return Section(
            "Where a linear probe fails",
            body,
            {"confusion": confusion(counts, classes)} if place else {},
        )
    if look.errors is not None:
        rows = look.errors.abs().argsort(descending=True)[:WORST].tolist()
        cells = [
            element(look.pictures[r], f"{look.labels[r]}, off by {float(look.errors[r]):+.3g}")
            for r in rows
        ]
        return Section(
            "Where a linear probe fails",
            f'<p>Largest errors of a ridge probe:</p><div class="row">{"".join(cells)}</div>',
        )
    return None


def suspects(look: Look) -> Section:
    """Likely label errors and near-duplicates among the training samples that were looked at."""
    names = look.names_of(look.train) if look.has_classes else []
    parts = [f"<p>Among {len(look.train):,} training samples.</p>"]
    doubted = doubtful_labels(look.train_features, names, DOUBTED) if names else []
    if doubted:
        shown = look.pictures_of(look.train.take(torch.tensor([row for row, _, _ in doubted])))
        said = [f"{names[row]}; rather: {other}" for row, other, _ in doubted]
        cells = [element(picture, text) for picture, text in zip(shown, said, strict=True)]
        parts.append(
            f'<h3>Labels that are likely wrong</h3><div class="row">{"".join(cells)}</div>'
        )
    found = near_duplicates(look.train_features)
    groups = counted(len(found.groups), "group")
    extra = counted(found.extra, "sample")
    told = f"{groups}; {extra} could go. {' '.join(found.notes())}"
    parts.append(f"<h3>Near-duplicates</h3><p>{html.escape(told)}</p>")
    for group, similarities in list(zip(found.groups, found.similarities, strict=True))[:GROUPS]:
        shown = look.pictures_of(look.train.take(torch.tensor(group[:MEMBERS])))
        cells = [
            element(picture, f"{look.train.ids[row]}; cosine to the first: {similarity:.4f}")
            for picture, row, similarity in zip(
                shown, group[:MEMBERS], similarities[:MEMBERS], strict=True
            )
        ]
        parts.append(f'<div class="row">{"".join(cells)}</div>')
    return Section("Suspects", "".join(parts))
