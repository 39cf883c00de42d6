"""Intervals of metrics that are the same in every resample, as if they were certain.

They are so where all is right or all is wrong: with no missed lump, every resample has a
sensitivity of 1. A share has Wilson's interval there, of as many independent images as its groups
are worth; what is made of shares follows from theirs.
"""

import math
from collections.abc import Sequence

import numpy as np

from breastus.evaluation.intervals.proportions import effective_size, wilson_interval
from breastus.evaluation.metrics.metrics import predictive_values

Interval = tuple[float, float]

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
# F1 is 2 j / (1 + j) of the share j of those right among all that are of the class or called so.
_F1_OF = {
    "f1": lambda lump, called: lump | called,
    "f1_no_lump": lambda lump, called: ~lump | ~called,
}
# The average precision is taken as a share of the class's own images (Boyd, Eng, Page: Area under
# the precision-recall curve, ECML PKDD 2013, section 4: the binomial interval).
_AVERAGE_PRECISION_OF = {
    "pr_auc_lump": lambda lump, called: lump,
    "pr_auc_no_lump": lambda lump, called: ~lump,
}
_NOTHING = 1e-12  # what resamples differ by at most where they are the same


def replace_degenerate_intervals(
    intervals: dict[str, Interval],
    values: dict[str, float],
    *,
    lump: np.ndarray,
    called: np.ndarray,
    groups: Sequence,
    prevalence: float,
    confidence: float,
) -> dict[str, Interval]:
    """Return the intervals, with one that is not a point for each that was.

    Args:
        intervals: name to (low, high), of `METRICS`.
        values: name to the metric itself.
        lump: bool [n], what the images are.
        called: bool [n], what they were called.
        groups: [n], what was drawn together.
        prevalence: share of lumps for which PPV and NPV hold.
        confidence: level of the intervals.
    """
    lump, called, groups = np.asarray(lump, bool), np.asarray(called, bool), np.asarray(groups)
    found = dict(intervals)

    def of_share(value: float, among: np.ndarray) -> Interval:
        count = effective_size(np.ones(int(among.sum()), bool), groups[among])
        return wilson_interval(value * count, count, confidence=confidence)

    for name, among in {**_SHARE_OF, **_AVERAGE_PRECISION_OF}.items():
        if is_degenerate(intervals[name]):
            found[name] = of_share(values[name], among(lump, called))
    for name, among in _F1_OF.items():
        if is_degenerate(intervals[name]):
            share = values[name] / (2 - values[name])
            low, high = of_share(share, among(lump, called))
            found[name] = 2 * low / (1 + low), 2 * high / (1 + high)
    for name, parts in (
        ("balanced_accuracy", ("sensitivity", "specificity")),
        ("pr_auc_macro", tuple(_AVERAGE_PRECISION_OF)),
    ):
        if is_degenerate(intervals[name]):
            found[name] = mean_interval(
                [values[part] for part in parts], [found[part] for part in parts]
            )
    ends = zip(found["sensitivity"], found["specificity"], strict=True)
    both = [predictive_values(*shares, prevalence) for shares in ends]
    for name, bounds in zip(("ppv", "npv"), zip(*both, strict=True), strict=True):
        if is_degenerate(intervals[name]):
            found[name] = float(bounds[0]), float(bounds[1])
    return found


def is_degenerate(interval: Interval) -> bool:
    """Say whether an interval is a point; one that is NaN is not."""
    return abs(interval[1] - interval[0]) <= _NOTHING


def mean_interval(values: Sequence[float], intervals: Sequence[Interval]) -> Interval:
    """Return the interval of a mean of independent values, from the intervals of each.

    Each side is as far from the mean as the sides of the parts are from theirs, added as variances
    are (the method of variance estimates recovery: Zou, Donner, Statistics in Medicine 27, 2008,
    1693). Newcombe's interval of a difference is made the same way.
    """
    centre = float(np.mean(values))
    below = [value - low for value, (low, _) in zip(values, intervals, strict=True)]
    above = [high - value for value, (_, high) in zip(values, intervals, strict=True)]
    return centre - math.hypot(*below) / len(below), centre + math.hypot(*above) / len(above)
