"""The frame of every page: one HTML file that needs nothing else, readable on a phone, light or
dark, printed, by keyboard and aloud.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from nearfar.reports.charts import Chart, script

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; --good: #1a7f37; --bad: #b35900; }
@media (prefers-color-scheme: dark) { :root { --good: #56d364; --bad: #f0a35e; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 1.5rem auto;
padding: 0 1rem; overflow-wrap: break-word; }
h1 { line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
a:focus-visible, summary:focus-visible, .scroll:focus-visible { outline: 3px solid Highlight; }
summary { cursor: pointer; padding: .25rem 0; }
code { overflow-wrap: anywhere; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1rem; padding: 0; }
.skip { position: absolute; left: -99rem; } .skip:focus { left: 1rem; background: Canvas; }
.facts { border-left: 3px solid var(--line); padding-left: .75rem; }
table { border-collapse: collapse; }
td, th { padding: .25rem .75rem; border-bottom: 1px solid var(--line); text-align: left;
vertical-align: top; }
th { font-weight: 600; } th[scope=row] { min-width: 5rem; }
th small, td small { font-weight: 400; opacity: .85; }
.scores td { white-space: nowrap; font-variant-numeric: tabular-nums; }
.scores th small { display: block; max-width: 26rem; }
.scroll { overflow-x: auto; } .chart { width: 100%; overflow-x: auto; min-height: 3rem; }
pre { overflow-x: auto; padding: 1rem; border: 1px solid var(--line); }
.cards { display: flex; flex-wrap: wrap; gap: 1rem; }
.card { border: 1px solid var(--line); border-radius: .5rem; padding: .75rem 1rem;
flex: 1 1 9rem; }
.card b { font-size: 1.7rem; display: block; } .card div { font-size: .9rem; }
.good { color: var(--good); } .bad { color: var(--bad); }
.key { white-space: nowrap; margin-right: .75rem; display: inline-block; }
.swatch { display: inline-block; width: .8em; height: .8em; border-radius: .2em;
margin-right: .35em; }
.row { display: flex; gap: .5rem; flex-wrap: wrap; align-items: start;
border-bottom: 1px solid var(--line); padding: .5rem 0; }
.texts { border-bottom: 1px solid var(--line); padding-bottom: .5rem; font-size: .9rem; }
.line { flex-wrap: nowrap; overflow-x: auto; }
.line figure { flex: 1 1 0; min-width: 4.75rem; max-width: 7rem; }
.line.wide figure { min-width: 7rem; max-width: 10rem; }
.line figure img { max-width: 100%; height: auto; min-width: 2.5rem; max-height: 6rem; }
.same { border-bottom: 3px solid var(--good); } .other { border-bottom: 3px dashed var(--bad); }
figure { margin: 0; width: min-content; min-width: 5.5rem; font-size: .75rem;
overflow-wrap: anywhere; }
.first { border-right: 3px solid var(--line); padding-right: .25rem; }
.side { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(19rem, 100%), 1fr));
gap: 1rem; }
.side > * { min-width: 0; }
img { image-rendering: pixelated; height: 4.5rem; background: #fff; }
img[src^="data:image/svg"] { height: 6rem; }
figure img { max-width: 85vw; }
.vega-bindings select { max-width: 100%; font: inherit; }
@media (max-width: 40rem) {
img[src^="data:image/svg"] { height: 5rem; }
.line { gap: .25rem; } .line:not(.wide) figure { min-width: 2.75rem; padding-right: 0; }
.stack thead { position: absolute; left: -99rem; }
.stack, .stack tbody, .stack tr, .stack th, .stack td { display: block; }
.stack tr { border-bottom: 1px solid var(--line); padding: .4rem 0; }
.stack td, .stack th { border: 0; padding: .1rem 0; white-space: normal; }
.stack td[data-row] { display: flex; justify-content: space-between; gap: 1rem; }
.stack td[data-row]::before { content: attr(data-row); opacity: .85; }
}
@media print { nav, .skip, .vega-bindings { display: none; } section { break-inside: avoid; }
body { max-width: none; } }
"""

_DRAW = """
const dark = matchMedia('(prefers-color-scheme: dark)').matches && !matchMedia('print').matches;
const signs = {'&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;'};
const plain = v => String(v).replace(/[&<>"']/g, sign => signs[sign]);
const shared = SHARED;
for (const [id, chart] of Object.entries(CHARTS)) {
  const place = document.getElementById(id);
  const width = place.clientWidth;
  const meta = chart.usermeta || {};
  const limit = width < 480 ? 100 : 200;
  const entry = Math.min(6 * (meta.longest || 10), limit) + 34;
  const columns = Math.max(1, Math.min(10, Math.floor(width / entry)));
  const config = {background: 'transparent', legend: {columns, labelLimit: limit},
    axisY: {labelLimit: width < 480 ? 110 : 280}, title: {limit: width}};
  if (meta.shared) chart.datasets = {...chart.datasets, ...shared};
  if (meta.cells) {
    const side = Math.min(chart.width, width - 130);
    chart.width = chart.height = Math.max(side, 18 * meta.cells);
  }
  vegaEmbed(place, chart, {actions: false, ast: true, theme: dark ? 'dark' : undefined, config,
    tooltip: {sanitize: plain}}).then(() => place.dataset.drawn = 'yes');
}
"""


@dataclass(frozen=True)
class Section:
    """One part of a page.

    Attributes:
        title: its heading.
        body: HTML; charts stand in it as ``chart(name, description)``.
        charts: specifications by name; names are unique on a page.
        shared: rows that several charts of the page read, by name; the page holds them once.
    """

    title: str
    body: str
    charts: dict[str, Chart] = field(default_factory=dict)
    shared: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def chart(name: str, description: str) -> str:
    """The place of a chart, with what a person who does not see it should know; ``name`` may be any
    text.
    """
    return (
        f'<div class="chart" id="{_place(name)}" role="img" '
        f'aria-label="{html.escape(description)}"></div>'
    )


def _place(name: str) -> str:
    """A chart's name as an element's id: itself where it is made of small letters, digits and
    dashes, else a number made of it.
    """
    if re.fullmatch(r"[a-z][a-z0-9-]*", name):
        return name
    return f"chart-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _as_script(value: object) -> str:
    """JSON that can stand in a script element: no text in it can end the element or open a
    comment.
    """
    text = json.dumps(value)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _policy(*scripts: str) -> str:
    """What the page may load and run: these scripts, its styles and pictures that stand in it;
    nothing from a network.
    """
    sums = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in scripts
    )
    return (
        f"default-src 'none'; script-src {sums}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def document(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The whole page.

    Args:
        title: as text.
        lead: HTML that stands before the contents: what a reader in a hurry should know.
        sections: in order.
    """
    charts = _as_script(
        {_place(name): spec for section in sections for name, spec in section.charts.items()}
    )
    shared = _as_script(
        {name: rows for section in sections for name, rows in section.shared.items()}
    )
    scripts = (script(), _drawing(charts, shared))
    contents = "".join(
        f'<li><a href="#{_anchor(s)}">{html.escape(s.title)}</a></li>' for s in sections
    )
    body = "".join(
        f'<section aria-labelledby="{_anchor(s)}"><h2 id="{_anchor(s)}" '
        f'tabindex="-1">{html.escape(s.title)}</h2>{s.body}</section>'
        for s in sections
    )
    escaped = html.escape(title)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" '
        f'content="{_policy(*scripts)}"><title>{escaped}</title>'
        '<meta name="viewport" content="width=device-width, '
        f'initial-scale=1"><style>{_STYLE}</style></head>'
        '<body><a class="skip" href="#main">Skip to the '
        f"content</a><header><h1>{escaped}</h1>{lead}</header>"
        f'<nav aria-label="Contents"><ul>{contents}</ul></nav><main id="main">{body}</main>'
        f"{''.join(f'<script>{text}</script>' for text in scripts)}</body></html>"
    )


def _drawing(charts: str, shared: str) -> str:
    """The script that draws; what is put in is not looked into for places to put more in."""
    first, _, rest = _DRAW.partition("SHARED")
    second, _, third = rest.partition("CHARTS")
    return f"{first}{shared}{second}{charts}{third}"


def _anchor(section: Section) -> str:
    return "part-" + "".join(
        letter if letter.isalnum() else "-" for letter in section.title.lower()
    )
