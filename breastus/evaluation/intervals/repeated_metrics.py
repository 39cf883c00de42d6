"""Metrics of several runs as one result: tables of predictions in, means with intervals out.

The tables are one variant's seeds, or the repeats of a cross-validation. Each image is predicted
lump by the threshold of its own run.
"""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import pandas as pd

from breastus.errors import DataError, UndefinedMetricWarning
from breastus.evaluation.intervals.metric_intervals import Resampled, Sample, difference_intervals
from breastus.evaluation.metrics.metrics import METRICS
from breastus.evaluation.options import DEFAULTS, EvaluationOptions
from breastus.evaluation.predictions import thresholds_of, truth_and_probability
from breastus.evaluation.validation import with_interval


def mean_metrics(
    tables: Sequence[pd.DataFrame], *, options: EvaluationOptions = DEFAULTS
) -> dict[str, Any]:
    """Return the mean of each metric over several tables of predictions.

    Args:
        tables: predictions from one data set, so that a group's name means the same in each.
        options: resamples, level, prevalence and seed; see `Resampled.intervals`.

    Returns:
        Under each metric's name `value`, `ci_low`, `ci_high`; `confusion_matrix`, the mean counts;
        `n_tables`, `n` (images of each), `n_groups`, and `per_table`, the metrics of every table.
        NaN when one table leaves a metric undefined; intervals are NaN when more than 5 % of the
        resamples do, or a class comes from fewer than two groups.
    """
    found = Resampled(samples_of(tables), options)
    if undefined := [name for name in METRICS if math.isnan(found.means[name])]:
        warnings.warn(
            f"The mean over {len(tables)} tables is NaN, because one leaves it undefined: "
            f"{', '.join(undefined)}.",
            UndefinedMetricWarning,
            stacklevel=2,
        )
    intervals = found.intervals()
    return {
        "n_tables": len(tables),
        "n": [len(table) for table in tables],
        "n_groups": len(set(found.groups)),
        "confusion_matrix": found.means["confusion_matrix"].tolist(),
        "per_table": found.each,
        **{name: with_interval(found.means[name], intervals[name]) for name in METRICS},
    }


def mean_difference(
    ours: Sequence[pd.DataFrame],
    theirs: Sequence[pd.DataFrame],
    *,
    options: EvaluationOptions = DEFAULTS,
) -> dict[str, dict[str, float]]:
    """Return `value`, `ci_low` and `ci_high` of each metric's mean difference, ours minus theirs.

    Args:
        ours: tables of predictions, as for `mean_metrics`.
        theirs: another variant's, of the same images in the same order.
        options: resamples, level, prevalence and seed.

    Raises:
        DataError: when a pair of tables differs in images, labels or groups.
    """
    for one, other in zip(ours, theirs, strict=True):
        for column in ("image_id", "label", "group_id"):
            if one[column].tolist() != other[column].tolist():
                raise DataError(
                    "Two variants must have the same test images in the same order, with the same "
                    f"labels and groups. Received: tables that differ in {column}"
                )
    pair = [Resampled(samples_of(each), options) for each in (ours, theirs)]
    if reason := pair[0].bootstrap.sparse_reason:
        warnings.warn(f"There are no intervals: {reason}.", UndefinedMetricWarning, stacklevel=2)
    return {
        name: with_interval(entry["difference"], (entry["ci_low"], entry["ci_high"]))
        for name, entry in difference_intervals(*pair).items()
    }


def samples_of(tables: Sequence[pd.DataFrame]) -> list[Sample]:
    """Return each table as a sample, with its own thresholds."""
    return [
        Sample(
            *truth_and_probability(table),
            table["group_id"].to_numpy(),
            thresholds_of(table),
            table["image_id"].to_numpy(),
        )
        for table in tables
    ]
