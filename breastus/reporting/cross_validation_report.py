"""The report of a cross-validation: pooled metrics and predictions in, one HTML file out."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from breastus.evaluation.intervals.repeated_metrics import thresholds_of
from breastus.evaluation.metrics.metrics import METRICS
from breastus.evaluation.metrics.ranking import roc_auc
from breastus.evaluation.predictions import truth_and_probability
from breastus.reporting.decision_section import referral_section
from breastus.reporting.figures.plots import plot_reliability, plot_scores
from breastus.reporting.figures.style import COLORS, STYLE
from breastus.reporting.report import HIDDEN, cell, glossary, listing
from breastus.reporting.result_sentence import (  # alike in words
    number,
    only_answer,
    percent,
    reading,
)
from breastus.reporting.subgroups_section import subgroups_section
from breastus.utils.files import write_aside, write_text
from breastus.utils.html import page, picture, table


def write_cross_validation_report(
    folder: Path,
    *,
    metrics: dict[str, Any],
    tables: Sequence[pd.DataFrame],
    runs: Sequence[tuple[str, dict[str, Any]]],
    config: dict[str, Any],
    environment: dict[str, Any],
    notices: list[str],
    data_summary: str,
    worst: list[tuple[str, bytes, str]],
) -> None:
    """Write report.html, self-contained, and its figures.

    Args:
        folder: of the cross-validation.
        metrics: as in its metrics.json.
        tables: out-of-fold predictions, one a repeat.
        runs: name of each run's folder, and its metrics.
        config: settings of the first run.
        environment: of the first run.
        notices: texts that must not be overlooked.
        data_summary: what the manifest holds, in words.
        worst: (image id, PNG bytes, text) of the errors that every repeat makes.
    """
    figures = {
        "ROC curve of each repeat": ("roc", plot_repeats(tables)),
        "Probability of lump by finding, first repeat": (
            "scores",
            plot_scores(tables[0], float(np.median(thresholds_of(tables[0])))),
        ),
        "Said and so, before and after calibration, first repeat": (
            "reliability",
            plot_reliability(tables[0]),
        ),
    }
    drawn = ""
    for caption, (name, figure) in figures.items():
        file = folder / "figures" / f"{name}.png"
        with write_aside(file) as aside:
            figure.savefig(aside, dpi=150)
        drawn += picture(file, caption, caption)
    errors = "".join(
        picture(png, f"{title}: {text}", f"{title} — {text}") for title, png, text in worst
    )
    name = metrics["model"]
    unit = "Network" if metrics["val_rotations"] > 1 else "Fold"
    body = (
        f'<p class="answer">{escape(sentence(metrics))}</p>'
        f"<h2>Scores</h2>{_scores(metrics)}"
        f"{_first_repeat(metrics)}"
        f'<h2>Figures</h2><div class="grid">{drawn}</div>'
        f"<h2>{unit} by {unit.lower()}</h2>{_folds(runs)}"
        "<h2>The errors that every repeat makes</h2>"
        + (f'<div class="tiles">{errors}</div>' if errors else "<p>None.</p>")
        + f"<h2>Data</h2><pre>{escape(data_summary)}</pre>"
        f"<h2>How to read the scores</h2>{glossary()}"
        f"<h2>Settings and machine</h2><pre>{escape(listing(config))}</pre>"
        f"<pre>{escape(listing(environment))}</pre>"
    )
    title = f"Lump or no lump: “{name}”, cross-validated"
    write_text(folder / "report.html", page(title, body, notices=notices))


def sentence(metrics: dict[str, Any]) -> str:
    """Say the result in plain words, with intervals, and what to make of it, as of a run."""
    (cleared, alarms), (missed, found) = metrics["confusion_matrix"]  # means over repeats
    lumps, others = found + missed, cleared + alarms
    text = (
        f"Each of {metrics['n'][0]} images of {metrics['n_groups']} patients or scenes was judged "
        f"by networks that had seen nothing of its patient or scene: {_count(found)} of "
        f"{_count(lumps)} lumps were found (sensitivity {percent(metrics['sensitivity'])}) and "
        f"{_count(cleared)} of {_count(others)} images without a lump were cleared (specificity "
        f"{percent(metrics['specificity'])}). ROC-AUC {number(metrics['roc_auc'])}. "
    )
    if answer := only_answer(metrics["confusion_matrix"]):
        text += f"Every image is called {answer}: nothing is told apart. "
    part = {"roc_auc": metrics["roc_auc"], "n_no_lump": round(others)}
    return f"{text}{reading(part, metrics['confidence'])} {_how_often(metrics)}"


def _count(mean: float) -> str:
    return f"{mean:.0f}" if mean == round(mean) else f"{mean:.1f}"


def _how_often(metrics: dict[str, Any]) -> str:
    repeats, rotations = metrics["repeats"], metrics["val_rotations"]
    text = f"In {metrics['folds']} folds and {repeats} repeat"
    text += "s, of which these are means" if repeats > 1 else ""
    return f"{text}{f', {rotations} networks together each time' if rotations > 1 else ''}."


def plot_repeats(tables: Sequence[pd.DataFrame]) -> Figure:
    """Draw the ROC curve of each repeat's pooled predictions."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 3.8), layout="constrained")
        axis = figure.subplots()
        axis.plot([0, 1], [0, 1], ls=":", color=COLORS["grey"], lw=1, label="guessing")
        for number, one in enumerate(tables):
            truth, probability = truth_and_probability(one)
            order = np.argsort(-probability, kind="stable")
            last = np.append(np.diff(probability[order]) != 0, True)
            found = np.append(0, np.cumsum(truth[order])[last]) / max(1, truth.sum())
            alarms = np.append(0, np.cumsum(1 - truth[order])[last]) / max(1, (1 - truth).sum())
            area = float(roc_auc(truth, probability))
            axis.plot(
                alarms,
                found,
                color=COLORS["lump"],
                lw=1.6,
                alpha=1 - 0.6 * number / len(tables),
                label=f"repeat {number + 1}: {area:.3f}",
            )
        axis.set_xlim(-0.01, 1.01)
        axis.set_ylim(-0.01, 1.03)
        axis.set_xlabel("1 − specificity")
        axis.set_ylabel("sensitivity")
        axis.set_title("All folds pooled")
        axis.legend(loc="lower right", frameon=True)
    return figure


def _scores(metrics: dict[str, Any]) -> str:
    level = f"{100 * metrics['confidence']:.0f} %"
    each = metrics["each"]
    header = [
        "",
        f"mean over repeats ({level} interval)",
        *(f"repeat {n + 1}" for n in range(len(each))),
    ]
    rows = [
        [metric.title, cell(metrics[name]), *(f"{one[name]:.2f}" for one in each)]
        for name, metric in METRICS.items()
        if name not in HIDDEN
    ]
    rotations = metrics["val_rotations"]
    note = (
        f"What is said of an image is the mean of its fold's {rotations} networks, each with "
        "another validation part; calibration and threshold are fitted on all of these. "
        if rotations > 1
        else ""
    )
    note += (
        "Predictions of all folds of a repeat are pooled; each image is called by the threshold "
        "of its own fold. Intervals count groups (patients or scenes), alike in every repeat: of "
        f"the ROC-AUC DeLong's, of the rest by bootstrap, {metrics['resamples']} resamples. They "
        "say what other patients would have done to the mean, and not what other training images "
        f"would have. PPV and NPV are for a prevalence of {metrics['prevalence']:g}. All folds "
        f"took {metrics['minutes']:.0f} minutes {metrics['minutes_of']}."
    )
    return table(header, rows) + f'<p class="soft">{escape(note)}</p>'


def _first_repeat(metrics: dict[str, Any]) -> str:
    """Return whom it refers and who is served worse, of one repeat, as intervals are of images."""
    several = "<p>Of the first repeat.</p>" if metrics["repeats"] > 1 else ""
    parts = (
        referral_section(metrics["referral"], metrics["confidence"]),
        subgroups_section(metrics["subgroups"]),
    )
    return "".join(f"{part}{several}" for part in parts)


def _folds(runs: Sequence[tuple[str, dict[str, Any]]]) -> str:
    names = ("roc_auc", "balanced_accuracy", "sensitivity", "specificity")
    header = ["", "images", "threshold", *(METRICS[name].title for name in names)]
    rows = [
        [
            name,
            str(metrics["test"]["n"]),
            f"{metrics['threshold']:.3g}",
            *(cell(metrics["test"][metric]) for metric in names),
        ]
        for name, metrics in runs
    ]
    return table(header, rows)
