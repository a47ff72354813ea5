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

from nearfar.reports.charts import Chart, script

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; --good: #1a7f37; --bad: #b35900; }
@media (prefers-color-scheme: dark) { :root { --good: #56d364; --bad: #f0a35e; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 1.5rem auto; padding: 0
1rem; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); } a:focus-visible,
summary:focus-visible { outline: 3px solid Highlight; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1rem; padding: 0; }
.skip { position: absolute; left: -99rem; } .skip:focus { left: 1rem; background: Canvas; }
table { border-collapse: collapse; } td, th { padding: .25rem .75rem; border-bottom: 1px solid
var(--line); text-align: left; }
.scores td { white-space: nowrap; } .scroll { overflow-x: auto; } .chart { width: 100%;
overflow-x: auto; }
pre { overflow-x: auto; padding: 1rem; border: 1px solid var(--line); }
.cards { display: flex; flex-wrap: wrap; gap: 1rem; }
.card { border: 1px solid var(--line); border-radius: .5rem; padding: .75rem 1rem; flex: 1 1
12rem; }
.card b { font-size: 1.7rem; display: block; } .card div { font-size: .9rem; }
.good { color: var(--good); } .bad { color: var(--bad); }
.row { display: flex; gap: .5rem; flex-wrap: wrap; align-items: start; border-bottom: 1px solid
var(--line); padding: .5rem 0; }
figure { margin: 0; width: min-content; min-width: 5.5rem; font-size: .75rem; overflow-wrap:
anywhere; }
.first { border-right: 3px solid var(--line); }
.side { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: 1rem; }
img { image-rendering: pixelated; height: 4.5rem; max-width: 85vw; background: #fff; }
@media print { nav, .skip, .vega-bindings { display: none; } section { break-inside: avoid; } body
{ max-width: none; } }
"""

_DRAW = """
const dark = matchMedia('(prefers-color-scheme: dark)').matches && !matchMedia('print').matches;
const signs = {'&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;'};
const plain = v => String(v).replace(/[&<>"']/g, sign => signs[sign]);
for (const [id, chart] of Object.entries(CHARTS)) {
  const place = document.getElementById(id);
  vegaEmbed(place, chart, {actions: false, ast: true, theme: dark ? 'dark' : undefined, config:
  {background: 'transparent'},
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
    """

    title: str
    body: str
    charts: dict[str, Chart] = field(default_factory=dict)


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
    scripts = (script(), _DRAW.replace("CHARTS", charts))
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


def _anchor(section: Section) -> str:
    return "part-" + "".join(
        letter if letter.isalnum() else "-" for letter in section.title.lower()
    )
