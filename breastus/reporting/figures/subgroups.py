"""The figure of subgroups: the result of `subgroups` in, a matplotlib figure out."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from breastus.evaluation.metrics.subgroups import SCORES
from breastus.reporting.figures.style import COLORS, NARROW, STYLE, WIDE
from breastus.reporting.format import percent

_COLORS = {
    "sensitivity": COLORS["lump"],
    "specificity": COLORS["no_lump"],
    "roc_auc": COLORS["soft"],
}
_LINE = 0.27  # inches a row

Row = tuple[str, dict[str, Any] | None]


@mpl.rc_context(STYLE)
def plot_subgroups(subgroups: dict[str, Any], *, narrow: bool = False) -> Figure:
    """Draw a forest plot: a row for each subgroup, a panel for each score.

    Lines are intervals, dots are larger where there are more groups. A dashed line shows the score
    of all images. A subgroup of too few groups has no dot. If `narrow`, the panels are below each
    other, for phones.
    """
    rows = _rows(subgroups)
    whole = subgroups["attributes"][0]["subgroups"][0]
    height = 0.5 + _LINE * len(rows)
    size, grid = ((NARROW, 3 * height + 0.6), (3, 1)) if narrow else ((WIDE, height + 0.5), (1, 3))
    figure = Figure(figsize=size, layout="constrained")
    figure.get_layout_engine().set(wspace=0.05)
    axes = figure.subplots(*grid, sharey=not narrow)
    for axis, (name, title) in zip(axes, SCORES.items(), strict=True):
        _draw(axis, name, rows, whole)
        axis.set_title(title)
        axis.set_ylim(len(rows) - 0.4, -0.6)
        axis.set_xlim(min(0.4, _lowest(rows, name) - 0.03), 1.02)
        axis.grid(False, axis="y")
        if narrow or axis is axes[0]:
            _label(axis, rows, whole)
    axes[-1].axvline(0.5, color=COLORS["soft"], ls=":", lw=1)
    axes[-1].set_xlabel("dotted: guessing (0.5)", fontsize=9)
    note = (
        f"{percent(subgroups['confidence'])} intervals.",
        "In brackets: images, groups.",
        "Dashed: all images.",
        "† one class only: ROC-AUC against all of the other.",
    )
    text = "\n".join(note) if narrow else " ".join(note)
    figure.supxlabel(text, fontsize=9, color=COLORS["soft"])
    return figure


def _rows(subgroups: dict[str, Any]) -> list[Row]:
    """Return text and scores of each row, from top to bottom; no scores for a heading."""
    rows: list[Row] = []
    for attribute in subgroups["attributes"]:
        if attribute["name"] != "all":
            rows.append((attribute["title"], None))
        for part in attribute["subgroups"]:
            mark = " †" if part["compared_with"] else ""
            title = "All images" if attribute["name"] == "all" else part["title"]
            rows.append((f"{title}{mark} ({part['n']}, {part['n_groups']})", part))
    return rows


def _label(axis: Axes, rows: list[Row], whole: dict[str, Any]) -> None:
    axis.set_yticks(range(len(rows)), [text for text, _ in rows])
    for label, (_, part) in zip(axis.get_yticklabels(), rows, strict=True):
        label.set_fontweight("normal" if part and part is not whole else "bold")
        label.set_fontsize(9)


def _draw(axis: Axes, name: str, rows: list[Row], whole: dict[str, Any]) -> None:
    for place, (_, part) in enumerate(rows):
        if not part:  # a heading
            axis.axhspan(place - 0.5, place + 0.5, color=COLORS["tint"], lw=0, zorder=0)
            continue
        value, low, high = (
            np.array(part[name][key], float) for key in ("value", "ci_low", "ci_high")
        )
        color = COLORS["ink"] if part is whole else _COLORS[name]
        axis.plot([low, high], [place, place], color=color, lw=1.6, solid_capstyle="butt")
        size = 3.5 + 4.5 * np.sqrt(part["n_groups"] / whole["n_groups"])
        axis.plot(value, place, "D" if part is whole else "o", color=color, ms=size)
        if np.isnan(value) and part[name]["reason"].count("fewer"):
            style = {"fontsize": 8.5, "color": COLORS["soft"], "ha": "center", "va": "center"}
            middle = axis.get_yaxis_transform()
            axis.text(0.5, place, "too few groups", transform=middle, **style)
    if whole[name]["value"] is not None:
        axis.axvline(whole[name]["value"], color=COLORS["ink"], ls="--", lw=0.9, zorder=1)


def _lowest(rows: list[Row], name: str) -> float:
    lows = [part[name]["ci_low"] for _, part in rows if part is not None]
    return float(np.nanmin(np.array(lows, float), initial=1.0))
