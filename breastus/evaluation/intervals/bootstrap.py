"""How sure a score is: percentile bootstrap, in which whole groups are drawn, not images.

Images of one patient or scene go together; drawing them one by one would count the same evidence
several times and give intervals that are too narrow. The interval of the ROC-AUC is DeLong's, over
groups as well: near 1 and with few images the bootstrap's holds the truth too seldom.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from breastus.errors import UndefinedMetricWarning
from breastus.evaluation.calibration.ece_interval import (
    chance_ece,
    ece_interval,
)
from breastus.evaluation.intervals.degenerate_intervals import replace_degenerate_intervals
from breastus.evaluation.intervals.delong import delong_interval
from breastus.evaluation.metrics.metrics import (
    METRICS,
    PREVALENCE,
    compute_metrics,
    confusion_matrix,
)
from breastus.evaluation.validation import check_share, members

UNDEFINED_SHARE = 0.05  # more undefined resamples than this, and there is no interval
_BLOCK = 500  # resamples computed at a time, which bounds memory


def resample_weights(groups: Sequence, *, resamples: int, seed: int) -> np.ndarray:
    """Return how often each image counts in each resample: int [resamples, n].

    As many groups are drawn, with replacement, as there are.

    Raises:
        ValueError: without a resample, or when a group is missing.
    """
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1. Received: resamples={resamples}")
    member = members(groups, len(groups))
    count = member.max() + 1
    rng = np.random.default_rng(seed)
    return rng.multinomial(count, np.full(count, 1 / count), size=resamples)[:, member]


def bootstrap_metrics(
    y_true: np.ndarray, y_prob: np.ndarray, weights: np.ndarray, **options
) -> dict[str, np.ndarray]:
    """Return every metric in each resample, [resamples], and "confusion_matrix", [resamples, 2, 2].

    Args:
        y_true: int [n], 1 for lump.
        y_prob: float [n], probability of lump.
        weights: [resamples, n], as from `resample_weights`.
        options: `threshold` and `prevalence`, as of `compute_metrics`.
    """
    parts: dict[str, list] = {name: [] for name in (*METRICS, "confusion_matrix")}
    threshold = options.get("threshold", 0.5)
    for start in range(0, len(weights), _BLOCK):
        block = weights[start : start + _BLOCK]
        for name, value in compute_metrics(y_true, y_prob, weights=block, **options).items():
            parts[name].append(value)
        parts["confusion_matrix"].append(
            confusion_matrix(y_true, y_prob, threshold=threshold, weights=block)
        )
    return {name: np.concatenate(values) for name, values in parts.items()}


def bootstrap_intervals(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    groups: Sequence,
    *,
    threshold: float = 0.5,
    prevalence: float = PREVALENCE,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, tuple]:
    """Return the interval of each metric, and of the confusion matrix's cells.

    With few groups more is left in than the confidence says, see `expanded_tail`. The interval of
    the ROC-AUC is `delong_interval`'s, that of the calibration error, to which noise only adds,
    `ece_interval`'s. Where a metric is the same in every resample, such as a sensitivity of
    1, `replace_degenerate_intervals` gives the interval, which for a proportion is Wilson's over
    groups.

    Args:
        y_true: int [n], 1 for lump.
        y_prob: float [n], probability of lump.
        groups: [n], what is drawn together.
        threshold: called lump when `y_prob >= threshold`.
        prevalence: share of lumps for which PPV and NPV hold.
        resamples: how many times groups are drawn.
        confidence: share of the resamples within the interval, such as 0.95.
        seed: of the draws.

    Returns:
        Name to (low, high); for "confusion_matrix" each is [2, 2]. NaN where more than 5 % of the
        resamples leave a metric undefined, or where a class comes from fewer than two groups.

    Raises:
        ValueError: when an argument is out of range or does not fit the others.

    Warns:
        UndefinedMetricWarning: when an interval is NaN.
    """
    check_share(confidence=confidence)
    y_true, y_prob = np.asarray(y_true), np.asarray(y_prob, float)
    groups = members(groups, len(y_true))
    if few := classes_of_few_groups(y_true, groups):
        warnings.warn(
            f"There are no intervals: the images of {' and '.join(few)} come from fewer than two "
            "groups.",
            UndefinedMetricWarning,
            stacklevel=2,
        )
        cells = np.full((2, 2), np.nan)
        return {**dict.fromkeys(METRICS, (np.nan, np.nan)), "confusion_matrix": (cells, cells)}

    weights = resample_weights(groups, resamples=resamples, seed=seed)
    options = {"threshold": threshold, "prevalence": prevalence}
    drawn = bootstrap_metrics(y_true, y_prob, weights, **options)
    once = compute_metrics(y_true, y_prob, weights=np.ones(len(y_true)), **options)
    tail = expanded_tail(confidence, y_true, groups)
    low, high = np.quantile(drawn.pop("confusion_matrix"), [tail, 1 - tail], axis=0)
    intervals = {name: percentiles(values, tail) for name, values in drawn.items()}
    noise = chance_ece(y_true, y_prob, weights)
    intervals["ece"] = ece_interval(float(once["ece"]), drawn["ece"], noise, tail)
    # What no resample defines is undefined itself, of which compute_metrics warns.
    _warn_of_missing(
        [name for name, (end, _) in intervals.items() if np.isnan(end) and _any(drawn[name])]
    )
    area = delong_interval(y_true, y_prob, groups, confidence=confidence)
    intervals["roc_auc"] = area["ci_low"], area["ci_high"]
    intervals = replace_degenerate_intervals(
        intervals,
        {name: float(value) for name, value in once.items()},
        lump=y_true == 1,
        called=y_prob >= threshold,
        groups=groups,
        prevalence=prevalence,
        confidence=confidence,
    )
    return {**intervals, "confusion_matrix": (low, high)}


def classes_of_few_groups(y_true: np.ndarray, groups: np.ndarray) -> list[str]:
    """Return the names of the classes whose images come from fewer than two groups."""
    return [
        name
        for name, value in (("no lump", 0), ("lump", 1))
        if len(np.unique(groups[y_true == value])) < 2
    ]


def expanded_tail(confidence: float, y_true: np.ndarray, groups: np.ndarray) -> float:
    """Return what a percentile interval leaves out at either end, by how many groups there are.

    Resamples of few groups scatter too little, by a factor of sqrt((n - 1) / n) and as a normal
    distribution does where it takes Student's; leaving out less makes up for both (the expanded
    percentile interval: Hesterberg, The American Statistician 69, 2015, 371, section 5.3). n is
    the number of groups of the class that comes from fewer, at least two.
    """
    count = min(len(np.unique(groups[y_true == value])) for value in (0, 1))
    reach = student.ppf((1 + confidence) / 2, count - 1) * np.sqrt(count / (count - 1))
    return float(norm.cdf(-reach))


def percentiles(values: np.ndarray, tail: float) -> tuple[float, float]:
    """Return what leaves a share `tail` of the resampled values out at either end.

    NaN where more than 5 % of them are undefined.
    """
    undefined = np.isnan(values)
    if undefined.mean() > UNDEFINED_SHARE:
        return np.nan, np.nan
    low, high = np.quantile(values[~undefined], [tail, 1 - tail])
    return float(low), float(high)


def _warn_of_missing(names: list[str]) -> None:
    if names:
        warnings.warn(
            f"No interval for {', '.join(names)}: more than {100 * UNDEFINED_SHARE:.0f} % of the "
            "resamples leave them undefined.",
            UndefinedMetricWarning,
            stacklevel=3,
        )


def _any(values: np.ndarray) -> bool:
    return bool(np.isfinite(values).any())
