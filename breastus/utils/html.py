"""A self-contained HTML page: no link, no script, pictures inside; for screens and for print.

Texts are escaped here unless an argument says that it is HTML. The page is light or dark as the
reader's system is.
"""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

DISCLAIMER = "Research software, not a medical device. It must not decide anything about a patient."


class Markup(str):
    """HTML that is made already: `table` does not escape it."""


_CSS = """
:root { color-scheme: light dark; --ink: #1d2430; --soft: #5b6472; --line: #dfe3e8;
  --accent: #0b5cad; --tint: #eef4fb; --desk: #f5f6f8; --paper: #fff; --track: #e6e9ee;
  --lump: #d55e00; --no-lump: #0072b2; --lump-ink: #b34700; --no-lump-ink: #00568a;
  --good: #1a7f37; --warning: #9a6700; --alarm: #b3261e; }
@media screen and (prefers-color-scheme: dark) { :root {
  --ink: #e6e9ee; --soft: #a0a9b6; --line: #343b46;
  --accent: #6cb0ff; --tint: #1c2a3a; --desk: #0f1216; --paper: #171b21; --track: #2c333d;
  --lump: #f0883e; --no-lump: #4fa8e0; --lump-ink: #ffa45c; --no-lump-ink: #7cc0ee;
  --good: #57c972; --warning: #e0b040; --alarm: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--desk); color: var(--ink);
  font: 16px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.5rem 4rem; background: var(--paper); }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .8rem; padding-top: .8rem;
  border-top: 1px solid var(--line); }
p.soft, td.soft, figcaption, footer { color: var(--soft); font-size: .9rem; }
.answer { font-size: 1.12rem; border-left: 4px solid var(--accent); background: var(--tint);
  margin: 1.2rem 0; padding: .9rem 1.2rem; }
.answer p { margin: .5rem 0; } .answer p:first-child { margin-top: 0; }
.answer p:last-child { margin-bottom: 0; }
h3 { font-size: 1rem; margin: 1.6rem 0 .5rem; }
.notice { background: #b3261e; color: #fff; font-weight: 600; padding: .9rem 1.2rem;
  margin: 1rem 0; border-radius: 4px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .38rem .8rem .38rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
th { font-size: .85rem; color: var(--soft); font-weight: 600; }
.number { text-align: right; }
.scroll { overflow-x: auto; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(19rem, 100%), 1fr));
  gap: 1.2rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: 1rem; }
figure { margin: 0; break-inside: avoid; } figcaption { overflow-wrap: anywhere; }
figure img { max-width: 100%; display: block; }
.tiles img { width: 100%; height: 11rem; object-fit: contain; background: #000; }
.wide { grid-column: 1 / -1; }
.bar { position: relative; height: .7rem; background: var(--track); border-radius: .35rem;
  margin: .35rem 0 .2rem; }
.bar span { position: absolute; inset: 0 auto 0 0; border-radius: .35rem; }
.bar i { position: absolute; top: -.25rem; bottom: -.25rem; width: 2px; background: var(--ink); }
.lump { color: var(--lump-ink); } .bar .lump { background: var(--lump); }
.no_lump { color: var(--no-lump-ink); } .bar .no_lump { background: var(--no-lump); }
.case { display: grid; grid-template-columns: minmax(12rem, 20rem) 1fr; gap: 1.4rem;
  padding: 1.3rem 0; border-bottom: 1px solid var(--line); break-inside: avoid; }
.case h3 { margin: 0; font-size: 1.05rem; overflow-wrap: anywhere; }
.case .verdict { font-size: 1.35rem; font-weight: 700; margin: .2rem 0; }
.case img { width: 100%; background: #000; }
ul { margin: .3rem 0; padding-left: 1.2rem; }
pre { background: var(--desk); padding: .8rem 1rem; overflow-x: auto; font-size: .82rem; }
footer { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1rem; }
@media print { body, main { background: #fff; } main { max-width: none; padding: 0; } }
@media (max-width: 40rem) { .case { grid-template-columns: 1fr; }
  main { padding: 1.2rem 1rem 3rem; } }
"""


def page(title: str, body: str, *, notices: list[str], css: str = "") -> str:
    """Return a whole page.

    Args:
        title: text, escaped here.
        body: HTML, whose texts were escaped by whoever made it.
        notices: texts that must not be overlooked, shown on top.
        css: rules of this page alone, after the common ones.
    """
    boxes = "".join(f'<div class="notice" role="alert">{escape(text)}</div>' for text in notices)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_CSS}{css}</style></head><body><main>"
        f"<h1>{escape(title)}</h1>{boxes}{body}"
        f"<footer>{escape(DISCLAIMER)}</footer></main></body></html>\n"
    )


def picture(encoded: bytes | Path, alt: str, caption: str = "", *, css: str = "") -> str:
    """Return a figure with a PNG or JPEG inside, given as bytes or as a file."""
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure class="{css}">{image(encoded, alt)}{below}</figure>'


def image(encoded: bytes | Path, alt: str) -> str:
    """Return a bare picture with a PNG or JPEG inside, given as bytes or as a file."""
    data = encoded if isinstance(encoded, bytes) else encoded.read_bytes()
    kind = "jpeg" if data.startswith(b"\xff\xd8") else "png"
    return (
        f'<img alt="{escape(alt)}" '
        f'src="data:image/{kind};base64,{base64.b64encode(data).decode()}">'
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int | None = None) -> str:
    """Return a table.

    Args:
        header: of the columns.
        rows: of texts, or of `Markup`.
        texts: how many columns hold text; the others hold numbers, which stand to the right, and
            the table scrolls where it is too wide. None: all hold text.
    """
    head = "".join(f"<th{_align(texts, i)}>{_cell(cell)}</th>" for i, cell in enumerate(header))
    body = "".join(
        "<tr>"
        + "".join(f"<td{_align(texts, i)}>{_cell(cell)}</td>" for i, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    made = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll">{made}</div>' if texts is not None else made


def _cell(text: str) -> str:
    return text if isinstance(text, Markup) else escape(text)


def _align(texts: int | None, column: int) -> str:
    return "" if texts is None or column < texts else ' class="number"'
