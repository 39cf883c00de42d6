"""Figures of predictions and their metrics: tables in, matplotlib figures out."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from sklearn.metrics import precision_recall_curve, roc_curve

from breastus.evaluation.calibration.reliability import reliability
from breastus.evaluation.intervals.bootstrap import resample_weights
from breastus.evaluation.intervals.proportions import wilson_interval
from breastus.evaluation.metrics.metrics import roc_auc
from breastus.evaluation.predictions import truth_and_probability
from breastus.labels import FINDINGS, LABELS, LUMP, NO_LUMP
from breastus.reporting.figures.style import COLORS, NARROW, SMALL, STYLE
from breastus.reporting.format import count, interval, percent, short, words
from breastus.runs.run import kept_epoch

_RESAMPLES = 500  # of the bands
_GUESSING = {"ls": ":", "color": COLORS["soft"], "lw": 1, "label": "guessing"}


@mpl.rc_context(STYLE)
def plot_confusion(matrix: Sequence[Sequence[float]], classes: Sequence[str] = LABELS) -> Figure:
    """Draw a confusion matrix of counts or mean counts, rows actual, and the share of each row."""
    matrix = np.array(matrix)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    names, size = [words(name) for name in classes], len(classes)
    figure = Figure(figsize=SMALL, layout="constrained")
    axis = figure.subplots()
    for row, column in np.ndindex(size, size):
        color = COLORS["no_lump" if row == column else "lump"]
        shade = 0.06 + 0.5 * share[row, column]
        box = (column + 0.02, row + 0.02), 0.96, 0.96
        axis.add_patch(Rectangle(*box, facecolor=color, alpha=shade, lw=0))
        place = {"ha": "center", "va": "center"}
        axis.text(column + 0.5, row + 0.44, count(matrix[row, column]), fontsize=38 / size, **place)
        of = f"{percent(share[row, column])} of {names[row]}"
        axis.text(column + 0.5, row + 0.68, of, fontsize=9.5 if size == 2 else 7.5, **place)
    axis.set(xlim=(0, size), ylim=(size, 0), xlabel="predicted", ylabel="actual")
    middles = np.arange(size) + 0.5
    axis.set_xticks(middles, names)
    axis.set_yticks(middles, names, rotation=90, va="center")
    axis.grid(False)
    axis.spines[:].set_visible(False)
    axis.set_title(f"{count(matrix.sum())} images")
    return figure


@mpl.rc_context(STYLE)
def plot_roc(
    table: pd.DataFrame, part: dict[str, Any], *, threshold: float, confidence: float, seed: int = 0
) -> Figure:
    """Draw the ROC curve of predictions with a pointwise band, and the operating point.

    `part` are the metrics of the predictions. The band is from bootstrap resamples of groups.
    """
    y_true, y_prob = truth_and_probability(table)
    figure, axis = _square()
    axis.plot([0, 1], [0, 1], **_GUESSING)
    if 0 < y_true.sum() < len(y_true):
        grid = np.linspace(0, 1, 101)
        weights = resample_weights(table["group_id"], resamples=_RESAMPLES, seed=seed)
        curves = [
            np.interp(grid, *roc_curve(y_true, y_prob, sample_weight=weight)[:2])
            for weight in weights
            if (weight * y_true).any() and (weight * (1 - y_true)).any()
        ]
        tail = (1 - confidence) / 2
        low, high = np.quantile(curves, [tail, 1 - tail], axis=0)
        _band(axis, grid, low, high, confidence)
        axis.plot(*roc_curve(y_true, y_prob)[:2], color=COLORS["lump"], lw=2)
        called = y_prob >= threshold
        axis.plot(
            called[y_true == NO_LUMP].mean(),
            called[y_true == LUMP].mean(),
            "o",
            color=COLORS["ink"],
            label=f"threshold {short(threshold)}",
        )
    axis.set(xlabel="1 − specificity", ylabel="sensitivity")
    axis.set_title(f"ROC-AUC {interval(part['roc_auc'])}")
    axis.legend(loc="lower right")
    return figure


@mpl.rc_context(STYLE)
def plot_repeats(
    tables: Sequence[pd.DataFrame], *, title: str = "All folds pooled", one: str = "repeat"
) -> Figure:
    """Draw the ROC curve of each repeat of a cross-validation, all folds pooled.

    `title` and `one`, what a table is called, are texts of the figure.
    """
    figure, axis = _square()
    axis.plot([0, 1], [0, 1], **_GUESSING)
    for number, table in enumerate(tables):
        truth, probability = truth_and_probability(table)
        if not 0 < truth.sum() < len(truth):
            continue
        axis.plot(
            *roc_curve(truth, probability)[:2],
            color=COLORS["lump"],
            lw=1.6,
            alpha=1 - 0.6 * number / len(tables),
            label=f"{one} {number + 1}: {roc_auc(truth, probability):.3f}",
        )
    axis.set(xlabel="1 − specificity", ylabel="sensitivity")
    axis.set_title(title)
    axis.legend(loc="lower right")
    return figure


@mpl.rc_context(STYLE)
def plot_precision_recall(table: pd.DataFrame, part: dict[str, Any]) -> Figure:
    """Draw precision over recall for both classes; dashed lines show what guessing gives."""
    y_true, y_prob = truth_and_probability(table)
    figure, axis = _square()
    for label, truth, score in (("lump", y_true, y_prob), ("no_lump", 1 - y_true, -y_prob)):
        if not truth.any():
            continue
        precision, recall, _ = precision_recall_curve(truth, score)
        precision[-1] = precision[-2]  # not the 1 that scikit-learn adds
        axis.step(
            recall,
            precision,
            where="post",
            color=COLORS[label],
            lw=2,
            label=f"{words(label)}: {interval(part[f'pr_auc_{label}'])}",
        )
        axis.axhline(truth.mean(), ls="--", lw=1, color=COLORS[label], alpha=0.6)
    axis.set(xlabel="recall", ylabel="precision")
    axis.set_title("PR-AUC (average precision)")
    axis.legend(loc="lower left")
    return figure


@mpl.rc_context(STYLE)
def plot_scores(table: pd.DataFrame, threshold: float, *, seed: int = 0) -> Figure:
    """Draw the predicted probability of each image by its finding, with the threshold."""
    rows = table.assign(finding=table["finding"].where(table["finding"] != "", "unknown"))
    findings = [name for name in FINDINGS if (rows["finding"] == name).any()]
    rng = np.random.default_rng(seed)
    figure = Figure(figsize=SMALL, layout="constrained")
    axis = figure.subplots()
    for place, finding in enumerate(findings):
        of_finding = rows[rows["finding"] == finding]
        for label, part in of_finding.groupby("label"):
            axis.plot(
                part["probability"],
                place + rng.uniform(-0.3, 0.3, len(part)),
                "o",
                color=COLORS[label],
                alpha=0.55,
                ms=4,
                mew=0,
            )
    axis.axvline(threshold, color=COLORS["ink"], lw=1, ls="--")
    axis.set_yticks(range(len(findings)), findings)
    axis.grid(False, axis="y")
    axis.set(xlim=(-0.02, 1.02), ylim=(len(findings) - 0.5, -0.5))
    axis.set_xlabel(f"predicted probability (threshold {short(threshold)})")
    axis.set_title("One dot per image")
    return figure


@mpl.rc_context(STYLE)
def plot_reliability(
    table: pd.DataFrame, *, before: str = "before calibration", after: str = "after calibration"
) -> Figure:
    """Draw the observed share of lumps over the mean probability in five bins of equal count.

    `before` is the label of `probability_uncalibrated`, if there is one, `after` of `probability`.
    """
    y_true, y_prob = truth_and_probability(table)
    figure, axis = _square()
    axis.plot([0, 1], [0, 1], **_GUESSING | {"label": "perfect calibration"})
    if "probability_uncalibrated" in table:
        _draw_bins(axis, y_true, table["probability_uncalibrated"].to_numpy(float), "soft", before)
    _draw_bins(axis, y_true, y_prob, "lump", after)
    axis.set(xlabel="predicted probability", ylabel="observed share of lumps")
    axis.set_title("Five bins of equal count")  # the page has the error, less its noise
    axis.legend(loc="upper left")
    return figure


def _draw_bins(axis: Axes, y_true: np.ndarray, y_prob: np.ndarray, color: str, label: str) -> None:
    bins = reliability(y_true, y_prob)
    observed = np.array([b["lumps"] / b["count"] for b in bins])
    bounds = np.array([wilson_interval(b["lumps"], b["count"]) for b in bins]).reshape(-1, 2)
    axis.errorbar(
        [b["mean_probability"] for b in bins],
        observed,
        yerr=np.abs(bounds.T - observed),
        fmt="s" if color == "soft" else "o",
        color=COLORS[color],
        alpha=0.6 if color == "soft" else 1.0,
        capsize=3,
        lw=1.2,
        label=label,
    )


@mpl.rc_context(STYLE)
def plot_decision_curve(
    curve: dict[str, Sequence[float]], *, prevalence: float, confidence: float
) -> Figure:
    """Draw the net benefit of acting on the model, on every image and on none, with its band."""
    values = {name: np.array(column, float) for name, column in curve.items()}
    x = values["threshold"]
    figure = Figure(figsize=SMALL, layout="constrained")
    axis = figure.subplots()
    _band(axis, x, values["model_ci_low"], values["model_ci_high"], confidence)
    for name, color, label, style in (
        ("treat_none", "soft", "act on none", ":"),
        ("treat_all", "no_lump", "act on all", "--"),
        ("model", "lump", "act on the model", "-"),
    ):
        width = 2 if name == "model" else 1.3
        axis.plot(x, values[name], ls=style, color=COLORS[color], lw=width, label=label)
    top = 1.05 * prevalence  # no model has a larger net benefit
    axis.set(xlim=(0, 1), ylim=(-0.25 * top, 1.1 * top))
    axis.set(xlabel="threshold probability", ylabel="net benefit")
    axis.set_title(f"Decision curve at a prevalence of {percent(prevalence)}")
    axis.legend(loc="upper right")
    return figure


@mpl.rc_context(STYLE)
def plot_history(
    history: pd.DataFrame, *, checkpoint: str = "loss", narrow: bool = False
) -> Figure:
    """Draw loss and accuracy over the epochs, and mark the epoch that was kept.

    `checkpoint` is the setting `training.checkpoint`.
    """
    best = kept_epoch(history, checkpoint)
    size, grid = ((NARROW, 6.0), (2, 1)) if narrow else ((9.2, 3.2), (1, 2))
    figure = Figure(figsize=size, layout="constrained")
    for axis, name in zip(figure.subplots(*grid), ("loss", "accuracy"), strict=True):
        marker = "o" if len(history) < 30 else None
        for column, color, label in (
            (name, COLORS["soft"], "training (augmented)"),
            (f"val_{name}", COLORS["no_lump"], "validation"),
        ):
            axis.plot(
                history["epoch"], history[column], color=color, marker=marker, ms=3, label=label
            )
        axis.axvline(best, color=COLORS["ink"], lw=1, ls="--", label=f"kept: epoch {best}")
        axis.set_xlabel("epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.set_title(name.capitalize())
        axis.legend()
    return figure


def _band(axis: Axes, x: np.ndarray, low: np.ndarray, high: np.ndarray, confidence: float) -> None:
    label = f"{percent(confidence)} band"
    axis.fill_between(x, low, high, color=COLORS["lump"], alpha=0.15, lw=0, label=label)


def _square() -> tuple[Figure, Axes]:
    figure = Figure(figsize=SMALL, layout="constrained")
    axis = figure.subplots()
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.03))
    return figure, axis
