"""Do marks sway a model? Images and a predict function in, shares of calls that flip out.

Calipers and text are drawn on images without a lump, and removed from images of lumps that have
them. A model that looks at the tissue calls them as before; one that learned that somebody measures
where there is a lump does not.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from breastus.evaluation.intervals.clustered_proportion import clustered_proportion

MOST = 60  # images of each kind: an interval is at most a quarter wide, and it stays cheap

PredictFn = Callable[[Sequence[np.ndarray]], np.ndarray]
Change = Callable[[np.ndarray, int], np.ndarray]


def flip_rate(
    images: Sequence[np.ndarray],
    groups: Sequence,
    *,
    predict: PredictFn,
    change: Change,
    called_lump: bool,
    threshold: float,
    confidence: float,
) -> dict[str, Any]:
    """Change images and count the calls that flip.

    Args:
        images: uint8 [H, W, 3] each.
        groups: [n], images of one patient or scene have the same.
        predict: images to their probabilities of lump, [n].
        change: (image, number of it) to the changed image.
        called_lump: count the calls that flip to lump; else those that flip to no lump.
        threshold: probability of lump from which an image is called lump.
        confidence: level of the interval, Wilson's, of as many independent images as the grouped
            ones are worth.

    Returns:
        `n`, `n_groups`, `flipped`, `share` with `ci_low`, `ci_high`, and `mean_change` of the
        probability; NaN where there are no images. Calls that were as asked for before the
        change cannot flip and count among `n`.
    """
    count = len(images)
    result = {"n": count, "n_groups": len(set(groups)), "flipped": 0}
    if not count:
        nothing = dict.fromkeys(("share", "ci_low", "ci_high", "mean_change"), math.nan)
        return {**result, **nothing}
    before = np.asarray(predict(images), float)
    changed = [change(image, number) for number, image in enumerate(images)]
    after = np.asarray(predict(changed), float)
    was, now = before >= threshold, after >= threshold
    flipped = (~was & now) if called_lump else (was & ~now)
    share = clustered_proportion(flipped, groups, confidence=confidence)
    return {
        **result,
        "flipped": int(flipped.sum()),
        "share": share["value"],
        "ci_low": share["ci_low"],
        "ci_high": share["ci_high"],
        "mean_change": float((after - before).mean()),
    }
