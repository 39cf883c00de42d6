"""Shares of images, how sure they are, and how sure the difference of two of them is.

Images of one patient or scene say less than as many of different ones: `effective_size` says how
many independent images they are worth, and the intervals take that number.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

_GROUPS_OF_DOUBT = 10  # whose images are taken to be alike, beside the groups there are


def wilson_interval(part: float, whole: float, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion (J. Am. Stat. Assoc. 22, 1927, 209).

    Args:
        part: how many, at most `whole`.
        whole: of how many; 0 makes the interval NaN.
        confidence: level, such as 0.95.
    """
    if whole == 0:
        return math.nan, math.nan
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = part / whole
    centre = (share + z**2 / (2 * whole)) / (1 + z**2 / whole)
    half = z / (1 + z**2 / whole) * math.sqrt(share * (1 - share) / whole + (z / (2 * whole)) ** 2)
    # On paper these ends are 0 and 1; rounding would leave the share itself outside.
    low = 0.0 if part <= 0 else max(0.0, centre - half)
    high = 1.0 if part >= whole else min(1.0, centre + half)
    return low, high


def newcombe_interval(
    part: float, whole: float, other_part: float, other_whole: float, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the interval of a difference of two proportions, the first less the other.

    Newcombe's hybrid score interval (method 10 of Statistics in Medicine 17, 1998, 873), which is
    made of the two Wilson intervals. NaN where either is of nothing.
    """
    if whole == 0 or other_whole == 0:
        return math.nan, math.nan
    first, second = part / whole, other_part / other_whole
    low, high = wilson_interval(part, whole, confidence=confidence)
    other_low, other_high = wilson_interval(other_part, other_whole, confidence=confidence)
    return (
        first - second - math.hypot(first - low, other_high - second),
        first - second + math.hypot(high - first, second - other_low),
    )


def effective_size(hits: Sequence[bool], groups: Sequence) -> float:
    """Return how many independent images a share over grouped images is worth.

    The number of images over a design effect, that is the variance of the share between groups over
    that of independent images, at least 1 (Rao and Scott, Biometrics 48, 1992, 577). Few groups say
    little of that variance, and a large one that happens to be like the others hides it. It is
    therefore drawn towards the worst case, that images of a group are all alike, as if ten more
    groups had shown that; simulations of 8 to 60 groups, even and uneven, then keep the level of
    the intervals. In the worst case grouped images are worth Kish's number of groups, which for
    groups of one size is how many there are (Survey Sampling, 1965, 8.2). Where all or none are
    hits, the variance is 0 and says nothing; there that number is what is returned.

    Args:
        hits: bool [n], what the share is of.
        groups: [n], images of one value belong together.
    """
    hits = np.asarray(hits, float)
    count = len(hits)
    if not count:
        return 0.0
    sizes, member = _sizes(groups)
    number, alike = len(sizes), count**2 / float((sizes**2).sum())
    share = hits.mean()
    if number < 2 or share in (0.0, 1.0):
        return alike
    excess = np.bincount(member, weights=hits - share)
    between = number / (number - 1) * (excess**2).sum() / count**2
    seen = max(1.0, between / (share * (1 - share) / (count - 1)))
    trust = alike / (alike + _GROUPS_OF_DOUBT)
    return count / (trust * seen + (1 - trust) * max(seen, count / alike))


def _sizes(groups: Sequence) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of images of each group, and the group of each image."""
    _, member = np.unique(np.asarray(list(groups)), return_inverse=True)
    return np.bincount(member).astype(float), member
