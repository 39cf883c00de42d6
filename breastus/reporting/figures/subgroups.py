"""The figure of subgroups: the result of `subgroups` in, a matplotlib figure out."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from breastus.evaluation.metrics.subgroups import SCORES
from breastus.reporting.figures.style import COLORS, STYLE

_COLORS = {
    "sensitivity": COLORS["lump"],
    "specificity": COLORS["no_lump"],
    "roc_auc": "#3a3f47",
}
_LINE = 0.27  # inches a row


def plot_subgroups(subgroups: dict[str, Any]) -> Figure:
    """Draw a forest plot: a row a part, a panel a score, the whole as a dashed line.

    Lines are intervals, dots are larger where there are more groups; where there is no dot, there
    are too few.

    Args:
        subgroups: as from `subgroups`, or as JSON gives it back.
    """
    rows = _rows(subgroups)
    whole = subgroups["families"][0]["parts"][0]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10.4, 1.0 + _LINE * len(rows)), layout="constrained")
        figure.get_layout_engine().set(wspace=0.05)
        axes = figure.subplots(1, len(SCORES), sharey=True)
        for axis, (name, title) in zip(axes, SCORES.items(), strict=True):
            _draw(axis, name, rows, whole)
            axis.set_title(title)
            axis.set_ylim(len(rows) - 0.4, -0.6)
            axis.set_xlim(min(0.4, _lowest(rows, name) - 0.03), 1.02)
            axis.grid(False, axis="y")
        axes[-1].axvline(0.5, color=COLORS["grey"], ls=":", lw=1)
        axes[-1].set_xlabel("guessing: 0.5", fontsize=8.5)
        axes[0].set_yticks(range(len(rows)), [text for text, _ in rows])
        for label, (_, part) in zip(axes[0].get_yticklabels(), rows, strict=True):
            label.set_fontweight("bold" if part is None or part is whole else "normal")
            label.set_fontsize(9)
        level = f"{100 * subgroups['confidence']:.0f} %"
        figure.supxlabel(
            f"{level} intervals. In brackets images and groups. † of one class: ROC-AUC against "
            "all of the other. Dashed: all images.",
            fontsize=8.5,
            color="#5b6472",
        )
    return figure


def _rows(subgroups: dict[str, Any]) -> list[tuple[str, dict[str, Any] | None]]:
    """Return text and part of each row, from top to bottom; no part for a heading."""
    rows: list[tuple[str, dict[str, Any] | None]] = []
    for family in subgroups["families"]:
        if family["name"] != "all":
            rows.append((family["title"], None))
        for part in family["parts"]:
            mark = " †" if part["against"] else ""
            title = "All images" if family["name"] == "all" else part["title"]
            rows.append((f"{title}{mark} ({part['n']}, {part['n_groups']})", part))
    return rows


def _draw(axis, name: str, rows, whole: dict[str, Any]) -> None:
    for place, (_, part) in enumerate(rows):
        if part is None:
            axis.axhspan(place - 0.5, place + 0.5, color="#f1f3f6", lw=0, zorder=0)
            continue
        value, low, high = (
            np.array(part[name][key], float) for key in ("value", "ci_low", "ci_high")
        )
        color = "black" if part is whole else _COLORS[name]
        axis.plot([low, high], [place, place], color=color, lw=1.6, solid_capstyle="butt")
        size = 3.5 + 4.5 * np.sqrt(part["n_groups"] / whole["n_groups"])
        axis.plot(value, place, "D" if part is whole else "o", color=color, ms=size)
        if np.isnan(value) and part[name]["reason"].count("fewer"):
            style = {"fontsize": 8, "color": COLORS["grey"], "ha": "center", "va": "center"}
            middle = axis.get_yaxis_transform()
            axis.text(0.5, place, "too few groups", transform=middle, **style)
    if whole[name]["value"] is not None:
        axis.axvline(whole[name]["value"], color="black", ls="--", lw=0.9, zorder=1)


def _lowest(rows, name: str) -> float:
    lows = [part[name]["ci_low"] for _, part in rows if part is not None]
    return float(np.nanmin(np.array(lows, float), initial=1.0))
