"""Pieces of a self-contained page: style, tables, escaping. No script, no request, light or dark like the system."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

STYLE = """
:root { color-scheme: light dark; --ground: #fff; --text: #1b1d21; --quiet: #5a6069; --line: #d8dbe0;
  --accent: 47 128 208; --good: #16957a; --bad: #d0453f; --card: #f5f6f8; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #15171b; --text: #e8eaee; --quiet: #a2a9b4; --line: #373c45; --card: #1d2026; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 70rem; padding: 1rem; background: var(--ground); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.15rem; margin-top: 2rem; } h3 { font-size: 1rem; margin: .8rem 0 .2rem; }
p, figcaption { color: var(--quiet); margin: .3rem 0; }
svg { width: 100%; max-width: 34rem; height: auto; display: block; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); gap: 1rem 2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: .2rem .5rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
.matrix td, .matrix th { padding: .2rem .3rem; font-size: .75rem; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1rem; font-size: .8rem; }
.legend i { display: inline-block; width: .8rem; height: .8rem; margin-right: .35rem; border-radius: .2rem;
  vertical-align: -.1rem; }
"""


def escape(value: object) -> str:
    return html.escape(str(value), quote=True)


def table(head: Sequence[str], rows: Iterable[Sequence[object]], kind: str = "") -> str:
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    mark = f' class="{kind}"' if kind else ""
    return f'<div class="scroll"><table{mark}><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def document(title: str, body: str, style: str = "") -> str:
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style></head>"
        f"<body><h1>{escape(title)}</h1>{body}</body></html>\n"
    )
