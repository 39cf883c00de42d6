"""Scores of an entry to a benchmark: tables of predictions in, numbers with intervals out.

An entry is one model, or several runs of one recipe. What its intervals cover follows from that:
see `breastus.evaluation.intervals.recipe`.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from breastus.errors import DataError, UndefinedMetricWarning
from breastus.evaluation.comparison.mcnemar import mcnemar
from breastus.evaluation.intervals.delong import delong_difference
from breastus.evaluation.intervals.metric_intervals import Resampled, difference_intervals
from breastus.evaluation.intervals.recipe import recipe_difference, recipe_metrics, samples_of
from breastus.evaluation.metrics.metrics import METRICS
from breastus.evaluation.options import DEFAULTS, EvaluationOptions
from breastus.evaluation.predictions import truth_and_probability
from breastus.evaluation.validation import image_counts, with_interval

COVERED = {
    "one trained model": (
        "The intervals cover the choice of test images, by group (patient or scene): DeLong's for "
        "ROC-AUC, Wilson's for accuracy, sensitivity and specificity, bootstrap for the others. "
        "They do not cover another training."
    ),
    "recipe": (
        "The intervals are of the recipe: they cover another seed and other test images, by group "
        "(patient or scene), together."
    ),
}


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
        The settings; `runs`; `interval_of`, "recipe" or "one trained model"; `n`, `n_groups`,
        `n_lump`, `n_no_lump`; `confusion_matrix` (means over runs); under each metric's name
        `value`, `seed_sd`, `ci_low`, `ci_high`, as from `recipe_metrics`; `per_run`, metrics of
        each run; `covered`, what the intervals cover; and `baselines`, as from `compare_with`.
    """
    with warnings.catch_warnings():
        # What is undefined is NaN, and the page says so.
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        found = recipe_metrics(tables, options=options)
        truth, _ = truth_and_probability(tables[0])
        return {
            "prevalence": options.prevalence,
            "confidence": options.confidence,
            "resamples": options.resamples,
            "runs": len(tables),
            "interval_of": found["interval_of"],
            **image_counts(truth, tables[0]["group_id"]),
            **{name: found[name] for name in ("confusion_matrix", *METRICS)},
            "per_run": found["per_table"],
            "covered": COVERED[found["interval_of"]],
            "baselines": {
                name: compare_with(tables, table, options)
                for name, table in (baselines or {}).items()
            },
        }


def compare_with(
    tables: Sequence[pd.DataFrame], other: pd.DataFrame, options: EvaluationOptions
) -> dict[str, Any]:
    """Compare an entry with one trained model on the same images.

    Returns:
        `metrics`: under each name `value`, `ci_low`, `ci_high` of the other model, and
        `difference`, an entry of the same three keys, ours minus theirs; `reason`, why differences
        of several runs have no intervals, or "". For an entry of one run also `delong`, the
        interval of the difference in ROC-AUC, and `mcnemar`.

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
    theirs = recipe_metrics([other], options=options)
    scores = {name: dict(theirs[name]) for name in METRICS}
    if len(tables) > 1:
        # The other model is the same beside every run, so that it adds no variation of its own.
        differences = recipe_difference(tables, [other] * len(tables), options=options)
        for name in METRICS:
            scores[name]["difference"] = differences[name]
        return {"metrics": scores, "reason": differences["reason"]}
    pair = (Resampled(samples_of([one]), options) for one in (first, other))
    for name, entry in difference_intervals(*pair).items():
        interval = entry["ci_low"], entry["ci_high"]
        scores[name]["difference"] = with_interval(entry["difference"], interval)
    truth, prob = truth_and_probability(first)
    groups, other_prob = first["group_id"].tolist(), truth_and_probability(other)[1]
    right = [(one["predicted"] == one["label"]).to_numpy(bool) for one in (first, other)]
    area = delong_difference(truth, prob, other_prob, groups, confidence=options.confidence)
    # So that interval and p-value agree.
    scores["roc_auc"]["difference"] |= {end: area[end] for end in ("ci_low", "ci_high")}
    tests = {"delong": area, "mcnemar": mcnemar(*right, groups)}
    return {"metrics": scores, "reason": "", **tests}
