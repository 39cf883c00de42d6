"""The figure of a learning curve: rows of `learning_curve` in, a matplotlib figure out."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from breastus.reporting.figures.style import COLORS, NARROW, STYLE, WIDE
from breastus.reporting.format import is_undefined

_PANELS = (("log_loss", "Log loss"), ("brier", "Brier score"), ("ece", "Calibration error"))


@mpl.rc_context(STYLE)
def plot_learning_curve(rows: list[dict[str, Any]], *, images: int, narrow: bool = False) -> Figure:
    """Draw scores over the number of images that recalibration uses; lower is better.

    The dashed line is the model before recalibration. Bars hold eight of ten draws. Sizes that are
    undefined have no point; the point of the size that was used, `images`, is filled. If `narrow`,
    the panels are below each other, for phones.
    """
    original, *sizes = rows
    sizes = [row for row in sizes if not is_undefined(row["log_loss"])]
    x = np.array([row["images"] for row in sizes], float)
    size, grid = ((NARROW, 8.6), (3, 1)) if narrow else ((WIDE, 3.5), (1, 3))
    figure = Figure(figsize=size, layout="constrained")
    for axis, (name, title) in zip(figure.subplots(*grid), _PANELS, strict=True):
        before = float("nan") if is_undefined(original[name]) else original[name]
        axis.axhline(before, color=COLORS["soft"], ls="--", label="original model")
        if len(x):
            value, low, high = (
                np.array([row[key] for row in sizes], float)
                for key in (name, f"{name}_low", f"{name}_high")
            )
            axis.errorbar(
                x,
                value,
                yerr=[np.maximum(value - low, 0), np.maximum(high - value, 0)],
                color=COLORS["lump"],
                marker="o",
                mfc=COLORS["paper"],
                lw=1.8,
                elinewidth=1.1,
                capsize=3,
                label="recalibrated (8 of 10 draws)",
            )
            used = x == images
            style = {"color": COLORS["lump"], "zorder": 5, "label": "used here"}
            axis.plot(x[used], value[used], "o", **style)
            axis.set_xscale("log")
            axis.set_xticks(x, [f"{size:.0f}" for size in x])
            axis.xaxis.set_minor_locator(NullLocator())
            axis.set_xlim(x[0] / 1.4, x[-1] * 1.4)
        axis.set_ylim(bottom=0)
        axis.set_title(title)
        axis.set_xlabel("labelled images of the new hospital")
    handles, labels = axis.get_legend_handles_labels()
    columns = 1 if narrow else 3
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)
    return figure
