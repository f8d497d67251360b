"""How does the page look? One style sheet, inline: light and dark, wide and narrow, on screen and on paper."""

from __future__ import annotations

__all__ = ["STYLE"]

# Below 46rem a table becomes a stack of cards: every cell is preceded by the header it belongs to (attribute
# data-label). The roles in the markup keep the table a table for assistive technology although its display changes.
STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #5b6570; --paper: #fbfbfa; --card: #fff; --line: #d9dde1;
  --link: #0b5cad; --good: #1a6b3c; --good-back: #e2f3e8; --warn: #7a5200; --warn-back: #fdf0d0; --bad: #a11526;
  --bad-back: #fde4e6; --code: #f0f2f4; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7ea; --soft: #9aa5b0; --paper: #14171a; --card: #1c2024;
  --line: #343b42; --link: #7ab8ff; --good: #7fd6a0; --good-back: #163524; --warn: #f0c45c; --warn-back: #3a2d0c;
  --bad: #ff9aa5; --bad-back: #451a20; --code: #262c32; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 66rem; padding: 1.5rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.25rem; line-height: 1.3; margin: 0; }
h3 { font-size: 1rem; margin: 1.6rem 0 .35rem; }
p { margin: .35rem 0; max-width: 48rem; }
a { color: var(--link); }
code, .number { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: .9em; }
code { background: var(--code); border-radius: 3px; padding: .05em .3em; }
.soft { color: var(--soft); }
header { margin-bottom: 1.5rem; }
article { background: var(--card); border: 1px solid var(--line); border-radius: 8px; margin: 1.5rem 0;
  padding: 1.1rem 1.25rem 1.3rem; }
.head { display: flex; flex-wrap: wrap; gap: .4rem 1rem; align-items: baseline; justify-content: space-between; }
.identifier { color: var(--soft); font-weight: 600; margin-right: .5rem; }
.pill { border-radius: 99px; display: inline-block; font-size: .85rem; font-weight: 600; padding: .1rem .65rem;
  white-space: nowrap; }
.good { background: var(--good-back); color: var(--good); }
.warn { background: var(--warn-back); color: var(--warn); }
.bad { background: var(--bad-back); color: var(--bad); }
.notice { border-radius: 6px; margin: .8rem 0; max-width: none; padding: .55rem .8rem; }
dl { margin: .9rem 0 0; }
dt { color: var(--soft); font-size: .85rem; margin-top: .65rem; }
dd { margin: 0; max-width: 48rem; }
ul, ol { margin: .2rem 0; padding-left: 1.3rem; max-width: 48rem; }
details { margin-top: .65rem; }
summary { color: var(--link); cursor: pointer; font-size: .95rem; }
table { border-collapse: collapse; font-size: .93rem; margin: .3rem 0; width: 100%; }
caption { color: var(--soft); font-size: .85rem; padding: .2rem 0; text-align: left; }
th, td { border-bottom: 1px solid var(--line); padding: .35rem .9rem .35rem 0; text-align: left; vertical-align: top; }
thead th { color: var(--soft); font-size: .85rem; font-weight: 600; }
tbody th { font-weight: 600; }
.number { text-align: right; white-space: nowrap; }
thead .number { font-family: inherit; }
.stack > span { display: block; line-height: 1.4rem; }
td, tbody th { line-height: 1.4rem; }
code { white-space: nowrap; }
footer { color: var(--soft); font-size: .9rem; margin-top: 2rem; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
@media (max-width: 46rem) {
  body { padding: 1rem .8rem 3rem; }
  article { padding: .9rem .9rem 1.1rem; }
  table, tbody, tr, th, td, caption { display: block; }
  thead { clip-path: inset(50%); height: 1px; overflow: hidden; position: absolute; width: 1px; }
  tr { border-bottom: 1px solid var(--line); padding: .5rem 0; }
  th, td, .number { border: 0; padding: .08rem 0; text-align: left; white-space: normal; }
  td { display: grid; gap: .6rem; grid-template-columns: 6.8rem minmax(0, 1fr); }
  td::before { color: var(--soft); content: attr(data-label); font: .85rem/1.7 system-ui, sans-serif; }
  td:empty { display: none; }
  .stack { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); }
}
@media print { article { break-inside: avoid; } body { max-width: none; } }
"""
