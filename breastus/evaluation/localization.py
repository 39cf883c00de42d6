"""Whether lesion maps point at lesions: maps and masks in, scores with intervals out.

Pointing game     share of images whose brightest place lies in the lesion (Zhang et al.: Top-down
                  neural attention by excitation backprop. ECCV 2016; here without their tolerance)
Mass inside       share of the map's sum that lies in the lesion, mean over the images

Lesions lie near the middle of an image, so both are compared with a map that knows nothing else:
a Gaussian at the centre. All differences are paired, and intervals are over groups.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from breastus.evaluation.intervals.bootstrap import (
    expanded_tail,
    percentile_interval,
    resample_weights,
)
from breastus.evaluation.intervals.metric_intervals import degenerate_proportion, is_degenerate
from breastus.evaluation.intervals.proportions import clustered_proportion
from breastus.evaluation.options import DEFAULTS, EvaluationOptions
from breastus.evaluation.validation import with_interval

_SPREAD = 0.25  # standard deviation of the centre map as a part of the side; our choice


def centre_map(side: int) -> np.ndarray:
    """Return the baseline: a Gaussian at the centre, float32 [side, side], 0 to 1."""
    distance = (np.arange(side) + 0.5) / side - 0.5
    line = np.exp(-0.5 * (distance / _SPREAD) ** 2)
    return np.outer(line, line).astype(np.float32)


def points_inside(lesion_map: np.ndarray, mask: np.ndarray) -> bool:
    """Return whether at least half of the brightest pixels of a map lie in a mask, both [S, S].

    A map of one value points everywhere, so that it misses a lesion smaller than half the image.
    """
    return bool(mask[lesion_map == lesion_map.max()].mean() >= 0.5)


def mass_inside(lesion_map: np.ndarray, mask: np.ndarray) -> float:
    """Return the share of a map's sum that lies in a mask, 0 to 1; 0 of a map that is 0."""
    total = float(lesion_map.sum(dtype=float))
    return float(lesion_map[mask].sum(dtype=float)) / total if total > 0 else 0.0


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return Spearman's correlation of two maps, −1 to 1; 0 if one has one value only."""
    ranks = [rankdata(found) for found in (one, other)]
    if min(map(np.ptp, ranks)) == 0:
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def localization(
    images: Mapping[str, Sequence], groups: Sequence, *, options: EvaluationOptions = DEFAULTS
) -> dict[str, Any]:
    """Return how well maps point at lesions, and how much better than the centre.

    Args:
        images: `hit` and `centre_hit` (bool [n], as from `points_inside`), `mass` and `centre_mass`
            (float [n], as from `mass_inside`): of each image with a mask, with its own map and with
            the centre map.
        groups: [n], name of each image's group.
        options: resamples, level and seed.

    Returns:
        `n`, `n_groups`, `confidence`, `resamples`; `pointing_game`, `centre_pointing_game`, `mass`,
        `centre_mass`, `pointing_game_difference` and `mass_difference` (the map minus the centre),
        each with `value`, `ci_low` and `ci_high`, which are NaN of fewer than two groups. The
        pointing games have Wilson's intervals (`clustered_proportion`), the others percentile
        intervals; `better_than_centre` is true if the first difference is above 0 throughout.
    """
    groups = np.asarray(groups)
    count = len(np.unique(groups))
    tail = expanded_tail(options.confidence, count) if count > 1 else 0.5
    weights = resample_weights(groups, resamples=options.resamples, seed=options.seed)

    def mean(values: np.ndarray) -> dict[str, float]:
        drawn = weights @ values / weights.sum(axis=1)
        interval = percentile_interval(drawn, tail) if count > 1 else (np.nan, np.nan)
        return with_interval(float(values.mean()), interval)

    names = ("hit", "centre_hit", "mass", "centre_mass")
    arrays = {name: np.asarray(images[name], float) for name in names}
    found: dict[str, Any] = {
        "n": len(groups),
        "n_groups": count,
        "confidence": options.confidence,
        "resamples": options.resamples,
    }
    for name, which in (("pointing_game", "hit"), ("centre_pointing_game", "centre_hit")):
        share = clustered_proportion(arrays[which] > 0, groups, confidence=options.confidence)
        found[name] = {key: share[key] for key in ("value", "ci_low", "ci_high")}
    found |= {name: mean(arrays[name]) for name in ("mass", "centre_mass")}
    difference = mean(arrays["hit"] - arrays["centre_hit"])
    if is_degenerate((difference["ci_low"], difference["ci_high"])):
        # The same in every resample, as if it were certain.
        reach = degenerate_proportion(0.0, groups, confidence=options.confidence)[1]
        value = difference["value"]
        difference = with_interval(value, (max(value - reach, -1.0), min(value + reach, 1.0)))
    return found | {
        "pointing_game_difference": difference,
        "mass_difference": mean(arrays["mass"] - arrays["centre_mass"]),
        "better_than_centre": bool(difference["ci_low"] > 0),
    }
