"""Scores with and without a twin in training: predictions and twins in, both scores out.

A twin of a test image is a near-duplicate, or an image of the same patient, that the model was
trained on. Where twins help, a score says how well the model remembers, not how well it finds
lumps. `breastus.auditing.leakage.twins_in_training` names the images that have one.
"""

import math
import warnings
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd

from breastus.errors import UndefinedMetricWarning
from breastus.evaluation.intervals.delong import mean_delong_interval
from breastus.evaluation.intervals.proportions import effective_size, wilson_interval
from breastus.evaluation.metrics.subgroups import MINIMUM
from breastus.evaluation.predictions import thresholds_of, truth_and_probability
from breastus.evaluation.validation import image_counts, with_interval
from breastus.labels import LUMP

WITH, WITHOUT = "with a twin in training", "without a twin"


def scores_by_twin(
    tables: Sequence[pd.DataFrame], twins: Collection[str], *, confidence: float = 0.95
) -> dict[str, Any]:
    """Score the test images that have a twin in training, and those that have none.

    Args:
        tables: predictions of one model, or of several runs, of the same images.
        twins: ids of the images that have a twin.

    Returns:
        In the form of `breastus.evaluation.metrics.subgroups.subgroups`: `confidence`,
        `min_groups`, and `attributes`, of which the second holds both parts, each with `title`,
        `n`, `n_groups`, `n_lump`, `n_no_lump`, and `sensitivity`, `specificity` and `roc_auc` as
        from `part_scores`.
    """
    has_twin = tables[0]["image_id"].isin(set(twins)).to_numpy()
    everything = np.ones(len(has_twin), bool)

    def part(title: str, inside: np.ndarray) -> dict[str, Any]:
        return {"title": title, **part_scores([one[inside] for one in tables], confidence)}

    return {
        "confidence": confidence,
        "min_groups": MINIMUM,
        "attributes": [
            {"name": "all", "title": "All images", "note": "", "subgroups": [part("", everything)]},
            {
                "name": "twin",
                "title": "By twin in training",
                "note": "",
                "subgroups": [part(WITH, has_twin), part(WITHOUT, ~has_twin)],
            },
        ],
    }


def part_scores(tables: Sequence[pd.DataFrame], confidence: float = 0.95) -> dict[str, Any]:
    """Return counts, sensitivity, specificity and ROC-AUC of a part of the test images.

    Args:
        tables: predictions of one model, or of several runs, whose mean is scored.

    Returns:
        `n`, `n_groups`, `n_lump`, `n_no_lump`, `compared_with` (empty), and for each score `value`,
        `ci_low`, `ci_high` (Wilson's at the effective number of images, DeLong's over groups) and
        `reason`, which says why a value is NaN: a score needs five groups.
    """
    arrays = [truth_and_probability(table) for table in tables]
    truth = np.concatenate([one[0] for one in arrays])
    predicted = np.concatenate(
        [prob >= thresholds_of(table) for (_, prob), table in zip(arrays, tables, strict=True)]
    )
    groups, images = (
        np.concatenate([table[column].to_numpy(str) for table in tables])
        for column in ("group_id", "image_id")
    )
    lump = truth == LUMP
    few = {
        what: _too_few(groups[inside], what)
        for what, inside in (("lumps", lump), ("images without a lump", ~lump))
    }

    def proportion(inside: np.ndarray, right: np.ndarray, what: str) -> dict[str, Any]:
        if few[what]:
            return _missing(few[what])
        value = float(right[inside].mean())
        names = images[inside] if len(tables) > 1 else None
        size = effective_size(right[inside], groups[inside], names)
        interval = wilson_interval(value * size, size, confidence=confidence)
        return {**with_interval(value, interval), "reason": ""}

    def area() -> dict[str, Any]:
        if reason := "; ".join(filter(None, few.values())):
            return _missing(reason)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UndefinedMetricWarning)
            found = mean_delong_interval(
                [(*one, table["group_id"]) for one, table in zip(arrays, tables, strict=True)],
                confidence=confidence,
            )
        return {**with_interval(found["value"], (found["ci_low"], found["ci_high"])), "reason": ""}

    return {
        **image_counts(arrays[0][0], tables[0]["group_id"]),
        "compared_with": "",
        "sensitivity": proportion(lump, predicted, "lumps"),
        "specificity": proportion(~lump, ~predicted, "images without a lump"),
        "roc_auc": area(),
    }


def _too_few(groups: np.ndarray, what: str) -> str:
    if not len(groups):
        return f"no {what}"
    count = len(np.unique(groups))
    return f"{what} of {count} groups, fewer than {MINIMUM}" if count < MINIMUM else ""


def _missing(reason: str) -> dict[str, Any]:
    return {**with_interval(math.nan, (math.nan, math.nan)), "reason": reason}
