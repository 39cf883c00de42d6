"""How sure a score is: percentile bootstrap, in which whole groups are drawn, not images.

Images of one patient or scene go together; drawing them one by one would count the same evidence
several times and give intervals that are too narrow.
"""

import warnings
from collections.abc import Sequence

import numpy as np

from breastus.evaluation.arrays import UndefinedMetricWarning, check_share, members
from breastus.evaluation.metrics import (
    METRICS,
    PREVALENCE,
    compute_metrics,
    confusion_matrix,
    predictive_values,
)
from breastus.proportions import wilson_interval

# Metrics that are a share of some images: (truth, called lump) to the images they are a share of.
SHARE_OF = {
    "accuracy": lambda lump, called: np.ones_like(lump),
    "sensitivity": lambda lump, called: lump,
    "recall": lambda lump, called: lump,
    "specificity": lambda lump, called: ~lump,
    "recall_no_lump": lambda lump, called: ~lump,
    "precision": lambda lump, called: called,
    "precision_no_lump": lambda lump, called: ~called,
}
# Biased upwards, and as much again in a resample: of good probabilities the percentiles lie above
# the truth, which is 0, and often above the value. Turned about the value they undo the bias.
_BIASED = ("ece",)
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


def resampled_metrics(
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

    A share of exactly 0 or 1 is the same in every resample, as if it were certain. There the
    interval is Wilson's, which counts groups; that of PPV and NPV then follows from those of
    sensitivity and specificity.

    The interval of the calibration error is the basic one, which takes off the bias once more:
    2 * value - percentile (Davison, Hinkley: Bootstrap Methods and their Application, 1997, 5.2).
    It still holds the truth less often than it says: of perfect probabilities about 3 times in 4.
    Slope and intercept say more about calibration.

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
    drawn = resampled_metrics(y_true, y_prob, weights, **options)
    once = compute_metrics(y_true, y_prob, weights=np.ones(len(y_true)), **options)
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn.pop("confusion_matrix"), [tail, 1 - tail], axis=0)
    intervals = {name: bounds(name, once[name], values, tail) for name, values in drawn.items()}
    # What no resample defines is undefined itself, of which compute_metrics warns.
    _warn_of_missing(
        [name for name, (end, _) in intervals.items() if np.isnan(end) and _any(drawn[name])]
    )
    lump, called = y_true == 1, y_prob >= threshold
    for name, among in SHARE_OF.items():
        if _certain(intervals[name]):
            count = len(np.unique(groups[among(lump, called)]))
            part = int(intervals[name][0]) * count
            intervals[name] = wilson_interval(part, count, confidence=confidence)
    both = zip(intervals["sensitivity"], intervals["specificity"], strict=True)
    ends = [predictive_values(*shares, prevalence) for shares in both]
    for name, values in zip(("ppv", "npv"), zip(*ends, strict=True), strict=True):
        if _certain(intervals[name]):
            intervals[name] = tuple(float(value) for value in values)
    return {**intervals, "confusion_matrix": (low, high)}


def classes_of_few_groups(y_true: np.ndarray, groups: np.ndarray) -> list[str]:
    """Return the names of the classes whose images come from fewer than two groups."""
    return [
        name
        for name, value in (("no lump", 0), ("lump", 1))
        if len(np.unique(groups[y_true == value])) < 2
    ]


def bounds(
    name: str, value: float, drawn: np.ndarray, tail: float, *, lowest: float = 0.0
) -> tuple[float, float]:
    """Return the ends of a metric's interval, from its value and its resamples [resamples].

    NaN where more than 5 % of the resamples are. `lowest` is the least that an error can be.
    """
    low, high = percentiles(drawn, tail)
    if name in _BIASED:
        # Where all resamples lie on one side of the value, the interval still reaches up to it.
        value = float(value)
        return min(value, max(lowest, 2 * value - high)), max(value, 2 * value - low)
    return low, high


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


def _certain(interval: tuple[float, float]) -> bool:
    return interval in ((0.0, 0.0), (1.0, 1.0))


def _any(values: np.ndarray) -> bool:
    return bool(np.isfinite(values).any())
