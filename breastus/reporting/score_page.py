"""The page of an entry to a benchmark: scores and predictions in, one HTML file out."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import breastus
from breastus.data.manifest.schema import SIMULATED, has_phantoms
from breastus.evaluation.metrics.metrics import METRICS
from breastus.evaluation.metrics.subgroups import SCORES as SUBGROUP_SCORES
from breastus.reporting import texts
from breastus.reporting.confident_errors import errors_of_all, most_confident_errors
from breastus.reporting.figures import plots
from breastus.reporting.figures.side_by_side import plot_folds, plot_side_by_side, plot_twins
from breastus.reporting.figures.style import SavedFigure, to_svg
from breastus.reporting.figures.subgroups import plot_subgroups
from breastus.reporting.notices import data_notices
from breastus.reporting.render import lines, render, sentence
from breastus.utils.files import write_text

_OTHER_NAMES = ("recall", "recall_no_lump")  # of sensitivity and specificity
# Scores that are compared with baselines.
COMPARED = ("roc_auc", "balanced_accuracy", "sensitivity", "specificity", "brier")
_DRAWN = COMPARED[:-1]


def summary(metrics: dict[str, Any]) -> str:
    """Return the result of an entry, its comparisons and what was checked, a line each."""
    return "\n".join([result(metrics), *comparisons(metrics), *checks(metrics)])


def result(metrics: dict[str, Any]) -> str:
    """Return the scores of an entry in a sentence or two."""
    return sentence("text/score_result.txt.j2", metrics=metrics)


def comparisons(metrics: dict[str, Any]) -> list[str]:
    """Return a sentence for each baseline."""
    return [
        sentence(
            "text/score_baseline.txt.j2",
            name=name,
            baseline=baseline,
            area=baseline["metrics"]["roc_auc"]["difference"],
            runs=metrics["runs"],
            level=metrics["confidence"],
        )
        for name, baseline in metrics["baselines"].items()
    ]


def checks(metrics: dict[str, Any]) -> list[str]:
    """Return what was checked of an entry, and what could not be."""
    return lines("text/score_checks.txt.j2", metrics=metrics, parts=texts.twin_parts(metrics))


def write_score_page(
    path: str | os.PathLike,
    *,
    metrics: dict[str, Any],
    tables: Sequence[pd.DataFrame],
    manifest: pd.DataFrame,
) -> None:
    """Write the page.

    Args:
        path: the HTML file.
        metrics: numbers of the entry, as from `breastus.score`.
        tables: predictions of each run.
        manifest: manifest of the images.
    """
    errors = most_confident_errors(errors_of_all(tables), manifest)
    simulated = manifest["flags"].str.split(";").map(lambda flags: SIMULATED in flags).all()
    page = render(
        "score/score.html.j2",
        title=f"“{metrics['entry']}” on {metrics['split']['name']}",
        notices=data_notices(
            phantom_images=has_phantoms(manifest), patient_images=bool(errors) and not simulated
        ),
        version=breastus.__version__,
        metrics=metrics,
        scores=metrics,
        headline=sentence(
            "text/score_headline.txt.j2", metrics=metrics, parts=texts.twin_parts(metrics)
        ),
        counts=result(metrics),
        discrimination=texts.discrimination(metrics),
        comparisons=comparisons(metrics),
        checks=checks(metrics),
        twin_parts=texts.twin_parts(metrics),
        compared=COMPARED,
        figures=_figures(metrics, tables),
        errors=errors,
        folds=metrics["runs"] > 1,  # of the part on errors: those that all runs have in common
        definitions={name: m for name, m in METRICS.items() if name not in _OTHER_NAMES},
        subgroup_scores=SUBGROUP_SCORES,
    )
    write_text(path, page)


def _figures(metrics: dict[str, Any], tables: Sequence[pd.DataFrame]) -> dict[str, SavedFigure]:
    test, several = tables[0], len(tables) > 1
    threshold = float(np.median(test["threshold"]))
    drawn = {
        "confusion": plots.plot_confusion(metrics["confusion_matrix"]),
        "scores": plots.plot_scores(test, threshold),
        "reliability": plots.plot_reliability(test, after="as handed in"),
        "precision_recall": plots.plot_precision_recall(test, metrics),
        "roc": plots.plot_repeats(tables, title="All images", one="run")
        if several
        else plots.plot_roc(test, metrics, threshold=threshold, confidence=metrics["confidence"]),
    }
    figures = {name: SavedFigure(None, to_svg(one, name)) for name, one in drawn.items()}
    if metrics["by_fold"]:
        by_fold = plot_folds(metrics["by_fold"], metrics["roc_auc"], metrics["confidence"])
        figures["by_fold"] = SavedFigure(None, to_svg(by_fold, "by_fold"))
    figures["subgroups"] = _two_widths(
        "subgroups", lambda narrow: plot_subgroups(metrics["subgroups"], narrow=narrow)
    )
    if metrics["baselines"]:
        series = {f"this entry, “{metrics['entry']}”": metrics} | {
            f"baseline: {name}": one["metrics"] for name, one in metrics["baselines"].items()
        }
        titles = {name: METRICS[name].title for name in _DRAWN}
        figures["baselines"] = _two_widths(
            "baselines", lambda narrow: plot_side_by_side(series, titles, narrow=narrow)
        )
    if parts := texts.twin_parts(metrics):
        figures["twins"] = _two_widths("twins", lambda narrow: plot_twins(parts, narrow=narrow))
    return figures


def _two_widths(name: str, draw: Callable[[bool], Figure]) -> SavedFigure:
    return SavedFigure(None, to_svg(draw(False), name), to_svg(draw(True), f"{name}-narrow"))
