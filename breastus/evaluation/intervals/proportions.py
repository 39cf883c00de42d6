"""Proportions of images with intervals, and the interval of the difference of two proportions.

Images of one patient or scene carry less information than as many of different ones. The functions
for grouped images therefore give an interval the number of independent images that they are worth.
That number is rarely whole, so that SciPy's intervals, which take counts, do not apply.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from breastus.evaluation.validation import with_interval

_EPSILON = 1e-12  # a variance below this is rounding
_PRIOR_GROUPS = 10  # groups that are taken to hold images that are all alike, see effective_size


def wilson_interval(
    part: float, whole: float, *, confidence: float = 0.95, z: float | None = None
) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion (J. Am. Stat. Assoc. 22, 1927, 209).

    Args:
        part: number of hits, 0 to `whole`; need not be whole.
        whole: number of trials; 0 makes the interval NaN.
        z: quantile in place of the normal distribution's, such as Student's.
    """
    if whole == 0:
        return math.nan, math.nan
    if z is None:
        z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = part / whole
    centre = (share + z**2 / (2 * whole)) / (1 + z**2 / whole)
    half = z / (1 + z**2 / whole) * math.sqrt(share * (1 - share) / whole + (z / (2 * whole)) ** 2)
    # The exact ends are 0 and 1 here; rounding would leave the proportion itself outside.
    low = 0.0 if part <= 0 else max(0.0, centre - half)
    high = 1.0 if part >= whole else min(1.0, centre + half)
    return low, high


def newcombe_interval(
    part: float, whole: float, other_part: float, other_whole: float
) -> tuple[float, float]:
    """Return the 95 % interval of the difference of two proportions, the first minus the other.

    Newcombe's hybrid score interval (method 10 of Statistics in Medicine 17, 1998, 873), made of
    two Wilson intervals. NaN when either number of trials is 0.
    """
    if whole == 0 or other_whole == 0:
        return math.nan, math.nan
    first, second = part / whole, other_part / other_whole
    low, high = wilson_interval(part, whole)
    other_low, other_high = wilson_interval(other_part, other_whole)
    return (
        first - second - math.hypot(first - low, other_high - second),
        first - second + math.hypot(high - first, second - other_low),
    )


def kish_size(groups: Sequence) -> float:
    """Return the effective number of groups if their sizes differ (Kish, 1965, 8.2).

    n^2 over the sum of squared group sizes; the number of groups when all have one size, 0 without
    images. It is the effective size when the images of a group are all alike.
    """
    sizes = np.unique(np.asarray(groups), return_counts=True)[1].astype(float)
    return float(sizes.sum() ** 2 / (sizes**2).sum()) if len(sizes) else 0.0


def effective_size(hits: Sequence[bool], groups: Sequence, images: Sequence | None = None) -> float:
    """Return the effective number of independent images for a proportion of grouped images.

    The number of images divided by a design effect: the variance of the proportion between groups
    over the variance for independent images, at least 1 (Rao and Scott, Biometrics 48, 1992, 577).
    With few groups that variance is itself uncertain, and a large group that happens to be like the
    others hides it. It is therefore shrunk towards the worst case, in which images of a group are
    all alike, as if ten more groups had shown that; in simulations of 8 to 60 groups, even and
    uneven, the intervals then keep their level. When all images are hits, or none, the variance is
    0 and says nothing: the size is `kish_size`.

    Args:
        hits: bool [n], images that count for the proportion.
        groups: [n], name of each image's group.
        images: [n], name of each image if some were predicted several times, as in the repeats of
            a cross-validation; None: each once.
    """
    hits, groups = np.asarray(hits, float), np.asarray(list(groups))
    count, share, alike = len(hits), hits.mean() if len(hits) else 0.0, kish_size(groups)
    if len(np.unique(groups)) < 2 or share in (0.0, 1.0):
        return alike
    spread = share * (1 - share)
    distinct, independent = count, spread / (count - 1)
    if images is not None:
        distinct, independent = kish_size(images), _variance(hits - share, images)
    if independent < _EPSILON:  # each image is as often right as all are
        return alike
    seen = max(1.0, _variance(hits - share, groups) / independent)
    trust = alike / (alike + _PRIOR_GROUPS)
    effect = trust * seen + (1 - trust) * max(seen, distinct / alike)
    return (1 + spread / independent) / effect


def _variance(excess: np.ndarray, clusters: Sequence) -> float:
    """Return the variance of a mean whose deviations [n] belong together within clusters [n]."""
    _, member = np.unique(np.asarray(list(clusters)), return_inverse=True)
    sums = np.bincount(member, weights=excess)
    return float(len(sums) / (len(sums) - 1) * (sums**2).sum() / len(excess) ** 2)


def clustered_proportion(
    hits: Sequence[bool], groups: Sequence, *, confidence: float = 0.95
) -> dict[str, float]:
    """Return a proportion of grouped images with Wilson's interval at their `effective_size`.

    The keys are `value`, `ci_low`, `ci_high` (NaN without images), `n` and `n_groups`.
    """
    hits, groups = np.asarray(hits, bool), np.asarray(list(groups))
    value, size = float(hits.mean()) if len(hits) else math.nan, effective_size(hits, groups)
    interval = wilson_interval(value * size, size, confidence=confidence)
    return {**with_interval(value, interval), "n": len(hits), "n_groups": len(np.unique(groups))}
