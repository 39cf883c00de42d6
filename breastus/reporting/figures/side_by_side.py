"""The figure of scores side by side: a few series of scores in, a matplotlib figure out."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from breastus.reporting.figures.style import COLORS, NARROW, SMALL, STYLE, WIDE
from breastus.reporting.format import count, interval, percent

_LINE = 0.3  # inches a score of one series
_BY_TWIN = {
    "specificity": "Specificity",
    "sensitivity": "Sensitivity",
    "roc_auc": "ROC-AUC",
}
_MARKS = (("ink", "D", 7), ("soft", "o", 6.5), ("no_lump", "s", 6), ("lump", "^", 7))


@mpl.rc_context(STYLE)
def plot_side_by_side(
    series: Mapping[str, Mapping[str, Mapping[str, Any]]],
    scores: Mapping[str, str],
    *,
    narrow: bool = False,
) -> Figure:
    """Draw each score of each series with its interval, and write its value beside it.

    Args:
        series: name to scores, each with `value`, `ci_low` and `ci_high`; at most four.
        scores: key of a score to its title, from top to bottom.
        narrow: true to draw for phones, with the values below the dots.
    """
    height = 0.9 + len(scores) * (_LINE * len(series) + 0.12) + 0.22 * len(series)
    figure = Figure(figsize=(NARROW if narrow else WIDE, height), layout="constrained")
    axis = figure.subplots()
    place, ticks, low = 0.0, [], 1.0
    for score in scores:
        start = place
        for (name, entries), (color, marker, size) in zip(series.items(), _MARKS, strict=False):
            entry = entries[score]
            value, *ends = (_number(entry[key]) for key in ("value", "ci_low", "ci_high"))
            first = score == next(iter(scores))
            axis.plot(ends, [place, place], color=COLORS[color], lw=1.8, zorder=2)
            axis.plot(
                value,
                place,
                marker,
                color=COLORS[color],
                ms=size,
                zorder=3,
                label=name if first else None,
                ls="none",
                clip_on=False,
            )
            low = np.nanmin([low, value, *ends])
            text = "too few groups" if np.isnan(value) else interval(entry)
            axis.annotate(
                text,
                (1, place),
                xycoords=axis.get_yaxis_transform(),
                xytext=(8, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5 if narrow else 9.5,
                color=COLORS[color if color in ("ink", "soft") else "ink"],
            )
            place += 1
        ticks.append((start + place - 1) / 2)
        if score != next(reversed(list(scores))):
            axis.axhline(place - 0.3, color=COLORS["line"], lw=0.8)
        place += 0.4
    # Words below each other leave the dots more room.
    titles = [title.replace(" ", "\n") if narrow else title for title in scores.values()]
    axis.set_yticks(ticks, titles, fontsize=9 if narrow else None)
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(place - 0.7, -0.6)
    axis.set_xlim(max(0.0, min(0.5, np.floor(10 * (low - 0.02)) / 10)), 1.005)
    axis.grid(False, axis="y")
    figure.legend(
        loc="outside upper left", ncols=1 if narrow else len(series), frameon=False, fontsize=9.5
    )
    return figure


def plot_twins(parts: Sequence[Mapping[str, Any]], *, narrow: bool = False) -> Figure:
    """Draw the scores of test images with a twin in training, and of those without."""
    series = {f"{part['title']} ({count(part['n'], 'image')})": part for part in parts}
    return plot_side_by_side(series, _BY_TWIN, narrow=narrow)


@mpl.rc_context(STYLE)
def plot_folds(
    by_fold: Mapping[int, Mapping[str, Any]], whole: Mapping[str, Any], confidence: float
) -> Figure:
    """Draw the ROC-AUC of each fold and of all images (`whole`), with intervals."""
    figure = Figure(figsize=SMALL, layout="constrained")
    axis = figure.subplots()
    rows = [("all", whole), *((f"fold {fold}", part["roc_auc"]) for fold, part in by_fold.items())]
    low = 0.5
    for place, (_, entry) in enumerate(rows):
        value, *ends = (_number(entry[key]) for key in ("value", "ci_low", "ci_high"))
        color = COLORS["soft" if place else "ink"]
        axis.plot(ends, [place, place], color=color, lw=1.8)
        axis.plot(value, place, "o" if place else "D", color=color, ms=7)
        low = float(np.nanmin([low, *ends]))
    axis.axvline(_number(whole["value"]), color=COLORS["ink"], ls="--", lw=0.9, zorder=1)
    axis.set_yticks(range(len(rows)), [name for name, _ in rows])
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_xlim(max(0.0, np.floor(10 * low) / 10), 1.01)
    axis.grid(False, axis="y")
    axis.set_xlabel(f"ROC-AUC, {percent(confidence)} interval")
    axis.set_title("Each fold on its own")
    return figure


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)
