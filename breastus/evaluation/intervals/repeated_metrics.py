"""Several runs' predictions as one result: tables in, the mean over them with intervals out.

The tables are one variant's seeds, or the repeats of a cross-validation. A scene (or patient) that
is drawn counts in every table that holds it, as the same scenes come up in several; the interval
therefore says what other patients would have done to the mean. Each image is called by the
threshold of its own run.
"""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from breastus.errors import DataError, UndefinedMetricWarning
from breastus.evaluation.calibration.ece_interval import (
    chance_ece,
    ece_interval,
)
from breastus.evaluation.comparison.paired import difference_interval
from breastus.evaluation.intervals.bootstrap import (
    classes_of_few_groups,
    expanded_tail,
    percentiles,
    resample_weights,
)
from breastus.evaluation.intervals.degenerate_intervals import replace_degenerate_intervals
from breastus.evaluation.intervals.delong import mean_delong_interval
from breastus.evaluation.metrics.metrics import (
    METRICS,
    PREVALENCE,
    compute_metrics,
    confusion_matrix,
)
from breastus.evaluation.predictions import truth_and_probability
from breastus.evaluation.validation import check_share
from breastus.labels import LUMP

_EARLIER_THRESHOLD = 0.5  # of predictions that name none
_NOISE = "chance_ece"  # drawn beside the metrics


def mean_metrics(
    tables: Sequence[pd.DataFrame],
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    prevalence: float = PREVALENCE,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the mean of each metric over several tables of predictions.

    Intervals are those of `bootstrap_intervals`: DeLong's of the ROC-AUC, the bootstrap's of the
    rest, and of what never varies Wilson's.

    Args:
        tables: from one data set, so that a group's name means the same in each.
        resamples: how many times groups are drawn.
        confidence: level of the intervals.
        prevalence: share of lumps for which PPV and NPV hold.
        seed: of the draws.

    Returns:
        Under each metric's name `value`, `ci_low`, `ci_high`; `confusion_matrix`, the mean counts;
        `n_tables`, `n` (images of each), `n_groups`, and `each`: metrics of every table by itself,
        values alone. NaN where a table leaves a metric undefined, and for the bounds where more
        than 5 % of the resamples do, or where a class comes from fewer than two groups.

    Raises:
        DataError: without tables, or when one is empty or holds an image twice.
        ValueError: when an option is out of range.

    Warns:
        UndefinedMetricWarning: when a mean or an interval is NaN.
    """
    check_share(confidence=confidence)
    values, drawn, counts = _drawn(tables, resamples=resamples, prevalence=prevalence, seed=seed)
    lump, called, groups = _stacked(tables)
    means = {name: float(np.mean([one[name] for one in values])) for name in METRICS}
    if few := classes_of_few_groups(lump.astype(int), groups):
        _warn(f"There are no intervals: {' and '.join(few)} comes from fewer than two groups.")
        intervals = dict.fromkeys(METRICS, (math.nan, math.nan))
    else:
        tail = expanded_tail(confidence, lump.astype(int), groups)
        intervals = {name: percentiles(np.mean(drawn[name], axis=0), tail) for name in METRICS}
        intervals["ece"] = ece_interval(
            means["ece"], *(np.mean(drawn[name], axis=0) for name in ("ece", _NOISE)), tail
        )
        if not math.isnan(means["roc_auc"]):
            area = mean_delong_interval(
                [(*truth_and_probability(table), table["group_id"]) for table in tables],
                confidence=confidence,
            )
            intervals["roc_auc"] = area["ci_low"], area["ci_high"]
        intervals = replace_degenerate_intervals(
            intervals,
            means,
            lump=lump,
            called=called,
            groups=groups,
            prevalence=prevalence,
            confidence=confidence,
        )
        _warn_of_undefined(means, intervals, len(tables))
    return {
        "n_tables": len(tables),
        "n": [len(table) for table in tables],
        "n_groups": len(set(groups)),
        "confusion_matrix": np.mean(counts, axis=0).tolist(),
        "each": [{name: float(one[name]) for name in METRICS} for one in values],
        **{
            name: {
                "value": means[name],
                "ci_low": intervals[name][0],
                "ci_high": intervals[name][1],
            }
            for name in METRICS
        },
    }


def mean_difference(
    ours: Sequence[pd.DataFrame],
    theirs: Sequence[pd.DataFrame],
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    prevalence: float = PREVALENCE,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Return `value`, `ci_low` and `ci_high` of each metric's mean difference, ours less theirs.

    Args:
        ours: as for `mean_metrics`.
        theirs: another variant's, of the same images in the same order; they are drawn together.
        resamples, confidence, prevalence, seed: as for `mean_metrics`.

    Raises:
        DataError: as `mean_metrics`, or when a pair of tables is not of the same images in the same
            order, with the same labels and groups.
        ValueError: when an option is out of range.
    """
    check_share(confidence=confidence)
    for one, other in zip(ours, theirs, strict=True):
        for column in ("image_id", "label", "group_id"):
            if one[column].tolist() != other[column].tolist():
                raise DataError(
                    "Two variants can be compared on the same test images only, in the same order "
                    f"and with the same labels and groups. Received: tables that differ in {column}"
                )
    options = {"resamples": resamples, "prevalence": prevalence, "seed": seed}
    (values, drawn, _), (others, other_drawn, _) = (
        _drawn(ours, **options),
        _drawn(theirs, **options),
    )
    lump, _, groups = _stacked(ours)
    few = classes_of_few_groups(lump.astype(int), groups)
    if few:
        _warn(f"There are no intervals: {' and '.join(few)} comes from fewer than two groups.")
    result = {}
    for name in METRICS:
        value = float(
            np.mean([one[name] - two[name] for one, two in zip(values, others, strict=True)])
        )
        low = high = math.nan
        if not few:
            difference = np.mean(np.array(drawn[name]) - np.array(other_drawn[name]), axis=0)
            low, high = difference_interval(
                name, value, difference, lump.astype(int), groups, confidence
            )
        result[name] = {"value": value, "ci_low": low, "ci_high": high}
    return result


def thresholds_of(table: pd.DataFrame) -> np.ndarray:
    """Return the threshold by which each image was called, [n]."""
    if "threshold" in table:
        return table["threshold"].to_numpy(float)
    return np.full(len(table), _EARLIER_THRESHOLD)


def _drawn(tables: Sequence[pd.DataFrame], *, resamples: int, prevalence: float, seed: int):
    """Return each table's metrics, by metric each table's [resamples], and the confusion counts."""
    if not tables:
        raise DataError("There must be at least one table of predictions. Received: none")
    for table in tables:
        if not len(table):
            raise DataError("Each table must have at least one prediction. Received: an empty one")
        if (twice := table["image_id"].duplicated()).any():
            raise DataError(
                "Each image must stand once in a table of predictions. Received: "
                f"{table.loc[twice, 'image_id'].iloc[0]} twice"
            )
    groups = np.concatenate([table["group_id"].to_numpy() for table in tables])
    weights = resample_weights(groups, resamples=resamples, seed=seed)
    ends = np.cumsum([len(table) for table in tables])[:-1]
    values, counts = [], []
    drawn: dict[str, list] = {name: [] for name in (*METRICS, _NOISE)}
    for table, share in zip(tables, np.split(weights, ends, axis=1), strict=True):
        truth, probability = truth_and_probability(table)
        options = {"threshold": thresholds_of(table), "prevalence": prevalence}
        once = np.ones(len(table))
        values.append(compute_metrics(truth, probability, weights=once, **options))
        counts.append(confusion_matrix(truth, probability, threshold=options["threshold"]))
        for name, value in compute_metrics(truth, probability, weights=share, **options).items():
            drawn[name].append(value)
        drawn[_NOISE].append(chance_ece(truth, probability, share))
    return values, drawn, counts


def _stacked(tables: Sequence[pd.DataFrame]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return of all tables' images whether they are lumps, were called so, and their groups."""
    pairs = [truth_and_probability(table) for table in tables]
    called = [prob >= thresholds_of(table) for (_, prob), table in zip(pairs, tables, strict=True)]
    return (
        np.concatenate([truth for truth, _ in pairs]) == LUMP,
        np.concatenate(called),
        np.concatenate([table["group_id"].to_numpy() for table in tables]),
    )


def _warn_of_undefined(means: dict[str, float], intervals: dict, count: int) -> None:
    if undefined := [name for name, value in means.items() if math.isnan(value)]:
        _warn(f"Undefined in one of {count} tables, so the mean is NaN: {', '.join(undefined)}.")
    missing = [
        name
        for name, (low, _) in intervals.items()
        if math.isnan(low) and not math.isnan(means[name])
    ]
    if missing:
        _warn(f"No interval for {', '.join(missing)}: too many resamples leave them undefined.")


def _warn(message: str) -> None:
    warnings.warn(message, UndefinedMetricWarning, stacklevel=4)
