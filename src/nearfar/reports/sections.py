"""The parts of a run's page."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import torch

from nearfar.errors import UserError
from nearfar.evaluation.probes.knn import nearest
from nearfar.finding.duplicates import near_duplicates
from nearfar.finding.index import doubtful_labels
from nearfar.methods import registry
from nearfar.reports.charts import confusion, curve, embedding_map, plane, similarity_histograms
from nearfar.reports.document import Section, chart
from nearfar.reports.health import findings
from nearfar.reports.look import Look
from nearfar.reports.samples import element, pictures, view_pictures
from nearfar.runs.folder import CONFIG
from nearfar.views import make_views

if TYPE_CHECKING:
    from nearfar.methods.method import Method

QUERIES = 8
NEIGHBOURS = 6
VIEWED = 6
WORST = 16
DOUBTED = 12
GROUPS = 4
MEMBERS = 8


def views(look: Look) -> Section:
    """Some samples and the views that the method gets of them: the mistake most people make is seen
    here.
    """
    from nearfar.assembly.assemble import assemble

    run = look.run
    source = look.source
    method = assemble(run.config, source).method
    wanted = method.wanted_views
    count = min(VIEWED, len(look.train))
    samples = look.train.subset(
        torch.arange(count) * len(look.train) // count
    )  # evenly: data often come class by class
    raw = samples.take(torch.arange(len(samples)))
    make = make_views(source.spec, wanted, patches=getattr(method.encoder, "patches", 0))
    made = [make(raw, torch.Generator().manual_seed(draw)) for draw in range(2)]
    count = wanted.whole + wanted.local + len(wanted.further)
    columns = [(pictures(raw, source.spec.modality), "the sample", True)]
    for draw, batch in enumerate(made):
        columns += [
            (view_pictures(view, source.spec), f"view {n + 1}, draw {draw + 1}", False)
            for n, view in enumerate(batch[:count])
        ]
    names = look.names_of(samples)
    lines = []
    for row in range(len(samples)):
        first_told = f"the sample: {names[row]}" if names[row] else "the sample"
        cells = [
            element(of[row], first_told if first else what, first=first)
            for of, what, first in columns
            if of[row]
        ]
        lines.append(f'<div class="row">{"".join(cells)}</div>')
    told = (
        "Each row is a sample and what the method sees of it in two draws. If you cannot tell any "
        "more what it shows, neither can the"
        " encoder."
    )
    body = "".join(lines) if columns[0][0][0] else "<p>Texts have no picture.</p>"
    return Section("What the views look like", f"<p>{told}</p>{body}")


def results(look: Look) -> Section:
    """The table of all scores beside the baselines."""
    evaluation = look.run.evaluation()
    if evaluation is None:
        body = (
            "<p>Not evaluated yet: <code>nearfar evaluate "
            f"{html.escape(str(look.run.folder))}</code></p>"
        )
    else:
        body = f'<div class="scroll" tabindex="0">{evaluation.to_html()}</div>'
    return Section("Results", body)


def curves(look: Look) -> Section:
    """Loss, its terms and diagnostics, online probes."""
    rows = look.run.metrics()
    charts = {}
    for value, title in (
        ("loss", "training loss"),
        ("knn", "online kNN accuracy"),
        ("effective_rank", "effective rank of the features"),
    ):
        if any(value in row for row in rows):
            charts[f"curve-{value}"] = curve(rows, value, title)
    charts |= terms(rows)
    places = "".join(
        chart(name, f"{spec['title']} over the steps of the run") for name, spec in charts.items()
    )
    return Section("Learning curves", f'<div class="side">{places}</div>', charts)


def terms(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A curve for each term of the loss and each diagnostic that the method logs, where there is
    more than the loss.
    """
    found = [
        {**row["terms"], "step": row["step"]}
        for row in rows
        if isinstance(row.get("terms"), dict) and "step" in row
    ]
    names = sorted({name for row in found for name in row} - {"step"})
    return (
        {f"term-{name}": curve(found, name, name.replace("_", " ")) for name in names}
        if len(names) > 1
        else {}
    )


def similarities(look: Look) -> Section | None:
    """Histograms of positive and negative similarities through training."""
    rows = look.run.metrics()
    if not any("positive_similarity" in row for row in rows):
        return None
    told = (
        "Cosines of the features of two views of one sample (positive) and of different samples "
        "(negative). As training goes on the"
        " two should part; both near 1 is collapse."
    )
    place = chart(
        "similarities",
        "Histograms of positive and negative cosines at the first, middle and last look",
    )
    return Section(
        "Similar and different pairs",
        f"<p>{told}</p>{place}",
        {"similarities": similarity_histograms(rows)},
    )


def embedding(look: Look) -> Section:
    """The map of the shown samples, coloured by label, probe error, cluster or group."""
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
    positions, how = _positions(look)
    points = [
        {
            "x": x,
            "y": y,
            "image": picture,
            "caption": caption,
            **{key: values[row] for key, values in columns.items()},
        }
        for row, ((x, y), picture, caption) in enumerate(
            zip(positions, look.pictures, look.captions, strict=True)
        )
    ]
    told = (
        f"{len(points):,} samples by their features ({how}): point at one to see it, drag to "
        "move, scroll to zoom."
    )
    place = chart("map", f"Map of {len(points)} samples by their features")
    return Section(
        "Map of the embeddings", f"<p>{told}</p>{place}", {"map": embedding_map(points, colours)}
    )


def _positions(look: Look) -> tuple[list[list[float]], str]:
    """Two coordinates for each shown sample, by UMAP where it is installed."""
    import importlib.util

    if importlib.util.find_spec("umap") is None or len(look.features) < 50:
        found: list[list[float]] = plane(look.features).tolist()
        return found, "their two principal components; UMAP where umap-learn is installed"
    import umap

    return umap.UMAP(metric="cosine", random_state=0, n_jobs=1).fit_transform(
        look.features.numpy()
    ).tolist(), "UMAP"


def _right_or_wrong(look: Look) -> list[str]:
    if look.predictions is None:
        return []
    right = look.predictions.argmax(dim=1) == look.shown.label
    return ["right" if one else "wrong" for one in right.tolist()]


def neighbours(look: Look) -> Section:
    """Some queries and what lies nearest to them."""
    features = look.features
    queries = torch.linspace(0, len(features) - 1, min(QUERIES, len(features))).long()
    _, rows = nearest(features, features[queries], k=min(NEIGHBOURS + 1, len(features)))
    lines = []
    for query, found in zip(queries.tolist(), rows.tolist(), strict=True):
        order = [query, *[row for row in found if row != query][:NEIGHBOURS]]
        cells = [
            element(look.pictures[row], look.labels[row] or look.captions[row], first=row == query)
            for row in order
        ]
        lines.append(f'<div class="row">{"".join(cells)}</div>')
    return Section(
        "Nearest neighbours", "<p>The query comes first in each row.</p>" + "".join(lines)
    )


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
            if len(classes) <= 30
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
        shown = pictures(
            look.train.take(torch.tensor([row for row, _, _ in doubted])), look.source.spec.modality
        )
        said = [f"{names[row]}; rather: {other}" for row, other, _ in doubted]
        cells = [element(picture, text) for picture, text in zip(shown, said, strict=True)]
        parts.append(
            f'<h3>Labels that are likely wrong</h3><div class="row">{"".join(cells)}</div>'
        )
    found = near_duplicates(look.train_features)
    told = (
        f"{len(found.groups)} groups; {found.extra:,} samples could go. {' '.join(found.notes())}"
    )
    parts.append(f"<h3>Near-duplicates</h3><p>{html.escape(told)}</p>")
    for group, similarities in list(zip(found.groups, found.similarities, strict=True))[:GROUPS]:
        shown = pictures(look.train.take(torch.tensor(group[:MEMBERS])), look.source.spec.modality)
        cells = [
            element(picture, f"{look.train.ids[row]}; cosine to the first: {similarity:.4f}")
            for picture, row, similarity in zip(
                shown, group[:MEMBERS], similarities[:MEMBERS], strict=True
            )
        ]
        parts.append(f'<div class="row">{"".join(cells)}</div>')
    return Section("Suspects", "".join(parts))


def health(look: Look) -> Section:
    """A sentence for each indicator."""
    found = findings(look.run.metrics(), look.run.evaluation(), look.features.shape[1])
    items = "".join(
        f'<li class="{"good" if fine else "bad"}">{"✓" if fine else "⚠"} {html.escape(text)}</li>'
        for fine, text in found
    )
    return Section("Health", f"<ul>{items}</ul>")


def recipe(look: Look) -> Section:
    """The method's five choices, the configuration, the versions and the command that repeats the
    run.
    """
    config = look.run.config
    kind = _known(config.method)
    pairs = {} if kind is None else kind.choices
    choices = "".join(
        f"<tr><th scope='row'>{html.escape(what)}</th><td>{html.escape(text)}</td></tr>"
        for what, text in pairs.items()
    )
    paper = "a method from outside nearfar"
    if kind is not None:
        paper = f"{kind.paper.title}. {kind.paper.authors}, {kind.paper.year}"
    path = look.run.folder / CONFIG
    body = (
        f"<p>{html.escape(config.method)}: {html.escape(paper)}.</p><div "
        f"class='scroll'><table>{choices}</table></div>"
        f"<details><summary>Configuration</summary><pre>{html.escape(path.read_text(encoding='utf-8'))}</pre></details>"
        f"<details><summary>Versions</summary><pre>{html.escape(versions(look))}</pre></details>"
        f"<p>Repeat it with <code>nearfar pretrain --config {html.escape(str(path))}</code></p>"
    )
    return Section("How it was made", body)


def _known(name: str) -> type[Method] | None:
    """The method's class; None where it would have to be imported from outside, because a run
    folder says so.
    """
    try:
        return registry.get(name)
    except UserError:
        return None


def versions(look: Look) -> str:
    """What the encoder was written with, a line each."""
    from nearfar.runs.encoder_files import versions_of

    return "\n".join(f"{name} {version}" for name, version in versions_of(look.run.folder).items())
