"""Shares of images, how sure they are, and how sure the difference of two of them is.

Images of one patient or scene say less than as many of different ones: `effective_size` says how
many independent images they are worth, and the intervals take that number.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np


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
    return max(0.0, centre - half), min(1.0, centre + half)


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

    The number of images over the design effect of Rao and Scott (Biometrics 48, 1992, 577): the
    variance of the share between groups over that of independent images, at least 1. Where all or
    none are hits that variance is 0 and says nothing; there each group counts once.

    Args:
        hits: bool [n], what the share is of.
        groups: [n], images of one value belong together.
    """
    hits = np.asarray(hits, float)
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    count = len(hits)
    number = int(member.max()) + 1 if count else 0
    share = hits.mean() if count else math.nan
    if number < 2 or share in (0.0, 1.0):
        return float(number)
    excess = np.bincount(member, weights=hits - share)
    between = number / (number - 1) * (excess**2).sum() / count**2
    return count / max(1.0, between / (share * (1 - share) / (count - 1)))
