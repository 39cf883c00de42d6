"""Published baseline: the four test confusion matrices of the study that breastus mirrors.

CNN (32/64/128 filters) and Swin Transformer on BUSI, plain and in PARULA, on one random split of
459 images (lump 194/66/66, no lump 80/27/26), so near-duplicates may be on both sides. The study
reports no intervals; those here are Wilson's for independent images, which are too narrow.
"""

import math

import numpy as np

from breastus.evaluation.intervals.proportions import wilson_interval
from breastus.evaluation.metrics.metrics import METRICS, PREVALENCE, PROPORTIONS, Inputs
from breastus.evaluation.validation import with_interval

# Rows actual (no lump, lump), columns predicted (no lump, lump).
CONFUSION = {
    ("cnn", "plain"): [[21, 5], [14, 52]],
    ("cnn", "parula"): [[13, 13], [6, 60]],
    ("swin", "plain"): [[5, 21], [10, 56]],
    ("swin", "parula"): [[10, 16], [13, 53]],
}


def published_baseline(
    model: str, color: str, *, confidence: float = 0.95, prevalence: float = PREVALENCE
) -> dict | None:
    """Return the study's result in the form of `score_predictions`; None when it has none.

    Intervals are NaN for a metric that is no proportion.

    Args:
        model: "cnn" or "swin".
        color: "plain" or "parula".
        prevalence: prevalence of lumps for PPV and NPV.
    """
    if (model, color) not in CONFUSION:
        return None
    matrix = np.array(CONFUSION[model, color])
    row: dict = {
        "title": "The published study",
        "confusion_matrix": matrix.tolist(),
        "n": int(matrix.sum()),
    }
    for name, metric in METRICS.items():
        if metric.needs_scores:
            continue
        value = float(metric.compute(Inputs(matrix, prevalence=prevalence)))
        interval = math.nan, math.nan
        if name in PROPORTIONS:
            of = matrix * np.array(PROPORTIONS[name])
            interval = wilson_interval(np.trace(of), of.sum(), confidence=confidence)
        row[name] = with_interval(value, interval)
    return row
