"""Shortcut test: how often predictions flip when only the marks on an image change.

Calipers and text are drawn on images without a lump, and removed from images of lumps that have
them. A model that looks at the tissue predicts the same; one that learned that lumps are measured
does not.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from breastus.evaluation.intervals.proportions import clustered_proportion
from breastus.evaluation.predict_fn import PredictFn, predict_probabilities

MOST = 60  # images of each kind, enough for an interval at most 0.25 wide

Change = Callable[[np.ndarray, int], np.ndarray]


def flip_rate(
    images: Sequence[np.ndarray],
    groups: Sequence,
    *,
    predict: PredictFn,
    change: Change,
    to_lump: bool,
    threshold: float,
    confidence: float,
) -> dict[str, Any]:
    """Change images and return the proportion of predictions that flip.

    Args:
        images, groups: pixels, uint8 [H, W, 3] each, and group of each image.
        predict: images to their probabilities of lump, [n].
        change: (image, its number) to the changed image.
        to_lump: count predictions that flip to lump; else those that flip to no lump.

    Returns:
        `n`, `n_groups`, `flipped`, `flip_rate` with `ci_low`, `ci_high`, and
        `mean_probability_change`; NaN without images. Images that were predicted the target
        class before the change cannot flip and count in `n`.
    """
    if len(images):
        before = predict_probabilities(predict, images)
        changed = [change(image, number) for number, image in enumerate(images)]
        after = predict_probabilities(predict, changed, of="changed images")
    else:
        before = after = np.zeros(0)
    was, now = before >= threshold, after >= threshold
    flipped = (~was & now) if to_lump else (was & ~now)
    found = clustered_proportion(flipped, groups, confidence=confidence)
    return {
        "n": found["n"],
        "n_groups": found["n_groups"],
        "flipped": int(flipped.sum()),
        "flip_rate": found["value"],
        "ci_low": found["ci_low"],
        "ci_high": found["ci_high"],
        "mean_probability_change": float((after - before).mean()) if len(images) else math.nan,
    }
