"""The style of the pages of images: rows of equal height, quiet around the images, light and dark."""

from __future__ import annotations

__all__ = ["STYLE"]

# Rows as in a photo library: each image starts at the width that it has at one height, `--row`, and the images of a row
# grow in proportion to their widths until the row is full. The space that is left of the last row goes to ::after.
STYLE = """
:root {
  color-scheme: light dark;
  --row: 220px; --gap: 20px;
  --paper: #faf9f7; --ink: #201e1b; --quiet: #6f6a62; --line: #e4e0d8; --tile: #efece6; --accent: #a8431f;
}
@media (prefers-color-scheme: dark) {
  :root { --paper: #141312; --ink: #ece8e1; --quiet: #9c968c; --line: #2e2b28; --tile: #211f1d; --accent: #f0a07c; }
}
* { box-sizing: border-box; margin: 0; padding: 0; }
body {
  background: var(--paper); color: var(--ink); max-width: 1480px; margin: 0 auto; padding: 64px 48px 96px;
  font: 14px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
header { padding-bottom: 28px; margin-bottom: 36px; border-bottom: 1px solid var(--line); }
h1 {
  font: 400 clamp(28px, 4vw, 46px)/1.15 "Iowan Old Style", "Palatino Linotype", Palatino, Georgia, serif;
  letter-spacing: -.01em; overflow-wrap: anywhere; text-wrap: balance;
}
header p, h2, .place, .score, .rest { color: var(--quiet); }
header p { margin-top: 12px; }
section + section { margin-top: 48px; }
h2 { font: inherit; margin-bottom: 14px; }
ol { list-style: none; }
.images { display: flex; flex-wrap: wrap; gap: 32px var(--gap); }
.images::after { content: ""; flex: 10000 1 0; min-width: 25%; }
.images li {
  flex: calc(10 * var(--ratio)) 1 calc(var(--ratio) * var(--row));
  min-width: 0; max-width: calc(1.8 * var(--ratio) * var(--row));
}
a { display: block; color: inherit; text-decoration: none; border-radius: 6px; }
a:focus-visible { outline: 3px solid var(--accent); outline-offset: 6px; }
img, .none { display: block; width: 100%; aspect-ratio: var(--ratio); border-radius: 4px; background: var(--tile); }
img { height: auto; object-fit: cover; transition: filter .2s; }
a:hover img { filter: brightness(1.06); }
a:hover .name { color: var(--accent); }
.none { padding: 20px; color: var(--quiet); display: grid; place-items: center; text-align: center; overflow: hidden; }
.caption { display: grid; grid-template-columns: minmax(0, 1fr) auto; column-gap: 12px; margin-top: 9px; }
.name, .place { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.name { font-weight: 500; }
.score { font-variant-numeric: tabular-nums; }
.place { grid-column: 1 / -1; font-size: 12.5px; }
.paths li { border-bottom: 1px solid var(--line); padding: 11px 0; }
.paths .caption { margin: 0; }
.paths .name, .paths .place { white-space: normal; overflow-wrap: anywhere; }
.rest { margin-top: 48px; }
@media (max-width: 600px) {
  :root { --row: 128px; --gap: 10px; }
  body { padding: 32px 16px 56px; }
  header { padding-bottom: 20px; margin-bottom: 24px; }
  .images { row-gap: 22px; }
  .images li { max-width: calc(2.8 * var(--ratio) * var(--row)); }
  .caption { margin-top: 6px; font-size: 13px; column-gap: 8px; }
}
@media (prefers-reduced-motion: reduce) { img { transition: none; } }
"""
