"""Drawings as inline SVG that take their colours from the page, light or dark."""

from collections.abc import Sequence
from html import escape

import numpy as np

_WIDTH, _ROW, _AXIS = 400, 44, 26  # in units of the view box
_BINS = 60
_KERNEL = np.exp(-0.5 * (np.arange(-4, 5) / 1.6) ** 2)  # smooths the outline


def ridges(title: str, rows: Sequence[tuple[str, str, np.ndarray]], layout: str = "{:.0f}") -> str:
    """Draw how a number is distributed, one outline a row over a common axis.

    Under each outline lie the middle half of the values (bar) and their median (mark).

    Args:
        title: what the number is.
        rows: (name, colour as CSS, finite values); a row without values is left empty.
        layout: how a value is printed.
    """
    everything = np.concatenate([np.asarray(values, float) for _, _, values in rows])
    if not everything.size:
        return ""
    caption = f"<figcaption>{escape(title)}</figcaption>"
    if everything.min() == everything.max():
        same = escape(f"{layout.format(everything[0])} for all of them")
        return f'<figure class="drawing">{caption}<p>{same}</p></figure>'
    # A few far values would press all others into a corner; they end at the border.
    low, high = np.quantile(everything, [0.005, 0.995])
    if high <= low:
        low, high = everything.min(), everything.max()
    margin = 0.04 * (high - low)
    low, high = low - margin, high + margin
    height = len(rows) * _ROW + _AXIS

    def x(value: float) -> float:
        return float(np.clip((value - low) / (high - low), 0, 1) * _WIDTH)

    marks = []
    # Where the layout has too few digits, neighbouring ticks would read the same.
    for text, tick in {layout.format(tick): tick for tick in _ticks(low, high)}.items():
        at = x(tick)
        marks.append(
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{height - _AXIS + 4}" '
            'stroke="var(--line)"/>'
            f'<text x="{at:.1f}" y="{height - 6}" text-anchor="{_anchor(at)}" '
            f'fill="var(--soft)">{text}</text>'
        )
    said = []
    for number, (name, color, values) in enumerate(rows):
        base = (number + 1) * _ROW - 6
        if len(values):
            outline = _outline(np.clip(values, low, high), low, high, base)
            first, middle, third = np.quantile(values, [0.25, 0.5, 0.75])
            said.append(f"{name}: median {layout.format(middle)}")
            marks.append(
                f'<path d="{outline}" fill="{color}" fill-opacity=".28" stroke="{color}"/>'
                f'<rect x="{x(first):.1f}" y="{base - 1}" '
                f'width="{max(x(third) - x(first), 1):.1f}" height="4" rx="2" fill="{color}"/>'
                f'<rect x="{x(middle) - 1:.1f}" y="{base - 4}" width="2.5" height="10" '
                'fill="var(--ink)"/>'
            )
        marks.append(
            f'<text x="0" y="{base - _ROW + 18}" fill="var(--ink)">{escape(name)}'
            f'<tspan fill="var(--soft)"> {len(values):,}</tspan></text>'
        )
    return (
        f'<figure class="drawing">{caption}<svg viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}. {escape("; ".join(said))}">{"".join(marks)}</svg></figure>'
    )


def interval_strip(
    value: float, low: float, high: float, *, centre: float, span: float, alarming: bool
) -> str:
    """Draw a value and its interval on a line whose middle is "no difference".

    Args:
        value: where the dot is; nothing is drawn for NaN.
        low: of the interval; NaN for none.
        high: of the interval.
        centre: value of the middle.
        span: distance from the middle to either end.
        alarming: whether to draw it in the colour of warnings.
    """
    if value != value:
        return ""
    ends = (value, value) if low != low else (low, high)
    x, first, last = (
        100 + 100 * float(np.clip((at - centre) / span, -0.98, 0.98)) for at in (value, *ends)
    )
    color = "var(--warning)" if alarming else "var(--soft)"
    return (
        '<svg class="strip-line" viewBox="0 0 200 18" aria-hidden="true">'
        '<line x1="0" x2="200" y1="9" y2="9" stroke="var(--line)"/>'
        '<line x1="100" x2="100" y1="1" y2="17" stroke="var(--soft)"/>'
        f'<line x1="{first:.1f}" x2="{last:.1f}" y1="9" y2="9" stroke="{color}" stroke-width="3"/>'
        f'<circle cx="{x:.1f}" cy="9" r="4.5" fill="{color}"/></svg>'
    )


def _outline(values: np.ndarray, low: float, high: float, base: float) -> str:
    counts, edges = np.histogram(values, _BINS, (low, high))
    smooth = np.convolve(counts, _KERNEL / _KERNEL.sum(), "same")
    y = base - 4 - (_ROW - 22) * smooth / smooth.max()
    x = _WIDTH * (edges[:-1] + edges[1:] - 2 * low) / (2 * (high - low))
    points = " ".join(f"L{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True))
    return f"M0 {base - 4}{points} L{_WIDTH} {base - 4}Z"


def _ticks(low: float, high: float) -> np.ndarray:
    """Return four to seven round numbers within a range."""
    raw = (high - low) / 5
    power = 10.0 ** np.floor(np.log10(raw))
    step = power * next(m for m in (1, 2, 2.5, 5, 10) if m * power >= raw)
    return np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step


def _anchor(at: float) -> str:
    return "start" if at < 14 else "end" if at > _WIDTH - 14 else "middle"
