"""The figure of robustness: the result of `robustness` in, a matplotlib figure out."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from breastus.evaluation.robustness.evaluate import CALIBRATION_ERROR
from breastus.reporting.figures.style import COLORS, NARROW, STYLE
from breastus.reporting.format import percent

# What is drawn, above and below: name, label, colour.
_DRAWN = (
    ("roc_auc", "ROC-AUC", COLORS["lump"]),
    (CALIBRATION_ERROR, "calibration error", COLORS["no_lump"]),
)


@mpl.rc_context(STYLE)
def plot_robustness(robustness: dict[str, Any], *, narrow: bool = False) -> Figure:
    """Draw ROC-AUC and calibration error over severity, a pair of panels for each corruption.

    Severity 0 is the unchanged images, whose score a dashed line repeats; bands are intervals. A
    filled dot is a change of ROC-AUC beyond chance. If `narrow`, two corruptions are in a row
    instead of five, for phones.
    """
    parts = list(robustness["corruptions"].values())
    columns = min(2 if narrow else 5, len(parts))
    bands = -(-len(parts) // columns)
    width = NARROW if narrow else 1.4 + 2.1 * columns
    figure = Figure(figsize=(width, 1.0 + 3.4 * bands), layout="constrained")
    figure.get_layout_engine().set(hspace=0.06, wspace=0.04)
    for row, subfigure in enumerate(np.atleast_1d(figure.subfigures(bands, 1))):
        axes = subfigure.subplots(
            2, columns, sharex=True, sharey="row", squeeze=False, height_ratios=(3, 2)
        )
        here = parts[row * columns : (row + 1) * columns]
        for column in range(columns):
            if column < len(here):
                _draw(axes[:, column], here[column], robustness, first=column == 0)
            else:
                for axis in axes[:, column]:
                    axis.set_axis_off()
    columns = 2 if narrow else 3
    figure.legend(handles=_legend(robustness), loc="outside lower center", ncols=columns)
    return figure


def _draw(axes, part: dict[str, Any], robustness: dict[str, Any], *, first: bool) -> None:
    severity = [0, *(entry["severity"] for entry in part["severities"])]
    for axis, (name, label, color) in zip(axes, _DRAWN, strict=True):
        entries = [robustness["clean"][name], *(entry[name] for entry in part["severities"])]
        value, low, high = (
            np.array([entry[key] for entry in entries], float)  # None, as in JSON, becomes NaN
            for key in ("value", "ci_low", "ci_high")
        )
        axis.fill_between(severity, low, high, color=color, alpha=0.16, lw=0)
        axis.axhline(value[0], color=COLORS["soft"], ls="--", lw=1)
        axis.plot(severity, value, color=color, lw=1.8)
        beyond = [
            name == "roc_auc" and entry["roc_auc_significant"] for entry in part["severities"]
        ]
        for x, y, filled in zip(severity[1:], value[1:], beyond, strict=True):
            face = color if filled else COLORS["paper"]
            axis.plot(x, y, "o", ms=5, color=color, mfc=face, mew=1.4)
        axis.plot(0, value[0], "s", ms=4.5, color=COLORS["ink"])
        if first:
            axis.set_ylabel(label)
    axes[0].axhline(0.5, color=COLORS["soft"], ls=":", lw=1)
    low = np.nanmin(_every(robustness, "roc_auc", "ci_low"), initial=0.5)
    axes[0].set_ylim(max(0.0, low - 0.03), 1.02)
    high = np.nanmax(_every(robustness, CALIBRATION_ERROR, "ci_high"), initial=0.1)
    axes[1].set_ylim(0, min(1.0, 1.08 * high))
    axes[0].set_title(_two_lines(part["title"]), fontsize=10)
    values = f"{part['values'][0]:g} to {part['values'][-1]:g} {part['unit']}"
    axes[1].set_xlabel(f"severity\n({values})", fontsize=9)
    axes[1].set_xticks(severity)


def _every(robustness: dict[str, Any], name: str, key: str) -> np.ndarray:
    entries = [robustness["clean"]]
    for part in robustness["corruptions"].values():
        entries += part["severities"]
    return np.array([entry[name][key] for entry in entries], float)


def _two_lines(title: str) -> str:
    """Break a long title in two lines; each has two, so that panels stay of one height."""
    head, _, tail = title.partition(" along ")
    return f"{head}\nalong {tail}" if tail else f"{title}\n"


def _legend(robustness: dict[str, Any]) -> list[Line2D]:
    color, soft = COLORS["lump"], COLORS["soft"]
    interval = f"{percent(robustness['confidence'])} interval (bootstrap)"
    return [
        Line2D([], [], marker="s", color=COLORS["ink"], ls="", ms=4.5, label="unchanged images"),
        Line2D([], [], marker="o", color=color, ls="", label="change beyond chance"),
        Line2D([], [], marker="o", color=color, mfc=COLORS["paper"], ls="", label="may be chance"),
        Line2D([], [], color=soft, ls="--", lw=1, label="score of unchanged images"),
        Line2D([], [], color=soft, ls=":", lw=1, label="guessing"),
        Line2D([], [], color=color, alpha=0.3, lw=7, label=interval),
    ]
