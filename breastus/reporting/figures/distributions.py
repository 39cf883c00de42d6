"""The figure of distributions: values of groups of images in, a figure out."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from scipy.ndimage import gaussian_filter1d

from breastus.reporting.figures.style import COLORS, NARROW, STYLE

_BINS = 60


@mpl.rc_context(STYLE)
def plot_distributions(rows: Sequence[tuple[str, str, np.ndarray]], *, form: str) -> Figure:
    """Draw one smoothed histogram for each group over a common axis.

    The bar below an outline is the middle half of the values, its mark the median.

    Args:
        rows: (name, name of a colour, finite values) of each group, each with at least one value.
        form: format of a value.
    """
    everything = np.concatenate([values for _, _, values in rows])
    # A few extreme values would squeeze the others into a corner; they end at the border.
    low, high = np.quantile(everything, [0.005, 0.995])
    if high <= low:
        low, high = everything.min(), everything.max()
    figure = Figure(figsize=(NARROW, 0.4 + 0.6 * len(rows)), layout="constrained")
    axis = figure.subplots()
    for place, (_, name, values) in enumerate(rows):
        color = COLORS[name]
        counts, edges = np.histogram(np.clip(values, low, high), _BINS, (low, high))
        smooth = gaussian_filter1d(counts.astype(float), 1.6)
        outline = place - 0.75 * smooth / smooth.max()
        x = (edges[:-1] + edges[1:]) / 2
        axis.fill_between(x, place, outline, color=color, alpha=0.28, lw=0)
        axis.plot(x, outline, color=color, lw=1.2)
        first, median, third = np.quantile(values, [0.25, 0.5, 0.75])
        axis.plot([first, third], [place, place], color=color, lw=3.5)
        axis.plot(median, place, "|", color=COLORS["ink"], ms=9, mew=2)
    names = [f"{name} ({len(values):,})" for name, _, values in rows]
    axis.set_yticks(range(len(rows)), names)
    axis.set_ylim(len(rows) - 0.75, -0.85)
    axis.grid(False, axis="y")
    axis.spines["left"].set_visible(False)
    axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: form.format(value)))
    return figure
