"""Intervals of every metric, and of the difference of two models' metrics, from resampled groups.

One table of predictions, or the mean over several: a model's seeds, or repeats of a
cross-validation. A group that is drawn counts in every table that holds it, so the interval says
what other patients would have done to the mean.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from breastus.errors import UndefinedMetricWarning
from breastus.evaluation.calibration.reliability import (
    chance_ece,
    ece_difference_interval,
    ece_interval,
)
from breastus.evaluation.intervals.bootstrap import GroupBootstrap
from breastus.evaluation.intervals.degenerate_intervals import (
    replace_degenerate_intervals,
)
from breastus.evaluation.intervals.delong import mean_delong_interval
from breastus.evaluation.intervals.proportions import kish_size, wilson_interval
from breastus.evaluation.metrics.metrics import (
    METRICS,
    compute_metrics,
    confusion_matrix,
)
from breastus.evaluation.options import DEFAULTS, EvaluationOptions
from breastus.evaluation.validation import group_numbers
from breastus.labels import LUMP, NO_LUMP

# Metrics that are a proportion of the same images for two models: of which class, None for all.
_PROPORTION_OF = {
    "accuracy": None,
    "sensitivity": LUMP,
    "recall": LUMP,
    "specificity": NO_LUMP,
    "recall_no_lump": NO_LUMP,
}
_EPSILON = 1e-12  # differences below this are rounding


@dataclass(frozen=True)
class Sample:
    """One table of predictions as arrays.

    Attributes:
        y_true: int [n], 1 for lump.
        y_prob: float [n], probability of lump.
        groups: [n], name of each image's group.
        threshold: images are predicted lump when `y_prob >= threshold`; one, or one an image, [n].
    """

    y_true: np.ndarray
    y_prob: np.ndarray
    groups: np.ndarray
    threshold: float | np.ndarray = 0.5

    def metrics(self, weights: np.ndarray, prevalence: float) -> dict[str, np.ndarray]:
        """Return all metrics, `confusion_matrix` and `chance_ece` for weights [..., n]."""
        options = {"threshold": self.threshold, "weights": weights}
        return {
            **compute_metrics(self.y_true, self.y_prob, prevalence=prevalence, **options),
            "confusion_matrix": confusion_matrix(self.y_true, self.y_prob, **options),
            "chance_ece": chance_ece(self.y_true, self.y_prob, weights),
        }


class Resampled:
    """Metrics of several samples, and of each resample.

    Attributes:
        y_true, groups: of all samples, one after the other.
        bootstrap: the resamples; the columns of its weights are the images in that order.
        each: metrics of each sample, name to float.
        means: name to the mean over the samples, and `confusion_matrix` [2, 2].
        drawn: name to the mean in each resample, [resamples, ...].
    """

    def __init__(self, samples: Sequence[Sample], options: EvaluationOptions):
        self.samples, self.options, prevalence = samples, options, options.prevalence
        self.y_true = np.concatenate([sample.y_true for sample in samples])
        self.groups = np.concatenate([np.asarray(sample.groups) for sample in samples])
        self.bootstrap = GroupBootstrap.draw(self.y_true, self.groups, options)
        ends = np.cumsum([len(sample.y_true) for sample in samples])
        whole = [sample.metrics(np.ones(len(sample.y_true)), prevalence) for sample in samples]
        parts = [
            self.bootstrap.scores(
                lambda weights, sample=sample: sample.metrics(weights, prevalence),
                slice(end - len(sample.y_true), end),
            )
            for sample, end in zip(samples, ends, strict=True)
        ]
        self.each = [{name: float(one[name]) for name in METRICS} for one in whole]
        self.means = {name: float(np.mean([one[name] for one in whole])) for name in METRICS}
        self.means["confusion_matrix"] = np.mean([one["confusion_matrix"] for one in whole], axis=0)
        self.drawn = {name: np.mean([part[name] for part in parts], axis=0) for name in parts[0]}

    def intervals(self) -> dict[str, tuple]:
        """Return name to (low, high) of each metric and of `confusion_matrix`, [2, 2] each.

        Percentile intervals, but for the ROC-AUC (`mean_delong_interval`), the calibration error
        (`ece_interval`) and metrics that are the same in every resample
        (`replace_degenerate_intervals`).
        """
        bootstrap, drawn, means = self.bootstrap, self.drawn, self.means
        found = {name: bootstrap.interval(drawn[name]) for name in (*METRICS, "confusion_matrix")}
        if bootstrap.sparse:
            _warn(
                f"are no intervals: {' and '.join(bootstrap.sparse)} comes from fewer than two "
                "groups"
            )
            return found
        found["ece"] = ece_interval(means["ece"], drawn["ece"], drawn["chance_ece"], bootstrap.tail)
        if not math.isnan(means["roc_auc"]):
            area = mean_delong_interval(
                [(one.y_true, one.y_prob, one.groups) for one in self.samples],
                confidence=self.options.confidence,
            )
            found["roc_auc"] = area["ci_low"], area["ci_high"]
        found = replace_degenerate_intervals(
            found,
            means,
            lump=self.y_true == LUMP,
            predicted_lump=np.concatenate([one.y_prob >= one.threshold for one in self.samples]),
            groups=self.groups,
            prevalence=self.options.prevalence,
            confidence=self.options.confidence,
        )
        missing = [n for n in METRICS if math.isnan(found[n][0]) and not math.isnan(means[n])]
        if missing:
            _warn(f"is no interval for {', '.join(missing)}: too many resamples leave it undefined")
        return found


def bootstrap_intervals(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    groups: Sequence,
    *,
    threshold: float | np.ndarray = 0.5,
    options: EvaluationOptions = DEFAULTS,
) -> dict[str, tuple]:
    """Return the interval of each metric, and of the cells of the confusion matrix.

    See `Resampled.intervals` for the methods, and `expanded_tail` for few groups.

    Args:
        y_true: int [n], 1 for lump.
        y_prob: float [n], probability of lump.
        groups: [n], name of each image's group; groups are drawn as a whole.
        threshold: images are predicted lump when `y_prob >= threshold`; one, or one an image, [n].
        options: resamples, level, prevalence and seed.

    Returns:
        Name to (low, high); for "confusion_matrix" each is [2, 2]. NaN when more than 5 % of the
        resamples leave a metric undefined, or a class comes from fewer than two groups.

    Raises:
        ConfigError: when a threshold is out of range.
        DataError: when the arrays do not fit each other.

    Warns:
        UndefinedMetricWarning: when an interval is NaN.
    """
    y_true, y_prob = np.asarray(y_true), np.asarray(y_prob, float)
    sample = Sample(y_true, y_prob, group_numbers(groups, len(y_true)), threshold)
    return Resampled([sample], options).intervals()


def difference_intervals(ours: Resampled, theirs: Resampled) -> dict[str, dict[str, float]]:
    """Return the difference of each metric, ours minus theirs, with its interval.

    Both must hold the same images in the same order, so that they share their resamples.

    A proportion in which no group differs does not vary, as if it were certain. There each side
    reaches as far as Wilson's interval of 0 of as many groups, which is Tango's interval
    (Statistics in Medicine 17, 1998, 891).

    Returns:
        Under each metric's name `ours`, `theirs`, `difference`, `ci_low` and `ci_high`.
    """
    result = {}
    for name in METRICS:
        mine, other = ours.means[name], theirs.means[name]
        drawn = ours.drawn[name] - theirs.drawn[name]
        low, high = _difference_interval(name, mine - other, drawn, ours)
        result[name] = {
            "ours": mine,
            "theirs": other,
            "difference": mine - other,
            "ci_low": low,
            "ci_high": high,
        }
    return result


def _difference_interval(
    name: str, difference: float, drawn: np.ndarray, ours: Resampled
) -> tuple[float, float]:
    defined = drawn[~np.isnan(drawn)]
    if not len(defined) or math.isnan(difference):
        return math.nan, math.nan
    if np.ptp(defined) > _EPSILON:
        if name == "ece":
            return ece_difference_interval(difference, drawn, ours.bootstrap.tail)
        return ours.bootstrap.interval(drawn)
    if name not in _PROPORTION_OF or abs(difference) > _EPSILON:
        return math.nan, math.nan
    of = _PROPORTION_OF[name]
    groups = ours.groups if of is None else ours.groups[ours.y_true == of]
    reach = wilson_interval(0, kish_size(groups), confidence=ours.options.confidence)[1]
    return -reach, reach


def _warn(what: str) -> None:
    warnings.warn(f"There {what}.", UndefinedMetricWarning, stacklevel=4)
