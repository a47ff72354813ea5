"""Draw docs/picture.svg from a run: the test samples as a random encoder and as the trained one
sees them.

    pip install vl-convert-python
    python docs/make_picture.py runs/simclr-cluttered-digits
"""

from __future__ import annotations

import sys
from pathlib import Path

import altair
import torch
import vl_convert

from nearfar import Run, networks
from nearfar.evaluation.features import extract
from nearfar.reports.charts import plane
from nearfar.views import plain_view


def main(folder: str) -> None:
    run = Run(folder)
    source, view = run.source(), plain_view(run.source().spec)
    samples = source.test
    torch.manual_seed(1)
    untrained = networks.build(run.config.options.encoder, source.spec).eval()
    charts = []
    for title, encoder in (
        ("random encoder", untrained),
        (f"after nearfar pretrain {run.config.method}", run.encoder()),
    ):
        points = plane(extract(encoder, samples, view)).tolist()
        rows = [
            {"x": x, "y": y, "digit": source.spec.classes[c]}
            for (x, y), c in zip(points, samples.label.tolist(), strict=True)
        ]
        chart = altair.Chart(
            altair.Data(values=rows), title=title, width=330, height=330
        ).mark_circle(size=28, opacity=0.8)
        charts.append(
            chart.encode(
                x=altair.X("x:Q", axis=None),
                y=altair.Y("y:Q", axis=None),
                color=altair.Color("digit:N"),
            )
        )
    both = altair.hconcat(*charts).configure_view(stroke=None)
    Path(__file__).with_name("picture.svg").write_text(vl_convert.vegalite_to_svg(both.to_json()))


if __name__ == "__main__":
    main(sys.argv[1])
