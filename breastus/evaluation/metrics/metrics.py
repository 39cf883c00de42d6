"""Metrics of a two-class prediction; lump is the positive class.

Each metric takes weights [..., n], such as the counts of bootstrap resamples, and returns values of
their leading shape. A metric that the images do not define is NaN, such as the sensitivity without
a lump, or the precision when no image is predicted lump. Unless `Metric.meaning` says otherwise, a
metric is from 0 to 1 and higher is better.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from breastus.errors import ConfigError
from breastus.evaluation.calibration.reliability import expected_calibration_error
from breastus.evaluation.calibration.slope import calibration_intercept, calibration_slope
from breastus.evaluation.validation import check_arrays, check_thresholds, ratio, warn_undefined
from breastus.labels import LUMP, NO_LUMP

PREVALENCE = 0.1  # default prevalence of lumps for PPV and NPV: women examined for a symptom

_LUMPS, _OTHERS = [[0, 0], [1, 1]], [[1, 1], [0, 0]]
# Metrics that are the proportion of some images that are predicted right, as the cells of those
# images in the confusion matrix: rows actual, columns predicted.
PROPORTIONS = {
    "accuracy": [[1, 1], [1, 1]],
    "sensitivity": _LUMPS,
    "specificity": _OTHERS,
    "precision": [[0, 1], [0, 1]],
    "recall": _LUMPS,
    "precision_no_lump": [[1, 0], [1, 0]],
    "recall_no_lump": _OTHERS,
}


def confusion_matrix(
    y_true: np.ndarray, y_prob: np.ndarray, *, threshold: float = 0.5, weights=None
) -> np.ndarray:
    """Return counts, [..., 2, 2]: rows actual (no lump, lump), columns predicted (no lump, lump).

    `threshold` is one, or one an image, [n], 0 to 1.
    """
    y_true, y_prob, weights = check_arrays(y_true, y_prob, weights, any_score=True)
    cell = 2 * (y_true == 1) + (y_prob >= check_thresholds(threshold, len(y_prob)))
    counts = weights @ (cell[:, None] == np.arange(4)).astype(float)
    return counts.reshape(*weights.shape[:-1], 2, 2)


def predictive_values(sensitivity, specificity, prevalence: float) -> tuple:
    """Return PPV and NPV by Bayes' rule; NaN when no image is predicted so."""
    found, missed = sensitivity * prevalence, (1 - sensitivity) * prevalence
    cleared, alarms = specificity * (1 - prevalence), (1 - specificity) * (1 - prevalence)
    return ratio(found, found + alarms), ratio(cleared, cleared + missed)


def roc_auc(y_true: np.ndarray, y_prob: np.ndarray, weights=None) -> np.ndarray:
    """Probability that a lump scores above an image without one; ties count half.

    0.5 is guessing. Equal to scikit-learn's `roc_auc_score`. Any score will do, as only the order
    counts.
    """
    y_true, y_prob, weights = check_arrays(y_true, y_prob, weights, any_score=True)
    positive, negative = _by_score(y_true, y_prob, weights)
    below = np.cumsum(negative, axis=-1) - negative
    wins = (positive * (below + 0.5 * negative)).sum(-1)
    return ratio(wins, positive.sum(-1) * negative.sum(-1))


def average_precision(y_true: np.ndarray, y_prob: np.ndarray, weights=None) -> np.ndarray:
    """Area under the precision-recall curve as a sum of steps (not interpolated).

    Guessing gives the prevalence among these images. Equal to scikit-learn's
    `average_precision_score`. Any score will do.
    """
    y_true, y_prob, weights = check_arrays(y_true, y_prob, weights, any_score=True)
    positive, negative = (np.flip(part, -1) for part in _by_score(y_true, y_prob, weights))
    found = np.cumsum(positive, axis=-1)
    precision = ratio(found, found + np.cumsum(negative, axis=-1), undefined=0.0)
    return ratio((precision * positive).sum(-1), found[..., -1])


def _by_score(y_true, y_prob, weights) -> tuple[np.ndarray, np.ndarray]:
    """Return the weight of lumps and of the others at each distinct score, scores rising."""
    if not len(y_prob):
        empty = np.zeros((*weights.shape[:-1], 1))
        return empty, empty
    order = np.argsort(y_prob, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(y_prob[order]) != 0))
    ordered = weights[..., order]
    positive = ordered * (y_true[order] == 1)
    negative = ordered - positive
    if len(starts) == len(order):  # no ties
        return positive, negative
    return np.add.reduceat(positive, starts, axis=-1), np.add.reduceat(negative, starts, axis=-1)


@dataclass(frozen=True)
class Inputs:
    """Inputs of a metric.

    Attributes:
        counts: float [..., 2, 2], confusion matrices as from `confusion_matrix`.
        y_true, y_prob: label and probability of lump of each image, [n].
        weights: float [..., n], how often each image counts.
        prevalence: prevalence of lumps for PPV and NPV.
    """

    counts: np.ndarray
    y_true: np.ndarray | None = None
    y_prob: np.ndarray | None = None
    weights: np.ndarray | None = None
    prevalence: float = PREVALENCE

    def proportion(self, name: str) -> np.ndarray:
        """Return the proportion of the images of `PROPORTIONS` that are predicted right."""
        counts = self.counts * np.array(PROPORTIONS[name])
        return ratio(counts[..., 0, 0] + counts[..., 1, 1], counts.sum((-1, -2)))

    @property
    def sensitivity(self) -> np.ndarray:
        """Proportion of the lumps that are predicted lump."""
        return self.proportion("sensitivity")

    @property
    def specificity(self) -> np.ndarray:
        """Proportion of the images without a lump that are predicted no lump."""
        return self.proportion("specificity")

    def f1(self, label: int) -> np.ndarray:
        """Return the harmonic mean of precision and recall of `label`."""
        of, predicted = self.counts[..., label, :].sum(-1), self.counts[..., :, label].sum(-1)
        return ratio(2 * self.counts[..., label, label], of + predicted)

    def average_precision(self, label: int) -> np.ndarray:
        """Return the average precision of `label`."""
        if label == LUMP:
            return average_precision(self.y_true, self.y_prob, self.weights)
        return average_precision(1 - self.y_true, -self.y_prob, self.weights)


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        title: title in a table.
        meaning: formula or reading in one line.
        compute: `Inputs` to an array of the weights' leading shape.
        needs_scores: true when the confusion matrix does not determine the metric.
        is_share: true when the metric is from 0 to 1.
    """

    title: str
    meaning: str
    compute: Callable[[Inputs], np.ndarray]
    needs_scores: bool = False
    is_share: bool = True


METRICS: dict[str, Metric] = {
    "accuracy": Metric(
        "Accuracy",
        "proportion of images predicted right; misleading when one class is rare",
        lambda x: x.proportion("accuracy"),
    ),
    "balanced_accuracy": Metric(
        "Balanced accuracy",
        "mean of sensitivity and specificity; 0.5 is guessing",
        lambda x: (x.sensitivity + x.specificity) / 2,
    ),
    "sensitivity": Metric(
        "Sensitivity", "proportion of lumps predicted lump, TP / (TP + FN)", lambda x: x.sensitivity
    ),
    "specificity": Metric(
        "Specificity",
        "proportion of images without a lump predicted no lump, TN / (TN + FP)",
        lambda x: x.specificity,
    ),
    "precision": Metric(
        "Precision (lump)",
        "proportion of images predicted lump that are lumps; depends on prevalence",
        lambda x: x.proportion("precision"),
    ),
    "recall": Metric("Recall (lump)", "another name for sensitivity", lambda x: x.sensitivity),
    "f1": Metric(
        "F1 (lump)", "harmonic mean of precision and recall of lump", lambda x: x.f1(LUMP)
    ),
    "precision_no_lump": Metric(
        "Precision (no lump)",
        "proportion of images predicted no lump that are without one; depends on prevalence",
        lambda x: x.proportion("precision_no_lump"),
    ),
    "recall_no_lump": Metric(
        "Recall (no lump)", "another name for specificity", lambda x: x.specificity
    ),
    "f1_no_lump": Metric(
        "F1 (no lump)", "harmonic mean of precision and recall of no lump", lambda x: x.f1(NO_LUMP)
    ),
    "roc_auc": Metric(
        "ROC-AUC",
        "probability that a lump scores above an image without one; 0.5 is guessing",
        lambda x: roc_auc(x.y_true, x.y_prob, x.weights),
        needs_scores=True,
    ),
    "pr_auc_lump": Metric(
        "PR-AUC (lump)",
        "average precision of lump; guessing gives the proportion of lumps",
        lambda x: x.average_precision(LUMP),
        needs_scores=True,
    ),
    "pr_auc_no_lump": Metric(
        "PR-AUC (no lump)",
        "average precision of no lump; guessing gives the proportion of no lump",
        lambda x: x.average_precision(NO_LUMP),
        needs_scores=True,
    ),
    "pr_auc_macro": Metric(
        "PR-AUC (mean of both)",
        "mean of the average precisions of lump and of no lump; guessing gives 0.5",
        lambda x: (x.average_precision(LUMP) + x.average_precision(NO_LUMP)) / 2,
        needs_scores=True,
    ),
    "brier": Metric(
        "Brier score",
        "mean squared error of the probability of lump, 0 to 1, lower is better",
        lambda x: ratio(x.weights @ (x.y_prob - x.y_true) ** 2, x.weights.sum(-1)),
        needs_scores=True,
    ),
    "calibration_slope": Metric(
        "Calibration slope",
        "slope of the label on the logit of the probability, any number; 1 is ideal, below it the "
        "probabilities are too extreme",
        lambda x: calibration_slope(x.y_true, x.y_prob, x.weights),
        needs_scores=True,
        is_share=False,
    ),
    "calibration_intercept": Metric(
        "Calibration intercept",
        "shift of the logit with the slope fixed at 1 (calibration in the large), any number; 0 is "
        "ideal, above it there are more lumps than the probabilities say",
        lambda x: calibration_intercept(x.y_true, x.y_prob, x.weights),
        needs_scores=True,
        is_share=False,
    ),
    "ece": Metric(
        "Calibration error (ECE)",
        "mean gap between the probability and the proportion of lumps, over five bins of equal "
        "count; 0 to 1, lower is better; with an interval, the part that noise adds is removed",
        lambda x: expected_calibration_error(x.y_true, x.y_prob, weights=x.weights),
        needs_scores=True,
    ),
    "ppv": Metric(
        "PPV at the stated prevalence",
        "proportion of images predicted lump that are lumps at the stated prevalence, not at that "
        "of these images; from sensitivity and specificity by Bayes' rule",
        lambda x: predictive_values(x.sensitivity, x.specificity, x.prevalence)[0],
    ),
    "npv": Metric(
        "NPV at the stated prevalence",
        "proportion of images predicted no lump that are without one, at the stated prevalence",
        lambda x: predictive_values(x.sensitivity, x.specificity, x.prevalence)[1],
    ),
}


def register_metric(
    name: str, *, title: str, meaning: str, needs_scores: bool = True, is_share: bool = False
) -> Callable[[Callable[[Inputs], np.ndarray]], Callable[[Inputs], np.ndarray]]:
    """Register a function as a metric that every evaluation computes, with its interval.

        @register_metric("log_loss", title="Log loss", meaning="0 or more, lower is better")
        def log_loss(x):
            loss = -np.log(np.where(x.y_true == 1, x.y_prob, 1 - x.y_prob))
            return x.weights @ loss / x.weights.sum(-1)

    Args:
        name: key in metrics.json; must be unique.
        title: title in a table.
        meaning: formula or reading in one line.
        needs_scores: true when the confusion matrix does not determine the metric.
        is_share: true when the metric is from 0 to 1.

    Raises:
        ConfigError: when the name is taken.
    """
    if name in METRICS:
        raise ConfigError(f"A metric must have a name of its own. Received: name={name!r}")

    def register(compute):
        METRICS[name] = Metric(title, meaning, compute, needs_scores, is_share)
        return compute

    return register


def compute_metrics(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    *,
    threshold: float = 0.5,
    prevalence: float = PREVALENCE,
    weights=None,
) -> dict[str, np.ndarray]:
    """Return the value of every metric of `METRICS` by name.

    Args:
        threshold: one, or one an image, [n], 0 to 1.
        prevalence: prevalence of lumps for PPV and NPV.
        weights: [..., n]; None counts each image once, and warns when a metric is NaN.
    """
    y_true, y_prob, full = check_arrays(y_true, y_prob, weights)
    counts = confusion_matrix(y_true, y_prob, threshold=threshold, weights=full)
    inputs = Inputs(counts, y_true, y_prob, full, prevalence)
    values = {name: metric.compute(inputs) for name, metric in METRICS.items()}
    if weights is not None:
        return values
    lumps = int(y_true.sum())
    counted = f" ({lumps} lump, {len(y_true) - lumps} no lump)"
    warn_undefined([name for name, value in values.items() if np.isnan(value)], counted)
    return {name: float(value) for name, value in values.items()}
