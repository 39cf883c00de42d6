"""Scores of an entry to a benchmark: tables of predictions in, numbers with intervals out.

An entry is one model, or several runs of one recipe. `recipe_metrics` and `recipe_differences` are
the only places that decide what their intervals cover.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from breastus.errors import DataError, UndefinedMetricWarning
from breastus.evaluation.comparison.mcnemar import mcnemar
from breastus.evaluation.intervals.delong import delong_difference
from breastus.evaluation.intervals.metric_intervals import Resampled, difference_intervals
from breastus.evaluation.intervals.repeated_metrics import samples_of
from breastus.evaluation.metrics.metrics import METRICS
from breastus.evaluation.options import DEFAULTS, EvaluationOptions
from breastus.evaluation.predictions import truth_and_probability
from breastus.evaluation.validation import image_counts, with_interval

PER_FOLD = ("roc_auc", "sensitivity", "specificity", "balanced_accuracy")
COVERED = (
    "The intervals cover the choice of test images, by group (patient or scene): DeLong's for "
    "ROC-AUC, Wilson's for accuracy, sensitivity and specificity, bootstrap for the others. They "
    "do not cover another training."
)


def score_entry(
    tables: Sequence[pd.DataFrame],
    *,
    baselines: Mapping[str, pd.DataFrame] | None = None,
    options: EvaluationOptions = DEFAULTS,
) -> dict[str, Any]:
    """Score an entry, and compare it with others on the same images.

    Args:
        tables: predictions of each run, with `threshold`, all of the same images in the same order.
        baselines: name to predictions of the same images.
        options: resamples, level, prevalence and seed.

    Returns:
        The settings; `runs`; `n`, `n_groups`, `n_lump`, `n_no_lump`; `confusion_matrix` (means over
        runs); under each metric's name `value`, `ci_low`, `ci_high`; `per_run`, metrics of each
        run; `covered`, what the intervals cover; and `baselines`, as from `recipe_differences`.
    """
    with warnings.catch_warnings():
        # What is undefined is NaN, and the page says so.
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        ours = Resampled(samples_of(tables), options)
        truth, _ = truth_and_probability(tables[0])
        return {
            "prevalence": options.prevalence,
            "confidence": options.confidence,
            "resamples": options.resamples,
            "runs": len(tables),
            **image_counts(truth, tables[0]["group_id"]),
            "confusion_matrix": ours.means["confusion_matrix"].tolist(),
            **recipe_metrics(ours),
            "per_run": ours.each,
            "covered": COVERED,
            "baselines": {
                name: recipe_differences(ours, tables, table)
                for name, table in (baselines or {}).items()
            },
        }


def recipe_metrics(ours: Resampled) -> dict[str, dict[str, float]]:
    """Return `value`, `ci_low` and `ci_high` of each metric: of one model, or a mean of several."""
    intervals = ours.intervals()
    return {name: with_interval(ours.means[name], intervals[name]) for name in METRICS}


def recipe_differences(
    ours: Resampled, tables: Sequence[pd.DataFrame], other: pd.DataFrame
) -> dict[str, Any]:
    """Compare an entry with a model on the same images.

    Returns:
        `metrics`: under each name `value`, `ci_low`, `ci_high` of the other model, and
        `difference`, an entry of the same three keys, ours minus theirs. For an entry of one run
        also `delong`, whose interval is that of the ROC-AUC's difference, and `mcnemar`.

    Raises:
        DataError: if images, labels or groups differ.
    """
    first = tables[0]
    for column in ("image_id", "label", "group_id"):
        if first[column].tolist() != other[column].tolist():
            raise DataError(
                "A baseline must have the same images in the same order, with the same labels and "
                f"groups. Received: tables that differ in {column}"
            )
    # The groups are the same, and so are the resamples, whatever the number of runs.
    theirs = Resampled(samples_of([other]), ours.options)
    scores = recipe_metrics(theirs)
    for name, entry in difference_intervals(ours, theirs).items():
        interval = entry["ci_low"], entry["ci_high"]
        scores[name]["difference"] = with_interval(entry["difference"], interval)
    result: dict[str, Any] = {"metrics": scores}
    if len(tables) == 1:
        truth, prob = truth_and_probability(first)
        groups, other_prob = first["group_id"].tolist(), truth_and_probability(other)[1]
        right = [(one["predicted"] == one["label"]).to_numpy(bool) for one in (first, other)]
        result["delong"] = area = delong_difference(
            truth, prob, other_prob, groups, confidence=ours.options.confidence
        )
        # So that interval and p-value agree.
        scores["roc_auc"]["difference"] |= {end: area[end] for end in ("ci_low", "ci_high")}
        result["mcnemar"] = mcnemar(*right, groups)
    return result
