"""A share of images with its interval, when images of one patient or scene go together."""

import math
from collections.abc import Sequence

import numpy as np

from breastus.evaluation.intervals.proportions import effective_size, wilson_interval


def clustered_proportion(
    hits: Sequence[bool], groups: Sequence, *, confidence: float = 0.95
) -> dict[str, float]:
    """Return a share and Wilson's interval of as many images as the grouped ones are worth.

    Args:
        hits: bool [n], what the share is of.
        groups: [n], images of one value belong together.
        confidence: level of the interval.

    Returns:
        `value`, `ci_low`, `ci_high` (NaN where there are no images), `n` and `n_groups`.
    """
    hits, groups = np.asarray(hits, bool), np.asarray(list(groups))
    result = {"n": len(hits), "n_groups": len(np.unique(groups))}
    if not len(hits):
        return {"value": math.nan, "ci_low": math.nan, "ci_high": math.nan, **result}
    share, worth = float(hits.mean()), effective_size(hits, groups)
    low, high = wilson_interval(share * worth, worth, confidence=confidence)
    return {"value": share, "ci_low": low, "ci_high": high, **result}
