"""Is it worth acting on a model? Net benefit over the threshold from which one would act.

Who acts from a probability t of lump holds a missed lump to be (1 - t) / t times as bad as a false
alarm. Net benefit counts false alarms at that price: lumps found, less false alarms times
t / (1 - t), per image. A model is of use at the thresholds at which it lies above both treating all
and treating none, whose net benefit is 0.

Reference:
    Vickers, Elkin: Decision curve analysis: a novel method for evaluating prediction models.
    Medical Decision Making 26, 2006, 565.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from breastus.errors import UndefinedMetricWarning
from breastus.evaluation.intervals.bootstrap import (
    UNDEFINED_SHARE,
    classes_of_few_groups,
    resample_weights,
)
from breastus.evaluation.validation import check_probabilities, check_share, checked, members, ratio

_THRESHOLDS = np.arange(1, 100) / 100


def net_benefit(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    thresholds: Sequence[float],
    *,
    prevalence: float | None = None,
    weights=None,
) -> np.ndarray:
    """Return the net benefit of acting where `y_prob >= threshold`; higher is better.

    At most the prevalence, at which all lumps are found and nothing else; below 0 it does harm.

    Args:
        y_true: int [n], 1 for lump.
        y_prob: float [n], probability of lump; all 1 for treating all.
        thresholds: [t], between 0 and 1.
        prevalence: share of lumps where one would act; None: as among these images.
        weights: [..., n], how often each image counts; None counts each once.

    Returns:
        [..., t]; NaN with one class only.

    Raises:
        ValueError: when an argument is out of range or does not fit the others.
    """
    y_true, y_prob, weights = checked(y_true, y_prob, weights)
    check_probabilities(y_prob)
    thresholds = np.asarray(thresholds, float)
    if thresholds.ndim != 1 or not ((thresholds > 0) & (thresholds < 1)).all():
        raise ValueError(f"thresholds must lie between 0 and 1. Received: {thresholds}")
    if prevalence is not None:
        check_share(prevalence=prevalence)
    called = (y_prob[:, None] >= thresholds).astype(float)
    lumps, others = weights * (y_true == 1), weights * (y_true == 0)
    of_lump, of_other = lumps.sum(-1)[..., None], others.sum(-1)[..., None]
    share = ratio(of_lump, of_lump + of_other) if prevalence is None else prevalence
    found, alarms = ratio(lumps @ called, of_lump), ratio(others @ called, of_other)
    return found * share - alarms * (1 - share) * thresholds / (1 - thresholds)


def decision_curve(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    groups: Sequence | None = None,
    *,
    thresholds: Sequence[float] | None = None,
    prevalence: float | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the net benefit of the model, of treating all and of treating none, with bands.

    Args:
        y_true: int [n], 1 for lump.
        y_prob: float [n], probability of lump, calibrated: net benefit takes it at its word.
        groups: [n], what is drawn together; None: each image by itself.
        thresholds: [t], between 0 and 1; None: 0.01, 0.02 to 0.99.
        prevalence: share of lumps where one would act; None: as among these images. Test images
            are mostly of women who were sent to be examined, so theirs is far too high for
            screening.
        resamples: how many times groups are drawn.
        confidence: level of the bands, for each threshold by itself.
        seed: of the draws.

    Returns:
        A row a threshold: `threshold`, `model`, `treat_all`, `treat_none` (0), and `gain`, the
        model's less the better of the other two; all but `treat_none` with `_ci_low` and
        `_ci_high`. Bands are percentiles, so at thresholds that no image reaches or all do, and of
        treating all at a given prevalence, they have no width. NaN with one class only; bands are
        NaN where a class comes from fewer than two groups, or more than 5 % of the resamples lack
        it.

    Raises:
        ValueError: when an argument is out of range or does not fit the others.

    Warns:
        UndefinedMetricWarning: when something is NaN.
    """
    check_share(confidence=confidence)
    thresholds = _THRESHOLDS if thresholds is None else np.asarray(thresholds, float)
    y_true = np.asarray(y_true)
    member = members(groups, len(y_true))

    def curves(weights=None) -> dict[str, np.ndarray]:
        options = {"prevalence": prevalence, "weights": weights}
        model = net_benefit(y_true, y_prob, thresholds, **options)
        treat_all = net_benefit(y_true, np.ones(len(y_true)), thresholds, **options)
        gain = model - np.maximum(treat_all, 0)
        return {"model": model, "treat_all": treat_all, "gain": gain}

    table = pd.DataFrame({"threshold": thresholds, **curves(), "treat_none": 0.0})
    if few := classes_of_few_groups(y_true, member):
        reason = f"the images of {' and '.join(few)} come from fewer than two groups."
        drawn = {}
    else:
        reason = "too many resamples lack a class, as few groups have one."
        drawn = curves(resample_weights(member, resamples=resamples, seed=seed))
    tail = (1 - confidence) / 2
    for name in ("model", "treat_all", "gain"):
        values = drawn.get(name, np.full((1, len(thresholds)), np.nan))
        undefined = np.isnan(values).any(-1)
        if undefined.mean() > UNDEFINED_SHARE:
            low = high = np.nan
        else:
            low, high = np.quantile(values[~undefined], [tail, 1 - tail], axis=0)
        table[f"{name}_ci_low"], table[f"{name}_ci_high"] = low, high
    if table["model_ci_low"].isna().any():
        warnings.warn(
            f"The decision curve has no bands: {reason}", UndefinedMetricWarning, stacklevel=2
        )
    return table
