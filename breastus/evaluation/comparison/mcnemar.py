"""McNemar's test for grouped images: is one of two models right more often on the same images?

Only images on which one model is right and the other wrong carry information (McNemar,
Psychometrika 12, 1947, 153). Images of one group belong together, so the test permutes whole
groups: if the models were alike, the balance of a group (images that only ours gets right minus
those that only theirs does) could as well have the other sign. The distribution over all signs is
computed, not sampled. With one image a group this is McNemar's exact test; with many groups it
approaches the clustered chi-square of Obuchowski (Statistics in Medicine 17, 1998, 1495).

The p-value is exact up to 24 groups and mid-p above, which counts outcomes as unlikely as the
observed one by half. The exact p-value is conservative there, and mid-p hardly ever exceeds its
level (Fagerland, Lydersen, Laake, BMC Medical Research Methodology 13, 2013, 91).
"""

import math
import warnings
from collections.abc import Sequence

import numpy as np

from breastus.errors import DataError, UndefinedMetricWarning
from breastus.evaluation.validation import group_numbers

_MID_P_FROM = 25  # groups with a balance other than 0


def mcnemar(
    ours_right: Sequence[bool], theirs_right: Sequence[bool], groups: Sequence | None = None
) -> dict[str, float | int | str]:
    """Compare how often two models are right.

    Args:
        ours_right: bool [n], images that ours gets right.
        theirs_right: bool [n], of the same images in the same order.
        groups: [n], name of each image's group; None makes each image its own group.

    Returns:
        `n`, `n_groups`; `only_ours` and `only_theirs`, images that only one model gets right;
        `discordant_groups`, groups in which these numbers differ; `p_value`, two-sided, 1 without
        that and NaN without images; and `test`, "exact" or "mid-p".

    Raises:
        DataError: when the arguments differ in length, or are not boolean.

    Warns:
        UndefinedMetricWarning: without images.
    """
    ours, theirs = np.asarray(ours_right), np.asarray(theirs_right)
    boolean = not len(ours) or ours.dtype == theirs.dtype == bool
    if ours.ndim != 1 or ours.shape != theirs.shape or not boolean:
        raise DataError(
            "ours_right and theirs_right must be boolean, [n], and have the same length. Received: "
            f"{ours.dtype} of shape {ours.shape} and {theirs.dtype} of shape {theirs.shape}"
        )
    ours, theirs = ours.astype(bool), theirs.astype(bool)
    member = group_numbers(groups, len(ours))
    balance = np.bincount(member, ours.astype(int) - theirs.astype(int)).astype(int)
    uneven = np.abs(balance[balance != 0])
    exact = len(uneven) < _MID_P_FROM
    if not len(ours):
        warnings.warn(
            "McNemar's test has no p-value without images: it is NaN.",
            UndefinedMetricWarning,
            stacklevel=2,
        )
    return {
        "n": len(ours),
        "n_groups": len(balance),
        "only_ours": int((ours & ~theirs).sum()),
        "only_theirs": int((theirs & ~ours).sum()),
        "discordant_groups": len(uneven),
        "p_value": _p_value(uneven, abs(int(balance.sum())), exact) if len(ours) else math.nan,
        "test": "exact" if exact else "mid-p",
    }


def _p_value(sizes: np.ndarray, outcome: int, exact: bool) -> float:
    """Return the probability that random signs give a sum at least as far from 0 as the outcome."""
    total = int(sizes.sum())
    chance = np.zeros(2 * total + 1)  # probability of each sum from -total to total
    chance[total] = 1.0
    for size in sizes:
        # Sums so far are within total - size of 0, so nothing rolls over the ends.
        chance = (np.roll(chance, size) + np.roll(chance, -size)) / 2
    away = np.abs(np.arange(-total, total + 1))
    equal = chance[away == outcome].sum()
    return float(min(1.0, chance[away > outcome].sum() + (equal if exact else equal / 2)))
