"""Decision curve: net benefit of acting on a model, over the threshold probability of acting.

Acting from a probability t of lump on implies that a missed lump is (1 - t) / t times as bad as a
false alarm. Net benefit weighs them so: true positives minus false positives times t / (1 - t), per
image. A model is useful at the thresholds at which it exceeds both treating all and treating none,
whose net benefit is 0.

Reference:
    Vickers, Elkin: Decision curve analysis: a novel method for evaluating prediction models.
    Medical Decision Making 26, 2006, 565.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from breastus.errors import UndefinedMetricWarning
from breastus.evaluation.calibration.prior_shift import adjust_prior
from breastus.evaluation.intervals.bootstrap import GroupBootstrap
from breastus.evaluation.options import EvaluationOptions
from breastus.evaluation.validation import check_arrays, ratio

_THRESHOLDS = np.arange(1, 100) / 100


def net_benefit(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    thresholds: Sequence[float],
    *,
    prevalence: float,
    weights=None,
) -> np.ndarray:
    """Return the net benefit of acting where `y_prob >= threshold`; higher is better.

    The maximum is the prevalence, for a perfect model; below 0 acting on the model does harm.

    Args:
        y_true, y_prob: label and probability of lump, [n]; all 1 for treating all.
        thresholds: float [t], above 0 and below 1.
        prevalence: prevalence of lumps where the model is used.
        weights: number of times each image counts, [..., n].

    Returns:
        float [..., t]; NaN with one class only.
    """
    y_true, y_prob, weights = check_arrays(y_true, y_prob, weights)
    thresholds = np.asarray(thresholds, float)
    predicted = (y_prob[:, None] >= thresholds).astype(float)
    lumps, others = weights * (y_true == 1), weights * (y_true == 0)
    n_lump, n_other = lumps.sum(-1)[..., None], others.sum(-1)[..., None]
    found, alarms = ratio(lumps @ predicted, n_lump), ratio(others @ predicted, n_other)
    return found * prevalence - alarms * (1 - prevalence) * thresholds / (1 - thresholds)


def decision_curve(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    groups: Sequence,
    *,
    calibrated_at: float | None,
    options: EvaluationOptions,
) -> pd.DataFrame:
    """Return the net benefit of the model, of treating all and of treating none, with bands.

    Args:
        y_true, y_prob, groups: label, calibrated probability of lump and group of each image, [n].
        calibrated_at: prevalence at which the probabilities were calibrated. If it is given, they
            are adjusted to the one of `options` first, because a threshold is compared with the
            probability of a lump where the model is used. None, 0 and 1 do not adjust.
        options: prevalence of lumps where the model is used, resamples, pointwise level and seed.

    Returns:
        One row per threshold, 0.01, 0.02 to 0.99: `threshold`, `model`, `treat_all`, `treat_none`
        (0), and `gain`, the model's minus the better of the other two; all but `treat_none` with
        `_ci_low` and `_ci_high`. Bands are percentiles; they have no width at thresholds that all
        images reach or none does, and for treating all. NaN with one class only; bands are NaN when
        a class comes from fewer than two groups, or more than 5 % of the resamples lack it.
    """
    y_true = np.asarray(y_true)
    if calibrated_at is not None and 0 < calibrated_at < 1:
        y_prob = adjust_prior(y_prob, calibrated_at, options.prevalence)
    bootstrap = GroupBootstrap.draw(y_true, groups, options, expand=False)

    def curves(weights=None) -> dict[str, np.ndarray]:
        model, treat_all = (
            net_benefit(y_true, prob, _THRESHOLDS, prevalence=options.prevalence, weights=weights)
            for prob in (y_prob, np.ones(len(y_true)))
        )
        gain = model - np.maximum(treat_all, 0)
        return {"model": model, "treat_all": treat_all, "gain": gain}

    table = pd.DataFrame({"threshold": _THRESHOLDS, **curves(), "treat_none": 0.0})
    for name, values in bootstrap.scores(curves).items():
        table[f"{name}_ci_low"], table[f"{name}_ci_high"] = bootstrap.interval(values)
    if table["model_ci_low"].isna().any():
        reason = bootstrap.sparse_reason or "too many resamples lack a class"
        warnings.warn(
            f"The decision curve has no bands: {reason}.", UndefinedMetricWarning, stacklevel=2
        )
    return table
