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

from breastus.errors import DataError
from breastus.evaluation.arrays import UndefinedMetricWarning
from breastus.evaluation.intervals import SHARE_OF, bounds, resample_weights
from breastus.evaluation.metrics import METRICS, PREVALENCE, compute_metrics, confusion_matrix
from breastus.evaluation.predictions import truth_and_probability
from breastus.labels import LUMP
from breastus.proportions import wilson_interval

_EARLIER_THRESHOLD = 0.5  # of predictions that name none


def mean_metrics(
    tables: Sequence[pd.DataFrame],
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    prevalence: float = PREVALENCE,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the mean of each metric over several tables of predictions.

    Args:
        tables: from one data set, so that a group's name means the same in each.
        resamples: how many times groups are drawn.
        confidence: level of the intervals.
        prevalence: share of lumps for which PPV and NPV hold.
        seed: of the draws.

    Returns:
        Under each metric's name `value`, `ci_low`, `ci_high`; `confusion_matrix`, the mean counts;
        `n_tables`, `n` (images of each), `n_groups`, and `each`: metrics of every table by itself,
        values alone.

    Raises:
        DataError: without tables.

    Warns:
        UndefinedMetricWarning: when a mean is NaN, as a table leaves it undefined.
    """
    values, drawn, counts = _drawn(tables, resamples=resamples, prevalence=prevalence, seed=seed)
    tail = (1 - confidence) / 2
    result: dict[str, Any] = {
        "n_tables": len(tables),
        "n": [len(table) for table in tables],
        "n_groups": len(set().union(*(set(table["group_id"]) for table in tables))),
        "confusion_matrix": np.mean(counts, axis=0).tolist(),
        "each": [{name: float(one[name]) for name in METRICS} for one in values],
    }
    for name in METRICS:
        value = float(np.mean([one[name] for one in values]))
        low, high = bounds(name, value, np.mean(drawn[name], axis=0), tail)
        if name in SHARE_OF and (low, high) in ((0.0, 0.0), (1.0, 1.0)):
            low, high = _of_groups(tables, name, round(value), confidence)
        result[name] = {"value": value, "ci_low": low, "ci_high": high}
    if undefined := [name for name in METRICS if math.isnan(result[name]["value"])]:
        warnings.warn(
            f"Undefined in one of {len(tables)} tables, so the mean is NaN: "
            f"{', '.join(undefined)}.",
            UndefinedMetricWarning,
            stacklevel=2,
        )
    return result


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
        DataError: when a pair of tables is not of the same images in the same order.
    """
    for one, other in zip(ours, theirs, strict=True):
        if one["image_id"].tolist() != other["image_id"].tolist():
            raise DataError("Two variants can be compared on the same test images only.")
    options = {"resamples": resamples, "prevalence": prevalence, "seed": seed}
    (values, drawn, _), (others, other_drawn, _) = (
        _drawn(ours, **options),
        _drawn(theirs, **options),
    )
    tail = (1 - confidence) / 2
    result = {}
    for name in METRICS:
        value = float(
            np.mean([one[name] - two[name] for one, two in zip(values, others, strict=True)])
        )
        difference = np.mean(np.array(drawn[name]) - np.array(other_drawn[name]), axis=0)
        low, high = bounds(name, value, difference, tail, lowest=-math.inf)
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
    groups = np.concatenate([table["group_id"].to_numpy() for table in tables])
    weights = resample_weights(groups, resamples=resamples, seed=seed)
    ends = np.cumsum([len(table) for table in tables])[:-1]
    values, counts = [], []
    drawn: dict[str, list] = {name: [] for name in METRICS}
    for table, share in zip(tables, np.split(weights, ends, axis=1), strict=True):
        truth, probability = truth_and_probability(table)
        options = {"threshold": thresholds_of(table), "prevalence": prevalence}
        once = np.ones(len(table))
        values.append(compute_metrics(truth, probability, weights=once, **options))
        counts.append(confusion_matrix(truth, probability, threshold=options["threshold"]))
        for name, value in compute_metrics(truth, probability, weights=share, **options).items():
            drawn[name].append(value)
    return values, drawn, counts


def _of_groups(
    tables: Sequence[pd.DataFrame], name: str, all_or_none: int, confidence: float
) -> tuple[float, float]:
    """Return Wilson's interval of a share that is alike in every resample, as if certain."""
    groups: set = set()
    for table in tables:
        truth, probability = truth_and_probability(table)
        lump = truth == LUMP
        among = SHARE_OF[name](lump, probability >= thresholds_of(table))
        groups |= set(table.loc[np.asarray(among, bool), "group_id"])
    return wilson_interval(all_or_none * len(groups), len(groups), confidence=confidence)
