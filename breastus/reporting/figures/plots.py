"""Figures of a judged run: predictions and metrics in, matplotlib figures or PNG files out."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from breastus.evaluation.calibration.reliability import expected_calibration_error, reliability
from breastus.evaluation.intervals.bootstrap import resample_weights
from breastus.evaluation.intervals.proportions import wilson_interval
from breastus.evaluation.predictions import truth_and_probability
from breastus.labels import LABELS, LUMP, NO_LUMP
from breastus.reporting.figures.style import COLORS, STYLE
from breastus.reporting.figures.subgroups import plot_subgroups
from breastus.utils.files import write_aside

_NAMES = {"lump": "lump", "no_lump": "no lump"}
_RESAMPLES = 500  # of the bands


def save_figures(
    folder: Path,
    *,
    metrics: dict[str, Any],
    predictions: dict[str, pd.DataFrame],
    history: pd.DataFrame | None = None,
    seed: int = 0,
) -> dict[str, Path]:
    """Write every figure as PNG.

    Args:
        folder: for the files.
        metrics: as from `breastus.evaluation.evaluate_predictions`.
        predictions: split to predictions table, "test" among them.
        history: of the training, where there was one.
        seed: of the bands.

    Returns:
        Caption to file, in the order in which a report shows them.
    """
    test = predictions["test"]
    drawn = {
        "confusion": (
            "What the test images are, and what they were called",
            plot_confusion(metrics),
        ),
        "roc": ("ROC curve", plot_roc(test, metrics, seed=seed)),
        "precision_recall": ("Precision and recall of both classes", plot_pr(test, metrics)),
        "scores": ("Probability of lump by finding", plot_scores(test, metrics["threshold"])),
        "reliability": ("Said and so, before and after calibration", plot_reliability(test)),
        "decision_curve": ("What acting on it is worth", plot_decision_curve(metrics)),
        "subgroups": ("Parts of the test images", plot_subgroups(metrics["subgroups"])),
    }
    if history is not None:
        drawn["history"] = ("Training", plot_history(history))
    files = {}
    for name, (caption, figure) in drawn.items():
        files[caption] = save_figure(figure, folder / f"{name}.png")
    return files


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all; return the file."""
    with write_aside(path) as aside:
        figure.savefig(aside, dpi=150)
    return path


def plot_confusion(metrics: dict[str, Any], split: str = "test") -> Figure:
    """Draw the confusion matrix: counts, their intervals, and the share of each row."""
    part = metrics[split]
    matrix = np.array(part["confusion_matrix"])
    low, high = (np.array(part[f"confusion_matrix_ci_{end}"], float) for end in ("low", "high"))
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    text = np.empty((2, 2), object)
    for cell in np.ndindex(2, 2):
        bounds = "" if np.isnan(low[cell]) else f"\n{low[cell]:.0f} to {high[cell]:.0f}"
        text[cell] = f"{matrix[cell]}\n{share[cell]:.0%} of the row{bounds}"
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 3.8), layout="constrained")
        axis = figure.subplots()
        names = [_NAMES[label] for label in LABELS]
        sns.heatmap(
            share,
            annot=text,
            fmt="",
            cmap="Blues",
            vmin=0,
            vmax=1,
            cbar=False,
            square=True,
            linewidths=3,
            xticklabels=names,
            yticklabels=names,
            ax=axis,
        )
        axis.set_xlabel("called")
        axis.set_ylabel("is")
        axis.set_title(f"{part['n']} {split} images")
    return figure


def plot_roc(table: pd.DataFrame, metrics: dict[str, Any], *, seed: int = 0) -> Figure:
    """Draw the ROC curve with a band of bootstrap resamples by group, and the operating point."""
    y_true, y_prob = truth_and_probability(table)
    with mpl.rc_context(STYLE):
        figure, axis = _square()
        axis.plot([0, 1], [0, 1], ls=":", color=COLORS["grey"], lw=1, label="guessing")
        if 0 < y_true.sum() < len(y_true):
            grid = np.linspace(0, 1, 101)
            weights = resample_weights(table["group_id"], resamples=_RESAMPLES, seed=seed)
            curves = [
                np.interp(grid, *_roc_points(y_true, y_prob, weight))
                for weight in weights
                if (weight * y_true).any() and (weight * (1 - y_true)).any()
            ]
            low, high = np.quantile(curves, [0.025, 0.975], axis=0)
            axis.fill_between(grid, low, high, color=COLORS["lump"], alpha=0.15, lw=0)
            false_alarms, found = _roc_points(y_true, y_prob, np.ones(len(y_true)))
            axis.plot(false_alarms, found, color=COLORS["lump"], lw=2)
            called = y_prob >= metrics["threshold"]
            axis.plot(
                called[y_true == NO_LUMP].mean(),
                called[y_true == LUMP].mean(),
                "o",
                color="black",
                label=f"threshold {metrics['threshold']:.3g}",
            )
        axis.set_xlabel("1 − specificity")
        axis.set_ylabel("sensitivity")
        axis.set_title(f"ROC-AUC {_entry(metrics['test']['roc_auc'])}")
        axis.legend(loc="lower right", frameon=True)
    return figure


def plot_pr(table: pd.DataFrame, metrics: dict[str, Any]) -> Figure:
    """Draw precision over recall for both classes; dashed lines are what guessing gives."""
    y_true, y_prob = truth_and_probability(table)
    with mpl.rc_context(STYLE):
        figure, axis = _square()
        for label, truth, score in (
            ("lump", y_true, y_prob),
            ("no_lump", 1 - y_true, -y_prob),
        ):
            if not truth.any():
                continue
            order = np.argsort(-score, kind="stable")
            last_of_tie = np.append(np.diff(score[order]) != 0, True)
            found = np.cumsum(truth[order])[last_of_tie]
            precision = found / (np.flatnonzero(last_of_tie) + 1)
            name = f"{_NAMES[label]}: {_entry(metrics['test'][f'pr_auc_{label}'])}"
            axis.step(
                np.append(0, found / truth.sum()),
                np.append(precision[0], precision),
                where="pre",
                color=COLORS[label],
                lw=2,
                label=name,
            )
            axis.axhline(truth.mean(), ls="--", lw=1, color=COLORS[label], alpha=0.6)
        axis.set_xlabel("recall")
        axis.set_ylabel("precision")
        axis.set_title("PR-AUC (average precision)")
        axis.legend(loc="lower left", frameon=True)
    return figure


def plot_scores(table: pd.DataFrame, threshold: float) -> Figure:
    """Draw each test image's probability of lump by its finding, with the threshold."""
    findings = [
        f for f in ("normal", "benign", "malignant", "unknown") if f in set(table["finding"])
    ]
    color = {"normal": COLORS["no_lump"]}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 3.8), layout="constrained")
        axis = figure.subplots()
        sns.stripplot(
            data=table,
            x="probability",
            y="finding",
            order=findings,
            hue="finding",
            palette={finding: color.get(finding, COLORS["lump"]) for finding in findings},
            jitter=0.3,
            size=4,
            alpha=0.6,
            legend=False,
            ax=axis,
        )
        axis.axvline(threshold, color="black", lw=1, ls="--")
        axis.set_xlim(-0.02, 1.02)
        axis.set_xlabel(f"probability of lump (called lump from {threshold:.3g})")
        axis.set_ylabel("")
        axis.set_title("One dot a test image")
    return figure


def plot_reliability(
    table: pd.DataFrame,
    *,
    before: str = "before calibration",
    after: str = "after; five bins of equal count",
) -> Figure:
    """Draw the share of lumps over the mean probability in five bins of equal count.

    Args:
        table: predictions; `probability_uncalibrated`, where they hold it, is drawn in grey.
        before: label of `probability_uncalibrated`.
        after: label of `probability`.
    """
    y_true, y_prob = truth_and_probability(table)
    with mpl.rc_context(STYLE):
        figure, axis = _square()
        axis.plot([0, 1], [0, 1], ls=":", color=COLORS["grey"], lw=1, label="said = so")
        if "probability_uncalibrated" in table:
            _draw_bins(
                axis, y_true, table["probability_uncalibrated"].to_numpy(float), "grey", before
            )
        _draw_bins(axis, y_true, y_prob, "lump", after)
        axis.set_xlabel("probability of lump that was said")
        axis.set_ylabel("share that are lumps")
        axis.set_title(f"Calibration error {expected_calibration_error(y_true, y_prob):.2f}")
        axis.legend(loc="upper left", frameon=True)
    return figure


def _draw_bins(axis, y_true: np.ndarray, y_prob: np.ndarray, color: str, label: str) -> None:
    bins = reliability(y_true, y_prob)
    said = np.array([b["mean_probability"] for b in bins])
    so = np.array([b["lumps"] / b["count"] for b in bins])
    bounds = np.array([wilson_interval(b["lumps"], b["count"]) for b in bins]).reshape(-1, 2)
    axis.errorbar(
        said,
        so,
        yerr=np.abs(bounds.T - so),
        fmt="o",
        color=COLORS[color],
        alpha=0.6 if color == "grey" else 1.0,
        capsize=3,
        lw=1.2,
        label=label,
    )


def plot_decision_curve(metrics: dict[str, Any]) -> Figure:
    """Draw the net benefit of acting on the model, on every image and on none, with its band."""
    curve = {name: np.array(v, float) for name, v in metrics["test"]["decision_curve"].items()}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 3.8), layout="constrained")
        axis = figure.subplots()
        x = curve["threshold"]
        axis.fill_between(
            x, curve["model_ci_low"], curve["model_ci_high"], color=COLORS["lump"], alpha=0.15, lw=0
        )
        for name, color, label in (
            ("treat_none", "grey", "act on none"),
            ("treat_all", "no_lump", "act on all"),
            ("model", "lump", "act on the model"),
        ):
            axis.plot(
                x, curve[name], color=COLORS[color], lw=2 if name == "model" else 1.2, label=label
            )
        top = np.nanmax(np.append(curve["treat_all"], 0.1))
        axis.set_ylim(-0.25 * top, 1.1 * top)
        axis.set_xlim(0, 1)
        axis.set_xlabel("probability from which one would act")
        axis.set_ylabel("net benefit")
        axis.set_title("Is it worth acting on?")
        axis.legend(loc="lower left", frameon=True)
    return figure


def plot_history(history: pd.DataFrame) -> Figure:
    """Draw loss and accuracy over the epochs; the kept epoch has the lowest validation loss."""
    best = history.loc[history["val_loss"].idxmin(), "epoch"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.4, 3.4), layout="constrained")
        for axis, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
            marker = "o" if len(history) < 30 else None
            for column, color, label in (
                (name, COLORS["grey"], "train (augmented)"),
                (f"val_{name}", COLORS["no_lump"], "validation"),
            ):
                axis.plot(
                    history["epoch"], history[column], color=color, marker=marker, ms=3, label=label
                )
            axis.axvline(best, color="black", lw=1, ls="--", label=f"kept: epoch {best}")
            axis.set_xlabel("epoch")
            axis.xaxis.get_major_locator().set_params(integer=True)
            axis.set_title(name.capitalize())
            axis.legend(frameon=True)
    return figure


def _square():
    figure = Figure(figsize=(4.6, 3.8), layout="constrained")
    axis = figure.subplots()
    axis.set_xlim(-0.01, 1.01)
    axis.set_ylim(-0.01, 1.03)
    return figure, axis


def _roc_points(y_true, y_prob, weights) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(-y_prob, kind="stable")
    last_of_tie = np.append(np.diff(y_prob[order]) != 0, True)
    found = np.cumsum((weights * y_true)[order])[last_of_tie]
    alarms = np.cumsum((weights * (1 - y_true))[order])[last_of_tie]
    return np.append(0, alarms / alarms[-1]), np.append(0, found / found[-1])


def _entry(entry: dict[str, float]) -> str:
    if np.isnan(entry["value"]):
        return "undefined"
    if np.isnan(entry["ci_low"]):
        return f"{entry['value']:.2f}"
    return f"{entry['value']:.2f} ({entry['ci_low']:.2f} to {entry['ci_high']:.2f})"
