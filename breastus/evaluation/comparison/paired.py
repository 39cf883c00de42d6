"""Two models on the same images: two predictions tables in, differences with intervals out.

Both models saw the same images, so chance affects both alike. Their difference is therefore more
certain than their two intervals suggest, which may overlap.
"""

import math
import warnings
from typing import Any

import pandas as pd

from breastus.errors import DataError, UndefinedMetricWarning
from breastus.evaluation.comparison.mcnemar import mcnemar
from breastus.evaluation.intervals.delong import delong_difference
from breastus.evaluation.intervals.metric_intervals import Resampled, Sample, difference_intervals
from breastus.evaluation.options import DEFAULTS, EvaluationOptions
from breastus.evaluation.predictions import check_predictions, truth_and_probability
from breastus.evaluation.validation import image_counts
from breastus.labels import LUMP, POSITIVE


def compare(
    ours: pd.DataFrame,
    theirs: pd.DataFrame,
    *,
    threshold: float = 0.5,
    other_threshold: float | None = None,
    options: EvaluationOptions = DEFAULTS,
) -> dict[str, Any]:
    """Compare two models' predictions of the same images.

    Groups are drawn for both models at once, see `difference_intervals`. Many metrics are compared,
    so some differ by chance: decide beforehand which one counts.

    Args:
        ours: a predictions table, see `predictions`.
        theirs: another model's, of the same images in any order.
        threshold: our model predicts lump when `probability >= threshold`.
        other_threshold: the threshold of the other model; None: the same.
        options: resamples, level, prevalence and seed.

    Returns:
        `n`, `n_groups`, `n_lump`, `n_no_lump` and the settings; `metrics`: under each metric's name
        `ours`, `theirs`, `difference` (ours minus theirs), `ci_low`, `ci_high`; `delong`: the
        difference of ROC-AUC as from `delong_difference`; `mcnemar`: as from `mcnemar`, of `all`
        images, of `lump` (sensitivity) and of `no_lump` (specificity). NaN when a metric is
        undefined, or a class comes from fewer than two groups.

    Raises:
        DataError: when a table is damaged, or they differ in images, labels or groups.
    """
    ours, theirs = _aligned(ours, theirs)
    groups = ours["group_id"].to_numpy()
    other_threshold = other_threshold if other_threshold is not None else threshold
    samples = [
        Sample(*truth_and_probability(table), groups, limit)
        for table, limit in ((ours, threshold), (theirs, other_threshold))
    ]
    pair = [Resampled([sample], options) for sample in samples]
    metrics = difference_intervals(*pair)
    missing = [name for name, entry in metrics.items() if math.isnan(entry["ci_low"])]
    if missing:
        undefined = f"{', '.join(missing)}: often undefined, or the same in every resample"
        reason = pair[0].bootstrap.sparse_reason or undefined
        warnings.warn(
            f"Some differences have no interval: {reason}.", UndefinedMetricWarning, stacklevel=2
        )
    truth = samples[0].y_true
    right = [(sample.y_prob >= sample.threshold) == truth for sample in samples]
    classes = {"all": truth >= 0, "lump": truth == LUMP, "no_lump": truth != LUMP}
    with warnings.catch_warnings(record=True) as undefined:
        warnings.simplefilter("always", UndefinedMetricWarning)
        areas = delong_difference(
            truth, samples[0].y_prob, samples[1].y_prob, groups, confidence=options.confidence
        )
        tests = {
            name: mcnemar(right[0][among], right[1][among], groups[among])
            for name, among in classes.items()
        }
    for warning in undefined:  # warned again at the caller's line
        warnings.warn(str(warning.message), warning.category, stacklevel=2)
    return {
        "positive": POSITIVE,
        **image_counts(truth, groups),
        "threshold": threshold,
        "other_threshold": other_threshold,
        "prevalence": options.prevalence,
        "confidence": options.confidence,
        "resamples": options.resamples,
        "metrics": metrics,
        "delong": areas,
        "mcnemar": tests,
    }


def _aligned(ours: pd.DataFrame, theirs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return both tables with the same images in the same order."""
    ours, theirs = (
        check_predictions(table, name).set_index("image_id").sort_index()
        for table, name in ((ours, "ours"), (theirs, "theirs"))
    )
    for table, other, name in ((ours, theirs, "theirs"), (theirs, ours, "ours")):
        if len(missing := table.index.difference(other.index)):
            some = ", ".join(map(str, missing[:3])) + (", ..." if len(missing) > 3 else "")
            raise DataError(
                "Two models must have predicted the same images; train both with the same data, "
                f"split and seed. Received: {name} without {len(missing)} images: {some}"
            )
    for column in ("label", "group_id"):
        if (different := ours[column] != theirs[column]).any():  # true for what is missing as well
            image = different.idxmax()
            raise DataError(
                f"Both tables must give an image the same {column}. Received: {image} with "
                f"{ours.loc[image, column]!r} and {theirs.loc[image, column]!r}"
            )
    return ours, theirs
