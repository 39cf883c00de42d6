"""The geometry of a ridge plot: values by row in, positions for an inline drawing out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WIDTH, ROW, AXIS = 400, 44, 26  # in units of the view box
_BINS = 60
_KERNEL = np.exp(-0.5 * (np.arange(-4, 5) / 1.6) ** 2)  # smooths the outline


@dataclass(frozen=True, kw_only=True)
class Ridge:
    """One row of a ridge plot.

    Attributes:
        name: name of the row.
        css: class that colours it.
        count: number of values.
        base: y of the line that the outline stands on.
        outline: path of the outline.
        quartiles: x of the first quartile, the median and the third quartile.
        median: the median as text.
    """

    name: str
    css: str
    count: int
    base: float
    outline: str
    quartiles: tuple[float, float, float]
    median: str


@dataclass(frozen=True, kw_only=True)
class RidgePlot:
    """How a number is distributed, one outline for each row over a common axis.

    Attributes:
        title: what the number measures.
        height: height of the view box; its width is `WIDTH`.
        ticks: (x, text, text anchor) of each tick.
        rows: the outlines; none if all values are equal.
        constant: the value as text if all values are equal, else "".
    """

    title: str
    height: int = 0
    ticks: tuple[tuple[float, str, str], ...] = ()
    rows: tuple[Ridge, ...] = ()
    constant: str = ""


def ridge_plot(
    title: str, rows: Sequence[tuple[str, str, np.ndarray]], form: str = "{:.0f}"
) -> RidgePlot:
    """Return the geometry of a ridge plot.

    Args:
        title: what the number measures.
        rows: (name, CSS class, finite values) of each row, each with at least one value.
        form: format of a value.
    """
    everything = np.concatenate([np.asarray(values, float) for _, _, values in rows])
    if everything.min() == everything.max():
        return RidgePlot(title=title, constant=form.format(everything[0]))
    # A few extreme values would squeeze the others into a corner; they end at the border.
    low, high = np.quantile(everything, [0.005, 0.995])
    if high <= low:
        low, high = everything.min(), everything.max()
    margin = 0.04 * (high - low)
    low, high = low - margin, high + margin

    def x(value: float) -> float:
        return round(float(np.clip((value - low) / (high - low), 0, 1) * WIDTH), 1)

    # Where the format has too few digits, neighbouring ticks would read the same.
    ticks = {form.format(tick): x(tick) for tick in _ticks(low, high)}
    ridges = []
    for number, (name, css, values) in enumerate(rows):
        base = (number + 1) * ROW - 6
        quartiles = np.quantile(values, [0.25, 0.5, 0.75])
        ridges.append(
            Ridge(
                name=name,
                css=css,
                count=len(values),
                base=base,
                outline=_outline(np.clip(values, low, high), low, high, base),
                quartiles=tuple(map(x, quartiles)),
                median=form.format(quartiles[1]),
            )
        )
    return RidgePlot(
        title=title,
        height=len(rows) * ROW + AXIS,
        ticks=tuple((at, text, _anchor(at)) for text, at in ticks.items()),
        rows=tuple(ridges),
    )


def _outline(values: np.ndarray, low: float, high: float, base: float) -> str:
    counts, edges = np.histogram(values, _BINS, (low, high))
    smooth = np.convolve(counts, _KERNEL / _KERNEL.sum(), "same")
    y = base - 4 - (ROW - 22) * smooth / smooth.max()
    x = WIDTH * (edges[:-1] + edges[1:] - 2 * low) / (2 * (high - low))
    points = " ".join(f"L{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True))
    return f"M0 {base - 4}{points} L{WIDTH} {base - 4}Z"


def _ticks(low: float, high: float) -> np.ndarray:
    """Return four to seven round numbers within a range."""
    raw = (high - low) / 5
    power = 10.0 ** np.floor(np.log10(raw))
    step = power * next(m for m in (1, 2, 2.5, 5, 10) if m * power >= raw)
    return np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step


def _anchor(at: float) -> str:
    return "start" if at < 14 else "end" if at > WIDTH - 14 else "middle"
