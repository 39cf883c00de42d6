"""Which of two models is better on the same images: two predictions tables in, differences out.

Both saw the same images, so most of what chance did to one it did to the other too. Their
difference is therefore surer than their two intervals suggest, which may overlap.
"""

import math
import warnings
from typing import Any

import numpy as np
import pandas as pd

from breastus.errors import DataError, UndefinedMetricWarning
from breastus.evaluation.calibration.ece_interval import ece_difference_interval
from breastus.evaluation.comparison.mcnemar import mcnemar
from breastus.evaluation.intervals.bootstrap import (
    bootstrap_metrics,
    classes_of_few_groups,
    expanded_tail,
    percentiles,
    resample_weights,
)
from breastus.evaluation.intervals.delong import delong_difference
from breastus.evaluation.intervals.proportions import effective_size, wilson_interval
from breastus.evaluation.metrics.metrics import METRICS, PREVALENCE, compute_metrics
from breastus.evaluation.predictions import check_predictions, truth_and_probability
from breastus.evaluation.validation import check_share
from breastus.labels import LABELS, LUMP, NO_LUMP, POSITIVE

# Metrics that are a share of the same images for both models: of which class, None for all.
_SHARE_OF = {
    "accuracy": None,
    "sensitivity": LUMP,
    "recall": LUMP,
    "specificity": NO_LUMP,
    "recall_no_lump": NO_LUMP,
}
_NOTHING = 1e-12  # what resamples differ by at most where they are the same


def compare(
    ours: pd.DataFrame,
    theirs: pd.DataFrame,
    *,
    threshold: float = 0.5,
    other_threshold: float | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    prevalence: float = PREVALENCE,
) -> dict[str, Any]:
    """Compare two models' predictions of the same images.

    Groups are drawn for both at once. A share in which no group differs has no spread, as if it
    were certain; there each side of the interval reaches as far as Wilson's of none of so many
    groups, which is Tango's interval (Statistics in Medicine 17, 1998, 891).

    Many metrics are compared, so some will differ by chance: say beforehand which one counts.

    Args:
        ours: a predictions table, see `predictions`.
        theirs: another's, of the same images in any order.
        threshold: ours calls an image lump when `probability >= threshold`.
        other_threshold: likewise theirs; None: the same.
        resamples: how many times groups are drawn.
        confidence: level of the intervals.
        seed: of the draws.
        prevalence: share of lumps for which PPV and NPV hold.

    Returns:
        `n`, `n_groups`, `n_lump`, `n_no_lump` and the settings; `metrics`: under each metric's name
        `ours`, `theirs`, `difference` (ours less theirs), `ci_low`, `ci_high`; `delong`: the
        difference of ROC-AUC as from `delong_difference`; `mcnemar`: of the calls as from
        `mcnemar`, of `all` images, of `lump` (sensitivity) and of `no_lump` (specificity). NaN
        where a metric is undefined, or a class comes from fewer than two groups.

    Raises:
        DataError: when a table is damaged, or they differ in images, labels or groups.
        ValueError: when an option is out of range.

    Warns:
        UndefinedMetricWarning: when something is NaN.
    """
    check_share(confidence=confidence)
    ours, theirs = _aligned(ours, theirs)
    other_threshold = threshold if other_threshold is None else other_threshold
    truth, prob = truth_and_probability(ours)
    _, other_prob = truth_and_probability(theirs)
    groups = ours["group_id"].to_numpy()
    options = [
        (prob, {"threshold": threshold, "prevalence": prevalence}),
        (other_prob, {"threshold": other_threshold, "prevalence": prevalence}),
    ]
    once = [compute_metrics(truth, p, weights=np.ones(len(p)), **o) for p, o in options]
    if few := classes_of_few_groups(truth, groups):
        _warn(f"the images of {' and '.join(few)} come from fewer than two groups.")
        drawn = None
    else:
        weights = resample_weights(groups, resamples=resamples, seed=seed)
        drawn = [bootstrap_metrics(truth, p, weights, **o) for p, o in options]
    metrics = _differences(once, drawn, truth, groups, confidence)
    missing = [name for name, entry in metrics.items() if math.isnan(entry["ci_low"])]
    if missing and drawn:
        _warn(f"{', '.join(missing)}: often undefined, or the same in every resample.")
    right = [(p >= o["threshold"]) == truth for p, o in options]
    classes = {"all": np.full(len(truth), True)} | {
        LABELS[value]: truth == value for value in (LUMP, NO_LUMP)
    }
    with warnings.catch_warnings(record=True) as undefined:
        warnings.simplefilter("always", UndefinedMetricWarning)
        areas = delong_difference(truth, prob, other_prob, groups, confidence=confidence)
        calls = {
            name: mcnemar(right[0][among], right[1][among], groups[among])
            for name, among in classes.items()
        }
    for warning in undefined:  # again, where it concerns the caller
        warnings.warn(str(warning.message), warning.category, stacklevel=2)
    return {
        "positive": POSITIVE,
        "n": len(truth),
        "n_groups": len(np.unique(groups)),
        "n_lump": int((truth == LUMP).sum()),
        "n_no_lump": int((truth == NO_LUMP).sum()),
        "threshold": threshold,
        "other_threshold": other_threshold,
        "prevalence": prevalence,
        "confidence": confidence,
        "resamples": resamples,
        "metrics": metrics,
        "delong": areas,
        "mcnemar": calls,
    }


def _differences(once, drawn, truth, groups, confidence: float) -> dict[str, dict[str, float]]:
    result = {}
    for name in METRICS:
        mine, other = (float(values[name]) for values in once)
        low = high = math.nan
        if drawn is not None:
            values = drawn[0][name] - drawn[1][name]
            low, high = difference_interval(name, mine - other, values, truth, groups, confidence)
        result[name] = {
            "ours": mine,
            "theirs": other,
            "difference": mine - other,
            "ci_low": low,
            "ci_high": high,
        }
    return result


def difference_interval(
    name: str,
    difference: float,
    drawn: np.ndarray,
    truth: np.ndarray,
    groups: np.ndarray,
    confidence: float,
) -> tuple[float, float]:
    """Return the interval of one metric's difference, see `compare`.

    Args:
        name: of `METRICS`.
        difference: of the images themselves.
        drawn: float [resamples], of the resamples.
        truth: int [n], 1 for lump.
        groups: [n], what was drawn together.
        confidence: level, such as 0.95.
    """
    defined = drawn[~np.isnan(drawn)]
    if not len(defined) or math.isnan(difference):
        return math.nan, math.nan
    if np.ptp(defined) > _NOTHING:
        tail = expanded_tail(confidence, truth, groups)
        if name == "ece":
            return ece_difference_interval(difference, drawn, tail)
        return percentiles(drawn, tail)
    if name not in _SHARE_OF or abs(difference) > _NOTHING:
        return math.nan, math.nan
    among = np.full(len(truth), True) if _SHARE_OF[name] is None else truth == _SHARE_OF[name]
    count = effective_size(np.ones(int(among.sum()), bool), groups[among])
    reach = wilson_interval(0, count, confidence=confidence)[1]
    return -reach, reach


def _aligned(ours: pd.DataFrame, theirs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return both tables with the same images in the same order."""
    ours, theirs = (
        check_predictions(table, name).set_index("image_id").sort_index()
        for table, name in ((ours, "ours"), (theirs, "theirs"))
    )
    for table, other, name in ((ours, theirs, "theirs"), (theirs, ours, "ours")):
        if len(missing := table.index.difference(other.index)):
            some = ", ".join(map(str, missing[:3])) + (", ..." if len(missing) > 3 else "")
            raise DataError(
                "Two models can be compared on the same images only; train both with the same "
                f"data, split and seed. Received: {name} without {len(missing)} images: {some}"
            )
    for column in ("label", "group_id"):
        if (different := ours[column] != theirs[column]).any():  # true for what is missing as well
            image = different.idxmax()
            raise DataError(
                f"Both tables must give an image the same {column}. Received: {image} with "
                f"{ours.loc[image, column]!r} and {theirs.loc[image, column]!r}"
            )
    return ours, theirs


def _warn(reason: str) -> None:
    warnings.warn(
        f"There are differences without an interval: {reason}",
        UndefinedMetricWarning,
        stacklevel=3,
    )
