"""Is one of two models right more often on the same images, or is it chance?

Only images on which one is right and the other wrong say anything (McNemar, Psychometrika 12, 1947,
153). Images of one patient or scene go together, so it is whole groups that chance turns: were the
models alike, a group's balance, images that only ours gets right less those that only theirs does,
could as well have the other sign. All signs are counted, not drawn. Where each image is a group of
its own that is McNemar's exact test; with many groups it comes to the clustered chi-square of
Obuchowski (Statistics in Medicine 17, 1998, 1495), which has the same variance.

Up to 24 groups the p-value is exact, above them mid-p, which counts what is as unlikely as the
outcome by half. The exact one is too cautious in between; mid-p hardly ever exceeds its level
(Fagerland, Lydersen, Laake, BMC Medical Research Methodology 13, 2013, 91).
"""

import math
import warnings
from collections.abc import Sequence

import numpy as np

from breastus.errors import UndefinedMetricWarning
from breastus.evaluation.validation import members

_FEW = 25  # groups whose balance is not even: below, the exact test


def mcnemar(
    ours_right: Sequence[bool], theirs_right: Sequence[bool], groups: Sequence | None = None
) -> dict[str, float | int | str]:
    """Compare how often two models are right.

    Args:
        ours_right: bool [n], images that ours gets right.
        theirs_right: bool [n], of the same images in the same order.
        groups: [n], what goes together; None: each image is independent.

    Returns:
        `n`, `n_groups`; `only_ours` and `only_theirs`, images that only one gets right;
        `uneven_groups`, those in which these differ; `p_value`, two-sided, 1 without such a group
        and NaN without images; and `test`, "exact" or "mid-p".

    Raises:
        ValueError: when the arguments are not of one length, or hold anything but true and false.

    Warns:
        UndefinedMetricWarning: without images.
    """
    ours, theirs = (_truths(values) for values in (ours_right, theirs_right))
    if ours.shape != theirs.shape:
        raise ValueError(
            "ours_right and theirs_right must be of one length. "
            f"Received: shapes {ours.shape} and {theirs.shape}"
        )
    member = members(groups, len(ours))
    balance = np.bincount(member, ours.astype(int) - theirs.astype(int)).astype(int)
    uneven = np.abs(balance[balance != 0])
    exact = len(uneven) < _FEW
    if not len(ours):
        warnings.warn(
            "McNemar's test of no images has no p-value: it is NaN.",
            UndefinedMetricWarning,
            stacklevel=2,
        )
    return {
        "n": len(ours),
        "n_groups": len(balance),
        "only_ours": int((ours & ~theirs).sum()),
        "only_theirs": int((theirs & ~ours).sum()),
        "uneven_groups": len(uneven),
        "p_value": _p_value(uneven, abs(int(balance.sum())), exact) if len(ours) else math.nan,
        "test": "exact" if exact else "mid-p",
    }


def _p_value(sizes: np.ndarray, outcome: int, exact: bool) -> float:
    """Return the chance that signs at random give a sum at least as far from 0 as the outcome."""
    total = int(sizes.sum())
    chance = np.zeros(2 * total + 1)  # of the sums from -total to total
    chance[total] = 1.0
    for size in sizes:
        # Sums so far are within total - size of 0, so nothing rolls over the ends.
        chance = (np.roll(chance, size) + np.roll(chance, -size)) / 2
    away = np.abs(np.arange(-total, total + 1))
    equal = chance[away == outcome].sum()
    return float(min(1.0, chance[away > outcome].sum() + (equal if exact else equal / 2)))


def _truths(values) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 1 or (len(values) and values.dtype != bool):
        raise ValueError(
            "What is right must be true or false for each image. "
            f"Received: {values.dtype} of shape {values.shape}"
        )
    return values.astype(bool)
