"""Robustness to image corruptions: predict function and images in, scores by severity out.

Each corruption of `corruptions` is applied to the images as they were read, before any
preprocessing. All scores come from the same resamples of groups, so that a change against the clean
images is paired.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from breastus.errors import ConfigError, DataError, ImageError, UndefinedMetricWarning
from breastus.evaluation.calibration.reliability import bin_gaps
from breastus.evaluation.intervals.bootstrap import GroupBootstrap, percentile_interval
from breastus.evaluation.intervals.delong import degenerate_auc_interval
from breastus.evaluation.intervals.metric_intervals import (
    is_degenerate,
    replace_degenerate_intervals,
)
from breastus.evaluation.metrics.metrics import METRICS, roc_auc
from breastus.evaluation.options import EvaluationOptions
from breastus.evaluation.predict_fn import PredictFn, predict_probabilities
from breastus.evaluation.robustness.corruptions import CORRUPTIONS, SEVERITIES
from breastus.evaluation.validation import (
    check_choice,
    check_count,
    check_grouped,
    check_number,
    image_counts,
    ratio,
    with_interval,
)

CALIBRATION_ERROR = "calibration_error"
# Name to title; all but the last are metrics of `METRICS`, and equal to them.
SCORES = {
    **{
        name: METRICS[name].title
        for name in ("roc_auc", "balanced_accuracy", "sensitivity", "specificity", "brier")
    },
    CALIBRATION_ERROR: "Calibration error",
}
# Key in the result to the score whose change it tests.
SIGNIFICANCE = {
    "roc_auc_significant": "roc_auc",
    "calibration_error_significant": CALIBRATION_ERROR,
}

Load = Callable[[int], np.ndarray]

_BATCH = 32  # images that are loaded, corrupted and predicted at a time
_INTERVAL = (
    "percentile bootstrap over groups (patients or scenes) with shared resamples; Wilson's over "
    "groups for a proportion of exactly 0 or 1"
)


class ImageScores:
    """Scores of the clean or corrupted images, and of each resample.

    Attributes:
        values: name of `SCORES` to float; NaN when undefined.
        drawn: name to float [resamples].
    """

    def __init__(self, y_true, y_prob, threshold: float, bootstrap: GroupBootstrap):
        self.y_true, self.y_prob = np.asarray(y_true), np.asarray(y_prob, float)
        lump, predicted = self.y_true == 1, self.y_prob >= threshold
        # What each image adds to the sums that the scores are made of; one product sums them all.
        parts = [lump, ~lump, lump & predicted, ~lump & ~predicted, (self.y_prob - lump) ** 2]
        self._columns = np.column_stack([*parts, bin_gaps(self.y_true, self.y_prob)]).astype(float)
        whole = self._scores(np.ones((1, len(self.y_true))))
        self.values = {name: float(score[0]) for name, score in whole.items()}
        self.drawn = bootstrap.scores(self._scores)

    def _scores(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return the scores for weights [rows, n], each [rows].

        The calibration error has the five bins of equal count of all images, in every resample.
        """
        sums = (np.asarray(weights, float) @ self._columns).T
        lumps, others, found, cleared, squares, *gaps = sums
        sensitivity, specificity = ratio(found, lumps), ratio(cleared, others)
        return {
            "roc_auc": roc_auc(self.y_true, self.y_prob, weights),
            "balanced_accuracy": (sensitivity + specificity) / 2,
            "sensitivity": sensitivity,
            "specificity": specificity,
            "brier": ratio(squares, lumps + others),
            CALIBRATION_ERROR: ratio(np.abs(gaps).sum(axis=0), lumps + others),
        }


def score_interval(name: str, value: float, drawn: np.ndarray, tail: float) -> tuple[float, float]:
    """Return the percentile interval of a score, or of its change.

    For the calibration error it is moved by the bootstrap bias: noise only adds to the error, so
    that resamples have a larger one than the images they are drawn from (Efron and Tibshirani: An
    Introduction to the Bootstrap, 1993, chapter 10).

    Args:
        name: name of the score.
        value: score of the images themselves.
        drawn: float [resamples].
        tail: share of the resamples left out on either side.
    """
    low, high = percentile_interval(drawn, tail)
    if name == CALIBRATION_ERROR and not np.isnan(low):
        bias = float(np.nanmedian(drawn)) - value
        return low - bias, high - bias
    return low, high


def score_intervals(
    scores: ImageScores, groups: np.ndarray, *, tail: float, confidence: float
) -> dict[str, tuple[float, float]]:
    """Return the interval of each score within its range.

    A score that is the same in every resample, such as a proportion of exactly 1, has the intervals
    of `replace_degenerate_intervals`.

    `groups`, [n], are the group of each image, and `tail` the share of the resamples left out on
    either side.
    """
    values = scores.values
    found = {name: score_interval(name, values[name], scores.drawn[name], tail) for name in values}
    lump = scores.y_true == 1
    found = replace_degenerate_intervals(
        # Which images are predicted lump does not matter for these scores.
        found,
        values,
        lump=lump,
        predicted_lump=lump,
        groups=groups,
        confidence=confidence,
    )
    if is_degenerate(found["roc_auc"]):
        found["roc_auc"] = degenerate_auc_interval(
            values["roc_auc"], scores.y_true, groups, confidence=confidence
        )
    low, high = found[CALIBRATION_ERROR]
    found[CALIBRATION_ERROR] = float(np.maximum(low, 0)), float(np.maximum(high, 0))
    return found


def significant_changes(change: np.ndarray, drawn: np.ndarray, confidence: float) -> np.ndarray:
    """Return which of several changes are larger than chance explains, tested jointly.

    A change counts when it exceeds what the largest of as many changes would be by chance: each is
    divided by its standard deviation over the resamples, and the limit is the quantile of the
    largest of them (studentized maximum; Romano and Wolf, Econometrica 73, 2005, 1237). The limit
    so accounts for the number of changes and for their correlation. The median standard deviation
    is added to each (Tusher, Tibshirani and Chu, PNAS 98, 2001, 5116), because for a
    tiny change, which depends on a single image, it does not measure the tails.

    Args:
        change: float [changes]; NaN is not significant.
        drawn: float [changes, resamples], of the same resamples.
        confidence: joint level of all changes.
    """
    significant = np.zeros(len(change), bool)
    known = np.flatnonzero(~np.isnan(drawn).all(axis=1) & ~np.isnan(change))
    spread = np.nanstd(drawn[known], axis=1)
    # A change that is the same in every resample is not chance, unless it is 0.
    significant[known] = change[known] != 0
    varies, spread = known[spread > 0], spread[spread > 0]
    if len(varies):
        spread = spread + np.median(spread)
        away = np.abs(drawn[varies] - change[varies, None]) / spread[:, None]
        limit = np.quantile(np.nan_to_num(away).max(axis=0), confidence)
        significant[varies] = np.abs(change[varies]) > limit * spread
    return significant


def robustness(
    predict: PredictFn,
    load: Load,
    y_true: Sequence[int],
    groups: Sequence,
    *,
    threshold: float,
    severities: Sequence[int],
    corruptions: Sequence[str] | None,
    options: EvaluationOptions,
) -> dict[str, Any]:
    """Score a model on corrupted images.

    Args:
        predict: list of uint8 [H, W, 3] to their probabilities of lump, [n].
        load: function from the number of an image, 0 to n - 1, to its pixels, uint8 [H, W, 3]; it
            is called once for each.
        severities: severities to measure, 1 to 5.
        corruptions: names of `CORRUPTIONS`; None takes them all.
        options: resamples, level, and the seed of the resamples and, with an image's number, of
            its corruptions.

    Returns:
        `n`, `n_groups`, `n_lump`, `n_no_lump`, the settings; `clean`: for each of `SCORES` `value`,
        `ci_low`, `ci_high`; `corruptions`: by name `title`, `description`, `unit`, `values`,
        `reason` and `severities`, a list of the scores at each, with `change`, `change_ci_low` and
        `change_ci_high`, `severity`, `level`, and `roc_auc_significant` and
        `calibration_error_significant`, whether these two changes are significant, see
        `significant_changes`. Scores are NaN when a class has no image, intervals when it comes
        from fewer than two groups.

    Raises:
        ConfigError: when a corruption or severity is unknown, or the threshold out of range.
        DataError: when arrays do not fit, `predict` does not return one probability for each image,
            or an image cannot be corrupted.

    Warns:
        UndefinedMetricWarning: when scores or intervals are NaN.
    """
    chosen = cells(corruptions, severities)
    check_number("threshold", threshold, inclusive=True)
    y_true, _, groups = check_grouped(y_true, np.zeros(len(y_true)), groups)
    confidence, seed = options.confidence, options.seed
    bootstrap = GroupBootstrap.draw(y_true, groups, options, expand=False)
    probabilities = _probabilities(predict, load, len(y_true), chosen, seed)
    for name in bootstrap.sparse:
        what = "Intervals" if (y_true == (name == "lump")).any() else "Scores and their intervals"
        warnings.warn(
            f"{what} are NaN: the images of {name} come from fewer than two groups.",
            UndefinedMetricWarning,
            stacklevel=2,
        )
    clean, *corrupted = [ImageScores(y_true, row, threshold, bootstrap) for row in probabilities]
    described = [
        {name: with_interval(scores.values[name], interval) for name, interval in each.items()}
        for scores in (clean, *corrupted)
        for each in [score_intervals(scores, groups, tail=bootstrap.tail, confidence=confidence)]
    ]
    significant = {
        key: _significant(score, clean, corrupted, confidence)
        for key, score in SIGNIFICANCE.items()
    }
    by_name: dict[str, list] = {name: [] for name, _ in chosen}
    for number, ((name, severity), scores) in enumerate(zip(chosen, corrupted, strict=True)):
        entry = described[1 + number]
        for score in SCORES:
            change = scores.values[score] - clean.values[score]
            drawn = scores.drawn[score] - clean.drawn[score]
            low, high = score_interval(score, change, drawn, bootstrap.tail)
            entry[score] |= {"change": change, "change_ci_low": low, "change_ci_high": high}
        level = CORRUPTIONS[name].values[severity - 1]
        tests = {key: bool(found[number]) for key, found in significant.items()}
        by_name[name].append({"severity": int(severity), "level": level, **entry, **tests})
    return {
        **image_counts(y_true, groups),
        "threshold": threshold,
        "severities": [int(severity) for severity in severities],
        "confidence": confidence,
        "resamples": options.resamples,
        "seed": seed,
        "interval_method": _INTERVAL,
        "clean": described[0],
        "corruptions": {
            name: {
                "title": CORRUPTIONS[name].title,
                "description": CORRUPTIONS[name].description,
                "unit": CORRUPTIONS[name].unit,
                "values": [entry["level"] for entry in entries],
                "reason": CORRUPTIONS[name].reason,
                "severities": entries,
            }
            for name, entries in by_name.items()
        },
    }


def cells(corruptions: Sequence[str] | None, severities: Sequence[int]) -> list[tuple[str, int]]:
    """Return the pairs of corruption and severity to measure, in order; None takes all corruptions.

    Raises:
        ConfigError: when a corruption or severity is unknown, repeated or missing.
    """
    names = list(corruptions) if corruptions is not None else list(CORRUPTIONS)
    for name in names:
        check_choice("corruption", name, tuple(CORRUPTIONS))
    for severity in severities:
        check_count("severity", severity, 1, SEVERITIES[-1])
    for what, chosen in (("corruptions", names), ("severities", list(severities))):
        if not chosen or len(set(chosen)) < len(chosen):
            raise ConfigError(f"{what} must name at least one, each once. Received: {chosen}")
    return [(name, severity) for name in names for severity in severities]


def _significant(score: str, clean: ImageScores, corrupted: list, confidence: float) -> np.ndarray:
    """Return bool [cells], whether the change of a score is significant."""
    change = np.array([scores.values[score] - clean.values[score] for scores in corrupted])
    drawn = np.array([scores.drawn[score] - clean.drawn[score] for scores in corrupted])
    if score == CALIBRATION_ERROR and drawn.size:
        # Resampling adds to a calibration error, less so where it is large.
        drawn = drawn - (np.nanmedian(drawn, axis=1) - change)[:, None]
    return significant_changes(change, drawn, confidence)


def _probabilities(
    predict: PredictFn, load: Load, count: int, cells: list[tuple[str, int]], seed: int
) -> np.ndarray:
    """Return float [1 + cells, n]; the first row is of the clean images."""
    result = np.empty((1 + len(cells), count))
    starts = range(0, count, _BATCH)
    total = len(starts) * len(result)
    # None shows the bar on a terminal alone.
    with tqdm(total=total, desc="corrupting images", leave=False, disable=None) as bar:
        for start in starts:
            numbers = range(start, min(start + _BATCH, count))
            clean = [load(number) for number in numbers]
            result[0, numbers] = predict_probabilities(predict, clean, of="clean images")
            bar.update()
            for row, (name, severity) in enumerate(cells, start=1):
                corrupted = list(_corrupted(clean, numbers, name, severity, seed))
                result[row, numbers] = predict_probabilities(
                    predict, corrupted, of=f"images with {name} at severity {severity}"
                )
                bar.update()
    return result


def _corrupted(clean, numbers, name: str, severity: int, seed: int) -> Iterator[np.ndarray]:
    for image, number in zip(clean, numbers, strict=True):
        try:
            yield CORRUPTIONS[name](image, severity, seed + number)
        except ImageError as error:
            raise DataError(
                f"Image number {number} cannot be corrupted by {name}. Leave out one of the two. "
                f"{error}"
            ) from error
