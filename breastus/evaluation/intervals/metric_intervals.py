"""Intervals of every metric, and of the difference of two models' metrics, from resampled groups.

One table of predictions, or the mean over several trained models. A group that is drawn counts in
every table that holds it, so the interval says what other patients would have done to the mean of
these models. What other seeds would have done is added in `recipe`.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from breastus.errors import UndefinedMetricWarning
from breastus.evaluation.calibration.reliability import (
    chance_ece,
    debiased_ece,
    ece_difference_interval,
    ece_interval,
)
from breastus.evaluation.intervals.bootstrap import (
    GroupBootstrap,
    expanded_tail,
    percentile_interval,
)
from breastus.evaluation.intervals.delong import mean_delong_interval
from breastus.evaluation.intervals.proportions import effective_size, kish_size, wilson_interval
from breastus.evaluation.metrics.metrics import (
    METRICS,
    PREVALENCE,
    PROPORTIONS,
    compute_metrics,
    confusion_matrix,
    predictive_values,
)
from breastus.evaluation.options import DEFAULTS, EvaluationOptions
from breastus.evaluation.validation import group_numbers, groups_per_class
from breastus.labels import LUMP

Interval = tuple[float, float]

# The average precision is treated as a proportion of the images of its class (Boyd, Eng, Page: Area
# under the precision-recall curve, ECML PKDD 2013, section 4: the binomial interval).
_PROPORTIONS = {
    **PROPORTIONS,
    "pr_auc_lump": PROPORTIONS["sensitivity"],
    "pr_auc_no_lump": PROPORTIONS["specificity"],
}
# F1 is 2 j / (1 + j) of the proportion j of true positives among all that are, or are predicted,
# of the class.
_F1 = {"f1": [[0, 1], [1, 1]], "f1_no_lump": [[1, 1], [1, 0]]}
_MEANS = {
    "balanced_accuracy": ("sensitivity", "specificity"),
    "pr_auc_macro": ("pr_auc_lump", "pr_auc_no_lump"),
}
# Proportions of images that the label alone selects: the same images for two models.
OF_LABELS = set(PROPORTIONS) - {"precision", "precision_no_lump"}
_EPSILON = 1e-12  # differences below this are rounding


def replace_degenerate_intervals(
    intervals: dict[str, Interval],
    values: dict[str, float],
    *,
    lump: np.ndarray,
    predicted_lump: np.ndarray,
    groups: Sequence,
    confidence: float,
    prevalence: float = PREVALENCE,
) -> dict[str, Interval]:
    """Return the intervals, with new ones for metrics that are the same in every resample.

    That happens when all images are right or all are wrong: without a missed lump every resample
    has a sensitivity of 1, as if it were certain. A proportion then has Wilson's interval of as
    many independent images as its groups are worth; metrics that follow from proportions take their
    intervals from those.

    Args:
        intervals, values: name to (low, high), and to the metric itself.
        lump, predicted_lump: label and prediction of each image, bool [n].
        groups: [n], name of each image's group.
        prevalence: prevalence of lumps for PPV and NPV.
    """
    groups, found = np.asarray(groups), dict(intervals)
    degenerate = {name for name, interval in intervals.items() if is_degenerate(interval)}

    def wilson(value: float, cells: list) -> Interval:
        among = np.array(cells, bool)[lump.astype(int), predicted_lump.astype(int)]
        return degenerate_proportion(value, groups[among], confidence=confidence)

    for name in degenerate & set(_PROPORTIONS):
        found[name] = wilson(values[name], _PROPORTIONS[name])
    for name in degenerate & set(_F1):
        low, high = wilson(values[name] / (2 - values[name]), _F1[name])
        found[name] = 2 * low / (1 + low), 2 * high / (1 + high)
    for name in degenerate & set(_MEANS):
        parts = _MEANS[name]
        found[name] = mean_interval([values[of] for of in parts], [found[of] for of in parts])
    ends = zip(found["sensitivity"], found["specificity"], strict=True)
    both = [predictive_values(*shares, prevalence) for shares in ends]
    for number, name in enumerate(("ppv", "npv")):
        if name in degenerate:
            found[name] = tuple(float(pair[number]) for pair in both)
    return found


def degenerate_proportion(value: float, groups: np.ndarray, *, confidence: float) -> Interval:
    """Return Wilson's interval of a proportion without variance, of images of these groups."""
    size = kish_size(groups)
    return wilson_interval(value * size, size, confidence=confidence)


def is_degenerate(interval: Interval) -> bool:
    """Return whether an interval is a point; an interval of NaN or of an array is not."""
    return np.ndim(interval[0]) == 0 and abs(interval[1] - interval[0]) <= _EPSILON


def mean_interval(values: Sequence[float], intervals: Sequence[Interval]) -> Interval:
    """Return the interval of a mean of independent values from their own intervals.

    The distances of the ends from the values are added as variances are: the method of variance
    estimates recovery (Zou, Donner, Statistics in Medicine 27, 2008, 1693), to which Newcombe's
    interval of a difference belongs.
    """
    centre = float(np.mean(values))
    below = [value - low for value, (low, _) in zip(values, intervals, strict=True)]
    above = [high - value for value, (_, high) in zip(values, intervals, strict=True)]
    return centre - math.hypot(*below) / len(below), centre + math.hypot(*above) / len(above)


@dataclass(frozen=True)
class Sample:
    """One table of predictions as arrays.

    Attributes:
        y_true, y_prob, groups: label, probability of lump and group of each image, [n].
        threshold: images are predicted lump when `y_prob >= threshold`; one, or one an image, [n].
        images: name of each image, [n], by which it is known in other samples; None for one sample.
    """

    y_true: np.ndarray
    y_prob: np.ndarray
    groups: np.ndarray
    threshold: float | np.ndarray = 0.5
    images: np.ndarray | None = None

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
        drawn_each: name to the metric of each sample in each resample, [resamples, samples, ...].
        ece: `uncorrected` and `noise` of the calibration error, see `debiased_ece`; `ece` in `each`
            and `means` is debiased, in `drawn` and `drawn_each` it is not.
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
        self._values = {name: np.array([one[name] for one in self.each]) for name in METRICS}
        self.drawn_each = {name: np.stack([part[name] for part in parts], 1) for name in parts[0]}
        self.drawn = {name: drawn.mean(axis=1) for name, drawn in self.drawn_each.items()}
        for number, one in enumerate(self.each):
            one["ece"] = debiased_ece(one["ece"], self.drawn_each["chance_ece"][:, number])["value"]
        self.ece = debiased_ece(self.means["ece"], self.drawn["chance_ece"])
        self.means["ece"] = self.ece.pop("value")

    def intervals(self) -> dict[str, tuple]:
        """Return name to (low, high) of each metric and of `confusion_matrix`, [2, 2] each.

        Percentile intervals, but for the ROC-AUC (`mean_delong_interval`), the calibration error
        (`ece_interval`), accuracy, sensitivity and specificity (Wilson's, at the `effective_size`
        of the images they are about) and metrics that are the same in every resample
        (`replace_degenerate_intervals`). So the sensitivity's interval does not depend on the
        images without a lump.
        """
        bootstrap, drawn, means = self.bootstrap, self.drawn, self.means
        found = {name: bootstrap.interval(drawn[name]) for name in (*METRICS, "confusion_matrix")}
        found |= self._proportions()
        if bootstrap.sparse:
            _warn(f"are no intervals of metrics of both classes: {bootstrap.sparse_reason}")
            return found
        found["ece"] = ece_interval(
            self.ece["uncorrected"], drawn["ece"], drawn["chance_ece"], bootstrap.tail
        )
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
            predicted_lump=self.predicted_lump,
            groups=self.groups,
            prevalence=self.options.prevalence,
            confidence=self.options.confidence,
        )
        missing = [n for n in METRICS if math.isnan(found[n][0]) and not math.isnan(means[n])]
        if missing:
            _warn(f"is no interval for {', '.join(missing)}: too many resamples leave it undefined")
        return found

    @property
    def predicted_lump(self) -> np.ndarray:
        """bool [n], which images are predicted lump."""
        return np.concatenate([one.y_prob >= one.threshold for one in self.samples])

    def groups_of(self, name: str) -> np.ndarray:
        """Return the groups of the images that a metric of `OF_LABELS` is about."""
        return self.groups[self._about(name)]

    def groups_for(self, name: str) -> int:
        """Return the number of groups that a metric rests on: of its class, or of the rarer one."""
        if name in OF_LABELS:
            return len(np.unique(self.groups_of(name)))
        return min(groups_per_class(self.y_true, self.groups).values())

    def values(self, name: str) -> np.ndarray:
        """Return a metric of each sample as in `drawn_each`, [samples]."""
        return self._values[name]

    def _about(self, name: str) -> np.ndarray:
        return np.array(PROPORTIONS[name], bool)[self.y_true, 0]

    def _proportions(self) -> dict[str, Interval]:
        """Return Wilson's intervals of the proportions whose images come from two groups or more.

        All samples count as one table, in which the images of a group belong together.
        """
        right, found = self.predicted_lump == (self.y_true == LUMP), {}
        images = None
        if len(self.samples) > 1:
            images = np.concatenate([sample.images for sample in self.samples])
        for name in OF_LABELS:
            about, groups = self._about(name), self.groups_of(name)
            if len(np.unique(groups)) < 2 or math.isnan(self.means[name]):
                continue
            size = effective_size(right[about], groups, None if images is None else images[about])
            found[name] = wilson_interval(
                self.means[name] * size, size, confidence=self.options.confidence
            )
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

    See `Resampled.intervals` for the methods, and `expanded_tail` for percentiles of few groups.

    `threshold` is one, or one an image, [n].

    Returns:
        Name to (low, high); for "confusion_matrix" each is [2, 2]. NaN when more than 5 % of the
        resamples leave a metric undefined, or a class that it depends on comes from fewer than two
        groups.
    """
    y_true, y_prob = np.asarray(y_true), np.asarray(y_prob, float)
    sample = Sample(y_true, y_prob, group_numbers(groups, len(y_true)), threshold)
    return Resampled([sample], options).intervals()


def difference_intervals(ours: Resampled, theirs: Resampled) -> dict[str, dict[str, float]]:
    """Return `ours`, `theirs`, `difference`, `ci_low` and `ci_high` of each metric by name.

    Both must hold the same images in the same order, so that they share their resamples.
    Calibration errors are uncorrected here: the noise of the same images adds to both.

    A proportion in which no group differs does not vary, as if it were certain. There each side
    reaches as far as Wilson's interval of 0 of as many groups, which is Tango's interval
    (Statistics in Medicine 17, 1998, 891).
    """
    result = {}
    for name in METRICS:
        mine, other = (float(side.values(name).mean()) for side in (ours, theirs))
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
    tail, confidence = ours.bootstrap.tail, ours.options.confidence
    if np.ptp(defined) > _EPSILON:
        if name == "ece":
            return ece_difference_interval(difference, drawn, tail)
        if name in OF_LABELS:
            tail = expanded_tail(confidence, len(np.unique(ours.groups_of(name))))
        return percentile_interval(drawn, tail)
    if name not in OF_LABELS or abs(difference) > _EPSILON:
        return math.nan, math.nan
    reach = degenerate_proportion(0, ours.groups_of(name), confidence=confidence)[1]
    return -reach, reach


def _warn(what: str) -> None:
    warnings.warn(f"There {what}.", UndefinedMetricWarning, stacklevel=4)
