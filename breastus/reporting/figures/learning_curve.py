"""The figure of a learning curve: rows as from `learning_curve` in, a matplotlib figure out."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from breastus.reporting.figures.style import COLORS, STYLE

_PANELS = (("log_loss", "Log loss"), ("brier", "Brier score"), ("ece", "Calibration error"))


def plot_learning_curve(rows: list[dict[str, Any]], *, images: int) -> Figure:
    """Draw what recalibration with more and more images comes to; lower is better in each panel.

    The dashed line is the model as it came. Bars hold eight of ten draws. Sizes that are undefined
    have no point.

    Args:
        rows: as from `learning_curve`, or as JSON gives them back.
        images: the size that was used, whose point is filled.
    """
    came, *sizes = rows
    sizes = [row for row in sizes if row["log_loss"] is not None and np.isfinite(row["log_loss"])]
    x = np.array([row["images"] for row in sizes], float)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10.4, 3.5), layout="constrained")
        for axis, (name, title) in zip(figure.subplots(1, 3), _PANELS, strict=True):
            axis.axhline(came[name], color=COLORS["grey"], ls="--", lw=1.2, label="as it came")
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
                    mfc="white",
                    lw=1.8,
                    elinewidth=1.1,
                    capsize=3,
                    label="recalibrated; eight of ten draws",
                )
                used = x == images
                axis.plot(
                    x[used], value[used], "o", color=COLORS["lump"], zorder=5, label="as used here"
                )
                axis.set_xscale("log")
                axis.set_xticks(x, [f"{size:.0f}" for size in x])
                axis.xaxis.set_minor_locator(NullLocator())
                axis.set_xlim(x[0] / 1.4, x[-1] * 1.4)
            axis.set_ylim(bottom=0)
            axis.set_title(title)
            axis.set_xlabel("labelled images of the new hospital")
        handles, labels = axis.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure
