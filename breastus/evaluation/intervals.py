"""How sure a score is: percentile bootstrap, in which whole groups are drawn, not images.

Images of one patient or scene go together; drawing them one by one would count the same evidence
several times and give intervals that are too narrow.
"""

import warnings
from collections.abc import Sequence

import numpy as np

from breastus.evaluation.metrics import (
    METRICS,
    UndefinedMetricWarning,
    compute_metrics,
    confusion_matrix,
)
from breastus.proportions import wilson_interval

# Metrics that are a share of some images: (truth, called lump) to the images they are a share of.
_SHARE_OF = {
    "accuracy": lambda lump, called: np.ones_like(lump),
    "sensitivity": lambda lump, called: lump,
    "recall": lambda lump, called: lump,
    "specificity": lambda lump, called: ~lump,
    "recall_no_lump": lambda lump, called: ~lump,
    "precision": lambda lump, called: called,
    "precision_no_lump": lambda lump, called: ~called,
}
_UNDEFINED_SHARE = 0.05  # more undefined resamples than this, and there is no interval
_BLOCK = 500  # resamples computed at a time, which bounds memory


def resample_weights(groups: Sequence, *, resamples: int, seed: int) -> np.ndarray:
    """Return how often each image counts in each resample: int [resamples, n].

    As many groups are drawn, with replacement, as there are.
    """
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    count = member.max() + 1
    rng = np.random.default_rng(seed)
    return rng.multinomial(count, np.full(count, 1 / count), size=resamples)[:, member]


def bootstrap_intervals(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    groups: Sequence,
    *,
    threshold: float = 0.5,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, tuple]:
    """Return the interval of each metric, and of the confusion matrix's cells.

    A share of exactly 0 or 1 is the same in every resample, as if it were certain. There the
    interval is Wilson's, which counts groups.

    Args:
        y_true: int [n], 1 for lump.
        y_prob: float [n], probability of lump.
        groups: [n], what is drawn together.
        threshold: called lump when `y_prob >= threshold`.
        resamples: how many times groups are drawn.
        confidence: share of the resamples within the interval, such as 0.95.
        seed: of the draws.

    Returns:
        Name to (low, high); for "confusion_matrix" each is [2, 2]. NaN where more than 5 % of the
        resamples leave a metric undefined, or where a class comes from fewer than two groups.

    Warns:
        UndefinedMetricWarning: when an interval is NaN.
    """
    y_true = np.asarray(y_true)
    nothing = dict.fromkeys(METRICS, (np.nan, np.nan))
    cells = np.full((2, 2), np.nan)
    few = [
        name
        for name, value in (("no lump", 0), ("lump", 1))
        if len(np.unique(np.asarray(groups)[y_true == value])) < 2
    ]
    if few:
        warnings.warn(
            f"There are no intervals: the images of {' and '.join(few)} come from fewer than two "
            "groups.",
            UndefinedMetricWarning,
            stacklevel=2,
        )
        return {**nothing, "confusion_matrix": (cells, cells)}

    weights = resample_weights(groups, resamples=resamples, seed=seed)
    values: dict[str, list] = {name: [] for name in METRICS}
    matrices = []
    for start in range(0, resamples, _BLOCK):
        block = weights[start : start + _BLOCK]
        for name, value in compute_metrics(
            y_true, y_prob, threshold=threshold, weights=block
        ).items():
            values[name].append(value)
        matrices.append(confusion_matrix(y_true, y_prob, threshold=threshold, weights=block))

    tail = (1 - confidence) / 2
    drawn = {name: np.concatenate(parts) for name, parts in values.items()}
    intervals = {name: percentiles(resampled, tail) for name, resampled in drawn.items()}
    # What no resample defines is undefined itself, of which compute_metrics warns.
    _warn_of_missing(
        [
            n
            for n, bounds in intervals.items()
            if np.isnan(bounds[0]) and np.isfinite(drawn[n]).any()
        ]
    )
    lump, called = y_true == 1, np.asarray(y_prob) >= threshold
    for name, among in _SHARE_OF.items():
        if intervals[name] in ((0.0, 0.0), (1.0, 1.0)):
            count = len(np.unique(np.asarray(groups)[among(lump, called)]))
            part = int(intervals[name][0]) * count
            intervals[name] = wilson_interval(part, count, confidence=confidence)
    low, high = np.quantile(np.concatenate(matrices), [tail, 1 - tail], axis=0)
    return {**intervals, "confusion_matrix": (low, high)}


def percentiles(values: np.ndarray, tail: float) -> tuple[float, float]:
    """Return what leaves a share `tail` of the resampled values out at either end.

    NaN where more than 5 % of them are undefined.
    """
    undefined = np.isnan(values)
    if undefined.mean() > _UNDEFINED_SHARE:
        return np.nan, np.nan
    low, high = np.quantile(values[~undefined], [tail, 1 - tail])
    return float(low), float(high)


def _warn_of_missing(names: list[str]) -> None:
    if names:
        warnings.warn(
            f"No interval for {', '.join(names)}: more than {100 * _UNDEFINED_SHARE:.0f} % of the "
            "resamples leave them undefined.",
            UndefinedMetricWarning,
            stacklevel=3,
        )
